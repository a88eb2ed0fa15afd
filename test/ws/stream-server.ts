import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '#src/app/config/load.ts';
import { composeServices } from '#src/app/composition.ts';
import { type EndpointServices, ENDPOINTS } from '#src/app/endpoints.ts';
import { PrometheusMetrics } from '#src/app/ground/metrics.ts';
import { openServerFiles } from '#src/app/ground/server-files.ts';
import type { Platform } from '#src/app/ground/platform.ts';
import { systemRandom } from '#src/kernel/random.ts';
import { type RateLimit, TokenBucketLimiter } from '#src/kernel/rate-limiter.ts';
import { systemTimers } from '#src/kernel/timers.ts';
import type { SessionService } from '#src/services/accounts/sessions/session-service.ts';
import type { UserService } from '#src/services/accounts/users/user-service.ts';
import type { WebSocketDependencies } from '#src/ws/dependencies.ts';
import type { Presence, WebSocketServices } from '#src/ws/services.ts';
import { WEBSOCKET_PATH, WebSocketApi } from '#src/ws/web-socket-api.ts';
import { TestServer } from '#test/http/serve.ts';
import { type Line, recordingLogger } from '#test/support/recording-logger.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { ManualClock } from '#test/support/manual-clock.ts';
import { type Frame, StreamClient, type StreamClientOptions } from './stream-client.ts';

export interface StreamServerOptions extends Pick<
  WebSocketDependencies,
  'limits' | 'seen' | 'clientAddress' | 'bytesInFlight'
> {
  readonly rateLimits?: Readonly<Record<string, RateLimit>>;
  readonly services?: Partial<WebSocketServices>;
  readonly env?: Readonly<Record<string, string>>;
}

const STEP_MS = 15_000;

/** Somebody who is logged in. */
export interface Account {
  readonly userId: string;
  readonly deviceId: string;
  readonly token: string;
  readonly refreshToken: string | undefined;
}

/** All services on a database of their own behind one listener: HTTP and the WebSocket API. Time stands still. */
export class StreamServer {
  readonly clock = new ManualClock();
  readonly lines: Line[] = [];
  readonly metrics = new PrometheusMetrics();
  /** What was said of users' presence, in order. */
  readonly presence: { readonly userId: string; readonly presence: Presence; readonly status?: string | undefined }[] =
    [];
  readonly http = new TestServer({}, true);
  api!: WebSocketApi;
  sessions!: SessionService;
  users!: UserService;
  #folder = '';
  #clone!: TestDatabase;
  #close: () => Promise<void> = () => Promise.resolve();
  #names = 0;
  #txns = 0;

  static async start(options: StreamServerOptions = {}): Promise<StreamServer> {
    const server = new StreamServer();
    server.#folder = await mkdtemp(join(tmpdir(), 'tsudoi-test-ws-'));
    server.#clone = await cloneDatabase();
    await server.#compose(options);
    return server;
  }

  async #compose(options: StreamServerOptions): Promise<void> {
    const { clock, metrics } = this;
    const { database } = this.#clone;
    const config = loadConfig([], {
      TSUDOI_DATA_DIR: this.#folder,
      TSUDOI_PASSWORD__COST: 'low',
      TSUDOI_SESSIONS__ACCESS_TOKEN_LIFETIME_MS: '300000',
      ...options.env,
    });
    const logger = recordingLogger(this.lines);
    const platform: Platform = { config, logger, metrics, clock, timers: systemTimers, random: systemRandom, database };
    const rateLimiter = new TokenBucketLimiter(clock, {
      enabled: options.rateLimits !== undefined,
      buckets: options.rateLimits ?? {},
    });
    const composition = composeServices({ ...platform, ...(await openServerFiles(config, systemRandom)) });
    const { services } = composition;
    this.sessions = services.sessions;
    this.users = services.users;
    const called: EndpointServices = {
      ...services,
      serverName: config.serverName,
      softwareVersion: '0',
      publicBaseUrl: () => 'http://localhost',
      versions: () => ({ versions: [], unstable_features: {} }),
      retentionConfiguration: () => ({ policies: {}, limits: {} }),
      capabilities: () => ({ capabilities: {} }),
      federationAddress: () => undefined,
      support: () => undefined,
      isReady: async () => true,
      metrics: () => metrics.render(),
      mayReadMetrics: () => true,
    };
    const { presence } = services;
    this.api = new WebSocketApi({
      services: {
        sessions: services.sessions,
        accountStream: services.accountStream,
        sync: services.sync,
        users: services.syncUsers,
        filters: services.filters,
        presence: {
          seen: (userId, state, deviceId) => {
            this.presence.push({ userId, presence: state });
            presence.seen(userId, state, deviceId);
          },
          set: (userId, state, statusMsg) => presence.set(userId, userId, state, statusMsg),
        },
        typing: services.typing,
        readMarkers: services.readMarkers,
        sending: services.roomSending,
        membership: services.membership,
        history: services.history,
        ...options.services,
      },
      rateLimiter,
      clock,
      timers: clock,
      logger,
      metrics,
      drainSignal: this.http.server.drainSignal,
      ...(options.limits === undefined ? {} : { limits: options.limits }),
      ...(options.bytesInFlight === undefined ? {} : { bytesInFlight: options.bytesInFlight }),
      ...(options.seen === undefined ? {} : { seen: options.seen }),
      ...(options.clientAddress === undefined ? {} : { clientAddress: options.clientAddress }),
    });
    this.http.server.onUpgrade(WEBSOCKET_PATH, this.api.upgrade);
    await composition.start();
    await this.http.start(ENDPOINTS, called, {
      authenticate: (token) => services.sessions.authenticate(token),
      rateLimiter,
    });
    this.#close = () => composition.close(logger);
  }

  async stop(): Promise<void> {
    await this.http.stop();
    await this.#close();
    this.metrics.close();
    await this.#clone.drop();
    await rm(this.#folder, { recursive: true, force: true });
  }

  async ask(
    account: Account | undefined,
    method: string,
    path: string,
    body?: unknown,
  ): Promise<{ status: number; body: Frame }> {
    const url = `/_matrix/client/v3${path}`;
    const answer = await this.http.ask(method, url, {
      ...(account === undefined ? {} : { token: account.token }),
      ...(body === undefined ? {} : { body }),
    });
    return { status: answer.status, body: answer.json };
  }

  async must(account: Account | undefined, method: string, path: string, body?: unknown): Promise<Frame> {
    const answer = await this.ask(account, method, path, body);
    if (answer.status !== 200) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  async register(name?: string, more: object = {}): Promise<Account> {
    this.#names += 1;
    const body = await this.must(undefined, 'POST', '/register', {
      username: name ?? `user${this.#names}`,
      password: 'correct horse battery',
      auth: { type: 'm.login.dummy' },
      ...more,
    });
    return {
      userId: body.user_id,
      deviceId: body.device_id,
      token: body.access_token,
      refreshToken: body.refresh_token,
    };
  }

  /** A room of the first account that the others are in too. */
  async room(creator: Account, ...others: readonly Account[]): Promise<string> {
    const { room_id: roomId } = await this.must(creator, 'POST', '/createRoom', { preset: 'public_chat' });
    for (const other of others) await this.must(other, 'POST', `/rooms/${roomId}/join`, {});
    return roomId;
  }

  async say(account: Account, roomId: string, text: string): Promise<string> {
    this.#txns += 1;
    const path = `/rooms/${roomId}/send/m.room.message/http${this.#txns}`;
    return (await this.must(account, 'PUT', path, { msgtype: 'm.text', body: text })).event_id;
  }

  /** Opens a socket that says nothing yet. */
  open(options: StreamClientOptions = {}): Promise<StreamClient> {
    return StreamClient.open(`ws://127.0.0.1:${this.http.port}${WEBSOCKET_PATH}`, options);
  }

  /** Opens a socket and authenticates in the first frame. */
  async connect(account: Account, params: object = {}, options: StreamClientOptions = {}): Promise<StreamClient> {
    const client = await this.open(options);
    client.send({ id: 'auth', method: 'auth', params: { token: account.token, ...params } });
    await client.response('auth');
    return client;
  }

  /** Moves time, in steps within which pings are answered, and lets what it set off come about. */
  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= STEP_MS) {
      await this.clock.advance(Math.min(left, STEP_MS));
      await systemTimers.sleep(20);
    }
  }
}
