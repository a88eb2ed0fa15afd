import type { Errcode } from '#src/protocol/errors/matrix-error.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { LoginAttempts } from '#src/services/accounts/credentials/login-attempts.ts';
import { Credentials } from '#src/services/accounts/credentials/credentials.ts';
import { DUMMY_STAGE } from './flows.ts';

/** The `auth` member of a request. */
export interface AuthData {
  readonly type?: string | undefined;
  readonly session?: string | undefined;
  readonly [member: string]: unknown;
}

export interface StageContext {
  /** What is asked for, by its operationId. */
  readonly operation: string;
  /** The user who must authenticate; undefined where there is none yet. */
  readonly userId: string | undefined;
  readonly ip: string;
}

/** An attempt on a stage that failed and may be repeated: the client gets the 401 again, with this errcode and message. */
export class StageFailed extends Error {
  readonly errcode: Errcode;

  constructor(errcode: Errcode, message: string) {
    super(message);
    this.name = 'StageFailed';
    this.errcode = errcode;
  }
}

/** One way to prove something. Client-Server API, "Authentication types". */
export interface Stage {
  readonly type: string;
  /** What a client must know to complete the stage: its entry in `params`. */
  params?(): Readonly<Record<string, unknown>>;
  /**
   * Judges one attempt.
   *
   * @returns what was proved, for the operation to use
   * @throws StageFailed for what may be tried again; MatrixError for what ends the request
   */
  attempt(auth: AuthData, context: StageContext): Promise<string | undefined>;
}

/** "Dummy authentication always succeeds and requires no extra parameters." */
export const dummyStage: Stage = { type: DUMMY_STAGE, attempt: () => Promise.resolve(undefined) };

/** The password of the user whose access token sent the request. */
export class PasswordStage implements Stage {
  readonly type = 'm.login.password';
  readonly #credentials: Credentials;
  readonly #attempts: LoginAttempts;

  constructor(credentials: Credentials, attempts: LoginAttempts) {
    this.#credentials = credentials;
    this.#attempts = attempts;
  }

  async attempt(auth: AuthData, context: StageContext): Promise<string | undefined> {
    const claimant = Credentials.claimantOf(auth as { identifier?: Record<string, unknown>; user?: unknown });
    const claimed = await this.#credentials.resolve(claimant);
    // Another user's password proves nothing, right or wrong, whether there is one or not: it is not even looked at.
    if (claimed === undefined || claimed.userId !== context.userId) {
      throw new MatrixError('M_FORBIDDEN', 'You must authenticate as the user whose access token you use.');
    }
    const attempt = { address: context.ip, sessionOf: context.userId };
    const account = await this.#credentials.check(claimed, claimant, auth['password'], attempt);
    if (account === undefined) throw new StageFailed('M_FORBIDDEN', 'That is not the password of this user.');
    this.#attempts.succeeded(account.userId);
    return account.userId;
  }
}
