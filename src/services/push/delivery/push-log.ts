import { SerialByKey } from '#src/kernel/concurrency/serial.ts';
import { followerCursors, saveFollowerCursors } from '#src/storage/events/event-followers.ts';
import type { Database } from '#src/storage/database.ts';
import { appendPushes, newestPush, type NewPush, type PushRecord, pushesAfter } from '#src/storage/push/pushes.ts';

/** The name under which the progress is stored. */
const DONE = 'push_sent';

/** All pushes in the order in which they are sent: one row each, for all pushers. */
export class PushLog {
  readonly #database: Database;
  readonly #onUnheard: () => void;
  readonly #turns = new SerialByKey<undefined>();
  #newest = 0;
  #done = 0;

  /** @param onUnheard called in the turn of an append when the log may have new pushes that `use` was not given */
  constructor(database: Database, onUnheard: () => void) {
    this.#database = database;
    this.#onUnheard = onUnheard;
  }

  /** Place of the newest push. */
  get newest(): number {
    return this.#newest;
  }

  /** Everything up to here was sent, or its destination is marked as waiting. */
  get done(): number {
    return this.#done;
  }

  /** Reads the end of the log and the stored progress. */
  async open(): Promise<void> {
    this.#newest = await newestPush(this.#database);
    this.#done = (await followerCursors(this.#database, DONE))[0]?.pos ?? 0;
  }

  /**
   * Appends pushes. Calls run one after the other: a later place is never visible before an earlier one.
   *
   * @param use is given those that were not in the log before, in the turn in which they become the newest
   */
  append(pushes: readonly NewPush[], use: (records: readonly PushRecord[]) => void): Promise<void> {
    return this.#turns.run(undefined, async () => {
      let records: readonly PushRecord[];
      try {
        records = await appendPushes(this.#database, pushes);
      } catch (err) {
        // It may have been committed nevertheless: then the repeated attempt finds it.
        this.#onUnheard();
        throw err;
      }
      if (records.length < pushes.length) this.#onUnheard();
      this.#newest = records.at(-1)?.pos ?? this.#newest;
      use(records);
    });
  }

  /** Pushes after a place, in order. */
  after(position: number, limit: number): Promise<PushRecord[]> {
    return pushesAfter(this.#database, position, limit);
  }

  /** Place of the first push after a place; undefined when there is none. */
  async placeAfter(position: number): Promise<number | undefined> {
    return (await pushesAfter(this.#database, position, 1))[0]?.pos;
  }

  /** Stores that everything up to a place was sent, or its destination is marked as waiting. */
  async setDone(position: number): Promise<void> {
    if (position <= this.#done) return;
    this.#done = position;
    await saveFollowerCursors(this.#database, DONE, [{ shard: 0, pos: position, goal: null, room: null }]);
  }
}
