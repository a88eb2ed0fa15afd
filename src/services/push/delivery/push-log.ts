import { SerialByKey } from '#src/kernel/serial.ts';
import { followerCursors, saveFollowerCursors } from '#src/storage/events/event-followers.ts';
import type { Database } from '#src/storage/database.ts';
import { appendPushes, newestPush, type NewPush, type PushRecord, pushesAfter } from '#src/storage/push/pushes.ts';

/** Under which it is kept up to where everything was told. */
const DONE = 'push_sent';

/** The pushes of all pushers in the order in which they are told: one row each, for all pushers. */
export class PushLog {
  readonly #database: Database;
  readonly #onUnheard: () => void;
  readonly #turns = new SerialByKey<undefined>();
  #newest = 0;
  #done = 0;

  /** @param onUnheard is called in the turn of an append when pushes may be at the end that `use` was not given */
  constructor(database: Database, onUnheard: () => void) {
    this.#database = database;
    this.#onUnheard = onUnheard;
  }

  /** Place of the newest push. */
  get newest(): number {
    return this.#newest;
  }

  /** Up to here everything was told, or is noted with its destination as waiting. */
  get done(): number {
    return this.#done;
  }

  /** Finds the end, and where the last process was. */
  async open(): Promise<void> {
    this.#newest = await newestPush(this.#database);
    this.#done = (await followerCursors(this.#database, DONE))[0]?.pos ?? 0;
  }

  /**
   * Puts pushes at the end. One call after the other: what has a later place is never there before what has an earlier one.
   *
   * @param use is given those that were not there before, in the turn in which they become the newest
   */
  append(pushes: readonly NewPush[], use: (records: readonly PushRecord[]) => void): Promise<void> {
    return this.#turns.run(undefined, async () => {
      let records: readonly PushRecord[];
      try {
        records = await appendPushes(this.#database, pushes);
      } catch (err) {
        // It may have been committed all the same: then it is there already when it is repeated.
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

  /** Remembers that everything up to a place was told, or is noted with its destination as waiting. */
  async setDone(position: number): Promise<void> {
    if (position <= this.#done) return;
    this.#done = position;
    await saveFollowerCursors(this.#database, DONE, [{ shard: 0, pos: position, goal: null, room: null }]);
  }
}
