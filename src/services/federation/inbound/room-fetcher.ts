import type { FailedFetches } from './failed-fetches.ts';
import { Gate } from '#src/kernel/limits/gate.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Random } from '#src/kernel/random.ts';
import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import { type IdentifiedPdu, referencedIds, roomIdOf } from '#src/protocol/events/pdu.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { Asked, HistoryApi } from '#src/remote/federation/history-api.ts';
import type { EventReceiver } from '#src/services/events/receiving/event-receiver.ts';
import { eventIdBytes, eventIdText } from '#src/services/room-model/event/event-ids.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { EventVerifier } from '#src/services/servers/keys/event-verifier.ts';
import type { Database } from '#src/storage/database.ts';
import { positionsById } from '#src/storage/room-model/event-positions.ts';

export interface RoomFetcherOptions {
  readonly serverName: string;
  readonly history: HistoryApi;
  readonly verifier: Pick<EventVerifier, 'verify'>;
  readonly receiver: Pick<EventReceiver, 'storeOutliers'>;
  readonly loader: EventLoader;
  readonly database: Database;
  readonly random: Random;
  readonly failedFetches: FailedFetches;
  readonly logger: Logger;
}

/** Servers that are asked for the same thing, one after the other. */
export const MAX_SERVERS = 3;
/** Events that are fetched one by one: if more are missing, and most of a state, the whole state is fetched. */
const FEW = 20;
export const MAX_SINGLE = 300;
const SINGLE_AT_ONCE = 5;
/** Whole states that are fetched at the same time: each may be large. */
export const STATES_AT_ONCE = 2;
/** Events whose ids are looked up in one statement. */
const LOOKUP = 5_000;

/** Fetches events of rooms from the servers in them, verifies them, and stores what is needed without its ancestors. */
export class RoomFetcher {
  readonly #options: RoomFetcherOptions;
  readonly #wholeStates = new Gate(STATES_AT_ONCE);

  constructor(options: RoomFetcherOptions) {
    this.#options = options;
  }

  /** The servers to ask about a room: first the named ones, then others that are in it. */
  serversOf(room: Room, first: readonly string[], most = MAX_SERVERS): readonly string[] {
    const { random, serverName } = this.#options;
    const others = [...room.remoteServers()];
    const chosen = new Set(first);
    while (chosen.size < most && others.length > 0) {
      const [one] = others.splice(random.bytes(4).readUInt32BE() % others.length, 1);
      if (one !== undefined) chosen.add(one);
    }
    return [...chosen].filter((name) => name !== serverName && room.allowsServer(name)).slice(0, most);
  }

  /** Asks one server after the other until one has a useful answer. */
  async ask<T>(
    servers: readonly string[],
    question: (server: string) => Promise<Asked<T>>,
    signal?: AbortSignal,
  ): Promise<T | undefined> {
    for (const server of servers) {
      if (signal?.aborted === true) return undefined;
      const answer = await question(server);
      if (answer.ok) return answer.value;
      this.#options.logger.debug('another server could not be asked for events', { server, reason: answer.error });
    }
    return undefined;
  }

  /** The valid events of an answer that are of the room; the others are dropped. */
  async verified(room: Room, pdus: readonly JsonObject[]): Promise<readonly IdentifiedPdu[]> {
    const verdicts = await this.#options.verifier.verify(room.version, pdus);
    const good = new Map<string, IdentifiedPdu>();
    for (const verdict of verdicts) {
      if (!verdict.ok) this.#options.logger.debug('an event in an answer is not good', { reason: verdict.reason });
      else if (roomIdOf(room.version, verdict.event) === room.roomId) good.set(verdict.event.eventId, verdict.event);
    }
    return [...good.values()];
  }

  /** The events of an answer to `get_missing_events`. */
  async missingEvents(
    room: Room,
    origin: string,
    query: Parameters<HistoryApi['missingEvents']>[2],
  ): Promise<readonly IdentifiedPdu[]> {
    const { history } = this.#options;
    const servers = this.serversOf(room, [origin]);
    const answer = await this.ask(servers, (server) => history.missingEvents(server, room.roomId, query));
    return answer === undefined ? [] : this.verified(room, answer);
  }

  /** Events that cannot serve as prev events: they are missing here, or outliers. */
  unusable(room: Room, ids: readonly string[]): Promise<readonly string[]> {
    return this.#without(room, ids, (flags) => (flags & EVENT_FLAGS.outlier) === 0);
  }

  /** Which of these events are not stored at all. */
  absent(room: Room, ids: readonly string[]): Promise<readonly string[]> {
    return this.#without(room, ids, () => true);
  }

  /** Whether one of these events is stored as part of the room's live history. */
  async hasLive(room: Room, ids: readonly string[]): Promise<boolean> {
    const places = await positionsById(this.#options.database, ids.map(eventIdBytes));
    return places.some(
      ({ flags, nid, room: roomNid }) => roomNid === room.nid && nid > 0 && (flags & EVENT_FLAGS.outlier) === 0,
    );
  }

  async #without(room: Room, ids: readonly string[], counts: (flags: number) => boolean): Promise<readonly string[]> {
    const here = new Set<string>();
    for (let at = 0; at < ids.length; at += LOOKUP) {
      const places = await positionsById(this.#options.database, ids.slice(at, at + LOOKUP).map(eventIdBytes));
      for (const { event_id: bytes, flags, room: roomNid } of places)
        if (roomNid === room.nid && counts(flags)) here.add(eventIdText(room.version, bytes));
    }
    return [...new Set(ids)].filter((id) => !here.has(id));
  }

  /** Fetches the auth chain of an event. */
  async fetchAuthChain(room: Room, event: IdentifiedPdu, origin: string): Promise<void> {
    const { history, receiver } = this.#options;
    const servers = this.serversOf(room, [origin, domainOf(event.pdu.sender) ?? origin]);
    const chain = await this.ask(servers, (server) => history.eventAuth(server, room.roomId, event.eventId));
    if (chain === undefined) return;
    await receiver.storeOutliers(room, await this.verified(room, chain));
  }

  /** One event, verified; undefined when no server returns a valid one. */
  async event(room: Room, eventId: string, servers: readonly string[]): Promise<IdentifiedPdu | undefined> {
    for (const server of servers) {
      const answer = await this.#options.history.event(server, eventId);
      if (!answer.ok) continue;
      const event = (await this.verified(room, [answer.value])).find((one) => one.eventId === eventId);
      if (event !== undefined) return event;
    }
    this.#options.failedFetches.note(room.nid, eventId);
    return undefined;
  }

  /**
   * The state after an event that is not here. Its missing events are fetched and stored.
   *
   * @returns ids of state events, all of which are stored then; undefined when no server answers, or the event itself cannot be fetched
   */
  async stateAfter(
    room: Room,
    eventId: string,
    origin: string,
    signal: AbortSignal,
  ): Promise<readonly string[] | undefined> {
    for (const server of this.serversOf(room, [origin])) {
      if (signal.aborted) return undefined;
      const state = await this.#stateAfter(room, eventId, server, signal);
      if (state !== undefined) return state;
    }
    return undefined;
  }

  /**
   * The state before an event, by one server. Its missing events are fetched and stored.
   *
   * @returns ids of state events, all of which are stored then; undefined when the server does not answer
   */
  async stateBefore(
    room: Room,
    eventId: string,
    server: string,
    signal: AbortSignal,
  ): Promise<readonly string[] | undefined> {
    const ids = await this.#options.history.stateIds(server, room.roomId, eventId);
    if (!ids.ok) return undefined;
    const named = [...new Set([...ids.value.state, ...ids.value.authChain])];
    if (!(await this.#fetchStateOf(room, eventId, named, server, signal))) return undefined;
    const missing = new Set(await this.absent(room, ids.value.state));
    return ids.value.state.filter((id) => !missing.has(id));
  }

  /** Fetches missing auth events of events: of a few of these the whole auth chains. */
  async fetchMissingAuth(room: Room, events: readonly IdentifiedPdu[], server: string): Promise<void> {
    const given = new Set(events.map(({ eventId }) => eventId));
    for (let round = 0; round < MAX_SERVERS; round++) {
      const named = events.flatMap(({ pdu }) => referencedIds(pdu.auth_events).filter((id) => !given.has(id)));
      const missing = new Set(await this.absent(room, named));
      const lacking = events.findLast(({ pdu }) => referencedIds(pdu.auth_events).some((id) => missing.has(id)));
      if (lacking === undefined) return;
      await this.fetchAuthChain(room, lacking, server);
    }
  }

  async #stateAfter(
    room: Room,
    eventId: string,
    server: string,
    signal: AbortSignal,
  ): Promise<readonly string[] | undefined> {
    const before = await this.stateBefore(room, eventId, server, signal);
    if (before === undefined || !(await this.#fetchEvent(room, eventId, server))) return undefined;
    const event = await this.#options.loader.byId(room, eventId);
    if (event === undefined) return undefined;
    const changes = event.stateKey !== undefined && (event.flags & EVENT_FLAGS.rejected) === 0;
    return changes ? [...before, eventId] : before;
  }

  /** Fetches the missing events of a state before an event. @returns false where there are too many, or the request fails */
  async #fetchStateOf(
    room: Room,
    eventId: string,
    named: readonly string[],
    server: string,
    signal: AbortSignal,
  ): Promise<boolean> {
    const absent = await this.absent(room, named);
    if (absent.length > FEW && absent.length * 2 > named.length) return this.#fetchState(room, eventId, server);
    if (absent.length > MAX_SINGLE) return false;
    await this.#fetchSingly(room, absent, server, signal);
    return true;
  }

  /** Fetches one event, and stores it as an outlier. @returns whether it is stored then */
  async #fetchEvent(room: Room, eventId: string, server: string): Promise<boolean> {
    const { receiver } = this.#options;
    if ((await this.absent(room, [eventId])).length === 0) return true;
    const event = await this.event(room, eventId, [server]);
    if (event === undefined) return false;
    const reception = (await receiver.storeOutliers(room, [event])).get(eventId);
    if (reception?.outcome !== 'missing') return reception !== undefined;
    await this.fetchAuthChain(room, event, server);
    return (await receiver.storeOutliers(room, [event])).get(eventId)?.outcome !== 'missing';
  }

  async #fetchState(room: Room, eventId: string, server: string): Promise<boolean> {
    const { history, receiver } = this.#options;
    return this.#wholeStates.run(async () => {
      const answer = await history.state(server, room.roomId, eventId);
      if (!answer.ok) return false;
      const { authChain, state } = answer.value;
      await receiver.storeOutliers(room, await this.verified(room, [...authChain, ...state]));
      return true;
    });
  }

  async #fetchSingly(room: Room, ids: readonly string[], server: string, signal: AbortSignal): Promise<void> {
    const gate = new Gate(SINGLE_AT_ONCE);
    const fetched = await Promise.all(
      ids.map((id) => gate.run(async () => (signal.aborted ? undefined : this.event(room, id, [server])))),
    );
    const events = fetched.filter((event) => event !== undefined);
    if (events.length > 0) await this.#options.receiver.storeOutliers(room, events);
  }
}
