/**
 * States as chains of deltas.
 *
 * A state is reached from the empty one by a number of changes, its `seq`. Written in digits, the rows that make it up stand at
 * the numbers that come of clearing its lowest digits one after another: 1234 consists of the rows 1000, 1200, 1230 and 1234, and
 * each row holds every change since the row before it. So a state is read from as many rows as its number has digits other than
 * zero, and a change is written about half as often as a digit has values, for each digit. Hence the low digits, which every room
 * has, have few values, and the high ones many: 8 rows reach 8 million changes, a change is written about 12 times in 20 000.
 */

/** How many values each digit has, the lowest first. */
const BASES = [4, 4, 4, 4, 4, 8, 16, 64] as const;

/** The changes between two states of a chain: state key -> event (0: taken out). */
export interface Delta {
  /** Id of the state that ends here. */
  readonly nid: number;
  readonly seq: number;
  /** Everything but memberships. */
  readonly others: ReadonlyMap<number, number>;
  readonly members: ReadonlyMap<number, number>;
}

/** One change of a state. */
export interface StateChange {
  readonly skey: number;
  /** The new state event; 0 takes the entry out. */
  readonly event: number;
  readonly isMember: boolean;
}

const parentSequence = (seq: number): number => {
  let place = 1;
  for (const base of BASES) {
    place *= base;
    if (seq % place !== 0) return seq - (seq % place);
  }
  return 0;
};

/** An immutable state: its deltas, oldest first. */
export class StateChain {
  static readonly EMPTY = new StateChain([]);
  readonly deltas: readonly Delta[];

  constructor(deltas: readonly Delta[]) {
    this.deltas = deltas;
  }

  /** Id of the state; 0 is the empty one. */
  get nid(): number {
    return this.deltas.at(-1)?.nid ?? 0;
  }

  get seq(): number {
    return this.deltas.at(-1)?.seq ?? 0;
  }

  /**
   * The state after some changes made at once.
   *
   * @param nid the new state's id
   */
  append(nid: number, changes: readonly StateChange[]): StateChain {
    const seq = this.seq + 1;
    const keepUpTo = parentSequence(seq);
    const kept = this.deltas.filter((delta) => delta.seq <= keepUpTo);
    const others = new Map<number, number>();
    const members = new Map<number, number>();
    for (const delta of this.deltas.slice(kept.length)) {
      for (const [skey, event] of delta.others) others.set(skey, event);
      for (const [skey, event] of delta.members) members.set(skey, event);
    }
    for (const change of changes) (change.isMember ? members : others).set(change.skey, change.event);
    return new StateChain([...kept, { nid, seq, others, members }]);
  }

  /** All entries but memberships. */
  others(): Map<number, number> {
    return this.#merge((delta) => delta.others);
  }

  /** All memberships. */
  members(): Map<number, number> {
    return this.#merge((delta) => delta.members);
  }

  /** One entry: the state event, or undefined. */
  get(skey: number): number | undefined {
    for (let i = this.deltas.length - 1; i >= 0; i--) {
      const delta = this.deltas[i];
      const event = delta?.others.get(skey) ?? delta?.members.get(skey);
      if (event !== undefined) return event === 0 ? undefined : event;
    }
    return undefined;
  }

  #merge(family: (delta: Delta) => ReadonlyMap<number, number>): Map<number, number> {
    const merged = new Map<number, number>();
    for (const delta of this.deltas) {
      for (const [skey, event] of family(delta)) {
        if (event === 0) merged.delete(skey);
        else merged.set(skey, event);
      }
    }
    return merged;
  }

  /** Rough size in memory, in bytes. */
  get size(): number {
    return this.deltas.reduce((sum, delta) => sum + 200 + 40 * (delta.others.size + delta.members.size), 100);
  }
}
