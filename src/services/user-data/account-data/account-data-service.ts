import { LiveCache } from '#src/kernel/caches/live-cache.ts';
import { SerialByKey } from '#src/kernel/concurrency/serial.ts';
import { Signal, type Subscribable } from '#src/kernel/signal.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { fitsBytes } from '#src/protocol/identifiers/byte-length.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { shardOfName } from '#src/protocol/wire/position.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import type { Database } from '#src/storage/database.ts';
import type { TagRow } from '#src/storage/commit/stream-writes.ts';
import { accountDataOfUser, accountDataPiece, tagsOfRoom, tagsOfUser } from '#src/storage/user-data/account-data.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { AccountDataQuota, type AccountDataQuotaOptions } from './account-data-quota.ts';
import { assertRest, putTagsIn, restForTags, TAG_TYPE, takeTagsOut } from './tag-content.ts';
import { type AccountDataEntry, ServedEntry, UserAccountData, weightOf } from './user-account-data.ts';

/** Types that only the server writes. Client-Server API, "Client Config", "Server Behaviour". */
const SERVER_TYPES: ReadonlySet<string> = new Set(['m.fully_read', 'm.push_rules']);

const NO_QUOTA: AccountDataQuotaOptions = { pieces: Infinity, bytes: Infinity, tagsPerRoom: Infinity };

const USERS_BYTES = 96 * 1024 * 1024;
const PIECES_BYTES = 32 * 1024 * 1024;
/** What a piece takes beside its texts, in bytes. */
const PIECE_BYTES = 300;

export interface AccountDataChanged {
  readonly userId: string;
  /** 0 for global account data. */
  readonly roomNid: number;
  readonly type: string;
}

/** A type of global account data that every user has, and that is stored in a table of its own. */
export interface ServedType {
  readonly type: string;
  /** How it is shown to a user, as JSON text. */
  open(userId: string): Promise<() => string>;
  /** Fires once a change is committed: how it is shown from then on. */
  readonly changed: Subscribable<{ readonly userId: string; readonly pos: number; readonly serve: () => string }>;
}

export interface AccountDataServiceOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly writer: Writer;
  readonly served?: readonly ServedType[];
  /** None, when left out. */
  readonly quota?: AccountDataQuotaOptions;
  /** Bytes that may be in memory: of users whose account data was read as a whole (default 96 MiB), and of single pieces (32 MiB). */
  readonly cacheBytes?: { readonly users: number; readonly pieces: number };
}

/** Tags of a room, with what the user said of each as JSON text. */
export type Tags = ReadonlyMap<string, string>;

/**
 * Stores account data, global and of rooms. Client-Server API, "Client Config". All of a user in use is in memory; of others
 * single pieces.
 */
export class AccountDataService {
  readonly #database: Database;
  readonly #interner: Interner;
  readonly #writer: Writer;
  readonly #served: ReadonlyMap<string, ServedType>;
  readonly #quota: AccountDataQuota;
  readonly #users: LiveCache<UserAccountData>;
  /** By user, room and type; null: there is none. */
  readonly #pieces: LiveCache<{ readonly entry: AccountDataEntry | null }>;
  readonly #updates = new SerialByKey<string>();
  /** Fires once a change is committed and visible. */
  readonly changed = new Signal<AccountDataChanged>();

  constructor(options: AccountDataServiceOptions) {
    this.#database = options.database;
    this.#interner = options.interner;
    this.#writer = options.writer;
    this.#served = new Map((options.served ?? []).map((served) => [served.type, served]));
    this.#quota = new AccountDataQuota(options.database, options.interner, options.quota ?? NO_QUOTA, [
      ...SERVER_TYPES,
    ]);
    this.#pieces = new LiveCache({
      name: 'account_data_pieces',
      maxSize: options.cacheBytes?.pieces ?? PIECES_BYTES,
      sizeOf: ({ entry }, key) => PIECE_BYTES + key.length + (entry === null ? 0 : weightOf(entry.type, entry.json)),
    });
    this.#users = new LiveCache({
      name: 'account_data',
      maxSize: options.cacheBytes?.users ?? USERS_BYTES,
      sizeOf: (user) => user.weight,
    });
    for (const { type, changed } of options.served ?? []) {
      changed.subscribe(({ userId, pos, serve }) => {
        this.#users.update(userId, (data) => data.serve(new ServedEntry(0, type, pos, serve)));
        this.changed.emit({ userId, roomNid: 0, type });
      });
    }
  }

  /** Forgets an erased user. */
  forget(userId: string): void {
    this.#users.forget(userId);
    this.#pieces.forgetAll((key) => key.startsWith(`${userId} `));
  }

  /** A user's account data if all of it is in memory. */
  peek(userId: string): UserAccountData | undefined {
    return this.#users.peek(userId);
  }

  /** All account data of a user. */
  load(userId: string): Promise<UserAccountData> {
    return this.#users.get(userId, () => this.#read(userId));
  }

  async #read(userId: string): Promise<UserAccountData> {
    const data = new UserAccountData(userId);
    const nid = await this.#interner.userNid(userId);
    // Tags first: a reader of their marker finds them, and what is committed between the two comes again.
    const tags = await tagsOfUser(this.#database, nid);
    const records = await accountDataOfUser(this.#database, nid);
    data.applyTags(tags);
    const marked = new Map<string, number>();
    for (const record of records) {
      if (record.room === 0 && this.#served.has(record.type)) marked.set(record.type, record.pos);
      else data.apply(record);
    }
    for (const [type, served] of this.#served)
      data.apply({ room: 0, type, content: '', pos: marked.get(type) ?? 0 }, await served.open(userId));
    return data;
  }

  /** One piece of account data, whether or not there is one (null), if that is in memory. */
  peekEntry(userId: string, roomNid: number, type: string): AccountDataEntry | null | undefined {
    const data = this.#users.peek(userId);
    if (data !== undefined) return data.entry(roomNid, type) ?? null;
    return this.#pieces.peek(pieceKey(userId, roomNid, type))?.entry;
  }

  /** One piece of account data; only that is read. Undefined when there is none. */
  async entry(userId: string, roomNid: number, type: string): Promise<AccountDataEntry | undefined> {
    const known = this.peekEntry(userId, roomNid, type);
    if (known !== undefined) return known ?? undefined;
    const served = roomNid === 0 ? this.#served.get(type) : undefined;
    if (served !== undefined) return new ServedEntry(0, type, 0, await served.open(userId));
    if (isTags(roomNid, type)) {
      const [rest, tags] = [await this.#piece(userId, roomNid, type), await this.tags(userId, roomNid)];
      if (rest === undefined) return undefined;
      return new ServedEntry(roomNid, type, rest.pos, () => putTagsIn(rest.json, tags));
    }
    return this.#piece(userId, roomNid, type);
  }

  async #piece(userId: string, roomNid: number, type: string): Promise<AccountDataEntry | undefined> {
    const key = pieceKey(userId, roomNid, type);
    const { entry } = await this.#pieces.get(key, async () => {
      const record = await accountDataPiece(this.#database, await this.#interner.userNid(userId), roomNid, type);
      return { entry: record === undefined ? null : { roomNid, type, json: record.content, pos: record.pos } };
    });
    return entry ?? undefined;
  }

  /** The content as clients are shown it; undefined when there is none. */
  async get(userId: string, roomNid: number, type: string): Promise<string | undefined> {
    return (await this.entry(userId, roomNid, type))?.json;
  }

  /** The same of what has to be there. @throws MatrixError M_NOT_FOUND */
  async existing(userId: string, roomNid: number, type: string): Promise<string> {
    const json = await this.get(userId, roomNid, type);
    if (json === undefined) throw new MatrixError('M_NOT_FOUND', `There is no account data of type ${type}.`);
    return json;
  }

  /** The tags of a room. */
  async tags(userId: string, roomNid: number): Promise<Tags> {
    const data = this.#users.peek(userId);
    if (data !== undefined) return data.tags(roomNid);
    const user = await this.#interner.findUser(userId);
    const records = user === undefined ? [] : await tagsOfRoom(this.#database, user, roomNid);
    return new Map(records.map(({ tag, content }) => [tag, content]));
  }

  /**
   * Sets account data on behalf of a client.
   *
   * @throws MatrixError 405 M_BAD_JSON for types that only the server writes; M_INVALID_PARAM; M_TOO_LARGE when it is more than is kept
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
    if (isTags(roomNid, type)) {
      const { tags, rest } = takeTagsOut(content);
      assertRest(rest);
      await this.updateTags(userId, roomNid, () => tags, rest);
    } else await this.set(userId, roomNid, type, content);
  }

  /** Sets account data; resolves when it is committed and visible. */
  set(userId: string, roomNid: number, type: string, content: JsonObject): Promise<void> {
    return this.#updates.run(pieceKey(userId, roomNid, type), async () => {
      const before = await this.#stored(userId, roomNid, type);
      await this.#write(userId, roomNid, type, before, JSON.stringify(content));
    });
  }

  /**
   * Changes account data by what is there: changes of the same piece wait for each other.
   *
   * @param change gets what is stored and returns what to store; undefined to leave it as it is
   * @throws MatrixError M_TOO_LARGE
   */
  update(
    userId: string,
    roomNid: number,
    type: string,
    change: (stored: JsonObject | undefined) => JsonObject | undefined | Promise<JsonObject | undefined>,
  ): Promise<void> {
    return this.#updates.run(pieceKey(userId, roomNid, type), async () => {
      const before = await this.#stored(userId, roomNid, type);
      const content = await change(before === undefined ? undefined : (JSON.parse(before) as JsonObject));
      if (content !== undefined) await this.#write(userId, roomNid, type, before, JSON.stringify(content));
    });
  }

  /**
   * Changes the tags of a room; only those that differ are written.
   *
   * @param rest the content of `m.tag` without its tags; as it is, when left out
   * @throws MatrixError M_INVALID_PARAM for the name of a tag that is too long; M_TOO_LARGE
   */
  updateTags(userId: string, roomNid: number, change: (tags: Tags) => Tags, rest?: string): Promise<void> {
    return this.#updates.run(pieceKey(userId, roomNid, TAG_TYPE), async () => {
      const before = await this.tags(userId, roomNid);
      const after = change(before);
      const changes: { tag: string; content: string | null }[] = [];
      for (const [tag, content] of after) if (before.get(tag) !== content) changes.push({ tag, content });
      for (const tag of before.keys()) if (!after.has(tag)) changes.push({ tag, content: null });
      if (changes.length === 0 && rest === undefined) return;
      this.#quota.assertTags(before, after);
      const stored = (await this.#piece(userId, roomNid, TAG_TYPE))?.json;
      const content = rest ?? restForTags(stored);
      await this.#quota.reserve(
        userId,
        {
          pieces: after.size - before.size + (stored === undefined ? 1 : 0),
          bytes:
            growthOf(changes, before) +
            (content === stored
              ? 0
              : sizeOf(TAG_TYPE, content) - (stored === undefined ? 0 : sizeOf(TAG_TYPE, stored))),
        },
        () => this.#append(userId, { roomNid, type: TAG_TYPE, content }, changes),
      );
    });
  }

  /** The content that lies in the database. */
  async #stored(userId: string, roomNid: number, type: string): Promise<string | undefined> {
    return (await this.entry(userId, roomNid, type))?.json;
  }

  async #write(
    userId: string,
    roomNid: number,
    type: string,
    before: string | undefined,
    content: string,
  ): Promise<void> {
    const append = (): Promise<void> => this.#append(userId, { roomNid, type, content });
    if (SERVER_TYPES.has(type)) return append();
    const difference = {
      pieces: before === undefined ? 1 : 0,
      bytes: sizeOf(type, content) - (before === undefined ? 0 : sizeOf(type, before)),
    };
    await this.#quota.reserve(userId, difference, append);
  }

  async #append(
    userId: string,
    { roomNid, type, content }: { readonly roomNid: number; readonly type: string; readonly content: string },
    tags: readonly { readonly tag: string; readonly content: string | null }[] = [],
  ): Promise<void> {
    const user = await this.#interner.userNid(userId);
    const rows = tags.map((tag): TagRow => ({ user, room: roomNid, ...tag }));
    const length = tags.reduce((sum, tag) => sum + (tag.content?.length ?? 0), content.length);
    await this.#writer.write(userId, length, () => {
      const pos = this.#writer.allocate(shardOfName(userId));
      const record = { room: roomNid, type, content, pos };
      return {
        positions: [pos],
        streams: { accountData: [{ user, ...record }], ...(rows.length === 0 ? {} : { tags: rows }) },
        publish: () => {
          this.#pieces.set(pieceKey(userId, roomNid, type), { entry: { roomNid, type, json: content, pos } });
          this.#users.update(userId, (data) => {
            data.applyTags(rows);
            data.apply(record);
          });
          this.changed.emit({ userId, roomNid, type });
        },
      };
    });
  }
}

const pieceKey = (userId: string, roomNid: number, type: string): string => `${userId} ${roomNid} ${type}`;

const isTags = (roomNid: number, type: string): boolean => roomNid !== 0 && type === TAG_TYPE;

const sizeOf = (name: string, content: string): number => Buffer.byteLength(name) + Buffer.byteLength(content);

/** Bytes that changes of tags add; those that stay as they are need not be measured. */
const growthOf = (
  changes: readonly { readonly tag: string; readonly content: string | null }[],
  before: Tags,
): number =>
  changes.reduce((sum, { tag, content }) => {
    const old = before.get(tag);
    return sum + (content === null ? 0 : sizeOf(tag, content)) - (old === undefined ? 0 : sizeOf(tag, old));
  }, 0);
