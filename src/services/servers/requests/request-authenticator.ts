import { LRUCache } from 'lru-cache';
import { atMost } from '#src/kernel/caches/at-most.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { FairGate } from '#src/kernel/limits/fair-gate.ts';
import type { RateLimiter } from '#src/kernel/limits/rate-limiter.ts';
import type { LargeTextCheck } from '#src/kernel/verification/signature-verifier.ts';
import type { ThreadedVerifier } from '#src/kernel/verification/threaded-verifier.ts';
import { limitExceeded } from '#src/protocol/errors/limit-exceeded.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isServerName } from '#src/protocol/identifiers/server-name.ts';
import { fitsBytes } from '#src/protocol/identifiers/byte-length.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { LARGE_JSON } from '#src/protocol/json/parse-in-pieces.ts';
import { verifyText } from '#src/protocol/signing/json-signatures.ts';
import {
  afterContent,
  BEFORE_CONTENT,
  type RequestToSign,
  signedRequestText,
} from '#src/protocol/signing/request-signature.ts';
import { isVerifyKeyId } from '#src/protocol/signing/server-keys.ts';
import { isXMatrix, parseXMatrix, type XMatrix } from '#src/protocol/signing/x-matrix.ts';
import type { Contacts } from '../contacts.ts';
import type { ServerKeys } from '../keys/server-keys.ts';
import type { ServerPolicy } from '../server-policy.ts';

/** A request that is not authenticated yet. */
export interface SignedRequest {
  readonly method: string;
  /** Path and query as they were sent. */
  readonly target: string;
  /** The values of its `Authorization` headers. */
  readonly authorizations: readonly string[];
  /** Where it comes from, for limits. */
  readonly network: string;
  /**
   * Receives the body. Large JSON (`LARGE_JSON`) is not parsed before it is proved whose it is.
   *
   * @param isFamiliar whether requests from the same network were proved to be of the same server
   */
  body(isFamiliar: boolean): Promise<{ readonly bytes: Buffer; readonly json: unknown }>;
}

export interface RequestAuthenticatorOptions {
  readonly serverName: string;
  readonly policy: ServerPolicy;
  readonly keys: Pick<ServerKeys, 'keysOf' | 'isOneKnown'>;
  readonly contacts: Pick<Contacts, 'heardOf'>;
  readonly rateLimiter: RateLimiter;
  readonly clock: Clock;
  /** Verifies the signatures of large bodies, on a thread of its own. */
  readonly large: Pick<ThreadedVerifier, 'verifyLarge'>;
}

/** Pairs of networks and servers that are remembered. */
const FAMILIAR = 20_000;
/** Large bodies whose signatures are verified at once: each has a copy for that; and how many of one network may wait. */
export const LARGE_AT_ONCE = 2;
export const MAX_LARGE_WAITING = 50;
/** A server signs with a key or two. */
export const MAX_SIGNATURES = 8;
/** The rate limit for requests with unknown keys: each of them makes this server ask another one. */
const UNKNOWN_SERVER = 'unknown_server';

/** Authenticates requests of other servers. Server-Server API, "Request Authentication". */
export class RequestAuthenticator {
  readonly #options: RequestAuthenticatorOptions;
  /** Large bodies: networks take turns, and those that proved themselves before go first. */
  readonly #large = new FairGate({ concurrency: LARGE_AT_ONCE, maxWaiting: MAX_LARGE_WAITING });
  /** Networks and servers whose requests came from there: `<network> <server>`. */
  readonly #familiar = new LRUCache<string, true>(atMost(FAMILIAR));

  constructor(options: RequestAuthenticatorOptions) {
    this.#options = options;
  }

  /**
   * The server that has signed a request.
   *
   * @throws MatrixError M_UNAUTHORIZED when it is not signed by the server that it names; M_FORBIDDEN when this server does not federate with that
   *   one; M_LIMIT_EXCEEDED
   */
  async authenticate(request: SignedRequest): Promise<{ readonly serverName: string }> {
    const { contacts, policy } = this.#options;
    policy.assertOpen();
    const signatures = this.#signaturesOf(request);
    const [first] = signatures;
    if (first === undefined)
      throw unauthorized('The request is not signed: it needs an Authorization header X-Matrix.');
    const { origin } = first;
    if (!policy.allows(origin)) throw new MatrixError('M_FORBIDDEN', `This server does not federate with ${origin}.`);
    await this.#verify(request, origin, signatures);
    contacts.heardOf(origin);
    return { serverName: origin };
  }

  /** What the headers say, if it is worth being verified. */
  #signaturesOf({ authorizations }: SignedRequest): readonly XMatrix[] {
    const { serverName } = this.#options;
    const headers = authorizations.filter(isXMatrix);
    if (headers.length > MAX_SIGNATURES) throw unauthorized(`A request has at most ${MAX_SIGNATURES} signatures.`);
    const signatures = headers.map((header) => {
      const parsed = parseXMatrix(header);
      if (parsed === undefined)
        throw unauthorized(
          'The Authorization header is not of the form X-Matrix origin="...",destination="...",key="...",sig="...".',
        );
      return parsed;
    });
    for (const { destination, keyId, origin } of signatures) {
      if (!isServerName(origin) || !fitsBytes(origin))
        throw unauthorized('The origin of the request is no server name.');
      if (origin !== signatures[0]?.origin) throw unauthorized('The request names more than one origin.');
      if (origin === serverName) throw unauthorized('The request names this server as its origin.');
      if (destination !== undefined && destination !== serverName)
        throw unauthorized(`The request is meant for another server than ${serverName}.`);
      if (destination !== signatures[0]?.destination)
        throw unauthorized('The request names more than one destination.');
      if (!isVerifyKeyId(keyId)) throw unauthorized('The key is not of the form ed25519:<version>.');
    }
    return signatures;
  }

  async #verify(request: SignedRequest, origin: string, signatures: readonly XMatrix[]): Promise<void> {
    const { clock, keys, rateLimiter } = this.#options;
    const validAt = clock.now();
    const wanted = signatures.map(({ keyId }) => ({ serverName: origin, keyId, validAt }));
    // Any client can make this server ask the origin: also a known one, for a key that it does not have.
    if (!(await keys.isOneKnown(wanted))) {
      const verdict = rateLimiter.take(UNKNOWN_SERVER, request.network);
      if (!verdict.ok) throw limitExceeded(UNKNOWN_SERVER, verdict.retryAfterMs);
    }
    const found = await keys.keysOf(wanted, { party: request.network });
    if (found.every((key) => key === undefined))
      throw unauthorized(
        `No key with which the request is signed is a valid key of ${origin}, as far as is known here.`,
      );
    const { method, network, target: uri } = request;
    const [{ destination } = { destination: undefined }] = signatures;
    const pair = `${network} ${origin}`;
    const isFamiliar = this.#familiar.get(pair) !== undefined;
    const { bytes, json } = await request.body(isFamiliar);
    const checks = signatures.flatMap(({ signature }, index) => {
      const verifyKey = found[index];
      return verifyKey === undefined ? [] : [{ signature, verifyKey }];
    });
    const signed = { method, uri, origin, destination };
    const areGood =
      bytes.length >= LARGE_JSON
        ? await this.#areGoodOfLarge(signed, bytes, checks, { party: network, isPreferred: isFamiliar })
        : areGoodOf({ ...signed, content: json as JsonObject | undefined }, checks);
    if (!areGood) throw unauthorized(`The signature is not one of ${origin} over this request.`);
    this.#familiar.set(pair, true);
  }

  /** @throws MatrixError M_LIMIT_EXCEEDED when too many bodies of the same network wait */
  async #areGoodOfLarge(
    signed: RequestToSign,
    json: Buffer,
    signatures: Signatures,
    place: { readonly party: string; readonly isPreferred: boolean },
  ): Promise<boolean> {
    const check = { before: BEFORE_CONTENT, json, after: afterContent(signed), signatures };
    const verdicts = await this.#large.run(
      place,
      () => this.#options.large.verifyLarge(check),
      () => limitExceeded('unproved_bodies', 2_000),
    );
    return verdicts.every(Boolean);
  }
}

type Signatures = LargeTextCheck['signatures'];

const areGoodOf = (signed: RequestToSign, signatures: Signatures): boolean => {
  const text = signedRequestText(signed);
  return signatures.every(({ signature, verifyKey }) => verifyText(text, signature, verifyKey));
};

const unauthorized = (message: string): MatrixError => new MatrixError('M_UNAUTHORIZED', message);
