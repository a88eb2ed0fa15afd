import type { RateLimiter } from '#src/kernel/limits/rate-limiter.ts';
import { limitExceeded } from '#src/protocol/errors/limit-exceeded.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import { DELAYED_ACTIONS, type DelayedAction, type DelayedEventService } from './delayed-event-service.ts';

const BUCKET = 'delayed_event';

export interface DelayedManagementOptions {
  readonly events: DelayedEventService;
  readonly rateLimiter: RateLimiter;
  /** Whether an access token is asked for. Without it any client that knows a delay id may manage that event. */
  readonly requiresToken: boolean;
}

/** Who may manage delayed events, and how fast. */
export class DelayedManagement {
  readonly #options: DelayedManagementOptions;

  constructor(options: DelayedManagementOptions) {
    this.#options = options;
  }

  /**
   * Sends, cancels or restarts a delayed event.
   *
   * @param requester undefined for a request without an access token: clients in calls give the delay id to the relay that notices when they leave
   * @throws MatrixError M_MISSING_TOKEN, M_INVALID_PARAM (no such action), M_LIMIT_EXCEEDED, and what `DelayedEventService.manage` throws
   */
  async manage(action: string, delayId: string, requester: Requester | undefined): Promise<void> {
    const { events, requiresToken } = this.#options;
    if (requester === undefined && requiresToken)
      throw new MatrixError('M_MISSING_TOKEN', 'This request needs an access token, as Authorization: Bearer <token>.');
    if (!isAction(action))
      throw new MatrixError('M_INVALID_PARAM', `action must be one of ${DELAYED_ACTIONS.join(', ')}.`);
    // A relay speaks for many users from one address: each delayed event has a limit of its own.
    if (requester === undefined) this.#take(`delay ${delayId.slice(0, 64)}`);
    else this.limit(requester);
    await events.manage(action, delayId, requester?.userId);
  }

  /** Counts a request of a device. @throws MatrixError M_LIMIT_EXCEEDED */
  limit(requester: Requester): void {
    if (requester.rateLimited) this.#take(`${requester.userId} ${requester.deviceId ?? ''}`);
  }

  #take(key: string): void {
    const verdict = this.#options.rateLimiter.take(BUCKET, key);
    if (!verdict.ok) throw limitExceeded(BUCKET, verdict.retryAfterMs);
  }
}

const isAction = (action: string): action is DelayedAction => DELAYED_ACTIONS.some((known) => known === action);
