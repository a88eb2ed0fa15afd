import type { LoopYield } from '#src/kernel/event-loop/loop-yield.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { SectionDraft } from '../sections/visible-timelines.ts';
import { StateWanted } from './required-state.ts';
import { NOTHING_RESOLVED, type Resolved } from './resolved-state.ts';
import type { StateEntry } from './room-answer.ts';
import { CHARACTERS_OF_LOOK } from './room-lists.ts';
import type { Span } from './room-spans.ts';

/** Lazily loaded members that are remembered for one room of a connection. */
const MAX_LAZY = 2_000;

/** The state that is sent with a room. */
export interface SentState {
  /** Positions of the events. */
  readonly nids: readonly number[];
  /** Lazily loaded members that the client will have: user -> position of the member event. */
  readonly lazy: ReadonlyMap<string, number>;
}

/**
 * Positions of the state events that are to be sent, and the lazily loaded members that the client will have.
 *
 * @param loopYield is told how much was looked at
 */
export const stateToSend = async (
  { wanted, plan, isInitial }: Span,
  draft: SectionDraft | undefined,
  userId: string,
  atLeave: readonly StoredEvent[] | undefined,
  loopYield: LoopYield,
  { restored }: Resolved = NOTHING_RESOLVED,
): Promise<SentState> => {
  const { room } = plan;
  const { sent, state } = wanted;
  const lazy = new Map(isInitial ? [] : sent?.lazy);
  if (plan.section === 'leave') {
    const own = plan.member.event === 0 ? [] : [plan.member.event];
    const others: number[] = [];
    for (const { nid, type, stateKey = '' } of atLeave ?? []) {
      if ((isInitial || nid > plan.after) && state.has(type, stateKey)) others.push(nid);
      const turn = loopYield.after(CHARACTERS_OF_LOOK * state.configs);
      if (turn !== undefined) await turn;
    }
    return { nids: [...new Set([...others, ...own])], lazy };
  }
  if (plan.section !== 'join') return { nids: [], lazy };
  const after = isInitial ? 0 : (sent?.vector[room.shard] ?? 0);
  // Sent before and unchanged.
  const before = isInitial || sent === undefined ? undefined : StateWanted.from(sent.wanted);
  const wasSent = (type: string, stateKey: string): boolean =>
    before !== undefined && (before === state || before.has(type, stateKey));
  // Each of the configs may have to be looked at for an entry.
  const charactersOfEntry =
    CHARACTERS_OF_LOOK * Math.max(1, state.configs + (before === undefined || before === state ? 0 : before.configs));
  const nids = new Set<number>();
  for (const { event } of room.state.values()) {
    const { type, stateKey = '' } = event;
    const isNews = isNewsAfter(after, event) || restored.has(event.nid) || !wasSent(type, stateKey);
    if (isNews && state.has(type, stateKey)) nids.add(event.nid);
    const turn = loopYield.after(charactersOfEntry);
    if (turn !== undefined) await turn;
  }
  const addMember = (member: { readonly event: number } | undefined): void => {
    if (member !== undefined && member.event !== 0) nids.add(member.event);
  };
  const named = state.namedMembers;
  for (const one of named ?? room.members.values()) {
    const member = typeof one === 'string' ? room.member(one) : one;
    const turn = loopYield.after(charactersOfEntry);
    if (turn !== undefined) await turn;
    if (member === undefined) continue;
    const isNews = member.event > after || restored.has(member.event) || !wasSent('m.room.member', member.userId);
    if (isNews && state.has('m.room.member', member.userId)) addMember(member);
  }
  if (state.lazyMembers) {
    // "All membership updates": "clients can't rely on seeing membership changes in the timeline section ... due to state resolution".
    const back = restored.size === 0 ? [] : [...room.members.values()].filter(({ event }) => restored.has(event));
    for (const member of back) {
      addMember(member);
      lazy.set(member.userId, member.event);
    }
    const met = draft?.events.flatMap(({ event: { sender, type, stateKey } }) =>
      type === 'm.room.member' && stateKey !== undefined ? [sender, stateKey] : [sender],
    );
    for (const name of new Set([userId, ...(met ?? [])])) {
      const member = room.member(name);
      if (member === undefined || lazy.get(name) === member.event) continue;
      addMember(member);
      lazy.set(name, member.event);
    }
    for (const [name, event] of lazy) {
      const member = room.member(name);
      if (member === undefined || member.event === event) continue;
      addMember(member);
      lazy.set(name, member.event);
    }
    for (const name of lazy.keys()) {
      if (lazy.size <= MAX_LAZY) break;
      lazy.delete(name);
    }
  }
  return { nids: [...nids].toSorted((a, b) => a - b), lazy };
};

/** The members who are new to a client. */
export const newMembersIn = (
  { wanted: { sent, state }, isInitial }: Span,
  lazy: ReadonlyMap<string, number>,
  loaded: ReadonlyMap<number, StoredEvent>,
  nids: readonly number[],
): readonly string[] | undefined => {
  if (isInitial && !state.lazyMembers) return undefined;
  const before = isInitial ? undefined : sent?.lazy;
  const joined = nids.flatMap((nid) => {
    const event = loaded.get(nid);
    return event?.type === 'm.room.member' && event.content['membership'] === 'join' ? (event.stateKey ?? []) : [];
  });
  return [...new Set([...joined, ...lazy.keys()])].filter((userId) => before?.has(userId) !== true);
};

/** Of state that was removed, what the client asks for. */
export const removedOf = (
  { wanted: { state } }: Span,
  { removed }: Resolved = NOTHING_RESOLVED,
  loaded: ReadonlyMap<number, StoredEvent>,
): readonly StateEntry[] =>
  Array.from(removed, (nid) => loaded.get(nid)).flatMap((event) => {
    if (event?.stateKey === undefined) return [];
    const { type, stateKey } = event;
    const isWanted = state.has(type, stateKey) || (state.lazyMembers && type === 'm.room.member');
    return isWanted ? [{ type, stateKey }] : [];
  });

/** Whether a state event came to a room after a position. */
export const isNewsAfter = (after: number, event: StoredEvent | undefined): boolean =>
  event !== undefined && event.nid > after;
