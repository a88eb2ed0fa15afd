import { EntryList } from './entry-list.ts';

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
  readonly others: EntryList;
  readonly members: EntryList;
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
    let others = entriesOf(changes, false);
    let members = entriesOf(changes, true);
    for (let i = this.deltas.length - 1; i >= kept.length; i--) {
      const delta = this.deltas[i];
      if (delta === undefined) continue;
      others = delta.others.under(others);
      members = delta.members.under(members);
    }
    return new StateChain([...kept, { nid, seq, others, members }]);
  }

  /** All entries but memberships. Costs a copy of them. */
  others(): EntryList {
    return merged(this.deltas, 'others').present();
  }

  /** All memberships. Costs a copy of them. */
  members(): EntryList {
    return merged(this.deltas, 'members').present();
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

  /** The changes that lead to another state, ascending by state key in each family. What both have from the same rows is not looked at. */
  changesTo(to: StateChain): StateChange[] {
    let shared = 0;
    while (shared < this.deltas.length && this.deltas[shared]?.nid === to.deltas[shared]?.nid) shared++;
    const base = new StateChain(this.deltas.slice(0, shared));
    const changes: StateChange[] = [];
    for (const family of ['others', 'members'] as const) {
      const here = merged(this.deltas.slice(shared), family);
      const there = merged(to.deltas.slice(shared), family);
      let i = 0;
      let j = 0;
      while (i < here.size || j < there.size) {
        const a = here.keys[i] ?? Infinity;
        const b = there.keys[j] ?? Infinity;
        const skey = Math.min(a, b);
        const before = (a === skey ? here.events[i++] : base.get(skey)) ?? 0;
        const event = (b === skey ? there.events[j++] : base.get(skey)) ?? 0;
        if (event !== before) changes.push({ skey, event, isMember: family === 'members' });
      }
    }
    return changes;
  }

  /** Rough size in memory, in bytes. */
  get size(): number {
    return this.deltas.reduce((sum, delta) => sum + 400 + 12 * (delta.others.size + delta.members.size), 100);
  }
}

/** Small rows first: the large ones, which are the oldest, are copied once. */
const merged = (deltas: readonly Delta[], family: 'others' | 'members'): EntryList =>
  deltas.reduceRight((newer, delta) => delta[family].under(newer), EntryList.EMPTY);

const entriesOf = (changes: readonly StateChange[], isMember: boolean): EntryList =>
  EntryList.from(changes.filter((one) => one.isMember === isMember).map(({ skey, event }) => [skey, event]));
