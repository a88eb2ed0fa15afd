import { type Answer, ask, must, type Sent } from '#test/support/http.ts';
import { InProcessServer } from '#test/support/in-process-server.ts';
import { until } from '#test/support/until.ts';

/** Somebody who is logged in on a device. */
export interface Person {
  readonly userId: string;
  readonly deviceId: string;
  readonly token: string;
}

const PASSWORD = 'correct horse battery staple';

// What a test expects in a body it says itself.
// oxlint-disable-next-line typescript/no-explicit-any
export type Body = any;

/** The real server, and people who speak plain HTTP with it. */
export class ConformanceServer {
  readonly #server: InProcessServer;
  #count = 0;

  private constructor(server: InProcessServer) {
    this.#server = server;
  }

  static async start(): Promise<ConformanceServer> {
    return new ConformanceServer(await InProcessServer.start());
  }

  get url(): string {
    return this.#server.url;
  }

  stop(): Promise<void> {
    return this.#server.stop();
  }

  ask(person: Person | undefined, method: string, path: string, body?: unknown, sent: Sent = {}): Promise<Answer> {
    return ask(this.url, method, path, { token: person?.token, ...(body === undefined ? {} : { body }), ...sent });
  }

  must(person: Person | undefined, method: string, path: string, body?: unknown): Promise<Body> {
    return must(this.url, method, path, { token: person?.token, ...(body === undefined ? {} : { body }) });
  }

  async register(more: object = {}): Promise<Person & { readonly refreshToken: string }> {
    this.#count += 1;
    const wish = { username: `person${this.#count}`, password: PASSWORD, auth: { type: 'm.login.dummy' }, ...more };
    return person(await this.must(undefined, 'POST', '/register', wish));
  }

  async people(): Promise<[Person, Person, Person]> {
    const [a, b, c] = await Promise.all([this.register(), this.register(), this.register()]);
    return [a, b, c];
  }

  /** Logs in, on the named device if one is named. */
  async logIn(userId: string, deviceId?: string): Promise<Person> {
    const wish = { type: 'm.login.password', identifier: { type: 'm.id.user', user: userId }, password: PASSWORD };
    return person(
      await this.must(undefined, 'POST', '/login', {
        ...wish,
        ...(deviceId === undefined ? {} : { device_id: deviceId }),
      }),
    );
  }

  /** A public room of the first person in which all are. */
  async room(creator: Person, others: readonly Person[] = [], wish: object = {}): Promise<string> {
    const { room_id: roomId } = await this.must(creator, 'POST', '/createRoom', { preset: 'public_chat', ...wish });
    for (const other of others) await this.must(other, 'POST', `/rooms/${roomId}/join`, {});
    return roomId;
  }

  async say(sender: Person, roomId: string, body: string): Promise<string> {
    this.#count += 1;
    const path = `/rooms/${roomId}/send/m.room.message/t${this.#count}`;
    return (await this.must(sender, 'PUT', path, { msgtype: 'm.text', body })).event_id;
  }

  idle(): Promise<void> {
    return this.#server.idle();
  }

  /** Resolves when somebody waits for news for so many milliseconds. */
  async isWaitedFor(timeoutMs: number): Promise<void> {
    await until('somebody waits', () => this.#server.clock.dueIn.includes(timeoutMs));
  }

  sync(
    reader: Person,
    query: { readonly since?: string; readonly timeout?: number; readonly filter?: object } = {},
  ): Promise<Body> {
    const params = new URLSearchParams();
    if (query.since !== undefined) params.set('since', query.since);
    if (query.timeout !== undefined) params.set('timeout', String(query.timeout));
    if (query.filter !== undefined) params.set('filter', JSON.stringify(query.filter));
    return this.must(reader, 'GET', `/sync?${params}`);
  }
}

const person = (body: Body): Person & { readonly refreshToken: string } => ({
  userId: body.user_id,
  deviceId: body.device_id,
  token: body.access_token,
  refreshToken: body.refresh_token,
});
