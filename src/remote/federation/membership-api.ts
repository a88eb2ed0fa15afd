import type { PduTemplate } from '#src/protocol/events/build-pdu.ts';
import type { EventReference } from '#src/protocol/events/pdu.ts';
import { areReferences, MAX_AUTH_EVENTS, MAX_PREV_EVENTS } from '#src/protocol/events/pdu-format.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '#src/protocol/json/json-value.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { ROOM_VERSIONS, roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import type { FederationClient } from './federation-client.ts';
import type { FederationFailure } from './federation-result.ts';
import type { FederationRequest, FederationStream } from './federation-request.ts';
import { federationFailure } from './federation-result.ts';

/** Membership changes that take a handshake with a server that is in the room. */
export type Handshake = 'join' | 'leave' | 'knock';

/** A member event that was made from a template. */
export interface CompletedEvent {
  readonly roomId: string;
  readonly eventId: string;
  readonly event: JsonObject;
}

/** What a server answered to `make_join`, `make_leave` or `make_knock`. */
export interface MadeMembership {
  readonly ok: true;
  readonly version: RoomVersion;
  /** Its `auth_events` and `prev_events`. */
  readonly links: Pick<PduTemplate, 'depth' | 'prevEvents' | 'authEvents'>;
  /** The content of the event that the server suggests. */
  readonly content: JsonObject;
}

export type Answered<T> = ({ readonly ok: true } & T) | FederationFailure;

const V1 = '/_matrix/federation/v1';
const V2 = '/_matrix/federation/v2';
/** Stripped state of a room. */
const MAX_STATE_BYTES = 2_097_152;

/** Requests to other servers about memberships. Server-Server API, "Joining Rooms", "Knocking upon a room", "Inviting to a room", "Leaving Rooms". */
export class MembershipApi {
  readonly #client: Pick<FederationClient, 'request' | 'stream'>;

  constructor(client: Pick<FederationClient, 'request' | 'stream'>) {
    this.#client = client;
  }

  /** @param known the room's version, where it is known: a response with another one is refused */
  async make(
    how: Handshake,
    destination: string,
    {
      roomId,
      userId,
      known,
    }: { readonly roomId: string; readonly userId: string; readonly known?: RoomVersion | undefined },
  ): Promise<MadeMembership | FederationFailure> {
    const result = await this.#client.request({
      destination,
      method: 'GET',
      path: `${V1}/make_${how}/${segment(roomId)}/${segment(userId)}`,
      query: how === 'leave' ? {} : { ver: [...ROOM_VERSIONS.keys()] },
      timeouts: TIMEOUTS,
      isUrgent: true,
    });
    if (!result.ok) return result;
    const { event, room_version: told } = result.body;
    const template = templateOf(event, how, roomId, userId);
    if (typeof template === 'string')
      return federationFailure('bad_answer', destination, `The template of ${destination} ${template}.`);
    // "If not provided, the room version is assumed to be either "1" or "2"."
    const version = typeof told === 'string' ? roomVersion(told) : (known ?? roomVersion('1'));
    if (version === undefined || (known !== undefined && version.id !== known.id)) {
      const error = `${destination} says that the room has the version ${JSON.stringify(told)}.`;
      return federationFailure('bad_answer', destination, error);
    }
    const { auth_events: authEvents, content, depth, prev_events: prevEvents } = template;
    if (!areReferences(version, prevEvents) || !areReferences(version, authEvents))
      return federationFailure(
        'bad_answer',
        destination,
        `The template of ${destination} names events as no event does.`,
      );
    return { ok: true, version, links: { depth, prevEvents, authEvents }, content };
  }

  /** The response is a stream: it has the state of the room. */
  async sendJoin(
    destination: string,
    { roomId, eventId, event }: CompletedEvent,
    { omitsMembers, maxBodyBytes }: { readonly omitsMembers: boolean; readonly maxBodyBytes: number },
  ): Promise<FederationStream | FederationFailure> {
    const request = {
      destination,
      method: 'PUT',
      content: event,
      maxBodyBytes,
      timeouts: JOIN_TIMEOUTS,
      isUrgent: true,
    } as const;
    const path = `send_join/${segment(roomId)}/${segment(eventId)}`;
    const query = omitsMembers ? { omit_members: 'true' } : {};
    const response = await this.#client.stream({ ...request, path: `${V2}/${path}`, query });
    if (response.ok || !isUnknownEndpoint(response)) return response;
    return this.#client.stream({ ...request, path: `${V1}/${path}` });
  }

  async sendLeave(destination: string, { roomId, eventId, event }: CompletedEvent): Promise<Answered<object>> {
    const request = { destination, method: 'PUT', content: event, timeouts: TIMEOUTS, isUrgent: true } as const;
    const path = `send_leave/${segment(roomId)}/${segment(eventId)}`;
    const response = await this.#client.request({ ...request, path: `${V2}/${path}` });
    return response.ok || !isUnknownEndpoint(response) ? response : this.#ofList({ ...request, path: `${V1}/${path}` });
  }

  /** @returns the stripped state of the room, as received */
  async sendKnock(
    destination: string,
    { roomId, eventId, event }: CompletedEvent,
  ): Promise<Answered<{ readonly state: JsonValue | undefined }>> {
    const response = await this.#client.request({
      destination,
      method: 'PUT',
      path: `${V1}/send_knock/${segment(roomId)}/${segment(eventId)}`,
      content: event,
      maxBodyBytes: MAX_STATE_BYTES,
      timeouts: TIMEOUTS,
      isUrgent: true,
    });
    return response.ok ? { ok: true, state: response.body['knock_room_state'] } : response;
  }

  /** Has the invited user's server sign an invite. @returns the event with its signature */
  async invite(
    destination: string,
    version: RoomVersion,
    { roomId, eventId, event }: CompletedEvent,
    state: readonly JsonObject[],
  ): Promise<Answered<{ readonly event: JsonObject }>> {
    const request = { destination, method: 'PUT', timeouts: TIMEOUTS, isUrgent: true } as const;
    const path = `invite/${segment(roomId)}/${segment(eventId)}`;
    let response: Answered<{ readonly body: JsonObject }> = await this.#client.request({
      ...request,
      path: `${V2}/${path}`,
      content: { room_version: version.id, event, invite_room_state: state },
    });
    // "Senders which receive a 400 or 404 response to this endpoint should retry using the v1 API ... if the room version is "1" or "2"."
    if (!response.ok && version.eventIdFormat === 'assigned' && (response.status === 400 || response.status === 404)) {
      const content = { ...event, unsigned: { invite_room_state: state } };
      const older = await this.#ofList({ ...request, path: `${V1}/${path}`, content });
      if (older.ok) response = older;
    }
    if (!response.ok) return response;
    const signed = response.body['event'];
    if (isJsonObject(signed)) return { ok: true, event: signed };
    return federationFailure('bad_answer', destination, `${destination} did not answer with the invite.`);
  }

  /** Asks the inviter's server to exchange a third-party invite for an invite of a user. */
  exchangeThirdPartyInvite(destination: string, roomId: string, event: JsonObject): Promise<Answered<object>> {
    return this.#client.request({
      destination,
      method: 'PUT',
      path: `${V1}/exchange_third_party_invite/${segment(roomId)}`,
      content: event,
      timeouts: TIMEOUTS,
      isUrgent: true,
    });
  }

  /** A request of version 1, whose answer is a list of status and body. */
  async #ofList(request: FederationRequest): Promise<Answered<{ readonly body: JsonObject }>> {
    const { destination } = request;
    const response = await this.#client.stream({ ...request, maxBodyBytes: MAX_STATE_BYTES });
    if (!response.ok) return response;
    try {
      const chunks: Buffer[] = [];
      for await (const chunk of response.body) chunks.push(chunk);
      const value: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'));
      const body: unknown = Array.isArray(value) ? value[1] : undefined;
      if (isJsonObject(body)) return { ok: true, body };
    } catch {
      // An incomplete or invalid body is no response either.
    }
    return federationFailure('bad_answer', destination, `${destination} did not answer as version 1 of the API does.`);
  }
}

/** Milliseconds: a client waits for each of them. */
const TIMEOUTS = { headersMs: 20_000, totalMs: 30_000 };
/** A server may write the state of a large room for a while before it answers. */
export const JOIN_TIMEOUTS = { headersMs: 120_000, bodyMs: 60_000, totalMs: 600_000 };

interface Template {
  readonly depth: number;
  readonly prev_events: readonly EventReference[];
  readonly auth_events: readonly EventReference[];
  readonly content: JsonObject;
}

const segment = (text: string): string => encodeURIComponent(text);

const isUnknownEndpoint = ({ errcode, kind, status }: FederationFailure): boolean =>
  kind === 'refused' && (errcode === 'M_UNRECOGNIZED' || (errcode === undefined && (status === 404 || status === 405)));

/**
 * "The joining server MUST also verify that the type, room_id, sender, state_key and content.membership fields have the expected values."
 *
 * @returns what is wrong with it, if anything is
 */
const templateOf = (
  event: JsonValue | undefined,
  how: Handshake,
  roomId: string,
  userId: string,
): Template | string => {
  if (!isJsonObject(event)) return 'is no event';
  if (event['type'] !== 'm.room.member') return 'is no m.room.member';
  if (event['room_id'] !== roomId) return 'is of another room';
  if (event['sender'] !== userId || event['state_key'] !== userId) return 'is of another user';
  const { auth_events: auth, content, depth, prev_events: prev } = event;
  if (!isJsonObject(content) || content['membership'] !== how) return `is no ${how}`;
  if (!Number.isSafeInteger(depth) || (depth as number) < 0) return 'has no depth';
  if (!Array.isArray(prev) || prev.length === 0 || prev.length > MAX_PREV_EVENTS) return 'has no prev_events';
  if (!Array.isArray(auth) || auth.length > MAX_AUTH_EVENTS) return 'has no auth_events';
  return {
    depth: depth as number,
    prev_events: prev as readonly EventReference[],
    auth_events: auth as readonly EventReference[],
    content,
  };
};
