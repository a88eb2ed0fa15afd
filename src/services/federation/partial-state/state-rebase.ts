import { packEntries, unpackEntries } from '#src/protocol/wire/packed-state.ts';
import { EntryList } from '#src/services/room-model/state/entry-list.ts';
import { type Delta, StateChain } from '#src/services/room-model/state/state-chain.ts';
import type { RebasedDeltaRow } from '#src/storage/events/event-rows.ts';
import type { StateRow } from '#src/storage/federation/partial-rooms.ts';

/**
 * Rebases states of a partially joined room onto its full state: changes since
 * the join stay on top, and provisional memberships are replaced.
 */
export class StateRebase {
  /** Position of the state before the join: later states have greater positions. */
  readonly #from: number;
  readonly #fullMembers: EntryList;
  readonly #members: ReadonlyMap<number, number>;
  readonly #replaced: ReadonlyMap<number, number>;
  /** State keys (other than memberships) of the `send_join` response. */
  readonly #others: ReadonlySet<number>;

  /**
   * @param before the state before the join, as it was told then
   * @param members state key -> member event, as they were told at last
   * @param replaced may grow: by position of a rejected state event, what stands in its place; 0 for nothing
   */
  constructor(before: StateChain, members: ReadonlyMap<number, number>, replaced: ReadonlyMap<number, number>) {
    this.#from = before.nid;
    this.#others = new Set(before.others().keys);
    this.#members = members;
    this.#fullMembers = EntryList.from(members);
    this.#replaced = replaced;
  }

  /** One entry of a state that was written since the join. */
  entry(state: StateChain, skey: number): number | undefined {
    const found = this.#after(state.get(skey) ?? 0, skey);
    return found === 0 ? undefined : found;
  }

  /** The rebased chain of a state. */
  chain(state: StateChain): StateChain {
    return new StateChain(
      state.deltas.map((delta, index): Delta => {
        if (delta.nid < this.#from) return delta;
        return { ...delta, others: this.#listed(delta.others), members: this.#membersOf(delta.members, index === 0) };
      }),
    );
  }

  /** The rebased row; undefined when it is unchanged. */
  row({ nid, chain, others, members }: StateRow): RebasedDeltaRow | undefined {
    const before = new EntryList(unpackEntries(nid, members));
    const othersBefore = new EntryList(unpackEntries(nid, others));
    const after = this.#membersOf(before, chain.length === 0);
    const othersAfter = this.#listed(othersBefore);
    if (after === before && othersAfter === othersBefore) return undefined;
    return { nid, others: Buffer.from(packEntries(nid, othersAfter)), members: Buffer.from(packEntries(nid, after)) };
  }

  #membersOf(members: EntryList, isBase: boolean): EntryList {
    const settled = this.#listed(members);
    return isBase ? this.#fullMembers.under(settled) : settled;
  }

  /** The same list where nothing changes. */
  #listed(list: EntryList): EntryList {
    let isSame = true;
    const events = list.events.map((event, index) => {
      const after = this.#after(event, list.keys[index] ?? 0);
      if (after !== event) isSame = false;
      return after;
    });
    return isSame ? list : new EntryList({ keys: list.keys, events });
  }

  /** Entries from before the join come from the full state. */
  #after(event: number, skey: number): number {
    let now = event;
    for (let next = this.#replaced.get(now); next !== undefined; next = this.#replaced.get(now)) now = next;
    return now >= this.#from || this.#others.has(skey) ? now : (this.#members.get(skey) ?? 0);
  }
}
