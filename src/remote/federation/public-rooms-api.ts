import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { OutboundTimeouts } from '../outbound-http.ts';
import type { FederationClient } from './federation-client.ts';
import { type FederationFailure, federationFailure } from './federation-result.ts';
import { remotePublicRoom, type RemoteRoomSummary } from './room-summary.ts';

export interface RemotePublicRoomsQuery {
  readonly limit: number;
  readonly since?: string | undefined;
  readonly searchTerm?: string | undefined;
  /** Null stands for rooms without a type. */
  readonly roomTypes?: readonly (string | null)[] | undefined;
  readonly includeAllNetworks?: boolean | undefined;
  readonly thirdPartyInstanceId?: string | undefined;
}

/** A page of another server's room directory; members are named as in the JSON. */
export interface RemotePublicRoomsPage {
  readonly chunk: readonly RemoteRoomSummary[];
  readonly next_batch?: string;
  readonly prev_batch?: string;
  readonly total_room_count_estimate: number;
}

const PATH = '/_matrix/federation/v1/publicRooms';
/** Bytes of a page: rooms with long topics take some kilobytes each. */
export const MAX_PAGE_SIZE = 4_194_304;
const MAX_TOKEN_LENGTH = 2_048;
const TIMEOUTS: Partial<OutboundTimeouts> = { headersMs: 20_000, bodyMs: 10_000, totalMs: 30_000 };

/** The room directories of other servers. Server-Server API, "Published Room Directory". */
export class PublicRoomsApi {
  readonly #client: Pick<FederationClient, 'request'>;

  constructor(client: Pick<FederationClient, 'request'>) {
    this.#client = client;
  }

  /** A page of at most `limit` rooms, whatever the server sends. `GET /publicRooms`, and `POST` where rooms are searched for. */
  async list(
    destination: string,
    query: RemotePublicRoomsQuery,
  ): Promise<{ readonly ok: true; readonly page: RemotePublicRoomsPage } | FederationFailure> {
    const response = await this.#client.request({
      destination,
      path: PATH,
      maxBodyBytes: MAX_PAGE_SIZE,
      timeouts: TIMEOUTS,
      ...askedFor(query),
    });
    if (!response.ok) return response;
    const { chunk, next_batch: next, prev_batch: previous, total_room_count_estimate: total } = response.body;
    if (!Array.isArray(chunk))
      return federationFailure('bad_answer', destination, `${destination} did not answer with a list of rooms.`);
    const rooms = chunk.slice(0, query.limit).flatMap((room) => remotePublicRoom(room) ?? []);
    return {
      ok: true,
      page: {
        chunk: rooms,
        ...(isToken(next) ? { next_batch: next } : {}),
        ...(isToken(previous) ? { prev_batch: previous } : {}),
        total_room_count_estimate:
          typeof total === 'number' && Number.isSafeInteger(total) && total >= rooms.length ? total : rooms.length,
      },
    };
  }
}

const isToken = (value: unknown): value is string =>
  typeof value === 'string' && value !== '' && value.length <= MAX_TOKEN_LENGTH && value.isWellFormed();

const askedFor = (
  query: RemotePublicRoomsQuery,
):
  | { readonly method: 'GET'; readonly query: Readonly<Record<string, string | undefined>> }
  | { readonly method: 'POST'; readonly content: JsonObject } => {
  const { includeAllNetworks, limit, roomTypes, searchTerm = '', since, thirdPartyInstanceId } = query;
  if (searchTerm === '' && roomTypes === undefined) {
    const parameters = {
      limit: String(limit),
      since,
      include_all_networks: includeAllNetworks === true ? 'true' : undefined,
      third_party_instance_id: thirdPartyInstanceId,
    };
    return { method: 'GET', query: parameters };
  }
  return {
    method: 'POST',
    content: {
      limit,
      ...(since === undefined ? {} : { since }),
      filter: {
        ...(searchTerm === '' ? {} : { generic_search_term: searchTerm }),
        ...(roomTypes === undefined ? {} : { room_types: roomTypes }),
      },
      ...(includeAllNetworks === true ? { include_all_networks: true } : {}),
      ...(thirdPartyInstanceId === undefined ? {} : { third_party_instance_id: thirdPartyInstanceId }),
    },
  };
};
