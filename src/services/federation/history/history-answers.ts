import { Readable } from 'node:stream';
import type { Clock } from '#src/kernel/clock.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import type { AuthGraphs } from '#src/services/events/resolution/auth-graph.ts';
import { eventIdBytes, eventIdText } from '#src/services/room-model/event/event-ids.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { WholeState } from '#src/services/room-model/room/whole-state.ts';
import type { StateStore } from '#src/services/room-model/state/state-store.ts';
import { assertAllowsServer } from '#src/services/room-model/room/compiled-acl.ts';
import type { Database } from '#src/storage/database.ts';
import { eventById, eventsByNid } from '#src/storage/room-model/event-reads.ts';
import { idsByNid } from '#src/storage/room-model/event-positions.ts';
import { eventsByTime } from '#src/storage/reading/event-times.ts';
import type { HistoryWalk } from './history-walk.ts';
import type { ServerVisibility } from './server-visibility.ts';

export interface HistoryAnswersOptions {
  readonly serverName: string;
  readonly database: Database;
  readonly rooms: RoomRegistry;
  readonly loader: EventLoader;
  readonly states: StateStore;
  readonly graphs: AuthGraphs;
  readonly walk: HistoryWalk;
  readonly visibility: ServerVisibility;
  readonly clock: Clock;
  readonly whole: Pick<WholeState, 'within'>;
}

/** How long a server that asks for a state waits until it is whole. */
const MAX_WAIT_MS = 10_000;
/** Events in one answer, whatever was asked for. */
export const MAX_MISSING = 20;
export const MAX_BACKFILLED = 100;
/** Bytes of events in one answer of these, but the first. */
export const MAX_BYTES = 4 * 1024 * 1024;
/** Events of a state that are read at once. */
const SLICE = 250;
/** Ids of events from which a walk begins. */
export const MAX_ENDS = 50;
/** Events that are looked at for one that the server may see. */
const TIMES_AT_ONCE = 20;
const MAX_TIMES = 400;
const FURTHEST = Number.MAX_SAFE_INTEGER;

/**
 * Answers other servers' requests for the history of rooms that both are in. Events that the requesting server may not see are redacted copies.
 * Server-Server API, "Backfilling and retrieving missing events", "Retrieving events", "Room State Resolution".
 */
export class HistoryAnswers {
  readonly #options: HistoryAnswersOptions;

  constructor(options: HistoryAnswersOptions) {
    this.#options = options;
  }

  /** `POST /get_missing_events/{roomId}`: JSON text. @throws MatrixError M_FORBIDDEN */
  async missingEvents(
    origin: string,
    roomId: string,
    query: {
      readonly latest: readonly string[];
      readonly earliest: readonly string[];
      readonly limit: number;
      readonly minDepth: number;
    },
  ): Promise<string> {
    const room = await this.#room(origin, roomId);
    const found = await this.#options.walk.back(room, {
      latest: query.latest.slice(0, MAX_ENDS),
      earliest: query.earliest.slice(0, MAX_ENDS),
      limit: Math.max(0, Math.min(query.limit, MAX_MISSING)),
      minDepth: query.minDepth,
      isInclusive: false,
    });
    const texts = await this.#options.visibility.texts(room, origin, withinBytes(found).toReversed());
    return `{"events":[${texts.join(',')}]}`;
  }

  /** `GET /backfill/{roomId}`: JSON text. @throws MatrixError M_FORBIDDEN */
  async backfill(origin: string, roomId: string, from: readonly string[], limit: number): Promise<string> {
    const room = await this.#room(origin, roomId);
    const found = await this.#options.walk.back(room, {
      latest: from.slice(0, MAX_ENDS),
      earliest: [],
      limit: Math.max(0, Math.min(limit, MAX_BACKFILLED)),
      minDepth: 0,
      isInclusive: true,
    });
    return this.#transaction(await this.#options.visibility.texts(room, origin, withinBytes(found)));
  }

  /** `GET /event/{eventId}`: JSON text. @throws MatrixError M_NOT_FOUND, M_FORBIDDEN */
  async event(origin: string, eventId: string): Promise<string> {
    const { database, loader, rooms, visibility } = this.#options;
    const record = await eventById(database, eventIdBytes(eventId));
    const room = record === undefined ? undefined : await rooms.byNid(record.room);
    if (record === undefined || room === undefined) throw notFound();
    this.#assertMayAsk(room, origin);
    const [event] = await loader.adopt([record], () => room);
    const isMessageApart =
      event !== undefined && (event.flags & EVENT_FLAGS.outlier) !== 0 && event.stateKey === undefined;
    if (event === undefined || (event.flags & EVENT_FLAGS.rejected) !== 0 || isMessageApart) throw notFound();
    return this.#transaction(await visibility.texts(room, origin, [event]));
  }

  /** `GET /event_auth/{roomId}/{eventId}`: JSON text of the auth chain. @throws MatrixError M_NOT_FOUND, M_FORBIDDEN */
  async eventAuth(origin: string, roomId: string, eventId: string): Promise<Readable> {
    const room = await this.#room(origin, roomId);
    const event = await this.#eventOf(room, eventId);
    if ((event.flags & EVENT_FLAGS.rejected) !== 0) throw notFound();
    return textsOf(this.#listed('{"auth_chain":[', room, await this.#authChain(room, [event.nid]), ']}'));
  }

  /** `GET /state_ids/{roomId}`: JSON text. @throws MatrixError M_NOT_FOUND, M_FORBIDDEN */
  async stateIds(origin: string, roomId: string, eventId: string): Promise<string> {
    const room = await this.#room(origin, roomId);
    const { authChain, state } = await this.#stateBefore(room, eventId);
    const ids = await this.#ids(room, [...new Set([...state, ...authChain])]);
    const listed = (nids: readonly number[]): string => JSON.stringify(nids.flatMap((nid) => ids.get(nid) ?? []));
    return `{"auth_chain_ids":${listed(authChain)},"pdu_ids":${listed(state)}}`;
  }

  /** `GET /state/{roomId}`: JSON text, as it is read. @throws MatrixError M_NOT_FOUND, M_FORBIDDEN */
  async state(origin: string, roomId: string, eventId: string): Promise<Readable> {
    const room = await this.#room(origin, roomId);
    const { authChain, state } = await this.#stateBefore(room, eventId);
    return textsOf(this.#listed('{"auth_chain":[', room, authChain, '],"pdus":['), this.#listed('', room, state, ']}'));
  }

  /**
   * `GET /timestamp_to_event/{roomId}`: the event nearest to a time that the server may see.
   *
   * @throws MatrixError M_NOT_FOUND, M_FORBIDDEN
   */
  async eventByTime(
    origin: string,
    roomId: string,
    ts: number,
    dir: 'f' | 'b',
  ): Promise<{ readonly event_id: string; readonly origin_server_ts: number }> {
    const { database, loader, visibility } = this.#options;
    const room = await this.#room(origin, roomId);
    const sign = dir === 'f' ? 1 : -1;
    let from = { ts, topo: -sign * FURTHEST, nid: -sign * FURTHEST };
    for (let looked = 0; looked < MAX_TIMES; looked += TIMES_AT_ONCE) {
      const query = { room: room.nid, from, to: sign * FURTHEST, since: -FURTHEST, upTo: room.lastPosition };
      const places = await eventsByTime(database, dir, { ...query, limit: TIMES_AT_ONCE });
      const events = await loader.load(places.map(({ nid }) => ({ room, nid })));
      for (const { nid } of places) {
        const event = events.get(nid);
        if (event !== undefined && (await visibility.maySee(room, origin, event)))
          return { event_id: event.eventId, origin_server_ts: event.ts };
      }
      const last = places.at(-1);
      if (last === undefined || places.length < TIMES_AT_ONCE) break;
      from = last;
    }
    throw new MatrixError('M_NOT_FOUND', `There is no event ${dir === 'f' ? 'after' : 'before'} this time.`);
  }

  /** A room that both servers are in. For all others the answer is the same as for one that does not exist. @throws MatrixError M_FORBIDDEN */
  async #room(origin: string, roomId: string): Promise<Room> {
    const room = await this.#options.rooms.byId(roomId);
    if (room === undefined) throw notInRoom();
    this.#assertMayAsk(room, origin);
    return room;
  }

  #assertMayAsk(room: Room, origin: string): void {
    if (!room.hasServer(origin) || !room.joinedServers().has(this.#options.serverName)) throw notInRoom();
    assertAllowsServer(room, origin);
  }

  async #eventOf(room: Room, eventId: string): Promise<StoredEvent> {
    const event = (await this.#options.walk.byId(room, [eventId])).get(eventId);
    if (event === undefined) throw notFound();
    return event;
  }

  /** Positions of the state before an event, and of everything that authorises it. */
  async #stateBefore(
    room: Room,
    eventId: string,
  ): Promise<{ readonly state: readonly number[]; readonly authChain: readonly number[] }> {
    let event = await this.#eventOf(room, eventId);
    if (room.partial !== undefined && event.nid >= room.partial.join) {
      // Most of them are complete soon; otherwise the requesting server would have to ask again, or ask another server.
      if (!(await this.#options.whole.within(room, MAX_WAIT_MS)))
        throw new MatrixError(
          'ORG.MATRIX.MSC3895_UNABLE_DUE_TO_PARTIAL_STATE',
          'This server does not know the full state of the room yet. Ask another one.',
        );
      event = await this.#eventOf(room, eventId);
    }
    if ((event.flags & (EVENT_FLAGS.outlier | EVENT_FLAGS.rejected)) !== 0) throw notFound();
    const chain = await this.#options.states.get(event.state);
    const state = [...chain.others().events, ...chain.members().events];
    return { state, authChain: await this.#authChain(room, state) };
  }

  /** Everything that events name as their auth events, directly or not. */
  async #authChain(room: Room, from: readonly number[]): Promise<readonly number[]> {
    const { edges, events } = await this.#options.graphs.chains(room, from);
    const chain = new Set<number>();
    for (const nid of events) for (const auth of edges.get(nid) ?? []) chain.add(auth);
    return [...chain];
  }

  async #ids(room: Room, nids: readonly number[]): Promise<ReadonlyMap<number, string>> {
    const rows = await idsByNid(this.#options.database, room.nid, nids);
    return new Map(rows.map(({ event_id: id, nid }) => [nid, eventIdText(room.version, id)]));
  }

  /** PDUs as a list in JSON, read a few at a time. */
  async *#listed(before: string, room: Room, nids: readonly number[], after: string): AsyncGenerator<string> {
    let text = before;
    let separator = '';
    for (let at = 0; at < nids.length; at += SLICE) {
      const places = nids.slice(at, at + SLICE).map((nid) => ({ room: room.nid, nid }));
      for (const { json } of await eventsByNid(this.#options.database, places)) {
        text += separator + json;
        separator = ',';
      }
      yield text;
      text = '';
    }
    yield text + after;
  }

  #transaction(texts: readonly string[]): string {
    const { clock, serverName } = this.#options;
    return `{"origin":${JSON.stringify(serverName)},"origin_server_ts":${clock.now()},"pdus":[${texts.join(',')}]}`;
  }
}

const textsOf = (...parts: readonly AsyncGenerator<string>[]): Readable =>
  Readable.from(
    (async function* () {
      for (const part of parts) yield* part;
    })(),
    { objectMode: false },
  );

/** The beginning of events that has so many bytes at most, or the first one. */
const withinBytes = (events: readonly StoredEvent[]): readonly StoredEvent[] => {
  let left = MAX_BYTES;
  const end = events.findIndex(({ json }, index) => (left -= json.length) < 0 && index > 0);
  return end < 0 ? events : events.slice(0, end);
};

const notInRoom = (): MatrixError => new MatrixError('M_FORBIDDEN', 'Your server is not in that room.');
const notFound = (): MatrixError => new MatrixError('M_NOT_FOUND', 'There is no such event in this room.');
