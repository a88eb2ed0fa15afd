import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { AccountStream } from '#src/services/accounts/stream/account-stream.ts';

interface Poll {
  readonly deviceId: string | undefined;
  readonly controller: AbortController;
}

/** The long-polls that wait: each ends with its session, so that nothing more is told and the client learns at once that it is logged out. */
export class SessionPolls {
  readonly #byUser = new Map<string, Set<Poll>>();

  constructor(stream: AccountStream) {
    stream.on('session_ended', ({ userId, deviceId }) => {
      const error = new MatrixError('M_UNKNOWN_TOKEN', 'The session of this access token has ended.', {
        soft_logout: false,
      });
      for (const poll of this.#byUser.get(userId) ?? []) if (poll.deviceId === deviceId) poll.controller.abort(error);
    });
    stream.on('changed', ({ userId, changes }) => {
      if (changes.locked !== true) return;
      const error = new MatrixError(
        'M_USER_LOCKED',
        'This account has been locked by an administrator of this server.',
        {
          soft_logout: true,
        },
      );
      for (const poll of this.#byUser.get(userId) ?? []) poll.controller.abort(error);
    });
  }

  /**
   * Waits for `work`, whose signal also aborts when the session ends.
   *
   * @throws MatrixError M_UNKNOWN_TOKEN or M_USER_LOCKED when that was so
   */
  async wait<T>(
    { userId, deviceId }: { readonly userId: string; readonly deviceId: string | undefined },
    signal: AbortSignal,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const controller = new AbortController();
    const poll: Poll = { deviceId, controller };
    const polls = this.#byUser.get(userId) ?? new Set();
    polls.add(poll);
    this.#byUser.set(userId, polls);
    const abort = (): void => controller.abort();
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true });
    try {
      const result = await work(controller.signal);
      if (controller.signal.reason instanceof MatrixError) throw controller.signal.reason;
      return result;
    } finally {
      signal.removeEventListener('abort', abort);
      polls.delete(poll);
      if (polls.size === 0 && this.#byUser.get(userId) === polls) this.#byUser.delete(userId);
    }
  }
}
