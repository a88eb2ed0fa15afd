import type { IncomingMessage } from 'node:http';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { LARGE_JSON } from '#src/protocol/json/parse-in-pieces.ts';
import type { Admission } from '#src/services/accounts/admission/admission.ts';
import type { HttpLimits } from './dependencies.ts';
import type { Endpoint } from './endpoint.ts';
import { type Exchange, originForm } from './exchange.ts';
import type { AppserviceIdentity, Authenticators, Origin, UnverifiedRequest } from './middleware/authentication.ts';
import type { Operation } from './operation.ts';
import { type BodyReceiving, mostBytes, parseReceived, type ReceivedBody, receiveBody } from './received-body.ts';

/** The limit for large bodies in the name of a server that is not proved, by network; and from how much more than strangers may send a body is large. */
const UNPROVED_BYTES = 'unproved_bytes';
const UNPROVED_PART = 4;
/**
 * All of these bodies are of one party on the event loop, whatever networks they come from: a signature over megabytes is verified in one go, and a hundred
 * strangers would be a hundred parties that have asked for nothing yet.
 */
const UNPROVED_PARTY = 'unproved';
/** Statuses of a request whose signature was looked at, and did not prove the sender. */
const JUDGED: ReadonlySet<number> = new Set([401, 403]);

export interface SignedRequestsOptions {
  readonly admission: Admission;
  readonly authenticators: Authenticators;
  readonly limits: HttpLimits;
}

/** Proves who sends the requests of other servers and application services: what proves it covers the body, so that is received first. */
export class SignedRequests {
  readonly #options: SignedRequestsOptions;

  constructor(options: SignedRequestsOptions) {
    this.#options = options;
  }

  /**
   * Authenticates a request whose signature covers its body. Strangers have a limit of their own, by their address, and another one for
   * large bodies: they are read before it is known who sends them.
   */
  async prove(
    req: IncomingMessage,
    { endpoint }: Operation,
    exchange: Exchange,
    reading: BodyReceiving,
  ): Promise<{ readonly caller: Origin | AppserviceIdentity | undefined; readonly received: ReceivedBody }> {
    const { admission, authenticators, limits } = this.#options;
    let received: ReceivedBody | undefined;
    let unproved = 0;
    const request: UnverifiedRequest = {
      method: req.method ?? '',
      target: originForm(req.url ?? '/'),
      headers: req.headers,
      authorizations: req.headersDistinct['authorization'] ?? [],
      network: exchange.network,
      async body(isFamiliar) {
        const large = isFamiliar ? 0 : largeBytes(req, endpoint, limits);
        if (large > 0) admission.take(UNPROVED_BYTES, exchange.network, large);
        unproved = large;
        const turn = large > 0 ? () => admission.turn(UNPROVED_PARTY) : reading.turn;
        received = await receiveBody(req, endpoint, { ...reading, turn });
        return { bytes: received.bytes, json: received.bytes.length === 0 ? undefined : received.value };
      },
    };
    const authenticate =
      endpoint.auth === 'appservice' ? authenticators.authenticateAppservice : authenticators.authenticateServer;
    const back = (): void => {
      if (unproved > 0) admission.refund(UNPROVED_BYTES, exchange.network, unproved);
      unproved = 0;
    };
    let caller: Origin | AppserviceIdentity | undefined;
    try {
      caller = await authenticate?.(request);
    } catch (error) {
      // Only a signature that was judged, and is not good, costs: not what ended before.
      if (!(error instanceof MatrixError) || !JUDGED.has(error.status)) back();
      throw error;
    }
    if (caller !== undefined && 'serverName' in caller) exchange.origin = caller;
    back();
    received ??= await receiveBody(req, endpoint, reading);
    const isLarge = received.bytes.length >= LARGE_JSON;
    return { caller, received: isLarge ? await parseReceived(received.bytes, endpoint, reading) : received };
  }
}

/** Bytes that the body of a request may have, if that is more than anybody may send; else 0. */
const largeBytes = ({ headers }: IncomingMessage, endpoint: Endpoint, limits: HttpLimits): number => {
  const most = mostBytes(endpoint, limits);
  const isOpen = headers['transfer-encoding'] !== undefined;
  const bytes = isOpen ? most : Math.min(Number(headers['content-length'] ?? 0), most);
  return bytes > UNPROVED_PART * limits.maxStrangerBodyBytes ? bytes : 0;
};
