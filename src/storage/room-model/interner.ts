import { CountedCache } from '#src/kernel/caches/counted-cache.ts';
import type { Database } from '../database.ts';
import { sql, type Statement } from '../statement.ts';
import { FAMILIES, type Family, Names, stateKeyOf, type StateKeyNames, stateKeyText } from './names.ts';

const SELECT_STRINGS = sql('intern_strings_select', 'select s as name, nid from strings where s = any($1::text[])');
const INSERT_STRINGS = sql(
  'intern_strings_insert',
  'insert into strings (s) select unnest($1::text[]) on conflict do nothing returning s as name, nid',
);
const SELECT_STRINGS_BY_NID = sql(
  'intern_strings_by_nid',
  'select s as name, nid from strings where nid = any($1::int[])',
);
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
  `select s.s as type, k.state_key, k.nid from state_keys k join strings s on s.nid = k.type where k.nid = any($1::int[])`,
);
const SELECT_USERS = sql(
  'intern_users_select',
  'select user_id as name, nid from users where user_id = any($1::text[])',
);
const INSERT_USERS = sql(
  'intern_users_insert',
  `insert into users (user_id, local) select * from unnest($1::text[], $2::boolean[])
   on conflict do nothing returning user_id as name, nid`,
);
const SELECT_USERS_BY_NID = sql(
  'intern_users_by_nid',
  'select user_id as name, nid from users where nid = any($1::int[])',
);

/** Names whose integers are wanted. */
export interface WantedNames {
  /** Event types and relation types. */
  readonly types?: Iterable<string>;
  readonly stateKeys?: Iterable<StateKeyNames>;
  readonly users?: Iterable<string>;
}

/** Integers whose names are wanted. */
export interface WantedIntegers {
  readonly types?: Iterable<number>;
  readonly stateKeys?: Iterable<number>;
  readonly users?: Iterable<number>;
}

/** Both directions of one kind of names, the most recently used ones. */
class NameTable {
  readonly #byText: CountedCache<string, number>;
  readonly #byNid = new Map<number, string>();

  constructor(bytes: number) {
    this.#byText = new CountedCache('interned_texts', {
      maxSize: Math.max(Math.trunc(bytes), 1),
      // Two entries, and a text of up to two bytes for each of its units.
      sizeCalculation: (_nid, text) => 200 + 2 * text.length,
      dispose: (nid) => this.#byNid.delete(nid),
    });
  }

  get bytes(): number {
    return this.#byText.calculatedSize;
  }

  nid(text: string): number | undefined {
    return this.#byText.get(text);
  }

  text(nid: number): string | undefined {
    const text = this.#byNid.get(nid);
    if (text !== undefined) this.#byText.get(text);
    return text;
  }

  remember(text: string, nid: number): void {
    if (this.#byText.has(text)) return;
    this.#byText.set(text, nid);
    if (this.#byText.has(text)) this.#byNid.set(nid, text);
  }
}

interface NameRow {
  readonly name: string;
  readonly nid: number;
}

export interface InternerOptions {
  /** About how much memory recently used names may take, in bytes. */
  readonly cacheBytes?: number;
}

/**
 * Gives every event type, state key and user id an integer: integers inside, strings at the edge. Names that were used lately are kept in
 * memory, so that work on them needs no statement; each caller gets `Names` of its own, which hold what they asked for.
 */
export class Interner {
  readonly #database: Database;
  readonly #isLocal: (userId: string) => boolean;
  readonly #tables: Readonly<Record<Family, NameTable>>;

  constructor(
    database: Database,
    isLocal: (userId: string) => boolean,
    { cacheBytes = 32 * 1024 * 1024 }: InternerOptions = {},
  ) {
    this.#database = database;
    this.#isLocal = isLocal;
    this.#tables = {
      types: new NameTable(cacheBytes / 8),
      stateKeys: new NameTable((cacheBytes * 3) / 8),
      users: new NameTable(cacheBytes / 2),
    };
  }

  /** About how much memory the names take, in bytes. */
  get bytes(): number {
    return FAMILIES.reduce((sum, family) => sum + this.#tables[family].bytes, 0);
  }

  /** The integers of names, for readers: no name is created. */
  find(wanted: WantedNames): Promise<Names> {
    return this.#resolve(wanted, false);
  }

  /** The integers of names that are about to be written; new ones are created. */
  ensure(wanted: WantedNames): Promise<Names> {
    return this.#resolve(wanted, true);
  }

  /** The names of integers that were read from the database. */
  async named(wanted: WantedIntegers): Promise<Names> {
    const names = new Names();
    for (const family of FAMILIES) {
      const table = this.#tables[family];
      const missing: number[] = [];
      for (const nid of new Set(wanted[family])) {
        const text = table.text(nid);
        if (text === undefined) missing.push(nid);
        else names.addText(family, text, nid);
      }
      if (missing.length === 0) continue;
      for (const { name, nid } of await this.#textsOf(family, missing)) {
        this.#tables[family].remember(name, nid);
        names.addText(family, name, nid);
      }
    }
    return names;
  }

  async #textsOf(family: Family, nids: readonly number[]): Promise<readonly NameRow[]> {
    if (family !== 'stateKeys')
      return this.#database.query<NameRow>(family === 'users' ? SELECT_USERS_BY_NID : SELECT_STRINGS_BY_NID, [nids]);
    type Row = { readonly type: string; readonly state_key: string; readonly nid: number };
    const rows = await this.#database.query<Row>(SELECT_STATE_KEYS_BY_NID, [nids]);
    return rows.map(({ type, state_key: stateKey, nid }) => ({ name: stateKeyText({ type, stateKey }), nid }));
  }

  /** The integers of names, if all of them are in memory. One-time iterables are not tried. */
  recall({ types = [], stateKeys = [], users = [] }: WantedNames): Names | undefined {
    if (!Array.isArray(types) || !Array.isArray(stateKeys) || !Array.isArray(users)) return undefined;
    const names = new Names();
    return this.#recallAll(names, types, stateKeys, users) ? names : undefined;
  }

  async #resolve(wanted: WantedNames, isWriting: boolean): Promise<Names> {
    const recalled = this.recall(wanted);
    if (recalled !== undefined) return recalled;
    const { types = [], stateKeys = [], users = [] } = wanted;
    const names = new Names();
    await this.#resolveTexts(names, 'types', types, isWriting, SELECT_STRINGS, INSERT_STRINGS, (missing) => [missing]);
    await this.#resolveStateKeys(names, stateKeys, isWriting);
    await this.#resolveTexts(names, 'users', users, isWriting, SELECT_USERS, INSERT_USERS, (missing) => [
      missing,
      missing.map((userId) => this.#isLocal(userId)),
    ]);
    return names;
  }

  /** Looks all of them up in memory. @returns whether all are there */
  #recallAll(
    names: Names,
    types: Iterable<string>,
    stateKeys: Iterable<StateKeyNames>,
    users: Iterable<string>,
  ): boolean {
    for (const type of types) if (!this.#recallOne(names, 'types', type)) return false;
    for (const user of users) if (!this.#recallOne(names, 'users', user)) return false;
    for (const key of stateKeys) if (!this.#recallOne(names, 'stateKeys', stateKeyText(key))) return false;
    return true;
  }

  #recallOne(names: Names, family: Family, text: string): boolean {
    const nid = this.#tables[family].nid(text);
    if (nid !== undefined) names.add(family, text, nid);
    return nid !== undefined;
  }

  /** Looks names up in memory. @returns those that are not there */
  #recall(names: Names, family: Family, texts: Iterable<string>): string[] {
    const table = this.#tables[family];
    const missing: string[] = [];
    for (const text of new Set(texts)) {
      const nid = table.nid(text);
      if (nid === undefined) missing.push(text);
      else names.add(family, text, nid);
    }
    return missing;
  }

  #remember(names: Names, family: Family, text: string, nid: number): void {
    this.#tables[family].remember(text, nid);
    names.add(family, text, nid);
  }

  async #resolveTexts(
    names: Names,
    family: 'types' | 'users',
    texts: Iterable<string>,
    isWriting: boolean,
    select: Statement,
    insert: Statement,
    insertValues: (missing: readonly string[]) => readonly unknown[],
  ): Promise<void> {
    let missing = this.#recall(names, family, texts);
    const take = async (statement: Statement, values: readonly unknown[]): Promise<void> => {
      const found = new Set<string>();
      for (const { name, nid } of await this.#database.query<NameRow>(statement, values)) {
        this.#remember(names, family, name, nid);
        found.add(name);
      }
      missing = missing.filter((text) => !found.has(text));
    };
    // PostgreSQL's text holds no NUL: such a name does not exist.
    if (!isWriting) missing = missing.filter((text) => !text.includes('\0'));
    if (missing.length > 0) await take(select, [missing]);
    if (!isWriting) return;
    if (missing.length > 0) await take(insert, insertValues(missing));
    // Other transactions have created the rest meanwhile.
    if (missing.length > 0) await take(select, [missing]);
  }

  async #resolveStateKeys(names: Names, pairs: Iterable<StateKeyNames>, isWriting: boolean): Promise<void> {
    let missing = this.#recall(names, 'stateKeys', [...pairs].map(stateKeyText)).map(stateKeyOf);
    if (missing.length === 0) return;
    const types = await this.#resolve({ types: missing.map(({ type }) => type) }, isWriting);
    type Row = { readonly type: number; readonly state_key: string; readonly nid: number };
    const take = async (statement: Statement): Promise<void> => {
      const found = new Set<string>();
      const values = [missing.map(({ type }) => types.type(type)), missing.map(({ stateKey }) => stateKey)];
      for (const row of await this.#database.query<Row>(statement, values)) {
        const text = stateKeyText({ type: types.typeName(row.type), stateKey: row.state_key });
        this.#remember(names, 'stateKeys', text, row.nid);
        found.add(text);
      }
      missing = missing.filter((pair) => !found.has(stateKeyText(pair)));
    };
    if (!isWriting) {
      missing = missing.filter(({ type, stateKey }) => types.peekType(type) !== undefined && !stateKey.includes('\0'));
    }
    if (missing.length > 0) await take(SELECT_STATE_KEYS);
    if (!isWriting) return;
    if (missing.length > 0) await take(INSERT_STATE_KEYS);
    if (missing.length > 0) await take(SELECT_STATE_KEYS);
  }

  /** The integer of one user, created when new. */
  async userNid(userId: string): Promise<number> {
    return this.peekUser(userId) ?? (await this.ensure({ users: [userId] })).user(userId);
  }

  /** The integer of one user, for readers; undefined when nothing was ever stored about them. */
  async findUser(userId: string): Promise<number | undefined> {
    return this.peekUser(userId) ?? (await this.find({ users: [userId] })).peekUser(userId);
  }

  // From memory alone: undefined does not mean that the name does not exist.

  peekType(type: string): number | undefined {
    return this.#tables.types.nid(type);
  }
  peekStateKey(type: string, stateKey: string): number | undefined {
    return this.#tables.stateKeys.nid(stateKeyText({ type, stateKey }));
  }
  peekUser(userId: string): number | undefined {
    return this.#tables.users.nid(userId);
  }
}
