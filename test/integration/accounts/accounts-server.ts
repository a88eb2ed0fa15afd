import type { ServerServices } from '#src/app/composition.ts';
import { systemRandom } from '#src/kernel/random.ts';
import type { RateLimit } from '#src/kernel/limits/rate-limiter.ts';
import type { Argon2 } from '#src/services/accounts/credentials/password-hasher.ts';
import { RegistrationTokens } from '#src/services/accounts/registration/registration-tokens.ts';
import type { ManualClock } from '#test/support/manual-clock.ts';
import { type ConfigChanges, InProcessServer } from '#test/support/in-process-server.ts';
import { type Answer, recordedFetch } from '#test/support/http.ts';

export const SERVER_NAME = 'tsudoi.test';
export const SHARED_SECRET = 'a secret of the operator';
export const PASSWORD = 'correct horse battery';

export interface AccountsServerOptions {
  readonly registration?: ConfigChanges['registration'];
  readonly sharedSecret?: string | undefined;
  readonly rateLimits?: Readonly<Record<string, RateLimit>>;
  readonly publicBaseUrl?: string;
  readonly sessions?: ConfigChanges['sessions'];
  readonly uiaReuseMs?: number;
  readonly argon2?: Argon2;
}

/** The server, and people with accounts on it. Time stands still. */
export class AccountsServer {
  readonly app: InProcessServer;
  readonly tokens: RegistrationTokens;
  /** The address that requests seem to come from. */
  forwardedFor: string | undefined;
  #names = 0;

  private constructor(app: InProcessServer) {
    this.app = app;
    this.tokens = new RegistrationTokens({
      database: app.services.database,
      clock: app.clock,
      random: systemRandom,
      auditLog: app.services.auditLog,
    });
  }

  static async start(options: AccountsServerOptions = {}): Promise<AccountsServer> {
    const { publicBaseUrl, rateLimits, registration, sessions, uiaReuseMs = 0 } = options;
    const sharedSecret = 'sharedSecret' in options ? (options.sharedSecret ?? null) : SHARED_SECRET;
    const app = await InProcessServer.start({
      ...(rateLimits === undefined ? {} : { rateLimits }),
      ...(options.argon2 === undefined ? {} : { extensions: { argon2: options.argon2 } }),
      config: {
        serverName: SERVER_NAME,
        ...(publicBaseUrl === undefined ? {} : { publicBaseUrl }),
        http: { trustedProxies: ['127.0.0.1'] },
        registration: { sharedSecret, ...registration },
        sessions: { uiaReuseMs, accessTokenLifetimeMs: 300_000, ...sessions },
      },
    });
    return new AccountsServer(app);
  }

  get clock(): ManualClock {
    return this.app.clock;
  }

  get services(): ServerServices {
    return this.app.services;
  }

  stop(): Promise<void> {
    return this.app.stop();
  }

  /** One request; `path` without `/_matrix/client/v3` unless it begins with `/_`. */
  async request(method: string, path: string, body?: unknown, token?: string): Promise<Answer> {
    const response = await recordedFetch(this.app.url + (path.startsWith('/_') ? path : `/_matrix/client/v3${path}`), {
      method,
      headers: {
        ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
        ...(this.forwardedFor === undefined ? {} : { 'X-Forwarded-For': this.forwardedFor }),
        ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    const isText = response.headers.get('content-type')?.startsWith('text/') === true;
    return { status: response.status, body: isText ? text : JSON.parse(text), headers: response.headers };
  }

  /** Registers somebody by the API, with a name made up unless one is given. */
  async register(members: Record<string, unknown> = {}): Promise<Answer> {
    this.#names += 1;
    const wanted = { username: `user${this.#names}`, password: PASSWORD, auth: { type: 'm.login.dummy' }, ...members };
    return this.request('POST', '/register', wanted);
  }

  logIn(user: string, members: Record<string, unknown> = {}): Promise<Answer> {
    return this.request('POST', '/login', {
      type: 'm.login.password',
      identifier: { type: 'm.id.user', user },
      password: PASSWORD,
      ...members,
    });
  }

  async isAlive(token: string): Promise<boolean> {
    return (await this.request('GET', '/account/whoami', undefined, token)).status === 200;
  }
}

/** The `auth` of somebody who knows the password. */
export const passwordAuth = (user: string, password = PASSWORD, session?: string): Record<string, unknown> => ({
  type: 'm.login.password',
  identifier: { type: 'm.id.user', user },
  password,
  ...(session === undefined ? {} : { session }),
});
