import type { Presence } from '#src/ws/services.ts';
import type { WebSocketApi } from '#src/ws/web-socket-api.ts';
import { WEBSOCKET_PATH } from '#src/ws/web-socket-api.ts';
import { type Answer, type ConfigChanges, InProcessServer, type Session } from '#test/support/in-process-server.ts';
import type { InProcessServerOptions } from '#test/support/in-process-server.ts';
import { type Frame, StreamClient, type StreamClientOptions } from './stream-client.ts';

const STEP_MS = 15_000;
const ACCESS_TOKEN_MS = 300_000;

/** Somebody who is logged in. */
export interface Account extends Session {
  readonly refreshToken: string | undefined;
}

/** The server, and people who follow it by the WebSocket API. Time stands still. */
export class StreamServer {
  readonly app: InProcessServer;
  /** What was said of users' presence, in order. */
  readonly presence: readonly { readonly userId: string; readonly presence: Presence }[];
  readonly #clients = new Set<StreamClient>();
  #names = 0;
  #txns = 0;

  private constructor(app: InProcessServer, presence: StreamServer['presence']) {
    this.app = app;
    this.presence = presence;
  }

  static async start(options: InProcessServerOptions = {}): Promise<StreamServer> {
    const said: { userId: string; presence: Presence }[] = [];
    const config: ConfigChanges = {
      ...options.config,
      sessions: { accessTokenLifetimeMs: ACCESS_TOKEN_MS, ...options.config?.sessions },
    };
    const app = await InProcessServer.start({
      ...options,
      config,
      adjust(services) {
        const { presence } = services;
        const seen = presence.seen.bind(presence);
        presence.seen = (userId, state, deviceId) => {
          said.push({ userId, presence: state });
          return seen(userId, state, deviceId);
        };
        options.adjust?.(services);
      },
    });
    return new StreamServer(app, said);
  }

  get api(): WebSocketApi {
    return this.app.services.webSockets;
  }

  async stop(): Promise<void> {
    await this.app.stop();
  }

  ask(account: Account | undefined, method: string, path: string, body?: unknown): Promise<Answer> {
    return this.app.ask(account?.token, method, path, body);
  }

  must(account: Account | undefined, method: string, path: string, body?: unknown): Promise<Frame> {
    return this.app.must(account?.token, method, path, body);
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
  async open(options: StreamClientOptions = {}): Promise<StreamClient> {
    const client = await StreamClient.open(`${this.app.url.replace(/^http/, 'ws')}${WEBSOCKET_PATH}`, options);
    this.#clients.add(client);
    void client.closed.then(() => this.#clients.delete(client));
    return client;
  }

  /** Opens a socket and authenticates in the first frame. */
  async connect(account: Session, params: object = {}, options: StreamClientOptions = {}): Promise<StreamClient> {
    const client = await this.open(options);
    client.send({ id: 'auth', method: 'auth', params: { token: account.token, ...params } });
    await client.response('auth');
    return client;
  }

  /** Moves time, in steps within which pings are answered, and lets what it set off come about. */
  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= STEP_MS) {
      await this.app.clock.advance(Math.min(left, STEP_MS));
      await this.app.idle();
      await Promise.all([...this.#clients].map((client) => client.settle()));
    }
  }
}
