import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { ApplicationService } from '#src/services/accounts/appservices/application-service.ts';
import type { Appservices } from '#src/services/accounts/appservices/appservices.ts';
import type { SessionService } from './session-service.ts';

/** Authenticates requests that only application services may send. */
export class AppserviceTokens {
  readonly #appservices: Appservices;
  readonly #sessions: SessionService;

  constructor(deps: { readonly appservices: Appservices; readonly sessions: SessionService }) {
    this.#appservices = deps.appservices;
    this.#sessions = deps.sessions;
  }

  /** @throws MatrixError M_MISSING_TOKEN, M_UNKNOWN_TOKEN, M_FORBIDDEN (the token of a user) */
  async serviceOf(token: string | undefined): Promise<ApplicationService> {
    if (token === undefined)
      throw new MatrixError(
        'M_MISSING_TOKEN',
        'This needs the as_token of an application service, as Authorization: Bearer <token>.',
      );
    const service = this.#appservices.byToken(token);
    if (service !== undefined) return service;
    // The holder of a valid token learns what is wrong with it here.
    await this.#sessions.authenticate(token);
    throw new MatrixError('M_FORBIDDEN', 'This access token is not that of an application service.');
  }
}
