import type { Filter } from '#src/protocol/filters/filter.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { decodeSyncToken, type SyncPosition } from '#src/protocol/wire/position.ts';

/**
 * The position that a client's `since` names; undefined: it knows nothing yet.
 *
 * @throws MatrixError M_INVALID_PARAM
 */
export const sinceOf = (since: string | undefined): SyncPosition | undefined => {
  if (since === undefined || since === '') return undefined;
  const position = decodeSyncToken(since);
  if (position !== undefined) return position;
  throw new MatrixError('M_INVALID_PARAM', '"since" must be a next_batch that this server gave out.');
};

/** What a client wants to know. Client-Server API, "GET /_matrix/client/v3/sync". */
export interface SyncRequest {
  readonly userId: string;
  readonly deviceId: string | undefined;
  /** Absent: everything. */
  readonly since: SyncPosition | undefined;
  readonly filter: Filter;
  readonly fullState: boolean;
  /** Milliseconds to wait for news when there are none. */
  readonly timeout: number;
  /** The name under which state up to the end of the timeline is wanted; undefined: up to its start, as `state`. */
  readonly stateAfter: 'state_after' | 'org.matrix.msc4222.state_after' | undefined;
  /** Aborted when the client went away or the server drains: the answer is given at once. */
  readonly signal: AbortSignal;
}

/** A sync response. */
export interface SyncResult<Body = string> {
  /** What an encoder made of it: for /sync and the WebSocket API JSON text of the whole body. */
  readonly body: Body;
  readonly next: SyncPosition;
  /** Nothing happened since. */
  readonly isEmpty: boolean;
}
