import type { SessionPolls } from '#src/services/accounts/sessions/session-polls.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import type { PresenceService } from '#src/services/ephemeral/presence/presence-service.ts';
import type { PresenceState } from '#src/services/ephemeral/presence/user-presence.ts';
import type { FilterService } from '#src/services/user-data/filters/filter-service.ts';
import { sinceOf, type SyncRequest } from '../engine/sync-request.ts';
import type { Text } from './text-pieces.ts';
import type { V3Sync } from './v3-sync.ts';

/** What a client asks for by `GET /sync`, as it writes it. */
export interface SyncPoll {
  readonly since?: string | undefined;
  /** The id of a filter that was stored, or a filter as JSON text. */
  readonly filter?: string | undefined;
  readonly fullState?: boolean | undefined;
  readonly presence?: PresenceState | undefined;
  /** Milliseconds. */
  readonly timeout?: number | undefined;
  readonly stateAfter?: SyncRequest['stateAfter'];
}

export interface SyncPollsOptions {
  readonly sync: V3Sync;
  readonly filters: Pick<FilterService, 'filterFor'>;
  readonly presence: Pick<PresenceService, 'seen'>;
  readonly sessionPolls: SessionPolls;
  /** Longest wait for news, in milliseconds, whatever a client asks for. */
  readonly greatestTimeoutMs: number;
}

/** Sync by long-polling. Client-Server API, "Syncing". */
export class SyncPolls {
  readonly #options: SyncPollsOptions;

  constructor(options: SyncPollsOptions) {
    this.#options = options;
  }

  /**
   * Answers with what happened since a position: at once when there is something, else as soon as there is, until the timeout.
   *
   * @param signal aborts the wait: what there is by then is the answer
   * @returns JSON text of the answer, a long one in pieces
   * @throws MatrixError M_INVALID_PARAM, M_NOT_FOUND (a filter that is not there) and what else is wrong with a filter; M_UNKNOWN_TOKEN and
   *   M_USER_LOCKED when the session ends meanwhile; ClientGone when a large answer waited for its turn and is not wanted any more
   */
  async poll(requester: Requester, poll: SyncPoll, signal: AbortSignal): Promise<Text> {
    const { filters, greatestTimeoutMs, presence, sessionPolls, sync } = this.#options;
    const { userId, deviceId } = requester;
    const since = sinceOf(poll.since);
    const timeout = Math.min(Math.max(poll.timeout ?? 0, 0), greatestTimeoutMs);
    // An administrator who acts as the user does not make the user appear online.
    if (requester.adminLogin === undefined) presence.seen(userId, poll.presence ?? 'online', deviceId ?? '', timeout);
    const request = {
      userId,
      deviceId,
      since,
      filter: await filters.filterFor(userId, poll.filter),
      fullState: poll.fullState ?? false,
      timeout,
      stateAfter: poll.stateAfter,
    };
    const { body } = await sessionPolls.wait(requester, signal, (aborted) =>
      sync.syncInPieces({ ...request, signal: aborted }),
    );
    return body;
  }
}
