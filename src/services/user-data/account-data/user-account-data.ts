import type { AccountDataRecord } from '#src/storage/user-data/account-data.ts';

/** One piece of account data as clients are shown it. */
export interface AccountDataEntry {
  /** 0 for global account data. */
  readonly roomNid: number;
  readonly type: string;
  /** The content, JSON text. */
  readonly json: string;
  /** Position of the last change in the stream of the user's shard; 0 for what the user has never changed. */
  readonly pos: number;
}

/** How the server shows a type that it keeps in a form of its own; undefined content: nothing is stored. */
export interface ServedType {
  readonly type: string;
  readonly serve: (userId: string, stored: string | undefined) => string;
}

class Entry implements AccountDataEntry {
  readonly roomNid: number;
  readonly type: string;
  readonly stored: string | undefined;
  readonly pos: number;
  readonly #serve: (() => string) | undefined;

  constructor(roomNid: number, type: string, stored: string | undefined, pos: number, serve?: () => string) {
    this.roomNid = roomNid;
    this.type = type;
    this.stored = stored;
    this.pos = pos;
    this.#serve = serve;
  }

  get json(): string {
    // Not kept: push rules are kilobytes for everybody who has changed nothing, and are read in first syncs only.
    return this.#serve === undefined ? (this.stored ?? '{}') : this.#serve();
  }
}

const keyOf = (roomNid: number, type: string): string => `${roomNid} ${type}`;

/** All account data of one user, in memory. */
export class UserAccountData {
  readonly userId: string;
  readonly #served: ReadonlyMap<string, ServedType>;
  readonly #entries = new Map<string, Entry>();
  #latest = 0;

  constructor(userId: string, served: ReadonlyMap<string, ServedType>) {
    this.userId = userId;
    this.#served = served;
    for (const { type } of served.values()) this.#entries.set(keyOf(0, type), this.#entry(0, type, undefined, 0));
  }

  /** Position of the latest change. */
  get latest(): number {
    return this.#latest;
  }

  /** How many pieces there are: what this takes in memory. */
  get size(): number {
    return this.#entries.size;
  }

  /** Everything, types that the server gives every user included. */
  entries(): Iterable<AccountDataEntry> {
    return this.#entries.values();
  }

  /** What was changed after this position of the user's shard. */
  changedSince(pos: number): AccountDataEntry[] {
    return pos >= this.#latest ? [] : [...this.#entries.values()].filter((entry) => entry.pos > pos);
  }

  entry(roomNid: number, type: string): AccountDataEntry | undefined {
    return this.#entries.get(keyOf(roomNid, type));
  }

  /** What lies in the database, for types that are shown in another form. */
  stored(roomNid: number, type: string): string | undefined {
    return this.#entries.get(keyOf(roomNid, type))?.stored;
  }

  /** Takes in what was committed; what is newer here stays. */
  apply(record: AccountDataRecord): void {
    const key = keyOf(record.room, record.type);
    if ((this.#entries.get(key)?.pos ?? -1) >= record.pos) return;
    this.#entries.set(key, this.#entry(record.room, record.type, record.content, record.pos));
    this.#latest = Math.max(this.#latest, record.pos);
  }

  #entry(roomNid: number, type: string, stored: string | undefined, pos: number): Entry {
    const served = roomNid === 0 ? this.#served.get(type) : undefined;
    return new Entry(
      roomNid,
      type,
      stored,
      pos,
      served === undefined ? undefined : () => served.serve(this.userId, stored),
    );
  }
}
