import { LRUCache } from 'lru-cache';
import { OnceByKey } from '#src/kernel/once.ts';
import { SerialByKey } from '#src/kernel/serial.ts';
import { Signal } from '#src/kernel/signal.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { fitsBytes } from '#src/protocol/identifiers/byte-length.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { shardOfName } from '#src/protocol/wire/position.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import type { Database } from '#src/storage/database.ts';
import { accountDataOfUser } from '#src/storage/user-data/account-data.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { type ServedType, UserAccountData } from './user-account-data.ts';

/** Types that only the server writes. Client-Server API, "Client Config", "Server Behaviour". */
const SERVER_TYPES: ReadonlySet<string> = new Set(['m.fully_read', 'm.push_rules']);

export interface AccountDataChanged {
  readonly userId: string;
  /** 0 for global account data. */
  readonly roomNid: number;
  readonly type: string;
}

export interface AccountDataServiceOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly writer: Writer;
  /** Types that the server keeps in a form of its own, and that every user has. */
  readonly served?: readonly ServedType[];
  /** Pieces of account data kept in memory; default 400 000. */
  readonly cacheSize?: number;
}

/** Account data: what clients keep here for their user, global and for rooms. Users in use are in memory. */
export class AccountDataService {
  readonly #database: Database;
  readonly #interner: Interner;
  readonly #writer: Writer;
  readonly #served: ReadonlyMap<string, ServedType>;
  readonly #users: LRUCache<string, UserAccountData>;
  readonly #loading = new OnceByKey<string, UserAccountData>();
  readonly #reading = new Map<string, UserAccountData>();
  readonly #updates = new SerialByKey<string>();
  /** Fires once a change is committed and visible. */
  readonly changed = new Signal<AccountDataChanged>();

  constructor(options: AccountDataServiceOptions) {
    this.#database = options.database;
    this.#interner = options.interner;
    this.#writer = options.writer;
    this.#served = new Map((options.served ?? []).map((served) => [served.type, served]));
    this.#users = new LRUCache({ maxSize: options.cacheSize ?? 400_000, sizeCalculation: (user) => 1 + user.size });
  }

  /** A user's account data if it is in memory. */
  peek(userId: string): UserAccountData | undefined {
    return this.#users.get(userId);
  }

  /** A user's account data, read in one statement when it is not in memory. */
  load(userId: string): Promise<UserAccountData> {
    const known = this.#users.get(userId);
    if (known !== undefined) return Promise.resolve(known);
    return this.#loading.run(userId, () => this.#read(userId));
  }

  async #read(userId: string): Promise<UserAccountData> {
    const data = new UserAccountData(userId, this.#served);
    const nid = await this.#interner.userNid(userId);
    // In reach of #publish while it is read: a commit in the meantime is in one of the two, or in both.
    this.#reading.set(userId, data);
    try {
      for (const record of await accountDataOfUser(this.#database, nid)) data.apply(record);
      this.#users.set(userId, data);
      return data;
    } finally {
      this.#reading.delete(userId);
    }
  }

  /** The content as clients are shown it; undefined when there is none. */
  async get(userId: string, roomNid: number, type: string): Promise<string | undefined> {
    return (await this.load(userId)).entry(roomNid, type)?.json;
  }

  /**
   * Sets account data on behalf of a client.
   *
   * @throws MatrixError 405 M_BAD_JSON for types that only the server writes
   */
  async setByClient(userId: string, roomNid: number, type: string, content: JsonObject): Promise<void> {
    if (SERVER_TYPES.has(type)) {
      throw new MatrixError(
        'M_BAD_JSON',
        `${type} is kept by the server: it has an API of its own and cannot be set as account data.`,
        {},
        405,
      );
    }
    if (!fitsBytes(type))
      throw new MatrixError('M_INVALID_PARAM', 'The type of account data must not be longer than 255 bytes.');
    await this.set(userId, roomNid, type, content);
  }

  /** Sets account data; resolves when it is committed and visible. */
  set(userId: string, roomNid: number, type: string, content: JsonObject): Promise<void> {
    return this.update(userId, roomNid, type, () => content);
  }

  /**
   * Changes account data by what is there: changes of the same piece wait for each other.
   *
   * @param change gets what is stored and returns what to store; undefined to leave it as it is
   */
  update(
    userId: string,
    roomNid: number,
    type: string,
    change: (stored: JsonObject | undefined) => JsonObject | undefined | Promise<JsonObject | undefined>,
  ): Promise<void> {
    return this.#updates.run(`${userId} ${roomNid} ${type}`, async () => {
      const data = await this.load(userId);
      const before = data.stored(roomNid, type);
      const content = await change(before === undefined ? undefined : (JSON.parse(before) as JsonObject));
      if (content === undefined) return;
      await this.#write(userId, roomNid, type, JSON.stringify(content));
    });
  }

  #write(userId: string, roomNid: number, type: string, content: string): Promise<void> {
    this.#writer.assertAccepting();
    const user = this.#interner.user(userId);
    const pos = this.#writer.allocate(shardOfName(userId));
    return this.#writer.append({
      positions: [pos],
      streams: { accountData: [{ user, room: roomNid, type, content, pos }] },
      publish: () => {
        for (const data of [this.#users.get(userId), this.#reading.get(userId)])
          data?.apply({ room: roomNid, type, content, pos });
        this.changed.emit({ userId, roomNid, type });
      },
    });
  }
}
