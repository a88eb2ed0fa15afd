import { hash } from 'node:crypto';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { SessionPolls } from '#src/services/accounts/sessions/session-polls.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import type { PresenceService } from '#src/services/ephemeral/presence/presence-service.ts';
import type { PresenceState } from '#src/services/ephemeral/presence/user-presence.ts';
import { slidingEncoder } from './sliding-encoder.ts';
import { parseSlidingBody, type WireForm } from './sliding-request.ts';
import type { SlidingSync } from './sliding-sync.ts';

/** The parameters of a request beside its body; in the stable form they are in the body as well. */
export interface SlidingPoll {
  readonly form: WireForm;
  readonly pos: string | undefined;
  /** Milliseconds. */
  readonly timeout: number | undefined;
  readonly presence: string | undefined;
  readonly body: JsonObject;
}

export interface SlidingPollsOptions {
  readonly slidingSync: SlidingSync;
  readonly presence: Pick<PresenceService, 'seen'>;
  readonly sessionPolls: SessionPolls;
  /** Longest wait for news, in milliseconds, whatever a client asks for. */
  readonly greatestTimeoutMs: number;
}

/** @throws MatrixError M_INVALID_PARAM */
const presenceOf = (text: string | undefined): PresenceState => {
  if (text === undefined) return 'online';
  if (text === 'online' || text === 'offline' || text === 'unavailable') return text;
  throw new MatrixError('M_INVALID_PARAM', 'set_presence is online, offline or unavailable.');
};

/** Sliding sync by long-polling. MSC4186. */
export class SlidingPolls {
  readonly #options: SlidingPollsOptions;

  constructor(options: SlidingPollsOptions) {
    this.#options = options;
  }

  /**
   * Answers with what is new to a connection: at once when there is something, else as soon as there is, until the timeout.
   *
   * @param signal aborts the wait: what there is by then is the answer
   * @returns JSON text of the answer
   * @throws MatrixError M_BAD_JSON, M_INVALID_PARAM, M_UNKNOWN_POS, M_UNKNOWN_DEVICE; M_UNKNOWN_TOKEN and M_USER_LOCKED when the session
   *   ends meanwhile
   */
  async poll(requester: Requester, poll: SlidingPoll, signal: AbortSignal): Promise<string> {
    const { greatestTimeoutMs, presence, sessionPolls, slidingSync } = this.#options;
    const { userId, deviceId } = requester;
    if (deviceId === undefined)
      throw new MatrixError('M_UNKNOWN_DEVICE', 'A connection belongs to a device: ask with the access token of one.');
    const parsed = parseSlidingBody(poll.body, poll.form);
    presence.seen(userId, presenceOf(poll.presence), deviceId);
    const request = {
      ...parsed,
      userId,
      deviceId,
      pos: poll.pos,
      timeout: Math.min(Math.max(poll.timeout ?? 0, 0), greatestTimeoutMs),
      digest: hash('sha256', JSON.stringify([poll.form, poll.body]), 'base64url'),
    };
    return sessionPolls.wait(requester, signal, (aborted) =>
      slidingSync.sync({ ...request, signal: aborted }, slidingEncoder(poll.form)),
    );
  }
}
