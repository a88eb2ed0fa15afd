import { Readable } from 'node:stream';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { StateChain } from '#src/services/room-model/state/state-chain.ts';
import type { StateStore } from '#src/services/room-model/state/state-store.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import { stateMapKey } from '#src/protocol/state/state-map.ts';
import { isInOrInvited } from '#src/services/room-model/room/membership.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Database } from '#src/storage/database.ts';
import { authEdgesOf } from '#src/storage/room-model/auth-edges.ts';
import { eventsByNid } from '#src/storage/room-model/event-reads.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import type { Accepted } from './membership-handshakes.ts';

/** Events that are read in one statement. */
const SLICE = 500;
/** Heroes of a room without a name. Client-Server API, `m.heroes`. */
const HEROES = 5;

export interface JoinAnswersOptions {
  readonly database: Database;
  readonly states: StateStore;
  readonly serverName: string;
}

/**
 * Writes the answer of `send_join`: the state before the join, and its auth chain. It is streamed while it is read, so that a
 * room of any size takes no memory. Server-Server API, `PUT /send_join`.
 */
export class JoinAnswers {
  readonly #options: JoinAnswersOptions;

  constructor(options: JoinAnswersOptions) {
    this.#options = options;
  }

  /**
   * The JSON of the answer.
   *
   * @param omitsMembers the other server can do without the memberships ("omit_members")
   * @param isList version 1 of the endpoint answers with a list of status and body
   */
  async of(accepted: Accepted, omitsMembers: boolean, isList = false): Promise<Readable> {
    const { room, event } = accepted;
    const state = await this.#options.states.get(event.state);
    const nids = omitsMembers ? await this.#withoutMembers(room, state, event) : everythingIn(state);
    const head = this.#headOf(accepted, omitsMembers);
    return Readable.from(this.#write(room, { head, nids, event, omitsMembers, isList }), { objectMode: false });
  }

  #headOf({ room, event, isAuthorised }: Accepted, omitsMembers: boolean): JsonObject {
    const { serverName } = this.#options;
    const isAlone = room.joinedServers().get(domainOf(event.sender) ?? '') === 1;
    const servers = [...room.joinedServers().keys()].filter((server) => !isAlone || server !== domainOf(event.sender));
    return {
      ...(isAuthorised ? { event: event.pdu } : {}),
      members_omitted: omitsMembers,
      origin: serverName,
      // "A list of the servers active in the room (ie, those with joined members) before the join."
      ...(omitsMembers ? { servers_in_room: servers } : {}),
    };
  }

  /** The state without memberships, except those of the heroes of a room without a name. */
  async #withoutMembers(room: Room, state: StateChain, join: StoredEvent): Promise<readonly number[]> {
    const nids = [...state.others().events];
    const isNamed = [...room.state].some(
      ([key, { event }]) =>
        (key === NAME && typeof event.content['name'] === 'string' && event.content['name'] !== '') ||
        (key === ALIAS && typeof event.content['alias'] === 'string'),
    );
    if (isNamed) return nids;
    const inState = new Set(state.members().events);
    for (const member of room.members.values()) {
      if (nids.length >= state.others().size + HEROES) break;
      if (isInOrInvited(member.membership) && member.userId !== join.sender && inState.has(member.event))
        nids.push(member.event);
    }
    return nids;
  }

  async *#write(
    room: Room,
    { head, nids, event, omitsMembers, isList }: Parts,
  ): AsyncGenerator<Buffer, void, undefined> {
    const begin = JSON.stringify(head);
    yield Buffer.from(`${isList ? '[200,' : ''}${begin.slice(0, -1)},"state":[`);
    yield* this.#texts(room, nids);
    yield Buffer.from('],"auth_chain":[');
    const state = new Set(nids);
    const chain = await this.#authChain(room, [...nids, event.nid]);
    chain.delete(event.nid);
    // "any events that are returned in state may be omitted from auth_chain".
    yield* this.#texts(
      room,
      [...chain].filter((nid) => !omitsMembers || !state.has(nid)),
    );
    yield Buffer.from(isList ? ']}]' : ']}');
  }

  async *#texts(room: Room, nids: readonly number[]): AsyncGenerator<Buffer, void, undefined> {
    for (let at = 0; at < nids.length; at += SLICE) {
      const places = nids.slice(at, at + SLICE).map((nid) => ({ room: room.nid, nid }));
      const records = await eventsByNid(this.#options.database, places);
      const texts = records.map(({ json }) => federationJson(json)).join(',');
      if (texts !== '') yield Buffer.from(at === 0 ? texts : `,${texts}`);
    }
  }

  /** The auth chain of these events. */
  async #authChain(room: Room, from: readonly number[]): Promise<Set<number>> {
    const chain = new Set<number>();
    const seen = new Set(from);
    let next = [...seen];
    while (next.length > 0) {
      const round = next;
      next = [];
      for (let at = 0; at < round.length; at += 10 * SLICE) {
        for (const { auth } of await authEdgesOf(this.#options.database, room.nid, round.slice(at, at + 10 * SLICE))) {
          for (const nid of auth) {
            chain.add(nid);
            if (seen.has(nid)) continue;
            seen.add(nid);
            next.push(nid);
          }
        }
      }
    }
    return chain;
  }
}

interface Parts {
  readonly head: JsonObject;
  readonly nids: readonly number[];
  readonly event: StoredEvent;
  readonly omitsMembers: boolean;
  readonly isList: boolean;
}

const NAME = stateMapKey('m.room.name', '');
const ALIAS = stateMapKey('m.room.canonical_alias', '');

const everythingIn = (state: StateChain): readonly number[] => [...state.others().events, ...state.members().events];

/** A stored event for another server: stripped state that came with an invite is for its user only. */
const federationJson = (json: string): string => {
  if (!json.includes('"unsigned":')) return json;
  const { unsigned: _unsigned, ...pdu } = JSON.parse(json) as JsonObject;
  return JSON.stringify(pdu);
};
