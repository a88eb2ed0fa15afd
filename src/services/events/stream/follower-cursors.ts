import { ORIGIN, type PositionVector } from '#src/protocol/wire/position.ts';
import type { Database } from '#src/storage/database.ts';
import {
  type FollowerCursor,
  followerCursors,
  noteFollowerCursors,
  saveFollowerCursors,
} from '#src/storage/events/event-followers.ts';

/**
 * How far a follower has processed events, in each shard: in memory, and in the database for the next process. After a crash of the
 * database its cursors may be further back than those in memory; what was derived from the events between them is gone, too.
 */
export class FollowerCursors {
  readonly #database: Database;
  readonly #name: string;
  #cursors: FollowerCursor[] = [];
  /** By shard, what the database was told last. */
  readonly #noted = new Map<number, FollowerCursor>();
  /** Whether the database may be behind the cursors: it crashed, and what was derived and not on disk yet is gone with them. */
  #isUnsure = false;

  /** @param name the follower's */
  constructor(database: Database, name: string) {
    this.#database = database;
    this.#name = name;
  }

  /**
   * Takes what the last process has left.
   *
   * @param begin where a follower begins that was never there before; undefined: at the first event
   */
  async start(begin: () => PositionVector | undefined): Promise<void> {
    const known = new Map((await this.#stored()).map((cursor) => [cursor.shard, cursor]));
    const first = known.size === 0 ? begin() : undefined;
    this.#cursors = (first ?? ORIGIN).map((pos, shard) => known.get(shard) ?? { shard, pos, goal: null, room: null });
    if (first !== undefined) await saveFollowerCursors(this.#database, this.#name, this.#cursors);
    for (const cursor of first === undefined ? known.values() : this.#cursors) this.#noted.set(cursor.shard, cursor);
  }

  #stored(): Promise<readonly FollowerCursor[]> {
    return followerCursors(this.#database, this.#name);
  }

  /** Up to where everything is processed, by shard; empty before the start. */
  get positions(): number[] {
    return this.#cursors.map(({ pos }) => pos);
  }

  of(shard: number): FollowerCursor | undefined {
    return this.#cursors[shard];
  }

  /** Whether `goBack` has to be called before anything is noted. */
  get isUnsure(): boolean {
    return this.#isUnsure;
  }

  /** Connections to the database were lost, or what was taken was not processed: the cursors may be too far ahead. */
  doubt(): void {
    this.#isUnsure = true;
  }

  /**
   * Takes the cursors that the database has where they are behind: what was derived from the events after them is derived again.
   *
   * @returns whether one of them was
   */
  async goBack(): Promise<boolean> {
    // Before it is read: what is lost meanwhile is looked at once more.
    this.#isUnsure = false;
    const stored = new Map((await this.#stored()).map((cursor) => [cursor.shard, cursor]));
    let isBehind = false;
    this.#cursors = this.#cursors.map((cursor) => {
      const { shard, pos, room } = cursor;
      const row = stored.get(shard);
      if (row === undefined) this.#noted.delete(shard);
      else this.#noted.set(shard, row);
      const there = row ?? { shard, pos: ORIGIN[shard] ?? 0, goal: null, room: null };
      if (there.pos > pos || (there.pos === pos && (there.room ?? 0) >= (room ?? 0))) return cursor;
      isBehind = true;
      return there;
    });
    return isBehind;
  }

  /** Remembers how far one shard is processed. */
  async move(cursor: FollowerCursor): Promise<void> {
    await this.#note([cursor]);
    this.#cursors[cursor.shard] = cursor;
  }

  /** Remembers that everything up to these positions is processed. */
  async reach(positions: readonly number[]): Promise<void> {
    const before = this.#cursors;
    const reached = before.map(({ shard, pos }) => ({
      shard,
      pos: Math.max(pos, positions[shard] ?? 0),
      goal: null,
      room: null,
    }));
    const moved = reached.filter(({ shard, pos }) => pos !== before[shard]?.pos || before[shard].goal !== null);
    if (moved.length > 0) await this.#note(moved);
    this.#cursors = reached;
  }

  async #note(cursors: readonly FollowerCursor[]): Promise<void> {
    // What was just taken may be gone, though the cursor before it is there.
    if (this.#isUnsure) throw new Error('connections to the database were lost while events were processed');
    if (!(await noteFollowerCursors(this.#database, this.#name, cursors, this.#noted)))
      throw new Error('the database has forgotten how far a follower had come');
    for (const cursor of cursors) this.#noted.set(cursor.shard, cursor);
  }
}
