import { isRoomId } from '#src/protocol/identifiers/identifiers.ts';
import type { OutboundTimeouts } from '../outbound-http.ts';
import type { FederationClient } from './federation-client.ts';
import { type FederationFailure, federationFailure } from './federation-result.ts';
import { type RemoteRoomSummary, remoteRoomSummary, type RemoteSpaceChild, remoteSpaceChild } from './room-summary.ts';

/** A room and its direct children, as reported by one server. */
export interface RemoteSpace {
  readonly room: RemoteRoomSummary & { readonly children_state: readonly RemoteSpaceChild[] };
  /** The summaries of children, by room id. */
  readonly children: ReadonlyMap<string, RemoteRoomSummary>;
  /** Children that are inaccessible to this server, as far as the other one knows. */
  readonly inaccessible: ReadonlySet<string>;
}

export const MAX_ANSWER_SIZE = 4_194_304;
/** Maximum number of children of a space. */
const MAX_CHILDREN = 1_000;
const TIMEOUTS: Partial<OutboundTimeouts> = { headersMs: 10_000, bodyMs: 10_000, totalMs: 20_000 };

/** Space hierarchies of other servers. Server-Server API, "Spaces". */
export class SpacesApi {
  readonly #client: Pick<FederationClient, 'request'>;

  constructor(client: Pick<FederationClient, 'request'>) {
    this.#client = client;
  }

  /** A room, which need not be a space, and its children. `GET /hierarchy/{roomId}`. */
  async hierarchy(
    destination: string,
    roomId: string,
    suggestedOnly: boolean,
  ): Promise<{ readonly ok: true; readonly space: RemoteSpace } | FederationFailure> {
    const response = await this.#client.request({
      destination,
      method: 'GET',
      path: `/_matrix/federation/v1/hierarchy/${encodeURIComponent(roomId)}`,
      query: { suggested_only: suggestedOnly ? 'true' : 'false' },
      maxBodyBytes: MAX_ANSWER_SIZE,
      timeouts: TIMEOUTS,
    });
    if (!response.ok) return response;
    const { children, inaccessible_children: inaccessible, room: given = null } = response.body;
    const room = remoteRoomSummary(given);
    if (room?.room_id !== roomId)
      return federationFailure('bad_answer', destination, `${destination} did not answer with the room ${roomId}.`);
    const states = typeof given === 'object' && given !== null && 'children_state' in given ? given.children_state : [];
    const childrenState = Array.isArray(states) ? states.slice(0, MAX_CHILDREN) : [];
    const summaries = (Array.isArray(children) ? children.slice(0, MAX_CHILDREN) : []).flatMap(
      (child) => remoteRoomSummary(child) ?? [],
    );
    return {
      ok: true,
      space: {
        // "If the room is not a space-room, this should be empty."
        room: {
          ...room,
          children_state:
            room.room_type === 'm.space' ? childrenState.flatMap((child) => remoteSpaceChild(child) ?? []) : [],
        },
        children: new Map(summaries.map((child) => [child.room_id, child])),
        inaccessible: new Set(Array.isArray(inaccessible) ? inaccessible.filter(isRoomId).slice(0, MAX_CHILDREN) : []),
      },
    };
  }
}
