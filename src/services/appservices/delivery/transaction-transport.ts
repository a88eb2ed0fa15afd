import type { ApplicationServicesApi } from '#src/remote/application-services.ts';
import type { ApplicationService } from '#src/services/accounts/appservices/application-service.ts';
import type { OpenSockets } from '../sockets/open-sockets.ts';
import type { AppserviceTransaction, Sent, TransactionSender } from '../transactions/transaction.ts';

/** Bridges do what a transaction asks for before they answer. */
const TIMEOUTS = { headersMs: 60_000, bodyMs: 10_000, totalMs: 90_000 };
const MAX_WAIT_MS = 3_600_000;
/** Errcodes that say that something is wrong with what was sent, and not with how. */
const ABOUT_THE_BODY: ReadonlySet<unknown> = new Set(['M_BAD_JSON', 'M_NOT_JSON', 'M_INVALID_PARAM', 'M_TOO_LARGE']);

/** Sends transactions over the WebSocket that a service has open, or to its URL. Application Service API, `PUT /transactions/{txnId}`. */
export class TransactionTransport implements TransactionSender {
  readonly #api: Pick<ApplicationServicesApi, 'request'>;
  readonly #sockets: OpenSockets;

  constructor(api: Pick<ApplicationServicesApi, 'request'>, sockets: OpenSockets) {
    this.#api = api;
    this.#sockets = sockets;
  }

  send(service: ApplicationService, transaction: AppserviceTransaction, signal: AbortSignal): Promise<Sent> {
    const socket = this.#sockets.of(service.id);
    if (socket !== undefined) return socket.deliver(transaction, signal);
    const { hsToken, id, url } = service;
    if (url === null) return Promise.resolve({ kind: 'nowhere' });
    return this.#put({ hsToken, id, url }, transaction, signal);
  }

  async #put(
    service: { readonly id: string; readonly url: string; readonly hsToken: string },
    { body, id }: AppserviceTransaction,
    signal: AbortSignal,
  ): Promise<Sent> {
    const name = encodeURIComponent(id);
    const answer = await this.#api.request(service, {
      method: 'PUT',
      path: `/transactions/${name}`,
      legacyPath: `/transactions/${name}`,
      body,
      // What it says is no matter.
      overlong: 'cut',
      timeouts: TIMEOUTS,
      signal,
    });
    if (!answer.ok) return { kind: 'failed', reason: answer.reason };
    const { status } = answer;
    if (status >= 200 && status < 300) return { kind: 'arrived' };
    const reason = `the application service answered with ${status}`;
    if (status === 413 || (status === 400 && ABOUT_THE_BODY.has(errcodeIn(answer.body))))
      return { kind: 'refused', reason };
    const seconds = answer.headers['retry-after'];
    const waits = typeof seconds === 'string' && /^\d{1,6}$/.test(seconds);
    return {
      kind: 'failed',
      reason,
      afterMs: waits ? Math.min(Number(seconds) * 1_000, MAX_WAIT_MS) : undefined,
    };
  }
}

const errcodeIn = (body: Buffer): unknown => {
  try {
    return (JSON.parse(body.toString()) as { readonly errcode?: unknown } | null)?.errcode;
  } catch {
    return undefined;
  }
};
