import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

const SELECT_STRINGS = sql('intern_strings_select', 'select s, nid from strings where s = any($1::text[])');
const INSERT_STRINGS = sql(
  'intern_strings_insert',
  'insert into strings (s) select unnest($1::text[]) on conflict do nothing returning s, nid',
);
const SELECT_STRINGS_BY_NID = sql('intern_strings_by_nid', 'select s, nid from strings where nid = any($1::int[])');
const SELECT_STATE_KEYS = sql(
  'intern_state_keys_select',
  `select k.type, k.state_key, k.nid from unnest($1::int[], $2::text[]) u(type, state_key)
   join state_keys k on k.type = u.type and k.state_key = u.state_key`,
);
const INSERT_STATE_KEYS = sql(
  'intern_state_keys_insert',
  `insert into state_keys (type, state_key) select * from unnest($1::int[], $2::text[])
   on conflict do nothing returning type, state_key, nid`,
);
const SELECT_STATE_KEYS_BY_NID = sql(
  'intern_state_keys_by_nid',
  'select type, state_key, nid from state_keys where nid = any($1::int[])',
);
const SELECT_USERS = sql('intern_users_select', 'select user_id, nid from users where user_id = any($1::text[])');
const INSERT_USERS = sql(
  'intern_users_insert',
  `insert into users (user_id, local) select * from unnest($1::text[], $2::boolean[])
   on conflict do nothing returning user_id, nid`,
);
const SELECT_USERS_BY_NID = sql('intern_users_by_nid', 'select user_id, nid from users where nid = any($1::int[])');

/** A state key with its event type, as one integer stands for both. */
export interface StateKeyNames {
  readonly type: string;
  readonly stateKey: string;
}

/** Both directions of one family of names. Entries never change, so they are cached for ever. */
class NameTable {
  readonly #byName = new Map<string, number>();
  readonly #byNid = new Map<number, string>();

  nid(name: string): number | undefined {
    return this.#byName.get(name);
  }
  name(nid: number): string | undefined {
    return this.#byNid.get(nid);
  }
  remember(name: string, nid: number): void {
    this.#byName.set(name, nid);
    this.#byNid.set(nid, name);
  }
}

const unknownName = (family: string, key: string | number): Error =>
  new Error(`${family} ${key} was not interned before use`);

/**
 * Gives every event type, state key and user id an integer: integers inside, strings at the edge.
 * The `ensure*` methods read or create what is not known yet, in one or two statements for all names together; the plain getters
 * answer from memory and throw where nothing was ensured.
 */
export class Interner {
  readonly #database: Database;
  readonly #isLocal: (userId: string) => boolean;
  readonly #types = new NameTable();
  readonly #stateKeys = new NameTable();
  readonly #users = new NameTable();

  constructor(database: Database, isLocal: (userId: string) => boolean) {
    this.#database = database;
    this.#isLocal = isLocal;
  }

  /** Makes the integers of these event types (or relation types) known, creating what is new. */
  async ensureTypes(types: Iterable<string>): Promise<void> {
    const missing = [...new Set(types)].filter((type) => this.#types.nid(type) === undefined);
    if (missing.length === 0) return;
    type Row = { s: string; nid: number };
    const remember = (rows: readonly Row[]): void => rows.forEach((row) => this.#types.remember(row.s, row.nid));
    remember(await this.#database.query<Row>(SELECT_STRINGS, [missing]));
    const created = missing.filter((type) => this.#types.nid(type) === undefined);
    if (created.length === 0) return;
    remember(await this.#database.query<Row>(INSERT_STRINGS, [created]));
    // Somebody else created the rest at the same moment.
    const raced = created.filter((type) => this.#types.nid(type) === undefined);
    if (raced.length > 0) remember(await this.#database.query<Row>(SELECT_STRINGS, [raced]));
  }

  /** Makes the integers of these pairs of event type and state key known, creating what is new. */
  async ensureStateKeys(pairs: readonly StateKeyNames[]): Promise<void> {
    const missing = pairs.filter((pair) => this.peekStateKey(pair.type, pair.stateKey) === undefined);
    if (missing.length === 0) return;
    await this.ensureTypes(missing.map((pair) => pair.type));
    const unique = new Map(missing.map((pair) => [`${pair.type}\0${pair.stateKey}`, pair]));
    type Row = { type: number; state_key: string; nid: number };
    const remember = (rows: readonly Row[]): void => {
      for (const row of rows) this.#stateKeys.remember(`${this.typeName(row.type)}\0${row.state_key}`, row.nid);
    };
    const columns = (names: readonly string[]): unknown[] => {
      const wanted = names.map((name) => unique.get(name)).filter((pair) => pair !== undefined);
      return [wanted.map((pair) => this.type(pair.type)), wanted.map((pair) => pair.stateKey)];
    };
    const absent = (): string[] => [...unique.keys()].filter((name) => this.#stateKeys.nid(name) === undefined);
    remember(await this.#database.query<Row>(SELECT_STATE_KEYS, columns([...unique.keys()])));
    if (absent().length > 0) remember(await this.#database.query<Row>(INSERT_STATE_KEYS, columns(absent())));
    if (absent().length > 0) remember(await this.#database.query<Row>(SELECT_STATE_KEYS, columns(absent())));
  }

  /** Makes the integers of these users known, creating what is new. */
  async ensureUsers(userIds: Iterable<string>): Promise<void> {
    const missing = [...new Set(userIds)].filter((userId) => this.#users.nid(userId) === undefined);
    if (missing.length === 0) return;
    type Row = { user_id: string; nid: number };
    const remember = (rows: readonly Row[]): void => rows.forEach((row) => this.#users.remember(row.user_id, row.nid));
    remember(await this.#database.query<Row>(SELECT_USERS, [missing]));
    const created = missing.filter((userId) => this.#users.nid(userId) === undefined);
    if (created.length === 0) return;
    remember(await this.#database.query<Row>(INSERT_USERS, [created, created.map((userId) => this.#isLocal(userId))]));
    const raced = created.filter((userId) => this.#users.nid(userId) === undefined);
    if (raced.length > 0) remember(await this.#database.query<Row>(SELECT_USERS, [raced]));
  }

  /** The integer of one user, created when new. */
  async userNid(userId: string): Promise<number> {
    const known = this.#users.nid(userId);
    if (known !== undefined) return known;
    await this.ensureUsers([userId]);
    return this.user(userId);
  }

  /** Makes names known for integers read from the database. */
  async ensureNames(nids: {
    types?: Iterable<number>;
    stateKeys?: Iterable<number>;
    users?: Iterable<number>;
  }): Promise<void> {
    const users = [...new Set(nids.users ?? [])].filter((nid) => this.#users.name(nid) === undefined);
    if (users.length > 0) {
      const rows = await this.#database.query<{ user_id: string; nid: number }>(SELECT_USERS_BY_NID, [users]);
      for (const row of rows) this.#users.remember(row.user_id, row.nid);
    }
    const types = new Set([...(nids.types ?? [])].filter((nid) => this.#types.name(nid) === undefined));
    const stateKeys = [...new Set(nids.stateKeys ?? [])].filter((nid) => this.#stateKeys.name(nid) === undefined);
    type KeyRow = { type: number; state_key: string; nid: number };
    const keyRows =
      stateKeys.length > 0 ? await this.#database.query<KeyRow>(SELECT_STATE_KEYS_BY_NID, [stateKeys]) : [];
    for (const row of keyRows) if (this.#types.name(row.type) === undefined) types.add(row.type);
    if (types.size > 0) {
      const rows = await this.#database.query<{ s: string; nid: number }>(SELECT_STRINGS_BY_NID, [[...types]]);
      for (const row of rows) this.#types.remember(row.s, row.nid);
    }
    for (const row of keyRows) this.#stateKeys.remember(`${this.typeName(row.type)}\0${row.state_key}`, row.nid);
  }

  peekType(type: string): number | undefined {
    return this.#types.nid(type);
  }
  type(type: string): number {
    const nid = this.#types.nid(type);
    if (nid === undefined) throw unknownName('event type', type);
    return nid;
  }
  typeName(nid: number): string {
    const name = this.#types.name(nid);
    if (name === undefined) throw unknownName('event type', nid);
    return name;
  }

  peekStateKey(type: string, stateKey: string): number | undefined {
    return this.#stateKeys.nid(`${type}\0${stateKey}`);
  }
  stateKey(type: string, stateKey: string): number {
    const nid = this.peekStateKey(type, stateKey);
    if (nid === undefined) throw unknownName('state key', `${type} ${stateKey}`);
    return nid;
  }
  stateKeyNames(nid: number): StateKeyNames {
    const name = this.#stateKeys.name(nid);
    if (name === undefined) throw unknownName('state key', nid);
    const cut = name.indexOf('\0');
    return { type: name.slice(0, cut), stateKey: name.slice(cut + 1) };
  }

  peekUser(userId: string): number | undefined {
    return this.#users.nid(userId);
  }
  user(userId: string): number {
    const nid = this.#users.nid(userId);
    if (nid === undefined) throw unknownName('user', userId);
    return nid;
  }
  userName(nid: number): string {
    const name = this.#users.name(nid);
    if (name === undefined) throw unknownName('user', nid);
    return name;
  }
}
