import { isEventId } from '#src/protocol/identifiers/identifiers.ts';
import type { JsonObject, JsonValue } from '#src/protocol/json/json-value.ts';
import { isJsonObject } from '#src/protocol/json/json-value.ts';
import { federationFailure, type FederationFailure, type FederationResult } from './federation-result.ts';
import type { FederationClient } from './federation-client.ts';
import type { FederationStream } from './federation-request.ts';

/** A valid answer, or why there is none. */
export type Asked<T> = { readonly ok: true; readonly value: T } | FederationFailure;

/** The ids of a state, and of the auth chains of its events. */
export interface StateIds {
  readonly state: readonly string[];
  readonly authChain: readonly string[];
}

/** The same with the events themselves, as received. */
export interface StateEvents {
  readonly state: readonly JsonObject[];
  readonly authChain: readonly JsonObject[];
}

const MEBIBYTE = 1_048_576;
/** What answers may be long. A state of 50,000 members takes about 50 MiB. */
export const MAX_BYTES = { event: MEBIBYTE, events: 16 * MEBIBYTE, stateIds: 16 * MEBIBYTE, state: 128 * MEBIBYTE };
/** Maximum number of event ids in one response. */
const MAX_IDS = 250_000;
const HISTORY_MS = { headersMs: 20_000, totalMs: 30_000 };
const STATE_MS = { headersMs: 60_000, bodyMs: 30_000, totalMs: 120_000 };
/** A server may read the state of a large room for a while before it answers. */
const WHOLE_STATE_MS = { headersMs: 300_000, bodyMs: 60_000, totalMs: 1_200_000 };

/** Requests missing events from other servers. Server-Server API, "Backfilling and retrieving missing events", "Retrieving events". */
export class HistoryApi {
  readonly #client: Pick<FederationClient, 'request' | 'stream'>;

  constructor(client: Pick<FederationClient, 'request' | 'stream'>) {
    this.#client = client;
  }

  /** `POST /get_missing_events/{roomId}`: events between `earliest` and `latest`, without those. */
  async missingEvents(
    destination: string,
    roomId: string,
    query: {
      readonly earliest: readonly string[];
      readonly latest: readonly string[];
      readonly limit: number;
      readonly minDepth: number;
    },
  ): Promise<Asked<readonly JsonObject[]>> {
    const result = await this.#client.request({
      destination,
      method: 'POST',
      path: `/_matrix/federation/v1/get_missing_events/${encodeURIComponent(roomId)}`,
      content: {
        earliest_events: query.earliest,
        latest_events: query.latest,
        limit: query.limit,
        min_depth: query.minDepth,
      },
      maxBodyBytes: MAX_BYTES.events,
      timeouts: HISTORY_MS,
    });
    return valueOf(result, ({ events }) => objectsIn(events)?.slice(0, query.limit));
  }

  /** `GET /backfill/{roomId}`: events before others, themselves included. */
  async backfill(
    destination: string,
    roomId: string,
    from: readonly string[],
    { limit, ...options }: { readonly limit: number; readonly isUrgent: boolean; readonly signal: AbortSignal },
  ): Promise<Asked<readonly JsonObject[]>> {
    const result = await this.#client.request({
      destination,
      method: 'GET',
      path: `/_matrix/federation/v1/backfill/${encodeURIComponent(roomId)}`,
      query: { v: from, limit: `${limit}` },
      maxBodyBytes: MAX_BYTES.events,
      timeouts: HISTORY_MS,
      ...options,
    });
    return valueOf(result, ({ pdus }) => objectsIn(pdus)?.slice(0, limit));
  }

  /** `GET /event/{eventId}`. */
  async event(destination: string, eventId: string): Promise<Asked<JsonObject>> {
    const result = await this.#client.request({
      destination,
      method: 'GET',
      path: `/_matrix/federation/v1/event/${encodeURIComponent(eventId)}`,
      maxBodyBytes: MAX_BYTES.event,
      timeouts: HISTORY_MS,
    });
    return valueOf(result, ({ pdus }) => objectsIn(pdus)?.[0]);
  }

  /** `GET /event_auth/{roomId}/{eventId}`: the auth chain of an event. */
  async eventAuth(destination: string, roomId: string, eventId: string): Promise<Asked<readonly JsonObject[]>> {
    const result = await this.#client.request({
      destination,
      method: 'GET',
      path: `/_matrix/federation/v1/event_auth/${encodeURIComponent(roomId)}/${encodeURIComponent(eventId)}`,
      maxBodyBytes: MAX_BYTES.events,
      timeouts: HISTORY_MS,
    });
    return valueOf(result, ({ auth_chain: chain }) => objectsIn(chain));
  }

  /** `GET /state_ids/{roomId}`: the state before an event, by ids. */
  async stateIds(destination: string, roomId: string, eventId: string): Promise<Asked<StateIds>> {
    const result = await this.#client.request({
      destination,
      method: 'GET',
      path: `/_matrix/federation/v1/state_ids/${encodeURIComponent(roomId)}`,
      query: { event_id: eventId },
      maxBodyBytes: MAX_BYTES.stateIds,
      timeouts: STATE_MS,
    });
    if (result.ok && [result.body['pdu_ids'], result.body['auth_chain_ids']].some(hasTooManyIds))
      return federationFailure(
        'too_large',
        destination,
        `${destination} answered with more than ${MAX_IDS} event ids.`,
      );
    return valueOf(result, ({ pdu_ids: pduIds, auth_chain_ids: authIds }) => {
      const state = idsIn(pduIds);
      const authChain = idsIn(authIds);
      return state === undefined || authChain === undefined ? undefined : { state, authChain };
    });
  }

  /** `GET /state/{roomId}`: the state before an event, with everything that its events name. */
  async state(destination: string, roomId: string, eventId: string): Promise<Asked<StateEvents>> {
    const result = await this.#client.request({
      destination,
      method: 'GET',
      path: `/_matrix/federation/v1/state/${encodeURIComponent(roomId)}`,
      query: { event_id: eventId },
      maxBodyBytes: MAX_BYTES.state,
      isCounted: false,
      timeouts: STATE_MS,
    });
    return valueOf(result, ({ pdus, auth_chain: chain }) => {
      const state = objectsIn(pdus);
      const authChain = objectsIn(chain);
      return state === undefined || authChain === undefined ? undefined : { state, authChain };
    });
  }

  /** The same as a stream, for states of any size. */
  stateStream(
    destination: string,
    roomId: string,
    eventId: string,
    bounds: { readonly maxBodyBytes: number; readonly signal: AbortSignal },
  ): Promise<FederationStream | FederationFailure> {
    return this.#client.stream({
      destination,
      method: 'GET',
      path: `/_matrix/federation/v1/state/${encodeURIComponent(roomId)}`,
      query: { event_id: eventId },
      ...bounds,
      timeouts: WHOLE_STATE_MS,
    });
  }

  /** `GET /timestamp_to_event/{roomId}`: the event nearest to a time. */
  async eventByTime(
    destination: string,
    roomId: string,
    ts: number,
    dir: 'f' | 'b',
  ): Promise<Asked<{ readonly eventId: string; readonly ts: number }>> {
    const result = await this.#client.request({
      destination,
      method: 'GET',
      path: `/_matrix/federation/v1/timestamp_to_event/${encodeURIComponent(roomId)}`,
      query: { ts: `${ts}`, dir },
      timeouts: HISTORY_MS,
      isUrgent: true,
    });
    return valueOf(result, ({ event_id: eventId, origin_server_ts: found }) =>
      isEventId(eventId) && Number.isSafeInteger(found) ? { eventId, ts: found as number } : undefined,
    );
  }
}

const valueOf = <T>(result: FederationResult, read: (body: JsonObject) => T | undefined): Asked<T> => {
  if (!result.ok) return result;
  const value = read(result.body);
  return value === undefined
    ? federationFailure('bad_answer', '', 'The answer does not have the form that the specification says.')
    : { ok: true, value };
};

/** Anything but an object is left out: it is not an event. */
const objectsIn = (value: JsonValue | undefined): readonly JsonObject[] | undefined =>
  Array.isArray(value) ? value.filter((one) => isJsonObject(one)) : undefined;

const hasTooManyIds = (value: JsonValue | undefined): boolean => Array.isArray(value) && value.length > MAX_IDS;

const idsIn = (value: JsonValue | undefined): readonly string[] | undefined =>
  Array.isArray(value) && value.length <= MAX_IDS ? [...new Set(value.filter((one) => isEventId(one)))] : undefined;
