import { Lazy } from '#src/kernel/caches/lazy.ts';
import type { Readable } from 'node:stream';
import type { Clock } from '#src/kernel/clock.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Histogram, Metrics } from '#src/kernel/metrics.ts';
import { aborted } from '#src/kernel/concurrency/or-aborted.ts';
import type { Timers } from '#src/kernel/timers.ts';
import { signRequest } from '#src/protocol/signing/request-signature.ts';
import type { SigningKey } from '#src/protocol/signing/signing-key.ts';
import type { AddressGuard } from '../address-guard.ts';
import type { Resolve } from '../name-resolver.ts';
import { AnswerBytes, type HeldAnswers } from './answer-bytes.ts';
import { AnswerReader } from './answer-reader.ts';
import { BoundedBody } from '../bounded-body.ts';
import type { DestinationBackoff } from './destination-backoff.ts';
import { type DestinationPlace, textOfPlace } from './destination-place.ts';
import type { DestinationPools } from './destination-pools.ts';
import { waitOf } from './federation-answer.ts';
import {
  type ComposedRequest,
  type FederationRequestContent,
  type FederationRequest,
  type FederationStream,
  type FederationRequestOptions,
  queryOf,
} from './federation-request.ts';
import { type FederationFailure, federationFailure, type FederationResult } from './federation-result.ts';
import { type RequestDeadline, RequestAdmission } from './request-admission.ts';
import { failureOfError } from './request-failure.ts';
import type { ServerDiscovery } from './server-discovery.ts';

export interface FederationClientOptions {
  readonly serverName: string;
  readonly signingKey: SigningKey;
  /** Whether this server federates with that one. */
  readonly verdictOn: (serverName: string) => 'allowed' | 'denied' | 'disabled';
  readonly discovery: ServerDiscovery;
  readonly backoff: DestinationBackoff;
  readonly guard: AddressGuard;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly userAgent: string;
  readonly resolve: Resolve;
  /** Certificate authorities in PEM, all of them; undefined for the system's. */
  readonly certificateAuthorities?: readonly string[] | undefined;
}

const CONNECT_MS = 10_000;
const STREAM_TOTAL_MS = 600_000;
export const DEFAULT_MAX_BODY_BYTES = 1_048_576;
/** What a response that is an error may say. */
export const MAX_ERROR_BYTES = 65_536;
export const PER_DESTINATION = 8;
/** Statuses of a reverse proxy whose server is down. */
const GATEWAY_STATUSES: ReadonlySet<number> = new Set([502, 503, 504, 520, 521, 522, 523, 524, 525, 526, 530]);
const MAX_ERROR_LENGTH = 300;
const SECONDS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** A place to which a connection is open, and the others to try when it does not serve. */
interface Reached {
  readonly place: DestinationPlace;
  readonly others: readonly DestinationPlace[];
}

/** Another server's answer before its body is read. */
interface Opened {
  readonly status: number;
  readonly headers: FederationStream['headers'];
  readonly body: Readable;
}

/** Makes requests to other servers: finds and connects to them, signs, waits and reads within limits, and never throws. Server-Server API. */
export class FederationClient {
  readonly #options: FederationClientOptions;
  readonly #seconds: Histogram;
  readonly #pools = new Lazy(() => this.#openPools());
  readonly #admission: RequestAdmission<Reached>;
  readonly #answers: AnswerBytes;
  readonly #reader: AnswerReader;

  constructor(options: FederationClientOptions) {
    this.#options = options;
    const { backoff, metrics } = options;
    this.#answers = new AnswerBytes(metrics);
    this.#reader = new AnswerReader(this.#answers);
    this.#admission = new RequestAdmission(options, (destination, deadline) => this.#reach(destination, deadline));
    this.#seconds = metrics.histogram(
      'tsudoi_federation_request_seconds',
      'Requests to other servers, by how they end.',
      SECONDS,
      ['outcome'],
    );
    metrics.gaugeOf('tsudoi_federation_unreachable_servers', 'Servers that could not be reached.', () => backoff.size);
  }

  /** Makes a request whose answer is a JSON object. */
  async request(request: FederationRequest | ComposedRequest): Promise<FederationResult> {
    return this.#measured(() =>
      this.#admission.run(request, (deadline, reached) => this.#ask(request, deadline, reached)),
    );
  }

  /** Makes a request whose answer is read bit by bit, whatever it is. An error status is a failure here too. */
  async stream(request: FederationRequest): Promise<FederationStream | FederationFailure> {
    const opened = Promise.withResolvers<FederationStream | FederationFailure>();
    const whole: FederationRequest = { ...request, timeouts: { totalMs: STREAM_TOTAL_MS, ...request.timeouts } };
    void this.#admission
      .run(whole, async (deadline, reached) => {
        const response = await this.#open(whole, whole, deadline, reached);
        if ('ok' in response) return response;
        const { headers, status } = response;
        const body = new BoundedBody(response.body, whole.maxBodyBytes ?? DEFAULT_MAX_BODY_BYTES);
        opened.resolve({ ok: true, status, headers, body });
        await Promise.race([body.ended, aborted(deadline.signal)]);
        return { ok: true, body: {} };
      })
      .then((result) => {
        if (!result.ok) opened.resolve(result);
      });
    return this.#measured(() => opened.promise);
  }

  /**
   * Begins to count the bytes of answers that are needed for longer than until they are parsed; they have to be released.
   *
   * @param most bytes that they may be together
   */
  hold(most: number): HeldAnswers {
    return this.#answers.open(most);
  }

  /** Resolves when no request is under way. */
  idle(): Promise<void> {
    return this.#admission.idle();
  }

  /** Aborts what is under way, and closes all connections. */
  async close(): Promise<void> {
    this.#admission.close();
    await (await this.#pools.made)?.destroy();
  }

  async #measured<R extends FederationStream | FederationResult>(work: () => Promise<R>): Promise<R> {
    const { clock } = this.#options;
    const started = clock.monotonic();
    const result = await work();
    this.#seconds.observe((clock.monotonic() - started) / 1000, { outcome: result.ok ? 'ok' : result.kind });
    return result;
  }

  async #ask(
    request: FederationRequest | ComposedRequest,
    deadline: RequestDeadline,
    reached: Reached,
  ): Promise<FederationResult> {
    const question = 'compose' in request ? await request.compose(deadline.signal) : request;
    if (question === undefined) return { ok: true, body: {} };
    const response = await this.#open(request, question, deadline, reached);
    if ('ok' in response) return response;
    const { destination } = request;
    const most = request.maxBodyBytes ?? DEFAULT_MAX_BODY_BYTES;
    const { held, isCounted } = request;
    const read = await this.#reader.readObject(response.body, {
      destination,
      most,
      held,
      isCounted,
      signal: deadline.signal,
    });
    if ('ok' in read) return read;
    const { body } = read;
    if (body === undefined)
      return federationFailure(
        'bad_answer',
        destination,
        `${destination} answered with something that is no JSON object.`,
      );
    return { ok: true, body };
  }

  /** Connects to the first place where a server can be reached. @param places those to try; all where it may be, when left out */
  async #reach(
    destination: string,
    deadline: RequestDeadline,
    places?: readonly DestinationPlace[],
  ): Promise<Reached | FederationFailure> {
    const { signal, timeouts } = deadline;
    let failure = federationFailure('unreachable', destination, `It could not be found out where ${destination} is.`);
    const all = places ?? (await this.#options.discovery.find(destination));
    for (const [index, place] of all.entries()) {
      try {
        await (await this.#pools.get()).connect(place, timeouts.acceptMs);
        // The request was aborted: nothing is composed for it.
        if (signal.aborted) break;
        return { place, others: all.slice(index + 1) };
      } catch (error) {
        failure = await failureOfError(error, destination, signal);
      }
      this.#noteFailure(place, failure);
      if (signal.aborted || failure.kind === 'denied') break;
    }
    this.#missed(destination, deadline);
    return failure;
  }

  /** Makes the request at a place to which a connection is open, and where that fails, at the others. */
  async #open(
    params: FederationRequestOptions,
    question: FederationRequestContent,
    deadline: RequestDeadline,
    reached: Reached,
  ): Promise<Opened | FederationFailure> {
    const { destination } = params;
    const { signal } = deadline;
    for (let { others, place } = reached; ;) {
      const response = await this.#openAt(place, params, question, deadline);
      if (!('ok' in response)) {
        const { status } = response;
        if (status < 200 || status >= 300) return this.#refused(response, destination, signal);
        this.#options.backoff.reached(destination);
        return response;
      }
      this.#noteFailure(place, response);
      if (signal.aborted || response.kind === 'denied' || others.length === 0) {
        this.#missed(destination, deadline);
        return response;
      }
      const next = await this.#reach(destination, deadline, others);
      if ('ok' in next) return next;
      ({ others, place } = next);
    }
  }

  #noteFailure(place: DestinationPlace, { destination, error: reason, kind }: FederationFailure): void {
    this.#options.logger.debug('another server could not be asked', {
      destination,
      place: textOfPlace(place),
      kind,
      reason,
    });
  }

  /** A server was not reached. */
  #missed(destination: string, { isLate, signal }: RequestDeadline): void {
    const { backoff, discovery } = this.#options;
    // A request that was aborted says nothing about that server.
    if (signal.aborted && !isLate()) return;
    backoff.failed(destination);
    discovery.failed(destination);
  }

  async #openAt(
    place: DestinationPlace,
    params: FederationRequestOptions,
    { body: text, content, path, query }: FederationRequestContent,
    { signal, timeouts }: RequestDeadline,
  ): Promise<Opened | FederationFailure> {
    const { serverName, signingKey, userAgent } = this.#options;
    const { destination, method } = params;
    const uri = `${path}${queryOf(query)}`;
    const signed = signRequest({ method, uri, origin: serverName, destination, content, text }, signingKey);
    const headers: Record<string, string> = { 'user-agent': userAgent, accept: 'application/json, */*;q=0.5' };
    if (params.isSigned !== false) headers['authorization'] = signed.authorization;
    if (signed.body !== undefined) headers['content-type'] = 'application/json';
    const pools = await this.#pools.get();
    try {
      const {
        body,
        headers: answered,
        statusCode,
      } = await pools.request(place, {
        method,
        path: uri,
        headers,
        body: signed.body ?? null,
        headersTimeout: timeouts.headersMs,
        bodyTimeout: timeouts.bodyMs,
        signal,
      });
      return { status: statusCode, headers: answered, body };
    } catch (error) {
      return failureOfError(error, destination, signal);
    }
  }

  /** A response that is an error, with what it says. */
  async #refused(response: Opened, destination: string, signal: AbortSignal): Promise<FederationFailure> {
    const { backoff } = this.#options;
    const { status } = response;
    const read = await this.#reader.readObject(response.body, {
      destination,
      most: MAX_ERROR_BYTES,
      held: undefined,
      signal,
    });
    const body = 'ok' in read ? undefined : read.body;
    const errcode = body?.['errcode'];
    if (GATEWAY_STATUSES.has(status) && typeof errcode !== 'string') backoff.failed(destination);
    else backoff.reached(destination);
    const reason = body?.['error'];
    const retryAfterMs = waitOf(body?.['retry_after_ms'], response.headers['retry-after']);
    return {
      ok: false,
      kind: 'refused',
      destination,
      status,
      ...(typeof errcode === 'string' ? { errcode: errcode.slice(0, MAX_ERROR_LENGTH) } : {}),
      error:
        typeof reason === 'string' && reason !== ''
          ? reason.slice(0, MAX_ERROR_LENGTH).toWellFormed()
          : `${destination} answered with ${status}.`,
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
      ...(body === undefined ? {} : { body }),
    };
  }

  async #openPools(): Promise<DestinationPools> {
    const { certificateAuthorities, guard, resolve } = this.#options;
    const { DestinationPools: Pools } = await import('./destination-pools.ts');
    return new Pools({ guard, resolve, certificateAuthorities, timeoutMs: CONNECT_MS, connections: PER_DESTINATION });
  }
}
