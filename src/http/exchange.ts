import type { IncomingMessage } from 'node:http';
import type { BytesHeld, BytesInFlight } from '#src/kernel/limits/bytes-in-flight.ts';
import type { Work } from '#src/kernel/event-loop/work.ts';
import { networkOf } from '#src/kernel/network.ts';
import { bearerToken } from '#src/services/accounts/sessions/bearer-token.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import { AnswerHead } from './middleware/answer-head.ts';
import type { Origin } from './middleware/authentication.ts';
import type { ClientAddress } from './middleware/client-address.ts';
import { CORS_HEADERS, isCrossOriginPath } from './middleware/cors.ts';
import type { Operation } from './operation.ts';

/** Request ids that are taken over from a trusted proxy. */
const REQUEST_ID = /^[\w.:-]{1,64}$/;

/** What is known about a request as it passes through the steps. */
export interface Exchange {
  readonly requestId: string;
  /** The headers of the answer. */
  readonly head: AnswerHead;
  readonly path: string;
  readonly search: string;
  /** The token of the Authorization header, kept as one text: as a key of maps, each new text would have to be hashed anew. */
  readonly bearer: string | undefined;
  readonly ip: string;
  /** The key under which rate limits count its address. */
  readonly network: string;
  /** Its part of the memory for bytes in flight. */
  readonly held: BytesHeld;
  operation: Operation | undefined;
  work: Work | undefined;
  requester: Requester | undefined;
  origin: Origin | undefined;
  /** It has the token of an application service, at an endpoint that needs no account: those are not limited like strangers. */
  isOfAppservice: boolean;
  errcode?: string;
  isGone: boolean;
}

/** The key by which a request counts for rate limits. */
export const keyOf = ({ network, origin, requester }: Exchange): string =>
  requester?.userId ?? origin?.serverName ?? network;

/** Whether what it costs counts for rate limits. */
export const isCharged = ({ isOfAppservice, requester }: Exchange): boolean =>
  requester?.rateLimited !== false && !isOfAppservice;

/** A request target without scheme and host. RFC 9112, 3.2: proxies may send the absolute form. */
export const originForm = (target: string): string =>
  target.startsWith('/') ? target : target.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, '');

/** The path of a request target, and its query. */
const splitTarget = (target: string): readonly [string, string] => {
  let rest = originForm(target);
  const hash = rest.indexOf('#');
  if (hash !== -1) rest = rest.slice(0, hash);
  const mark = rest.indexOf('?');
  return mark === -1 ? [rest, ''] : [rest.slice(0, mark), rest.slice(mark + 1)];
};

/** Begins the exchange of each request: its id, the address that it came from, its path, and the head of its answer. */
export class Exchanges {
  readonly #addresses: ClientAddress;
  readonly #inFlight: BytesInFlight;
  readonly #idPrefix: string;
  #count = 0;

  /** @param idPrefix sets the ids of requests apart from those of other processes */
  constructor(addresses: ClientAddress, inFlight: BytesInFlight, idPrefix: string) {
    this.#addresses = addresses;
    this.#inFlight = inFlight;
    this.#idPrefix = idPrefix;
  }

  /** What is known of a request before anything was done with it. */
  begin(req: IncomingMessage): Exchange {
    const [path, search] = splitTarget(req.url ?? '/');
    const remote = req.socket.remoteAddress;
    const ip = this.#addresses.of(remote, req.headers['x-forwarded-for']);
    this.#count += 1;
    let requestId = `${this.#idPrefix}-${this.#count.toString(36)}`;
    const given = req.headers['x-request-id'];
    if (
      typeof given === 'string' &&
      REQUEST_ID.test(given) &&
      this.#addresses.isTrusted(this.#addresses.of(remote, undefined))
    )
      requestId = given;
    const held = this.#inFlight.open(ip, req.socket);
    const head = isCrossOriginPath(path)
      ? new AnswerHead('X-Request-Id', requestId, ...CORS_HEADERS)
      : new AnswerHead('X-Request-Id', requestId);
    return {
      requestId,
      head,
      path,
      search,
      bearer: bearerToken(req.headers.authorization),
      ip,
      network: networkOf(ip),
      held,
      operation: undefined,
      work: undefined,
      requester: undefined,
      origin: undefined,
      isOfAppservice: false,
      isGone: false,
    };
  }
}
