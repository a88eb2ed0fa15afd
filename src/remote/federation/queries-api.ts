import { parseMxcUri, isRoomId } from '#src/protocol/identifiers/identifiers.ts';
import { fitsBytes } from '#src/protocol/identifiers/byte-length.ts';
import { domainOf, isServerName } from '#src/protocol/identifiers/server-name.ts';
import { isWellFormedJson, type JsonObject, type JsonValue } from '#src/protocol/json/json-value.ts';
import type { OutboundTimeouts } from '../outbound-http.ts';
import type { FederationClient } from './federation-client.ts';
import { type FederationFailure, federationFailure } from './federation-result.ts';

/** The room of another server's alias. */
export interface RemoteAlias {
  readonly roomId: string;
  /** Servers that may be in the room; the one that answered comes first. */
  readonly servers: readonly string[];
}

/** A profile is below 64 KiB. */
const MAX_PROFILE_SIZE = 131_072;
const MAX_DIRECTORY_ANSWER_SIZE = 262_144;
/** Servers of an alias that are kept. */
const MAX_SERVERS = 50;
const MAX_FIELDS = 200;
/** Characters: members carry the name in their events. */
const MAX_NAME_LENGTH = 256;
const TIMEOUTS: Partial<OutboundTimeouts> = { headersMs: 10_000, bodyMs: 5_000, totalMs: 15_000 };

/** Queries for profiles and aliases. Server-Server API, "Querying for information". */
export class QueriesApi {
  readonly #client: Pick<FederationClient, 'request'>;

  constructor(client: Pick<FederationClient, 'request'>) {
    this.#client = client;
  }

  /** The profile of a user of another server. `GET /query/profile`. */
  async profile(userId: string): Promise<{ readonly ok: true; readonly fields: JsonObject } | FederationFailure> {
    const response = await this.#client.request({
      destination: domainOf(userId) ?? '',
      method: 'GET',
      path: '/_matrix/federation/v1/query/profile',
      query: { user_id: userId },
      maxBodyBytes: MAX_PROFILE_SIZE,
      timeouts: TIMEOUTS,
    });
    return response.ok ? { ok: true, fields: profileFields(response.body) } : response;
  }

  /** The room of an alias of another server. `GET /query/directory`. */
  async directory(alias: string): Promise<({ readonly ok: true } & RemoteAlias) | FederationFailure> {
    const destination = domainOf(alias) ?? '';
    const response = await this.#client.request({
      destination,
      method: 'GET',
      path: '/_matrix/federation/v1/query/directory',
      query: { room_alias: alias },
      maxBodyBytes: MAX_DIRECTORY_ANSWER_SIZE,
      timeouts: TIMEOUTS,
    });
    if (!response.ok) return response;
    const { room_id: roomId, servers } = response.body;
    if (!isRoomId(roomId))
      return federationFailure('bad_answer', destination, `${destination} does not say which room the alias leads to.`);
    const named = Array.isArray(servers) ? servers.filter(isServerName) : [];
    return { ok: true, roomId, servers: [...new Set([destination, ...named])].slice(0, MAX_SERVERS) };
  }
}

/** The valid fields: those of the specification must have its types. */
const profileFields = (given: JsonObject): JsonObject => {
  const fields: Record<string, JsonValue> = {};
  for (const [name, value] of Object.entries(given).slice(0, MAX_FIELDS)) {
    // "MUST either be omitted or set to `null`"
    if (value === null || !fitsBytes(name) || !name.isWellFormed()) continue;
    if (name === 'displayname' || name === 'm.tz') {
      if (typeof value === 'string' && value !== '') fields[name] = value.slice(0, MAX_NAME_LENGTH).toWellFormed();
    } else if (name === 'avatar_url') {
      if (parseMxcUri(value) !== undefined) fields[name] = value;
    } else if (isWellFormedJson(value)) fields[name] = value;
  }
  return fields;
};
