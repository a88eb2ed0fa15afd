import { CountedCache } from '#src/kernel/counted-cache.ts';
import type { RequiredState, RoomWish } from './sliding-request.ts';

const ANY = '*';
/** "the user's own id" */
const ME = '$ME';
const MEMBER = 'm.room.member';

type Pair = readonly [type: string, stateKey: string];

/** What one list or subscription wants, as JSON. */
type WishKey = readonly [include: readonly Pair[], exclude: readonly Pair[], lazyMembers: boolean];

const byPair = ([a, b]: Pair, [c, d]: Pair): number => (a === c ? (b < d ? -1 : b > d ? 1 : 0) : a < c ? -1 : 1);

const keyOfWish = ({ include, exclude, lazyMembers }: RequiredState, userId: string): WishKey => {
  const named = (pairs: readonly Pair[]): Pair[] =>
    pairs.map(([type, key]): Pair => [type, key === ME ? userId : key]).toSorted(byPair);
  return [named(include), named(exclude), lazyMembers];
};

/** Each wish is put in order once for one user, for however many rooms it is. */
const texts = new WeakMap<RequiredState, { readonly userId: string; readonly text: string }>();

const textOfWish = (wish: RequiredState, userId: string): string => {
  const known = texts.get(wish);
  if (known?.userId === userId) return known.text;
  const text = JSON.stringify(keyOfWish(wish, userId));
  texts.set(wish, { userId, text });
  return text;
};

/** Which state one list or subscription wants. */
class WishedState {
  readonly lazyMembers: boolean;
  /** Type -> state keys; `*` among either for any. */
  readonly #include = new Map<string, Set<string>>();
  readonly #exclude: readonly Pair[];

  constructor([include, exclude, lazyMembers]: WishKey) {
    for (const [type, stateKey] of include) {
      const keys = this.#include.get(type) ?? new Set();
      keys.add(stateKey);
      this.#include.set(type, keys);
    }
    this.#exclude = exclude;
    this.lazyMembers = lazyMembers;
  }

  has(type: string, stateKey: string): boolean {
    if (!this.#includes(type, stateKey)) return false;
    return !this.#exclude.some(
      ([excluded, key]) => (excluded === ANY || excluded === type) && (key === ANY || key === stateKey),
    );
  }

  #includes(type: string, stateKey: string): boolean {
    return this.#names(type).some((name) => {
      const keys = this.#include.get(name);
      return keys !== undefined && (keys.has(stateKey) || keys.has(ANY));
    });
  }

  /** Where members are wanted lazily, no wildcard stands for them: "all state events except for m.room.member events". */
  #names(type: string): readonly string[] {
    return type === MEMBER && this.lazyMembers ? [MEMBER] : [type, ANY];
  }

  /** Members that are wanted by name; undefined when all of them are. */
  get namedMembers(): readonly string[] | undefined {
    const keys = this.#names(MEMBER).flatMap((name) => [...(this.#include.get(name) ?? [])]);
    return keys.includes(ANY) ? undefined : keys;
  }

  /** Whether all that another one wants is among what this one wants. */
  covers(other: WishedState): boolean {
    if (other.lazyMembers && !this.lazyMembers && this.namedMembers !== undefined) return false;
    const isLeftOut = ([type, key]: Pair): boolean => other.#exclude.some(([t, k]) => t === type && k === key);
    if (!this.#exclude.every(isLeftOut)) return false;
    for (const [type, keys] of other.#include) {
      // A wildcard of one that wants members lazily stands for less.
      if (type === ANY && this.lazyMembers && !other.lazyMembers) return false;
      for (const key of keys) if (!this.#includes(type, key)) return false;
    }
    return true;
  }
}

/** Bytes of memory for the wishes that are known: a pair of names takes about so many beside its characters. */
const MAX_BYTES = 67_108_864;
const BYTES_OF_PAIR = 400;

/** The `required_state` of a room: what one or several lists and subscriptions ask for. */
export class StateWanted {
  static readonly #known = new CountedCache<string, StateWanted>('wanted_states', {
    maxSize: MAX_BYTES,
    sizeCalculation: ({ size }) => size,
  });

  readonly #wishes: readonly WishedState[];
  /** About how many bytes of memory it takes. */
  readonly size: number;
  /** The same for the same wishes. */
  readonly key: string;
  readonly lazyMembers: boolean;
  /** Members that are wanted by name; undefined when all of them are. */
  readonly namedMembers: ReadonlySet<string> | undefined;

  private constructor(key: string) {
    this.key = key;
    const wishes = JSON.parse(key) as WishKey[];
    const pairs = wishes.reduce((sum, [include, exclude]) => sum + 1 + include.length + exclude.length, 1);
    this.size = 2 * key.length + BYTES_OF_PAIR * pairs;
    this.#wishes = wishes.map((wish) => new WishedState(wish));
    this.lazyMembers = this.#wishes.some(({ lazyMembers }) => lazyMembers);
    const named = this.#wishes.map(({ namedMembers }) => namedMembers);
    this.namedMembers = named.includes(undefined) ? undefined : new Set(named.flatMap((names) => names ?? []));
  }

  static of(wishes: readonly RequiredState[], userId: string): StateWanted {
    const keys = new Set(wishes.map((wish) => textOfWish(wish, userId)));
    return StateWanted.from(`[${[...keys].toSorted().join(',')}]`);
  }

  /** The same again, by its key. */
  static from(key: string): StateWanted {
    let wanted = StateWanted.#known.get(key);
    if (wanted === undefined) StateWanted.#known.set(key, (wanted = new StateWanted(key)));
    return wanted;
  }

  has(type: string, stateKey: string): boolean {
    return this.#wishes.some((wish) => wish.has(type, stateKey));
  }

  /** Whether a client that was told what this wants has been told all that another one wants; not sure for some that overlap. */
  covers(other: StateWanted): boolean {
    return other === this || other.#wishes.every((wish) => this.#wishes.some((own) => own.covers(wish)));
  }
}

/** How much of a room is wanted, all in all. */
export interface CombinedWish {
  readonly timelineLimit: number;
  readonly state: StateWanted;
}

/** Combines several requests for a room: the longest timeline, and all the state. */
export const combined = (wishes: readonly RoomWish[], userId: string): CombinedWish => ({
  timelineLimit: Math.max(...wishes.map(({ timelineLimit }) => timelineLimit)),
  state: StateWanted.of(
    wishes.map(({ requiredState }) => requiredState),
    userId,
  ),
});
