import type { Clock } from '#src/kernel/clock.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { ApplicationServicesApi } from '#src/remote/application-services.ts';
import type { ApplicationService } from '#src/services/accounts/appservices/application-service.ts';

/** Bytes of an answer that are shown to the service that asked for the ping. */
const SHOWN_BYTES = 4_096;
const TIMEOUTS = { headersMs: 10_000, bodyMs: 5_000, totalMs: 20_000 };

export interface AppservicePingOptions {
  readonly api: Pick<ApplicationServicesApi, 'request'>;
  readonly clock: Clock;
  /** Called when a service answered: what could not be sent to it before can be now. */
  readonly inContact: (id: string) => void;
}

/** Tests whether this server can reach an application service. Application Service API, "Pinging". */
export class AppservicePing {
  readonly #options: AppservicePingOptions;

  constructor(options: AppservicePingOptions) {
    this.#options = options;
  }

  /**
   * Pings a service, at its own request.
   *
   * @param pingedId the service that is to be pinged: only itself
   * @param transactionId what the service recognises the ping by, passed on
   * @returns how long it took, in milliseconds
   * @throws MatrixError M_FORBIDDEN, M_URL_NOT_SET, M_CONNECTION_FAILED, M_CONNECTION_TIMEOUT, or M_BAD_STATUS with `status` and `body`
   */
  async ping(service: ApplicationService, pingedId: string, transactionId: string | undefined): Promise<number> {
    const { api, clock, inContact } = this.#options;
    const { hsToken, id, url } = service;
    if (pingedId !== id)
      throw new MatrixError('M_FORBIDDEN', 'This access token is that of another application service.');
    if (url === null)
      throw new MatrixError('M_URL_NOT_SET', 'The registration of this application service has no URL to ping.');
    const begun = clock.monotonic();
    const answer = await api.request(
      { id, url, hsToken },
      {
        method: 'POST',
        path: '/ping',
        body: JSON.stringify(transactionId === undefined ? {} : { transaction_id: transactionId }),
        maxBodyBytes: SHOWN_BYTES,
        overlong: 'cut',
        timeouts: TIMEOUTS,
      },
    );
    if (!answer.ok) {
      const errcode = answer.kind === 'timeout' ? 'M_CONNECTION_TIMEOUT' : 'M_CONNECTION_FAILED';
      throw new MatrixError(errcode, `The application service could not be pinged: ${answer.reason}.`);
    }
    const { body, status } = answer;
    if (status < 200 || status >= 300)
      throw new MatrixError('M_BAD_STATUS', `The application service answered the ping with ${status}.`, {
        status,
        body: body.toString(),
      });
    inContact(id);
    return Math.round(clock.monotonic() - begun);
  }
}
