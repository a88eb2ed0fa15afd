import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { AccountStream } from '#src/services/accounts/stream/account-stream.ts';
import type { Requester } from './requester.ts';
import { unknownToken, userLocked } from '#src/services/accounts/users/account-errors.ts';

const sessionEnded = (): MatrixError => unknownToken('The session of this access token has ended.');

interface Poll {
  readonly deviceId: string | undefined;
  readonly adminLogin: Requester['adminLogin'];
  readonly controller: AbortController;
}

/** The long-polls that wait: each ends with its session, so that no more data is sent and the client learns at once that it is logged out. */
export class SessionPolls {
  readonly #byUser = new Map<string, Set<Poll>>();

  constructor(stream: AccountStream) {
    stream.on('session_ended', ({ userId, deviceId }) => {
      this.#end(userId, sessionEnded(), (poll) => poll.deviceId === deviceId);
    });
    stream.on('admin_login_ended', ({ userId, sessionId }) => {
      this.#end(userId, sessionEnded(), (poll) => poll.adminLogin?.id === sessionId);
    });
    stream.on('changed', ({ userId, changes }) => {
      if (changes.locked === true) this.#end(userId, userLocked());
    });
  }

  #end(userId: string, error: MatrixError, which: (poll: Poll) => boolean = () => true): void {
    for (const poll of this.#byUser.get(userId) ?? []) if (which(poll)) poll.controller.abort(error);
  }

  /**
   * Waits for `work`, whose signal also aborts when the session ends.
   *
   * @throws MatrixError M_UNKNOWN_TOKEN or M_USER_LOCKED when that was so
   */
  async wait<T>(
    { adminLogin, deviceId, userId }: Pick<Requester, 'userId' | 'deviceId' | 'adminLogin'>,
    signal: AbortSignal,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const controller = new AbortController();
    const poll: Poll = { adminLogin, controller, deviceId };
    const polls = this.#byUser.get(userId) ?? new Set();
    polls.add(poll);
    this.#byUser.set(userId, polls);
    const abort = (): void => controller.abort(signal.reason);
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
