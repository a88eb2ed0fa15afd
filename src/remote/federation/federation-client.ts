import { Lazy } from '#src/kernel/lazy.ts';
import type { Readable } from 'node:stream';
import type { Clock } from '#src/kernel/clock.ts';
import { Gate } from '#src/kernel/gate.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Histogram, Metrics } from '#src/kernel/metrics.ts';
import type { Timers } from '#src/kernel/timers.ts';
import { measureJson } from '#src/protocol/json/json-measure.ts';
import { isJsonObject, type JsonObject, MAX_JSON_DEPTH } from '#src/protocol/json/json-value.ts';
import { signRequest } from '#src/protocol/signing/request-signature.ts';
import type { SigningKey } from '#src/protocol/signing/signing-key.ts';
import type { AddressGuard } from '../address-guard.ts';
import type { Resolve } from '../guarded-connector.ts';
import type { OutboundTimeouts } from '../outbound-http.ts';
import type { OutboundFailure } from '../outbound-result.ts';
import { BoundedBody } from '../bounded-body.ts';
import type { DestinationBackoff } from './destination-backoff.ts';
import { type DestinationPlace, textOfPlace } from './destination-place.ts';
import type { DestinationPools } from './destination-pools.ts';
import { type FederationFailure, federationFailure, type FederationResult } from './federation-result.ts';
import type { ServerDiscovery } from './server-discovery.ts';

export {
  type FederationAnswer,
  type FederationFailure,
  type FederationFailureKind,
  type FederationResult,
  matrixErrorOf,
} from './federation-result.ts';

/** How another server is asked. */
interface FederationWish {
  /** Its server name. */
  readonly destination: string;
  readonly method: 'GET' | 'POST' | 'PUT';
  /** Of the answer; 1 MiB by default. */
  readonly maxBodyBytes?: number | undefined;
  readonly timeouts?: Partial<FederationTimeouts> | undefined;
  readonly signal?: AbortSignal | undefined;
  /** A client waits for the answer: a server that could not be reached is tried again sooner. */
  readonly isUrgent?: boolean | undefined;
  /** Whether the request is signed. It is unless said otherwise. */
  readonly isSigned?: boolean | undefined;
}

/** What another server is asked. */
export interface FederationQuestion {
  /** Percent-encoded: `/_matrix/federation/v1/...`. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | readonly string[] | undefined>> | undefined;
  readonly content?: JsonObject | undefined;
  /** The content in Canonical JSON, for those who have it as text. */
  readonly body?: string | undefined;
}

export interface FederationRequest extends FederationWish, FederationQuestion {}

/** A request that is put together when there is a connection to make it over: one that cannot be made costs nothing of it. */
export interface ComposedRequest extends FederationWish {
  /** Called once at most. Undefined: there is nothing to ask, and no request is made; the answer is `{}` then. */
  readonly compose: () => Promise<FederationQuestion | undefined>;
}

export interface FederationTimeouts extends OutboundTimeouts {
  /** Until the connection is accepted, at each place; TLS has its own. */
  readonly acceptMs: number;
}

/** An answer whose body is read bit by bit. */
export interface FederationStream {
  readonly ok: true;
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Ends with an error when the body is longer than `maxBodyBytes`, or breaks off. What is not read has to be given back: `return()`. */
  readonly body: AsyncIterableIterator<Buffer>;
}

export interface FederationClientOptions {
  readonly serverName: string;
  readonly signingKey: SigningKey;
  /** Whether this server talks to that one. */
  readonly verdictOn: (serverName: string) => 'allowed' | 'denied' | 'disabled';
  readonly discovery: ServerDiscovery;
  readonly backoff: DestinationBackoff;
  readonly guard: AddressGuard;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly userAgent: string;
  readonly resolve?: Resolve | undefined;
  /** Certificate authorities in PEM, all of them; undefined for the system's. */
  readonly certificateAuthorities?: readonly string[] | undefined;
}

const CONNECT_MS = 10_000;
const DEFAULT_TIMEOUTS: FederationTimeouts = {
  acceptMs: CONNECT_MS,
  headersMs: 30_000,
  bodyMs: 15_000,
  totalMs: 60_000,
};
const STREAM_TOTAL_MS = 600_000;
const DEFAULT_MAX_BODY_BYTES = 1_048_576;
/** What an answer that is an error may say. */
const MAX_ERROR_BYTES = 65_536;
const BYTES_PER_VALUE = 16;
const LEAST_VALUES = 100_000;
const PER_DESTINATION = 8;
const CONCURRENCY = 1_024;
/** The same, to servers that could not be reached of late: they take long, and keep nobody from the others. */
const CONCURRENCY_OF_FAILING = 64;
/** Connections to those that are tried at once. Nobody answers most of them, and each is a socket and nothing else. */
const TRIES_OF_FAILING = 512;
/** When to come again where a request never had its turn. */
const BUSY_MS = 5_000;
const MAX_WAITING = 8_192;
/** What stands before a server answers so when the server itself is away. */
const GATEWAY_STATUSES: ReadonlySet<number> = new Set([502, 503, 504, 520, 521, 522, 523, 524, 525, 526, 530]);
const MAX_ERROR_LENGTH = 300;
const MAX_WAIT_MS = 86_400_000;
const SECONDS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** How long a request is waited for. */
interface Patience {
  /** Aborted when nobody waits any more. */
  readonly signal: AbortSignal;
  readonly timeouts: FederationTimeouts;
  /** Whether it is time that has run out. */
  readonly isLate: () => boolean;
}

/** A place to which a connection is open, and the others to try when it does not serve. */
interface Reached {
  readonly place: DestinationPlace;
  readonly others: readonly DestinationPlace[];
}

type Work = (patience: Patience, reached: Reached) => Promise<FederationResult>;

/** Another server's answer before its body is read. */
interface Opened {
  readonly status: number;
  readonly headers: FederationStream['headers'];
  readonly body: Readable;
}

/** Asks other servers: signs, finds them, waits only so long, reads only so much, and never throws. Server-Server API. */
export class FederationClient {
  readonly #options: FederationClientOptions;
  readonly #gate = new Gate(CONCURRENCY);
  readonly #gateOfFailing = new Gate(CONCURRENCY_OF_FAILING);
  readonly #gateOfTries = new Gate(TRIES_OF_FAILING);
  readonly #seconds: Histogram;
  readonly #pools = new Lazy(() => this.#openPools());
  /** What ends requests whose answer, or the end of whose stream, has not come. */
  readonly #underWay = new Set<AbortController>();
  #isClosed = false;
  readonly #watching = new Set<() => void>();

  constructor(options: FederationClientOptions) {
    this.#options = options;
    const { backoff, metrics } = options;
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
    return this.#measured(() => this.#admitted(request, (patience, reached) => this.#ask(request, patience, reached)));
  }

  /** Makes a request whose answer is read bit by bit, whatever it is. An error status is a failure here too. */
  async stream(request: FederationRequest): Promise<FederationStream | FederationFailure> {
    const opened = Promise.withResolvers<FederationStream | FederationFailure>();
    const whole: FederationRequest = { ...request, timeouts: { totalMs: STREAM_TOTAL_MS, ...request.timeouts } };
    void this.#admitted(whole, async (patience, reached) => {
      const answer = await this.#open(whole, whole, patience, reached);
      if ('ok' in answer) return answer;
      const { headers, status } = answer;
      const body = new BoundedBody(answer.body, whole.maxBodyBytes ?? DEFAULT_MAX_BODY_BYTES);
      opened.resolve({ ok: true, status, headers, body });
      await Promise.race([body.ended, aborted(patience.signal)]);
      return { ok: true, body: {} };
    }).then((result) => {
      if (!result.ok) opened.resolve(result);
    });
    return this.#measured(() => opened.promise);
  }

  /** Resolves when no request is under way. */
  async idle(): Promise<void> {
    while (this.#underWay.size > 0)
      await new Promise<void>((resolve) => {
        this.#watching.add(resolve);
      });
  }

  /** Gives up what is under way, and closes all connections. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const giving of this.#underWay) giving.abort();
    await (await this.#pools.made)?.destroy();
  }

  async #measured<R extends FederationStream | FederationResult>(work: () => Promise<R>): Promise<R> {
    const { clock } = this.#options;
    const started = clock.monotonic();
    const result = await work();
    this.#seconds.observe((clock.monotonic() - started) / 1000, { outcome: result.ok ? 'ok' : result.kind });
    return result;
  }

  /** Why a request is not even begun. */
  #refusal({ destination, isUrgent }: FederationWish): FederationFailure | undefined {
    const { backoff, serverName, verdictOn } = this.#options;
    const verdict = verdictOn(destination);
    if (verdict === 'disabled') return federationFailure('disabled', destination, 'This server does not federate.');
    if (verdict === 'denied')
      return federationFailure('denied', destination, `This server does not federate with ${destination}.`);
    if (destination === serverName)
      return federationFailure('denied', destination, 'This server does not ask itself over the network.');
    const waitMs = backoff.waitMs(destination, isUrgent === true);
    if (waitMs > 0)
      return federationFailure('unreachable', destination, `${destination} could not be reached a moment ago.`, waitMs);
    if (this.#gate.waiting + this.#gateOfFailing.waiting + this.#gateOfTries.waiting >= MAX_WAITING)
      return federationFailure('unreachable', destination, 'This server makes too many requests already.');
    return undefined;
  }

  async #admitted(request: FederationWish, work: Work): Promise<FederationResult> {
    const refusal = this.#refusal(request);
    if (refusal !== undefined) return refusal;
    const { destination } = request;
    const timeouts = { ...DEFAULT_TIMEOUTS, ...request.timeouts };
    const giving = new AbortController();
    const { signal } = giving;
    let isLate = false;
    let isWaiting = true;
    const giveUp = (): void => giving.abort();
    const timer = this.#options.timers.after(timeouts.totalMs, () => {
      isLate = true;
      giveUp();
    });
    if (this.#isClosed || request.signal?.aborted === true) giveUp();
    request.signal?.addEventListener('abort', giveUp);
    this.#underWay.add(giving);
    const ended = (): FederationFailure => {
      if (!isLate) return federationFailure('unreachable', destination, `The request to ${destination} was given up.`);
      return isWaiting
        ? federationFailure('unreachable', destination, 'This server makes too many requests already.', BUSY_MS)
        : federationFailure('timeout', destination, `${destination} took too long.`);
    };
    /** While it waited for its turn, others may have found out that there is nobody. */
    const inTurn = <T>(gate: Gate, task: () => Promise<T>): Promise<T | FederationFailure> => {
      isWaiting = true;
      return gate.run<T | FederationFailure>(async () => {
        isWaiting = false;
        return (signal.aborted ? ended() : this.#refusal(request)) ?? task();
      });
    };
    const patience: Patience = { signal, timeouts, isLate: () => isLate };
    try {
      return await Promise.race([this.#inTurns(destination, inTurn, patience, work), aborted(signal).then(ended)]);
    } finally {
      timer.cancel();
      request.signal?.removeEventListener('abort', giveUp);
      this.#underWay.delete(giving);
      if (this.#underWay.size === 0) {
        for (const resolve of this.#watching) resolve();
        this.#watching.clear();
      }
    }
  }

  /** Connects, and does something then. Where a server failed of late, these are two turns: few of those who wait for the first come to the second. */
  async #inTurns(
    destination: string,
    inTurn: <T>(gate: Gate, task: () => Promise<T>) => Promise<T | FederationFailure>,
    patience: Patience,
    work: Work,
  ): Promise<FederationResult> {
    if (this.#options.backoff.outageOf(destination) === undefined)
      return inTurn(this.#gate, async () => {
        const reached = await this.#reach(destination, patience);
        return 'ok' in reached ? reached : work(patience, reached);
      });
    const reached = await inTurn(this.#gateOfTries, () => this.#reach(destination, patience));
    return 'ok' in reached ? reached : inTurn(this.#gateOfFailing, () => work(patience, reached));
  }

  async #ask(
    request: FederationRequest | ComposedRequest,
    patience: Patience,
    reached: Reached,
  ): Promise<FederationResult> {
    const question = 'compose' in request ? await request.compose() : request;
    if (question === undefined) return { ok: true, body: {} };
    const answer = await this.#open(request, question, patience, reached);
    if ('ok' in answer) return answer;
    const { destination } = request;
    const most = request.maxBodyBytes ?? DEFAULT_MAX_BODY_BYTES;
    const read = await this.#readAll(answer, destination, most, patience.signal);
    if ('ok' in read) return read;
    const body = parsedObject(read.bytes, most);
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
    patience: Patience,
    places?: readonly DestinationPlace[],
  ): Promise<Reached | FederationFailure> {
    const { signal, timeouts } = patience;
    let failure = federationFailure('unreachable', destination, `It could not be found out where ${destination} is.`);
    const all = places ?? (await this.#options.discovery.find(destination));
    for (const [index, place] of all.entries()) {
      try {
        await (await this.#pools.get()).connect(place, timeouts.acceptMs);
        // Nobody waits any more: nothing is composed for them.
        if (signal.aborted) break;
        return { place, others: all.slice(index + 1) };
      } catch (error) {
        failure = await this.#failureOf(error, destination, signal);
      }
      this.#noteFailure(place, failure);
      if (signal.aborted || failure.kind === 'denied') break;
    }
    this.#missed(destination, patience);
    return failure;
  }

  /** Makes the request at a place to which a connection is open, and where that fails, at the others. */
  async #open(
    wish: FederationWish,
    question: FederationQuestion,
    patience: Patience,
    reached: Reached,
  ): Promise<Opened | FederationFailure> {
    const { destination } = wish;
    const { signal } = patience;
    for (let { others, place } = reached; ;) {
      const answer = await this.#openAt(place, wish, question, patience);
      if (!('ok' in answer)) {
        const { status } = answer;
        if (status < 200 || status >= 300) return this.#refused(answer, destination, signal);
        this.#options.backoff.reached(destination);
        return answer;
      }
      this.#noteFailure(place, answer);
      if (signal.aborted || answer.kind === 'denied' || others.length === 0) {
        this.#missed(destination, patience);
        return answer;
      }
      const next = await this.#reach(destination, patience, others);
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
  #missed(destination: string, { isLate, signal }: Patience): void {
    const { backoff, discovery } = this.#options;
    // Nobody else's patience says anything about that server.
    if (signal.aborted && !isLate()) return;
    backoff.failed(destination);
    discovery.failed(destination);
  }

  async #openAt(
    place: DestinationPlace,
    wish: FederationWish,
    { body: text, content, path, query }: FederationQuestion,
    { signal, timeouts }: Patience,
  ): Promise<Opened | FederationFailure> {
    const { serverName, signingKey, userAgent } = this.#options;
    const { destination, method } = wish;
    const uri = `${path}${queryOf(query)}`;
    const signed = signRequest({ method, uri, origin: serverName, destination, content, text }, signingKey);
    const headers: Record<string, string> = { 'user-agent': userAgent, accept: 'application/json, */*;q=0.5' };
    if (wish.isSigned !== false) headers['authorization'] = signed.authorization;
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
      return this.#failureOf(error, destination, signal);
    }
  }

  async #failureOf(error: unknown, destination: string, signal: AbortSignal): Promise<FederationFailure> {
    const { failureOf } = await import('../outbound-failures.ts');
    const { kind, reason } = failureOf(error, destination, signal);
    return federationFailure(KIND_OF[kind], destination, `${sentence(reason)}.`);
  }

  /** An answer that is an error, with what it says. */
  async #refused(answer: Opened, destination: string, signal: AbortSignal): Promise<FederationFailure> {
    const { backoff } = this.#options;
    const { status } = answer;
    const read = await this.#readAll(answer, destination, MAX_ERROR_BYTES, signal);
    const body = 'ok' in read ? undefined : parsedObject(read.bytes, MAX_ERROR_BYTES);
    const errcode = body?.['errcode'];
    if (GATEWAY_STATUSES.has(status) && typeof errcode !== 'string') backoff.failed(destination);
    else backoff.reached(destination);
    const told = body?.['error'];
    const retryAfterMs = waitOf(body?.['retry_after_ms'], answer.headers['retry-after']);
    return {
      ok: false,
      kind: 'refused',
      destination,
      status,
      ...(typeof errcode === 'string' ? { errcode: errcode.slice(0, MAX_ERROR_LENGTH) } : {}),
      error:
        typeof told === 'string' && told !== ''
          ? told.slice(0, MAX_ERROR_LENGTH)
          : `${destination} answered with ${status}.`,
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
      ...(body === undefined ? {} : { body }),
    };
  }

  async #readAll(
    { body }: Opened,
    destination: string,
    most: number,
    signal: AbortSignal,
  ): Promise<{ readonly bytes: Buffer } | FederationFailure> {
    try {
      const { readUpTo } = await import('../read-up-to.ts');
      const { bytes, isCut } = await readUpTo(body as never, most);
      return isCut
        ? federationFailure('too_large', destination, `${destination} answered with more than ${most} bytes.`)
        : { bytes };
    } catch (error) {
      return this.#failureOf(error, destination, signal);
    }
  }

  async #openPools(): Promise<DestinationPools> {
    const { certificateAuthorities, guard, resolve } = this.#options;
    const { DestinationPools: Pools } = await import('./destination-pools.ts');
    return new Pools({ guard, resolve, certificateAuthorities, timeoutMs: CONNECT_MS, connections: PER_DESTINATION });
  }
}

const KIND_OF: Readonly<Record<OutboundFailure['kind'], FederationFailure['kind']>> = {
  refused_url: 'bad_answer',
  refused_redirect: 'bad_answer',
  refused_address: 'denied',
  unresolved: 'unreachable',
  unreachable: 'unreachable',
  timeout: 'timeout',
  too_large: 'too_large',
  too_many_redirects: 'bad_answer',
  broken: 'unreachable',
  busy: 'unreachable',
  aborted: 'unreachable',
};

const sentence = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });

/** The query as it is signed and sent; lists as the same name several times. */
const queryOf = (query: FederationRequest['query']): string => {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (typeof value === 'string') parameters.append(name, value);
    else for (const one of value ?? []) parameters.append(name, one);
  }
  const text = parameters.toString();
  return text === '' ? '' : `?${text}`;
};

const parsedObject = (bytes: Buffer, most: number): JsonObject | undefined => {
  const maxValues = Math.max(LEAST_VALUES, most / BYTES_PER_VALUE);
  const { depth, values } = measureJson(bytes, maxValues);
  if (depth > MAX_JSON_DEPTH || values > maxValues) return undefined;
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    const value: unknown = JSON.parse(text);
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
};

const waitOf = (told: unknown, header: string | string[] | undefined): number | undefined => {
  if (typeof told === 'number' && told >= 0) return Math.min(told, MAX_WAIT_MS);
  const seconds = typeof header === 'string' && /^\d{1,9}$/.test(header) ? Number(header) : undefined;
  return seconds === undefined ? undefined : Math.min(seconds * 1_000, MAX_WAIT_MS);
};
