import type { IdentifiedPdu } from '#src/protocol/events/pdu.ts';
import { eventId } from '#src/protocol/events/event-hashes.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { referencedIds } from '#src/protocol/events/pdu.ts';
import type { BuiltPdu } from '#src/protocol/events/build-pdu.ts';
import { type JoinableDraft, JoinableRoom } from './joinable-room.ts';
import type { InProcessServer } from '#test/support/in-process-server.ts';
import type { PartnerAnswer, RemotePartner } from './remote-partner.ts';

/** Begins a request, and resolves when it is answered, or waits for the whole state of a room. One at a time. */
export const whetherItWaits = async <Answered>(
  { services: { wholeState } }: InProcessServer,
  request: () => Promise<Answered>,
): Promise<{ readonly waits: boolean; readonly answer: Promise<Answered> }> => {
  const within = wholeState.within.bind(wholeState);
  const begun = Promise.withResolvers<true>();
  wholeState.within = (room, ms) => {
    const known = within(room, ms);
    let isKnown = false;
    void known.then(() => (isKnown = true));
    setImmediate(() => {
      if (!isKnown) begun.resolve(true);
    });
    return known;
  };
  const answer = request();
  try {
    return { waits: await Promise.race([begun.promise, answer.then(() => false)]), answer };
  } finally {
    wholeState.within = within;
  }
};

/** A room with many members that a scripted server tells without them at first, and with them when a test says so. */
export class PartialRoom extends JoinableRoom {
  readonly servers: readonly string[];
  /** The state before each join, and before what it comes after, by the ids of these. */
  readonly #before = new Map<string, readonly IdentifiedPdu[]>();
  #opened = Promise.withResolvers<void>();

  /**
   * @param members ids of users who are in it
   * @param servers what is told as the servers in it
   */
  constructor(partner: RemotePartner, members: readonly string[], servers: readonly string[], version = '10') {
    super(partner, version);
    this.servers = servers;
    for (const member of members) this.enter(member);
    this.#serve();
  }

  /** Somebody comes in. */
  enter(member: string, content: JsonObject = { displayname: `Name of ${member}` }): IdentifiedPdu {
    return this.add({
      type: 'm.room.member',
      sender: member,
      stateKey: member,
      content: { membership: 'join', ...content },
      ...this.signedBy(member),
    });
  }

  /** An event that is on no branch which the partner goes on with. */
  beside(draft: JoinableDraft): BuiltPdu {
    const event = this.build({ ...draft, ...this.signedBy(draft.sender) });
    this.events.set(event.eventId, event);
    return event;
  }

  ban(member: string): IdentifiedPdu {
    return this.add({ type: 'm.room.member', sender: this.creator, stateKey: member, content: { membership: 'ban' } });
  }

  say(sender: string, body: string): IdentifiedPdu {
    return this.add({
      type: 'm.room.message',
      sender,
      content: { msgtype: 'm.text', body },
      ...this.signedBy(sender),
    });
  }

  /** Lets the whole state be told. */
  open(): void {
    this.#opened.resolve();
  }

  /** From now on who asks for the whole state waits again. */
  shut(): void {
    this.#opened = Promise.withResolvers<void>();
  }

  /** Events that these name as their auth events, directly or not. */
  authChain(events: readonly IdentifiedPdu[]): readonly IdentifiedPdu[] {
    const found = new Map<string, IdentifiedPdu>();
    const open = [...events];
    for (let one = open.pop(); one !== undefined; one = open.pop()) {
      for (const id of referencedIds(one.pdu.auth_events)) {
        const event = this.events.get(id);
        if (event !== undefined && !found.has(id)) open.push(event);
        if (event !== undefined) found.set(id, event);
      }
    }
    return [...found.values()];
  }

  /** How another partner answers for the whole state: with what it is given. */
  stateBefore(joinId: string): JsonObject {
    const state = this.#before.get(joinId) ?? [];
    return { pdus: state.map(({ pdu }) => pdu), auth_chain: this.authChain(state).map(({ pdu }) => pdu) };
  }

  /** Users of other partners sign with the keys of those. */
  signedBy(_sender: string): { readonly signingKey?: RemotePartner['signingKey']; readonly serverName?: string } {
    return {};
  }

  #serve(): void {
    const room = encodeURIComponent(this.roomId);
    this.serveJoins();
    this.partner.on('PUT', `/_matrix/federation/v2/send_join/${room}/*`, ({ body, query }) => {
      const join = { eventId: eventId(this.version, body), pdu: body };
      const state = [...this.state.values()];
      this.#before.set(join.eventId, state);
      const { last } = this;
      const replaced = [...this.events.values()].findLast(
        ({ eventId: id, pdu }) =>
          id !== last.eventId &&
          pdu.type === last.pdu.type &&
          pdu.state_key === last.pdu.state_key &&
          last.pdu.state_key !== undefined,
      );
      this.#before.set(
        last.eventId,
        state.flatMap((event) => (event.eventId === last.eventId ? (replaced ?? []) : event)),
      );
      this.take(join);
      const isPartial = query.get('omit_members') === 'true';
      const told = isPartial ? state.filter(({ pdu }) => pdu.type !== 'm.room.member') : state;
      return {
        body: {
          origin: this.partner.serverName,
          members_omitted: isPartial,
          ...(isPartial ? { servers_in_room: this.servers } : {}),
          state: told.map(({ pdu }) => pdu),
          auth_chain: this.authChain([...told, join]).map(({ pdu }) => pdu),
        },
      };
    });
    this.partner.on('GET', `/_matrix/federation/v1/state/${room}`, async ({ query }) => {
      await this.#opened.promise;
      return { body: this.stateBefore(query.get('event_id') ?? '') };
    });
    this.partner.on('GET', `/_matrix/federation/v1/state_ids/${room}`, ({ query }) => {
      const state = this.#before.get(query.get('event_id') ?? '') ?? [];
      const ids = (events: readonly IdentifiedPdu[]): readonly string[] => events.map(({ eventId: id }) => id);
      return { body: { pdu_ids: ids(state), auth_chain_ids: ids(this.authChain(state)) } };
    });
    this.partner.on('GET', /\/federation\/v1\/event\//, ({ path }) => this.#event(path));
    this.partner.on('GET', `/_matrix/federation/v1/event_auth/${room}/*`, ({ path }) => {
      const event = this.events.get(decodeURIComponent(path.split('/').at(-1) ?? ''));
      return { body: { auth_chain: this.authChain(event === undefined ? [] : [event]).map(({ pdu }) => pdu) } };
    });
    this.partner.on('POST', `/_matrix/federation/v1/get_missing_events/${room}`, () => ({ body: { events: [] } }));
    this.partner.on('GET', `/_matrix/federation/v1/backfill/${room}`, () => ({ body: { pdus: [] } }));
  }

  #event(path: string): PartnerAnswer {
    const event = this.events.get(decodeURIComponent(path.split('/').at(-1) ?? ''));
    return event === undefined
      ? { status: 404, body: { errcode: 'M_NOT_FOUND', error: 'There is no such event.' } }
      : { body: { origin: this.partner.serverName, origin_server_ts: 0, pdus: [event.pdu] } };
  }
}
