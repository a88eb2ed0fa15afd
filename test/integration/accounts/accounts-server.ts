import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { silentLogger } from '#src/kernel/logger.ts';
import { noMetrics } from '#src/kernel/metrics.ts';
import { systemRandom } from '#src/kernel/random.ts';
import { type RateLimit, TokenBucketLimiter } from '#src/kernel/rate-limiter.ts';
import { systemTimers } from '#src/kernel/timers.ts';
import { accountDeactivationEndpoints } from '#src/http/client-server/account_deactivation.ts';
import { deviceManagementEndpoints } from '#src/http/client-server/device_management.ts';
import { loginEndpoints } from '#src/http/client-server/login.ts';
import { logoutEndpoints } from '#src/http/client-server/logout.ts';
import { passwordManagementEndpoints } from '#src/http/client-server/password_management.ts';
import { refreshEndpoints } from '#src/http/client-server/refresh.ts';
import { registrationEndpoints } from '#src/http/client-server/registration.ts';
import { registrationTokenEndpoints } from '#src/http/client-server/registration_tokens.ts';
import { whoamiEndpoints } from '#src/http/client-server/whoami.ts';
import { setupEndpoints } from '#src/http/tsudoi/setup.ts';
import { mountEndpoints } from '#src/http/mount.ts';
import { sharedSecretRegisterEndpoints } from '#src/http/synapse-admin/register.ts';
import { DeviceActivity } from '#src/services/accounts/devices/device-activity.ts';
import { DeviceService } from '#src/services/accounts/devices/device-service.ts';
import {
  type RegistrationOptions,
  RegistrationService,
} from '#src/services/accounts/registration/registration-service.ts';
import { RegistrationTokens, RegistrationTokenStage } from '#src/services/accounts/registration/registration-tokens.ts';
import { SharedSecretRegistration } from '#src/services/accounts/registration/shared-secret.ts';
import { FirstAdmin } from '#src/services/accounts/registration/first-admin.ts';
import { AccountService } from '#src/services/accounts/sessions/account-service.ts';
import { LoginService } from '#src/services/accounts/sessions/login-service.ts';
import { makeSessionKey } from '#src/services/accounts/sessions/session-key.ts';
import { SessionService, type SessionServiceOptions } from '#src/services/accounts/sessions/session-service.ts';
import { dummyStage, PasswordStage } from '#src/services/accounts/uia/stages.ts';
import { UiaService } from '#src/services/accounts/uia/uia-service.ts';
import { MemoryUiaSessions } from '#src/services/accounts/uia/uia-session-store.ts';
import { Credentials } from '#src/services/accounts/credentials/credentials.ts';
import { PASSWORD_COSTS, PasswordHasher } from '#src/services/accounts/credentials/password-hasher.ts';
import { UserService } from '#src/services/accounts/users/user-service.ts';
import { AccountStream } from '#src/services/accounts/stream/account-stream.ts';
import { ProfileService } from '#src/services/user-data/profiles/profile-service.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { ManualClock } from '#test/support/manual-clock.ts';
import { type Answer, recordedFetch } from '#test/support/http.ts';

export const SERVER_NAME = 'tsudoi.test';
export const SHARED_SECRET = 'a secret of the operator';
export const PASSWORD = 'correct horse battery';

export interface AccountsServerOptions {
  readonly registration?: Partial<RegistrationOptions>;
  readonly sharedSecret?: string | undefined;
  readonly rateLimits?: Readonly<Record<string, RateLimit>>;
  readonly publicBaseUrl?: string;
  readonly sessions?: SessionServiceOptions;
  readonly uiaReuseMs?: number;
  readonly hasher?: PasswordHasher;
}

/** The accounts' services on a database of their own, behind a listening HTTP server that mounts nothing else. Time stands still. */
export class AccountsServer {
  readonly clock: ManualClock;
  readonly accountStream = new AccountStream(silentLogger);
  readonly users: UserService;
  readonly sessions: SessionService;
  readonly accounts: AccountService;
  readonly devices: DeviceService;
  readonly activity: DeviceActivity;
  readonly tokens: RegistrationTokens;
  readonly registration: RegistrationService;
  readonly firstAdmin: FirstAdmin;
  readonly hasher: PasswordHasher;
  readonly db: TestDatabase;
  readonly #server: ReturnType<typeof createServer>;
  /** The address that requests seem to come from. */
  forwardedFor: string | undefined;
  #url = '';
  #names = 0;

  private constructor(db: TestDatabase, options: AccountsServerOptions) {
    const clock = new ManualClock();
    this.clock = clock;
    this.db = db;
    const { database } = db;
    const stream = this.accountStream;
    const shared = { database, clock, logger: silentLogger, random: systemRandom, serverName: SERVER_NAME, stream };
    const rateLimiter = new TokenBucketLimiter(clock, {
      enabled: options.rateLimits !== undefined,
      buckets: options.rateLimits ?? {},
    });
    this.hasher = options.hasher ?? new PasswordHasher({ cost: PASSWORD_COSTS.low });
    const hasher = this.hasher;
    this.users = new UserService(shared);
    const credentials = new Credentials({ ...shared, hasher, rateLimiter });
    this.sessions = new SessionService({
      ...shared,
      users: this.users,
      key: makeSessionKey(),
      options: options.sessions ?? {},
    });
    this.tokens = new RegistrationTokens(shared);
    const uia = new UiaService({
      store: new MemoryUiaSessions(clock),
      stages: [dummyStage, new PasswordStage(credentials), new RegistrationTokenStage(this.tokens)],
      random: systemRandom,
      clock,
      reuseMs: options.uiaReuseMs ?? 0,
    });
    const { users, sessions, tokens } = this;
    this.accounts = new AccountService({ ...shared, users, sessions, uia, hasher });
    this.activity = new DeviceActivity({ ...shared, timers: clock });
    this.devices = new DeviceService({ ...shared, sessions, uia, activity: this.activity });
    this.registration = new RegistrationService({
      ...shared,
      users,
      sessions,
      uia,
      tokens,
      hasher,
      profiles: new ProfileService({ database, accountExists: (userId) => users.exists(userId) }),
      options: { enabled: true, requiresToken: false, requiresEmail: false, guests: true, ...options.registration },
    });
    this.firstAdmin = new FirstAdmin({ users, registration: this.registration, random: systemRandom, stream });
    const sharedSecret = new SharedSecretRegistration({
      registration: this.registration,
      clock,
      random: systemRandom,
      secret: 'sharedSecret' in options ? options.sharedSecret : SHARED_SECRET,
    });
    const app = mountEndpoints(
      [
        ...registrationEndpoints,
        ...registrationTokenEndpoints,
        ...loginEndpoints,
        ...logoutEndpoints,
        ...refreshEndpoints,
        ...whoamiEndpoints,
        ...passwordManagementEndpoints,
        ...accountDeactivationEndpoints,
        ...deviceManagementEndpoints,
        ...setupEndpoints,
        ...sharedSecretRegisterEndpoints,
      ],
      {
        accounts: this.accounts,
        devices: this.devices,
        sessions: this.sessions,
        registration: this.registration,
        firstAdmin: this.firstAdmin,
        sharedSecret,
        login: new LoginService({ credentials, sessions, rateLimiter }),
        serverName: SERVER_NAME,
        publicBaseUrl: () => options.publicBaseUrl,
      },
      {
        authenticate: (token, allow) => sessions.authenticate(token, allow),
        seen: ({ userId, deviceId }, ip, userAgent) => {
          if (deviceId !== undefined) this.activity.seen(userId, deviceId, ip, userAgent);
        },
        rateLimiter,
        clock,
        timers: systemTimers,
        random: systemRandom,
        logger: silentLogger,
        metrics: noMetrics,
        trustedProxies: ['127.0.0.1'],
        drainSignal: new AbortController().signal,
      },
    );
    this.#server = createServer(app.callback());
  }

  static async start(options: AccountsServerOptions = {}): Promise<AccountsServer> {
    const server = new AccountsServer(await cloneDatabase(), options);
    await new Promise<void>((resolve) => server.#server.listen(0, '127.0.0.1', resolve));
    server.#url = `http://127.0.0.1:${(server.#server.address() as AddressInfo).port}`;
    return server;
  }

  async stop(): Promise<void> {
    await this.activity.close();
    await new Promise((resolve) => {
      this.#server.close(resolve);
      this.#server.closeAllConnections();
    });
    await this.db.drop();
  }

  /** One request; `path` without `/_matrix/client/v3` unless it begins with `/_`. */
  async request(method: string, path: string, body?: unknown, token?: string): Promise<Answer> {
    const response = await recordedFetch(this.#url + (path.startsWith('/_') ? path : `/_matrix/client/v3${path}`), {
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
