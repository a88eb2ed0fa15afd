import type { IdentifiedPdu } from '#src/protocol/events/pdu.ts';
import { referencedIds } from '#src/protocol/events/pdu.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { stateMapKey } from '#src/protocol/state/state-map.ts';
import type { Answer } from '#test/support/http.ts';
import type { InProcessServer } from '#test/support/in-process-server.ts';
import { type RemoteDraft, RemoteRoom, signsWith } from './remote-room.ts';
import type { PartnerRequest, RemotePartner } from './remote-partner.ts';

/** The server whose room it is. */
export type RoomHost = Pick<InProcessServer, 'serverName' | 'clock' | 'idle' | 'services'>;

/**
 * A room of a server as a scripted partner knows it: the partner's users make events in it, which are sent or kept back, and the partner
 * answers what it is asked for its history.
 */
export class PartnerRoom {
  readonly roomId: string;
  readonly #server: RoomHost;
  readonly #partner: RemotePartner;
  #remote: RemoteRoom;

  private constructor(server: RoomHost, partner: RemotePartner, roomId: string, remote: RemoteRoom) {
    this.#server = server;
    this.#partner = partner;
    this.roomId = roomId;
    this.#remote = remote;
  }

  /** A partner whose users come into a public room of the server. */
  static async join(
    server: RoomHost,
    partner: RemotePartner,
    roomId: string,
    users: readonly string[],
  ): Promise<PartnerRoom> {
    signsWith(partner.serverName, partner.signingKey);
    const { receiver } = server.services;
    const remote = new RemoteRoom(server.services, (await server.services.rooms.byId(roomId))!, receiver);
    const room = new PartnerRoom(server, partner, roomId, remote);
    await remote.catchUp();
    for (const user of users) {
      await room.send([
        room.build({ type: 'm.room.member', sender: user, stateKey: user, content: { membership: 'join' } }),
      ]);
    }
    return room;
  }

  /** Reads what the server has stored by now, and holds its verdicts against the partner's. */
  async catchUp(): Promise<void> {
    await this.#server.idle();
    await this.#remote.catchUp();
  }

  /** Makes an event that the partner knows from now on; the server does not. */
  make(draft: RemoteDraft): IdentifiedPdu {
    const event = this.build(draft);
    this.learn(event);
    return event;
  }

  /** The same, without the partner taking note of it. */
  build(draft: RemoteDraft): IdentifiedPdu {
    return this.#remote.build({ ...draft, ts: draft.ts ?? this.#server.clock.now() });
  }

  /** Lets the partner know an event that the server does not have. */
  learn(event: IdentifiedPdu): void {
    this.#remote.replay.take(event.eventId, event.pdu);
  }

  say(sender: string, body: string, more: Partial<RemoteDraft> = {}): IdentifiedPdu {
    return this.make({ type: 'm.room.message', sender, content: { msgtype: 'm.text', body }, ...more });
  }

  get extremities(): readonly string[] {
    return this.#remote.replay.extremities;
  }

  event(eventId: string): IdentifiedPdu {
    return this.#remote.replay.events.get(eventId)!.event;
  }

  /** Ids of the state before an event. */
  stateBefore(eventId: string): readonly string[] {
    return [...this.#remote.replay.events.get(eventId)!.before.values()];
  }

  /** Ids of everything that these name as auth events, directly or not. */
  authChain(ids: readonly string[]): readonly string[] {
    const found = new Set<string>();
    const open = [...ids];
    for (let id = open.pop(); id !== undefined; id = open.pop()) {
      for (const auth of referencedIds(this.event(id).pdu.auth_events)) {
        if (!found.has(auth)) open.push(auth);
        found.add(auth);
      }
    }
    return [...found];
  }

  /** Id of the event that stands for an entry of the present state. */
  stateEvent(type: string, stateKey = ''): string | undefined {
    return this.#remote.replay.current.get(stateMapKey(type, stateKey));
  }

  /** Sends events in one transaction, and waits until it is known what becomes of them. */
  async send(events: readonly (IdentifiedPdu | JsonObject)[]): Promise<Answer> {
    const pdus = events.map((event) => ('pdu' in event && 'eventId' in event ? event.pdu : event));
    const answer = await this.#partner.transact(this.#server.serverName, { pdus });
    for (const event of events)
      if ('eventId' in event && !this.#knows(event as IdentifiedPdu)) this.learn(event as IdentifiedPdu);
    await this.#server.idle();
    return answer;
  }

  /** Lets the partner answer what it is asked for history, of all that it knows. */
  serveHistory(): void {
    const pduOf = (id: string): JsonObject => this.event(id).pdu;
    const notFound = { status: 404, body: { errcode: 'M_NOT_FOUND', error: 'There is no such event.' } };
    this.#partner.on('POST', '/_matrix/federation/v1/get_missing_events/*', ({ body }) => {
      const { earliest_events: earliest, latest_events: latest, limit } = body;
      if (!latest.every((id: string) => this.#remote.replay.events.has(id))) return notFound;
      return { body: { events: this.between(earliest, latest, Math.min(limit, 20)).map(pduOf) } };
    });
    this.#partner.on('GET', '/_matrix/federation/v1/event/*', (request) => {
      const id = lastSegment(request);
      if (!this.#remote.replay.events.has(id)) return notFound;
      return { body: { origin: this.#partner.serverName, origin_server_ts: 0, pdus: [pduOf(id)] } };
    });
    this.#partner.on('GET', '/_matrix/federation/v1/event_auth/*/*', (request) => {
      const id = lastSegment(request);
      if (!this.#remote.replay.events.has(id)) return notFound;
      return { body: { auth_chain: this.authChain([id]).map(pduOf) } };
    });
    this.#partner.on('GET', '/_matrix/federation/v1/state_ids/*', ({ query }) => {
      const id = query.get('event_id')!;
      if (!this.#remote.replay.events.has(id)) return notFound;
      const state = this.stateBefore(id);
      return { body: { pdu_ids: state, auth_chain_ids: this.authChain(state) } };
    });
    this.#partner.on('GET', '/_matrix/federation/v1/state/*', ({ query }) => {
      const id = query.get('event_id')!;
      if (!this.#remote.replay.events.has(id)) return notFound;
      const state = this.stateBefore(id);
      return { body: { pdus: state.map(pduOf), auth_chain: this.authChain(state).map(pduOf) } };
    });
    this.#partner.on('GET', '/_matrix/federation/v1/backfill/*', ({ query }) => {
      const found = this.between([], query.getAll('v'), Number(query.get('limit')), true);
      return { body: { origin: this.#partner.serverName, origin_server_ts: 0, pdus: found.map(pduOf) } };
    });
  }

  /** Events before some, up to others, oldest first: as a server walks back. */
  between(
    earliest: readonly string[],
    latest: readonly string[],
    limit: number,
    isInclusive = false,
  ): readonly string[] {
    const stop = new Set(earliest);
    const found: string[] = [];
    const open = isInclusive ? [...latest] : latest.flatMap((id) => referencedIds(this.event(id).pdu.prev_events));
    const seen = new Set<string>();
    while (open.length > 0 && found.length < limit) {
      open.sort((a, b) => this.event(b).pdu.depth - this.event(a).pdu.depth);
      const id = open.shift()!;
      if (seen.has(id) || stop.has(id)) continue;
      seen.add(id);
      found.push(id);
      open.push(...referencedIds(this.event(id).pdu.prev_events));
    }
    return found.toReversed();
  }

  #knows({ eventId }: IdentifiedPdu): boolean {
    return this.#remote.replay.events.has(eventId);
  }
}

const lastSegment = ({ path }: PartnerRequest): string => decodeURIComponent(path.split('/').at(-1)!);
