import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { StateChain } from '#src/services/room-model/state/state-chain.ts';
import type { PastStates } from '../engine/past-states.ts';
import type { TimelineWindow } from './timeline-window.ts';

/** The stretch of a room whose changes of state are wanted. */
export interface StateRequest {
  readonly room: Room;
  /** The client knows the state here; undefined when it knows nothing. */
  readonly after: number | undefined;
  readonly upTo: number;
  /** The state at `upTo`. */
  readonly end: StateChain;
  readonly window: TimelineWindow;
  /** State up to the end of the timeline instead of its start. */
  readonly upToEnd: boolean;
}

/** State entries that a client has to get. */
export interface StateChanges {
  /** The state from which single members may be looked up (lazy loading). */
  readonly base: StateChain;
  /** Positions of state events but memberships. */
  readonly others: readonly number[];
  readonly members: readonly number[];
}

/** Works out changes of state; many rooms in two statements at most, none for rooms whose ring reaches back far enough. */
export class StateReader {
  readonly #past: PastStates;

  constructor(past: PastStates) {
    this.#past = past;
  }

  async read(requests: readonly StateRequest[]): Promise<StateChanges[]> {
    const answers: (StateChanges | undefined)[] = requests.map((request) => fromRing(request));
    const open = requests.filter((_, index) => answers[index] === undefined);
    if (open.length > 0) {
      const begins = await this.#past.at(
        open.flatMap(({ room, after }) => (after === undefined ? [] : [{ room: room.nid, upTo: after }])),
      );
      const starts = await this.#past.byId(open.map((request) => startState(request)));
      for (const [index, request] of requests.entries()) {
        answers[index] ??= compare(
          request,
          request.after === undefined ? StateChain.EMPTY : (begins.get(request.room.nid) ?? StateChain.EMPTY),
          starts.get(startState(request)) ?? request.end,
        );
      }
    }
    return answers.filter((answer) => answer !== undefined);
  }
}

/** Id of the state up to which changes are told. */
const startState = ({ window, end, upToEnd }: StateRequest): number => {
  const first = window.events[0];
  return upToEnd || first === undefined || window.hiddenState.length > 0 || window.events.some(isOnFork)
    ? end.nid
    : first.state;
};

/** Accepting such an event may have changed more of the room's state than the event itself says. */
const isOnFork = (event: StoredEvent): boolean => event.currentState !== undefined;

const compare = (request: StateRequest, begin: StateChain, to: StateChain): StateChanges => {
  // State in the timeline is not repeated, unless the client ignores it there (`use_state_after`).
  const shown = new Set(request.upToEnd ? [] : request.window.events.map((event) => event.nid));
  const others: number[] = [];
  const members: number[] = [];
  for (const { event, isMember } of begin.changesTo(to)) {
    if (event !== 0 && !shown.has(event)) (isMember ? members : others).push(event);
  }
  return { base: to, others, members };
};

/** The common cases, from memory: no change outside the timeline, or all changes are in the ring. */
const fromRing = (request: StateRequest): StateChanges | undefined => {
  const { room, after, upTo, end, window, upToEnd } = request;
  if (after === undefined) {
    // All of it: at hand when the timeline holds no change of state.
    return startState(request) === end.nid ? compare(request, StateChain.EMPTY, end) : undefined;
  }
  const events = room.ring.between(after, upTo);
  if (events === undefined ? window.events.some(isOnFork) : events.some(isOnFork)) return undefined;
  if (!window.limited && window.hiddenState.length === 0 && !upToEnd) return { base: end, others: [], members: [] };
  if (events === undefined) return undefined;
  const first = window.events[0];
  const shown = new Set<StoredEvent>(window.events);
  const others = new Map<string, number>();
  const members = new Map<string, number>();
  for (const event of events) {
    if (event.stateKey === undefined) continue;
    const isShown =
      upToEnd ||
      (!shown.has(event) && (first === undefined || event.nid < first.nid || window.hiddenState.includes(event)));
    if (!isShown) continue;
    if (event.type === 'm.room.member') members.set(event.stateKey, event.nid);
    else others.set(`${event.type}\0${event.stateKey}`, event.nid);
  }
  return { base: end, others: [...others.values()], members: [...members.values()] };
};
