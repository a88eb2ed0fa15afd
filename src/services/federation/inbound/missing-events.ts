import { causalOrder } from '#src/protocol/events/causal-order.ts';
import { type IdentifiedPdu, referencedIds } from '#src/protocol/events/pdu.ts';
import type { EventReceiver } from '#src/services/events/receiving/event-receiver.ts';
import type { Reception } from '#src/services/events/receiving/reception.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { GapCloser } from './inbound-receiving.ts';
import type { FailedFetches } from './failed-fetches.ts';
import type { RoomFetcher } from './room-fetcher.ts';

export interface MissingEventsOptions {
  readonly fetcher: RoomFetcher;
  readonly failedFetches: FailedFetches;
  readonly receiver: Pick<EventReceiver, 'receiveAt' | 'receive'>;
}

/** Events per request. Other servers answer with at most 20, whatever the limit; fewer mean that they have no more. */
const PAGE_LENGTH = 50;
const FULL_ANSWER = 20;
/** Most requests for one gap, and most events in it, before it is treated as permanent. */
export const MAX_ROUNDS = 4;
export const MAX_IN_GAP = 150;
/** Branches at whose ends the state is requested. */
export const MAX_BRANCHES = 5;

/**
 * Fetches the missing events of a remote event: first those between it and the known ones; where these do not connect,
 * the state at the gap. Server-Server API, "Backfilling and retrieving missing events".
 */
export class MissingEvents implements GapCloser {
  readonly #options: MissingEventsOptions;

  constructor(options: MissingEventsOptions) {
    this.#options = options;
  }

  async close(room: Room, event: IdentifiedPdu, origin: string, signal: AbortSignal): Promise<Reception | undefined> {
    const { failedFetches, receiver } = this.#options;
    const between = await this.#between(room, event, origin, signal);
    const failed = new Set<string>();
    let last: Reception | undefined;
    for (const one of causalOrder([...between, event], 'prev_events')) {
      if (signal.aborted) return undefined;
      const isSent = one.eventId === event.eventId;
      // An event whose prev events could not be fetched is not accepted either.
      if (referencedIds(one.pdu.prev_events).some((id) => failed.has(id))) {
        failed.add(one.eventId);
        continue;
      }
      let reception = await receiver.receive(room, one, isSent ? origin : undefined);
      // A server that sends an event has its prev events and has to return them. Without them the event is not accepted.
      if (reception.outcome === 'missing' && !(isSent && comesAfterOneOf(one, reception.ids)))
        reception = await this.#receiveAt(room, one, reception.ids, origin, signal);
      if (reception.outcome === 'missing' || reception.outcome === 'denied') failed.add(one.eventId);
      if (isSent) last = reception;
    }
    for (const id of failed) failedFetches.note(room.nid, id);
    return last;
  }

  /** The events between an event and the known ones, as far as a server returns them. */
  async #between(
    room: Room,
    event: IdentifiedPdu,
    origin: string,
    signal: AbortSignal,
  ): Promise<readonly IdentifiedPdu[]> {
    const { fetcher } = this.#options;
    let found = new Map([[event.eventId, event]]);
    let latest: readonly string[] = [event.eventId];
    for (let round = 0; round < MAX_ROUNDS && found.size <= MAX_IN_GAP && !signal.aborted; round++) {
      const ends = [...found.values()].flatMap(({ pdu }) => referencedIds(pdu.prev_events));
      const missing = new Set(
        await fetcher.unusable(
          room,
          ends.filter((id) => !found.has(id)),
        ),
      );
      const open = [...found.values()].filter(({ pdu }) =>
        referencedIds(pdu.prev_events).some((id) => missing.has(id)),
      );
      if (open.length === 0) break;
      latest = open.map(({ eventId }) => eventId);
      const earliest = room.head.extremities.map(({ eventId }) => eventId);
      const answer = await fetcher.missingEvents(room, origin, { earliest, latest, limit: PAGE_LENGTH, minDepth: 0 });
      const fresh = answer.filter(({ eventId }) => !found.has(eventId));
      if (fresh.length === 0) break;
      for (const one of fresh.slice(0, MAX_IN_GAP)) found.set(one.eventId, one);
      found = await this.#needed(room, event, found);
      if (answer.length < FULL_ANSWER) break;
    }
    found.delete(event.eventId);
    return [...found.values()];
  }

  /** The events between an event and the stored history. A server that knows less of the room may also return older ones. */
  async #needed(
    room: Room,
    event: IdentifiedPdu,
    found: ReadonlyMap<string, IdentifiedPdu>,
  ): Promise<Map<string, IdentifiedPdu>> {
    const lacking = new Set(await this.#options.fetcher.unusable(room, [...found.keys()]));
    const needed = new Map([[event.eventId, event]]);
    for (const { pdu } of needed.values())
      for (const id of referencedIds(pdu.prev_events)) {
        const earlier = lacking.has(id) ? found.get(id) : undefined;
        if (earlier !== undefined) needed.set(id, earlier);
      }
    return needed;
  }

  /** Accepts an event at a permanent gap: its auth chain and the states after its prev events are fetched. */
  async #receiveAt(
    room: Room,
    event: IdentifiedPdu,
    missing: readonly string[],
    origin: string,
    signal: AbortSignal,
  ): Promise<Reception> {
    const { fetcher, receiver } = this.#options;
    const unknown: Reception = { outcome: 'missing', ids: missing };
    const prevIds = new Set(referencedIds(event.pdu.prev_events));
    const gaps = missing.filter((id) => prevIds.has(id));
    if (gaps.length > MAX_BRANCHES) return unknown;
    // In a partial state, additions of such a state could not be told from missing entries.
    if (gaps.length > 0 && room.partial !== undefined) return unknown;
    const states: (readonly string[])[] = [];
    for (const gap of gaps) {
      const state = await fetcher.stateAfter(room, gap, origin, signal);
      if (state === undefined) return unknown;
      states.push(state);
    }
    const [first, ...others] = states;
    const accept = (): Promise<Reception> =>
      first === undefined ? receiver.receive(room, event) : receiver.receiveAt(room, event, first, others);
    const reception = await accept();
    if (reception.outcome !== 'missing' || signal.aborted) return reception;
    await fetcher.fetchAuthChain(room, event, origin);
    return accept();
  }
}

const comesAfterOneOf = ({ pdu }: IdentifiedPdu, ids: readonly string[]): boolean =>
  referencedIds(pdu.prev_events).some((id) => ids.includes(id));
