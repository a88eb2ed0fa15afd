import { type ClientRequest, type IncomingHttpHeaders, type IncomingMessage, request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { systemClock } from '#src/kernel/clock.ts';
import type { Labels, Metrics } from '#src/kernel/metrics.ts';
import { noMetrics } from '#src/kernel/metrics.ts';
import { systemRandom } from '#src/kernel/random.ts';
import { TokenBucketLimiter } from '#src/kernel/limits/rate-limiter.ts';
import { systemTimers, type Timers } from '#src/kernel/timers.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import type { HttpDependencies } from '#src/http/dependencies.ts';
import type { Endpoint } from '#src/http/endpoint.ts';
import { mountEndpoints } from '#src/http/mount.ts';
import { HttpServer, type ServerLimits } from '#src/http/server.ts';
import { type Line, recordingLogger } from '#test/support/recording-logger.ts';
import { recorder } from '#test/support/schema-recorder.ts';
import { until } from '#test/support/until.ts';

const requester = (userId: string, more: Partial<Requester> = {}): Requester => ({
  userId,
  deviceId: 'DEVICE',
  isGuest: false,
  isAdmin: false,
  rateLimited: true,
  ...more,
});

const REQUESTERS: Readonly<Record<string, Requester>> = {
  alice: requester('@alice:test'),
  bob: requester('@bob:test'),
  guest: requester('@guest:test', { isGuest: true }),
  admin: requester('@admin:test', { isAdmin: true }),
  suspended: requester('@suspended:test', { isSuspended: true }),
  'suspended-admin': requester('@suspended-admin:test', { isAdmin: true, isSuspended: true }),
  exempt: requester('@exempt:test', { rateLimited: false }),
};

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly bytes: Buffer;
  readonly text: string;
  /** The body, parsed. */
  readonly json: Record<string, unknown>;
}

export interface AskOptions {
  readonly token?: string;
  readonly headers?: Record<string, string>;
  readonly body?: unknown;
  /** Body as it stands. */
  readonly raw?: string | Buffer;
}

/** A server on a free port of 127.0.0.1 with the endpoints of a test, and what it logged and measured. */
export class TestServer {
  readonly lines: Line[] = [];
  readonly samples: { name: string; labels: Labels }[] = [];
  readonly server: HttpServer;
  readonly #records: boolean;
  port = 0;

  /**
   * @param records whether its answers are held against the specification: where real endpoints are served
   * @param timers by which it drains
   */
  constructor(limits: Partial<ServerLimits> = {}, records = false, timers: Timers = systemTimers) {
    this.#records = records;
    this.server = new HttpServer({
      logger: recordingLogger(this.lines),
      timers,
      metrics: noMetrics,
      limits,
    });
  }

  /** Whose token this is: the names of `REQUESTERS` are tokens. */
  static async authenticate(this: void, token: string): Promise<Requester> {
    const found = REQUESTERS[token];
    if (found === undefined) throw new MatrixError('M_UNKNOWN_TOKEN', 'This token is not known.');
    return found;
  }

  async start<S>(endpoints: readonly Endpoint<S>[], services: S, more: Partial<HttpDependencies> = {}): Promise<this> {
    const metrics: Metrics = {
      ...noMetrics,
      histogram: (name) => ({ observe: (_value, labels = {}) => void this.samples.push({ name, labels }) }),
    };
    const app = mountEndpoints(endpoints, services, {
      authenticate: TestServer.authenticate,
      rateLimiter: new TokenBucketLimiter(systemClock, { enabled: false, buckets: {} }),
      clock: systemClock,
      timers: systemTimers,
      random: systemRandom,
      logger: recordingLogger(this.lines),
      metrics,
      trustedProxies: [],
      drainSignal: this.server.drainSignal,
      ...more,
    });
    this.server.handle(app.callback());
    this.port = (await this.server.listen({ bind: '127.0.0.1', port: 0 })).port;
    return this;
  }

  async stop(): Promise<void> {
    await this.server.drain(50);
  }

  /** Begins a request; the answer's promise and the request itself, to be able to break it off. */
  begin(method: string, path: string, options: AskOptions = {}): { request: ClientRequest; answer: Promise<Answer> } {
    const payload = options.raw ?? (options.body === undefined ? undefined : JSON.stringify(options.body));
    const headers: Record<string, string> = { ...options.headers };
    if (options.token !== undefined) headers['authorization'] = `Bearer ${options.token}`;
    if (payload !== undefined) headers['content-length'] = String(Buffer.byteLength(payload));
    const { request, response } = this.open(method, path, headers);
    request.end(payload);
    return { request, answer: response.then((received) => this.#collect(method, path, received)) };
  }

  /** A request whose body is still to be written, and the response once its headers have come. */
  open(
    method: string,
    path: string,
    headers: Record<string, string> = {},
  ): { request: ClientRequest; response: Promise<IncomingMessage> } {
    const request = httpRequest({ host: '127.0.0.1', port: this.port, method, path, headers, agent: false });
    const response = new Promise<IncomingMessage>((resolve, reject) => {
      request.on('response', resolve).on('error', reject);
    });
    return { request, response };
  }

  #collect(method: string, path: string, response: IncomingMessage): Promise<Answer> {
    return new Promise<Answer>((resolve, reject) => {
      const chunks: Buffer[] = [];
      response.on('error', reject);
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        const bytes = Buffer.concat(chunks);
        const text = bytes.toString('utf8');
        const isJson = response.headers['content-type']?.startsWith('application/json') === true;
        const isPlain = response.headers['content-encoding'] === undefined;
        if (this.#records && isPlain)
          recorder.record(method, path, response.statusCode ?? 0, isJson && text !== '' ? JSON.parse(text) : undefined);
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          bytes,
          text,
          get json() {
            return JSON.parse(text) as Record<string, unknown>;
          },
        });
      });
    });
  }

  ask(method: string, path: string, options: AskOptions = {}): Promise<Answer> {
    return this.begin(method, path, options).answer;
  }

  /** Writes bytes to a connection and collects all that comes back until it is closed. */
  speak(text: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = connect(this.port, '127.0.0.1', () => socket.write(text));
      let received = '';
      socket.on('data', (chunk) => (received += chunk.toString('latin1')));
      socket.on('close', () => resolve(received));
      socket.on('error', reject);
    });
  }

  /** Waits until a log line is there: it is written after the client has its answer. */
  line(matches: (line: Line) => boolean): Promise<Line> {
    return until('the log line', () => this.lines.find(matches));
  }
}
