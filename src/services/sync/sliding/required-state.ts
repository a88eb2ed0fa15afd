import type { RequiredState, RoomWish } from './sliding-request.ts';

const ANY = '*';
/** "the user's own id" */
const ME = '$ME';
const MEMBER = 'm.room.member';

/** Which state a room is told of, ready to be asked: all that one or several lists and subscriptions want. */
export class StateWanted {
  /** Type -> state keys; `*` among either for any. */
  readonly #include = new Map<string, Set<string>>();
  readonly #exclude: readonly (readonly [string, string])[];
  readonly lazyMembers: boolean;
  /** The same for the same wishes. */
  readonly key: string;

  constructor(wishes: readonly RequiredState[], userId: string) {
    for (const { include } of wishes) {
      for (const [type, stateKey] of include) {
        const keys = this.#include.get(type) ?? new Set();
        keys.add(stateKey === ME ? userId : stateKey);
        this.#include.set(type, keys);
      }
    }
    // What one list leaves out, another may want.
    this.#exclude = wishes.length === 1 ? (wishes[0]?.exclude ?? []) : [];
    this.lazyMembers = wishes.some(({ lazyMembers }) => lazyMembers);
    this.key = JSON.stringify([
      [...this.#include]
        .map(([type, keys]) => [type, [...keys].toSorted()] as const)
        .toSorted(([a], [b]) => (a < b ? -1 : 1)),
      this.#exclude,
      this.lazyMembers,
    ]);
  }

  has(type: string, stateKey: string): boolean {
    if (!this.#matches(type, stateKey)) return false;
    return !this.#exclude.some(
      ([excluded, key]) => (excluded === ANY || excluded === type) && (key === ANY || key === stateKey),
    );
  }

  #matches(type: string, stateKey: string): boolean {
    for (const name of [type, ANY]) {
      const keys = this.#include.get(name);
      if (keys !== undefined && (keys.has(stateKey) || keys.has(ANY))) return true;
    }
    return false;
  }

  /** Whether nothing but single members is wanted of the memberships; undefined when all of them are. */
  get namedMembers(): ReadonlySet<string> | undefined {
    const all = this.#include.get(ANY);
    const members = this.#include.get(MEMBER);
    if (all?.has(ANY) === true || members?.has(ANY) === true) return undefined;
    return new Set([...(all ?? []), ...(members ?? [])]);
  }
}

/** What several wishes for a room come to: the longest timeline, and all the state. */
export const combined = (
  wishes: readonly RoomWish[],
  userId: string,
): { readonly timelineLimit: number; readonly state: StateWanted } => ({
  timelineLimit: Math.max(...wishes.map(({ timelineLimit }) => timelineLimit)),
  state: new StateWanted(
    wishes.map(({ requiredState }) => requiredState),
    userId,
  ),
});
