import { MEMBER } from '#src/protocol/events/event-types.ts';
import { CountedCache } from '#src/kernel/caches/counted-cache.ts';
import type { RequiredState, RoomConfig } from './sliding-request.ts';

const ANY = '*';
/** "the user's own id" */
const ME = '$ME';

type Pair = readonly [type: string, stateKey: string];

/** What one list or subscription wants, as JSON. */
type ConfigKey = readonly [include: readonly Pair[], exclude: readonly Pair[], lazyMembers: boolean];

const byPair = ([a, b]: Pair, [c, d]: Pair): number => (a === c ? (b < d ? -1 : b > d ? 1 : 0) : a < c ? -1 : 1);

const configKeyOf = ({ include, exclude, lazyMembers }: RequiredState, userId: string): ConfigKey => {
  const named = (pairs: readonly Pair[]): Pair[] =>
    pairs.map(([type, key]): Pair => [type, key === ME ? userId : key]).toSorted(byPair);
  return [named(include), named(exclude), lazyMembers];
};

/** Each config is put in order once for one user, for however many rooms it is. */
const texts = new WeakMap<RequiredState, { readonly userId: string; readonly text: string }>();

const configTextOf = (config: RequiredState, userId: string): string => {
  const known = texts.get(config);
  if (known?.userId === userId) return known.text;
  const text = JSON.stringify(configKeyOf(config, userId));
  texts.set(config, { userId, text });
  return text;
};

/** Pairs of types and state keys, found by either; `*` among them for any. */
class Pairs {
  readonly #keys = new Map<string, Set<string>>();
  size = 0;

  constructor(pairs: readonly Pair[] = []) {
    this.add(pairs);
  }

  add(pairs: readonly Pair[]): void {
    for (const [type, stateKey] of pairs) {
      const keys = this.#keys.get(type) ?? new Set();
      this.size += keys.has(stateKey) ? 0 : 1;
      this.#keys.set(type, keys.add(stateKey));
    }
  }

  /** Whether one of the pairs stands for an entry of the state. */
  match(type: string, stateKey: string): boolean {
    return this.matchType(type, stateKey) || this.matchType(ANY, stateKey);
  }

  /** The same of those pairs that have this type, or this wildcard. */
  matchType(type: string, stateKey: string): boolean {
    const keys = this.#keys.get(type);
    return keys !== undefined && (keys.has(stateKey) || keys.has(ANY));
  }

  /** Whether there is this very pair. */
  has(type: string, stateKey: string): boolean {
    return this.#keys.get(type)?.has(stateKey) === true;
  }

  /** The state keys of a type, or of a wildcard. */
  keysOf(type: string): Iterable<string> {
    return this.#keys.get(type) ?? [];
  }

  every(test: (type: string, stateKey: string) => boolean): boolean {
    for (const [type, keys] of this.#keys) for (const key of keys) if (!test(type, key)) return false;
    return true;
  }
}

/** Which state one list or subscription wants, or several together of which none excludes anything. */
class RequiredStateFilter {
  readonly lazyMembers: boolean;
  readonly include: Pairs;
  readonly exclude: Pairs;

  constructor([include, exclude, lazyMembers]: ConfigKey) {
    this.include = new Pairs(include);
    this.exclude = new Pairs(exclude);
    this.lazyMembers = lazyMembers;
  }

  has(type: string, stateKey: string): boolean {
    return this.includes(type, stateKey) && (this.exclude.size === 0 || !this.exclude.match(type, stateKey));
  }

  includes(type: string, stateKey: string): boolean {
    return this.#names(type).some((name) => this.include.matchType(name, stateKey));
  }

  /** Where members are wanted lazily, no wildcard stands for them: "all state events except for m.room.member events". */
  #names(type: string): readonly string[] {
    return type === MEMBER && this.lazyMembers ? [MEMBER] : [type, ANY];
  }

  /** Members that are wanted by name; undefined when all of them are. */
  get namedMembers(): readonly string[] | undefined {
    const keys = this.#names(MEMBER).flatMap((name) => [...this.include.keysOf(name)]);
    return keys.includes(ANY) ? undefined : keys;
  }

  /** Whether another one's config for members is met as well: its pairs are another question. */
  isAsLazyAs(other: RequiredStateFilter): boolean {
    return !other.lazyMembers || this.lazyMembers || this.includes(MEMBER, ANY);
  }

  /** Whether what another one includes by one pair is included here. */
  includesPair(other: RequiredStateFilter, type: string, stateKey: string): boolean {
    // With lazy-loaded members a wildcard excludes them.
    return !(type === ANY && this.lazyMembers && !other.lazyMembers) && this.includes(type, stateKey);
  }

  /** Whether all that another one wants is among what this one wants. */
  covers(other: RequiredStateFilter): boolean {
    return (
      this.isAsLazyAs(other) &&
      this.exclude.every((type, stateKey) => other.exclude.has(type, stateKey)) &&
      other.include.every((type, stateKey) => this.includesPair(other, type, stateKey))
    );
  }
}

/** With how many configs that exclude something another one is compared. */
const MAX_COMPARED = 16;

/** Bytes of memory for the configs that are known: a pair of names takes about so many beside its characters. */
export const MAX_BYTES = 67_108_864;
const BYTES_OF_PAIR = 400;

/** The `required_state` of a room: what one or several lists and subscriptions ask for. */
export class StateWanted {
  static readonly #known = new CountedCache<string, StateWanted>('wanted_states', {
    maxSize: MAX_BYTES,
    sizeCalculation: ({ size }) => size,
  });

  /** Those that exclude nothing: with and without lazy members, all of each together. */
  readonly #plain: readonly RequiredStateFilter[];
  /** The others, by what they want as JSON. */
  readonly #excluding: ReadonlyMap<string, RequiredStateFilter>;
  /** About how many bytes of memory it takes. */
  readonly size: number;
  /** How many pairs of names there are. */
  readonly pairs: number;
  /** The same for the same configs. */
  readonly key: string;
  readonly lazyMembers: boolean;
  /** Members that are wanted by name; undefined when all of them are. */
  readonly namedMembers: ReadonlySet<string> | undefined;

  private constructor(key: string) {
    this.key = key;
    const configs = JSON.parse(key) as ConfigKey[];
    this.pairs = configs.reduce((sum, [include, exclude]) => sum + 1 + include.length + exclude.length, 1);
    this.size = 2 * key.length + BYTES_OF_PAIR * this.pairs;
    const plain = new Map<boolean, RequiredStateFilter>();
    const excluding = new Map<string, RequiredStateFilter>();
    for (const config of configs) {
      const [include, exclude, lazyMembers] = config;
      const known = plain.get(lazyMembers);
      if (exclude.length > 0) excluding.set(JSON.stringify(config), new RequiredStateFilter(config));
      else if (known === undefined) plain.set(lazyMembers, new RequiredStateFilter(config));
      else known.include.add(include);
    }
    this.#plain = [...plain.values()];
    this.#excluding = excluding;
    const all = [...this.#plain, ...excluding.values()];
    this.lazyMembers = all.some(({ lazyMembers }) => lazyMembers);
    const named = all.map(({ namedMembers }) => namedMembers);
    this.namedMembers = named.includes(undefined) ? undefined : new Set(named.flatMap((names) => names ?? []));
  }

  static of(configs: readonly RequiredState[], userId: string): StateWanted {
    const keys = new Set(configs.map((config) => configTextOf(config, userId)));
    return StateWanted.from(`[${[...keys].toSorted().join(',')}]`);
  }

  /** The same again, by its key. */
  static from(key: string): StateWanted {
    let wanted = StateWanted.#known.get(key);
    if (wanted === undefined) StateWanted.#known.set(key, (wanted = new StateWanted(key)));
    return wanted;
  }

  /** How many configs `has` looks at. */
  get configs(): number {
    return this.#plain.length + this.#excluding.size;
  }

  has(type: string, stateKey: string): boolean {
    if (this.#plain.some((config) => config.has(type, stateKey))) return true;
    for (const config of this.#excluding.values()) if (config.has(type, stateKey)) return true;
    return false;
  }

  /**
   * Whether a client that was told what this wants has been told all that another one wants; not sure for some that overlap. Each pair of the
   * other one is looked for `MAX_COMPARED` times at most.
   */
  covers(other: StateWanted): boolean {
    if (other === this) return true;
    for (const config of other.#plain) if (!this.#includesAll(config)) return false;
    for (const [key, config] of other.#excluding)
      if (!this.#excluding.has(key) && !this.#includesAll(config) && !this.#isAmongExcluding(config)) return false;
    return true;
  }

  #includesAll(config: RequiredStateFilter): boolean {
    return (
      this.#plain.some((own) => own.isAsLazyAs(config)) &&
      config.include.every((type, stateKey) => this.#plain.some((own) => own.includesPair(config, type, stateKey)))
    );
  }

  #isAmongExcluding(config: RequiredStateFilter): boolean {
    return this.#excluding.size <= MAX_COMPARED && [...this.#excluding.values()].some((own) => own.covers(config));
  }
}

/** How much of a room is wanted, all in all. */
export interface CombinedRoomConfig {
  readonly timelineLimit: number;
  readonly state: StateWanted;
}

/** Combines several requests for a room: the longest timeline, and all the state. */
export const combined = (configs: readonly RoomConfig[], userId: string): CombinedRoomConfig => ({
  timelineLimit: Math.max(...configs.map(({ timelineLimit }) => timelineLimit)),
  state: StateWanted.of(
    configs.map(({ requiredState }) => requiredState),
    userId,
  ),
});
