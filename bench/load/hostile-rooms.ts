import type { ServerResponse } from 'node:http';
import type { IdentifiedPdu } from '#src/protocol/events/pdu.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import { PARTNER_NAME, type PartnerServer } from './partner-server.ts';

/** What the hostile server does with joins, in turn. */
export type Trick = 'never whole' | 'endless ids' | 'endless state' | 'endless past';

/** Events of the past of one room: as many as 60 pages of /messages would want. */
const PAST = 600;
const FILLING = 'x'.repeat(60_000);
const MEMBER = 'm.room.member';

interface HostileRoom {
  readonly roomId: string;
  readonly trick: Trick;
  readonly state: readonly IdentifiedPdu[];
  /** Oldest first. */
  readonly past: readonly IdentifiedPdu[];
}

/**
 * Public rooms of a hostile server, any number of them: it omits the members and never sends them, or
 * sends endless responses.
 */
export class HostileRooms {
  static readonly #ofPartner = new WeakMap<PartnerServer, HostileRooms>();
  readonly #partner: PartnerServer;
  readonly #rooms = new Map<string, HostileRoom>();
  readonly #version: RoomVersion;

  /** Those of a partner: it has one set of them. */
  static of(partner: PartnerServer): HostileRooms {
    const known = HostileRooms.#ofPartner.get(partner) ?? new HostileRooms(partner);
    HostileRooms.#ofPartner.set(partner, known);
    return known;
  }

  private constructor(partner: PartnerServer) {
    this.#partner = partner;
    const version = roomVersion('10');
    if (version === undefined) throw new Error('there is no room version 10');
    this.#version = version;
    partner.answer = (method, url, response) => this.#answer(method, url, response);
  }

  /** The id of a new room. */
  add(trick: Trick): string {
    const roomId = `!hostile${this.#rooms.size}:${PARTNER_NAME}`;
    const state: IdentifiedPdu[] = [];
    const add = (type: string, stateKey: string, content: JsonObject): void => {
      const auth = state.filter(({ pdu }) => pdu.type !== 'm.room.join_rules').map(({ eventId }) => eventId);
      state.push(this.#build(roomId, state.length + 1, state.slice(-1), auth, { type, stateKey, content }));
    };
    add('m.room.create', '', { room_version: '10', creator: this.#partner.user });
    add(MEMBER, this.#partner.user, { membership: 'join' });
    add('m.room.power_levels', '', { users: { [this.#partner.user]: 100 } });
    add('m.room.join_rules', '', { join_rule: 'public' });
    this.#rooms.set(roomId, { roomId, trick, state, past: trick === 'endless past' ? this.#past(roomId, state) : [] });
    return roomId;
  }

  #past(roomId: string, state: readonly IdentifiedPdu[]): readonly IdentifiedPdu[] {
    const auth = state.slice(0, 3).map(({ eventId }) => eventId);
    const past: IdentifiedPdu[] = [];
    for (let index = 0; index < PAST; index += 1)
      past.push(
        this.#build(roomId, 10 + index, index === 0 ? state.slice(-1) : past.slice(-1), auth, {
          type: 'm.room.message',
          content: { msgtype: 'm.text', body: `${index} ${FILLING}` },
        }),
      );
    return past;
  }

  #build(
    roomId: string,
    depth: number,
    prev: readonly IdentifiedPdu[],
    auth: readonly string[],
    draft: { readonly type: string; readonly content: JsonObject; readonly stateKey?: string },
  ): IdentifiedPdu {
    return this.#partner.build(this.#version, roomId, {
      ...draft,
      depth,
      prev: prev.map(({ eventId }) => eventId),
      auth,
    });
  }

  /** @returns false for what is about no room of these */
  #answer(method: string, url: URL, response: ServerResponse): boolean {
    const [what = '', id = '', last = ''] = url.pathname.split('/').slice(4).map(decodeURIComponent);
    const room = this.#rooms.get(id);
    if (room === undefined) return false;
    const newest = room.past.at(-1) ?? room.state.at(-1);
    if (what === 'make_join' && newest !== undefined) {
      response.end(JSON.stringify({ room_version: '10', event: this.#template(room, last, newest) }));
    } else if (what === 'send_join' && method === 'PUT') this.#join(room, response);
    else if (what === 'state_ids' && room.trick === 'endless ids')
      endless(response, '{"pdu_ids":[', `"$${'a'.repeat(43)}",`);
    else if (what === 'backfill') response.end(JSON.stringify({ pdus: pageOf(room, url.searchParams.getAll('v')) }));
    else if (what === 'state_ids' && room.trick === 'endless past') {
      const ids = room.state.map(({ eventId }) => eventId);
      response.end(JSON.stringify({ pdu_ids: ids, auth_chain_ids: ids }));
    } else if (what === 'state' || what === 'state_ids') {
      // It must respond: a server that never responds would be backed off from.
      response.statusCode = 404;
      response.end('{"errcode":"M_NOT_FOUND","error":"There is no such event."}');
    } else response.end('{}');
    return true;
  }

  #template({ roomId, state }: HostileRoom, userId: string, newest: IdentifiedPdu): JsonObject {
    const auth = state.filter(({ pdu }) => pdu.type !== MEMBER).map(({ eventId }) => eventId);
    return {
      type: MEMBER,
      room_id: roomId,
      sender: userId,
      state_key: userId,
      content: { membership: 'join' },
      depth: newest.pdu.depth + 1,
      prev_events: [newest.eventId],
      auth_events: auth,
      origin: PARTNER_NAME,
      origin_server_ts: Date.now(),
    };
  }

  #join({ state, trick }: HostileRoom, response: ServerResponse): void {
    const pdus = state.map(({ pdu }) => pdu);
    if (trick === 'endless state') {
      const junk = { ...pdus[3], state_key: 'x', content: { filling: FILLING } };
      endless(response, `{"origin":"${PARTNER_NAME}","auth_chain":[],"state":[`, `${JSON.stringify(junk)},`);
      return;
    }
    const isWhole = trick === 'endless past';
    const servers = isWhole ? {} : { members_omitted: true, servers_in_room: [PARTNER_NAME] };
    response.end(JSON.stringify({ origin: PARTNER_NAME, ...servers, state: pdus, auth_chain: pdus }));
  }
}

const endless = (response: ServerResponse, begin: string, more: string): void => {
  response.write(begin);
  const pour = (): void => {
    while (!response.destroyed && response.write(more));
  };
  response.on('drain', pour);
  pour();
};

/** Up to a hundred events, from some on, the newest first. */
const pageOf = ({ past }: HostileRoom, from: readonly string[]): readonly JsonObject[] => {
  const at = past.findLastIndex(({ eventId }) => from.includes(eventId));
  return past
    .slice(Math.max(0, at - 99), at + 1)
    .toReversed()
    .map(({ pdu }) => pdu);
};
