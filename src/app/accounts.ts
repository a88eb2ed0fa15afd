import { join } from 'node:path';
import type { RateLimiter } from '#src/kernel/rate-limiter.ts';
import { DeviceActivity } from '#src/services/accounts/devices/device-activity.ts';
import { DeviceService } from '#src/services/accounts/devices/device-service.ts';
import { FirstAdmin } from '#src/services/accounts/registration/first-admin.ts';
import { RegistrationService } from '#src/services/accounts/registration/registration-service.ts';
import { RegistrationTokens, RegistrationTokenStage } from '#src/services/accounts/registration/registration-tokens.ts';
import { SharedSecretRegistration } from '#src/services/accounts/registration/shared-secret.ts';
import { AccountService } from '#src/services/accounts/sessions/account-service.ts';
import { LoginService } from '#src/services/accounts/sessions/login-service.ts';
import { LoginTokens } from '#src/services/accounts/sessions/login-tokens.ts';
import { openSessionKey } from '#src/services/accounts/sessions/session-key.ts';
import { SessionService } from '#src/services/accounts/sessions/session-service.ts';
import { dummyStage, PasswordStage } from '#src/services/accounts/uia/stages.ts';
import { UiaService } from '#src/services/accounts/uia/uia-service.ts';
import { MemoryUiaSessions } from '#src/services/accounts/uia/uia-session-store.ts';
import { Credentials } from '#src/services/accounts/credentials/credentials.ts';
import { PASSWORD_COSTS, PasswordHasher } from '#src/services/accounts/credentials/password-hasher.ts';
import { UserService } from '#src/services/accounts/users/user-service.ts';
import type { Platform } from './platform.ts';

/** Accounts, sessions and devices, put together. */
export interface Accounts {
  readonly users: UserService;
  readonly sessions: SessionService;
  readonly accounts: AccountService;
  readonly activity: DeviceActivity;
  readonly devices: DeviceService;
  readonly firstAdmin: FirstAdmin;
  readonly login: LoginService;
  readonly loginTokens: LoginTokens;
  readonly registration: RegistrationService;
  readonly sharedSecret: SharedSecretRegistration;
}

export async function composeAccounts(platform: Platform, rateLimiter: RateLimiter): Promise<Accounts> {
  const { config, clock, database, logger, random, timers } = platform;
  const { serverName } = config;
  const shared = { database, clock, logger, random, serverName };
  const passwordPolicy = {
    minimumLength: config.password.minimumLength,
    requireDigit: config.password.requireDigit,
    requireSymbol: config.password.requireSymbol,
    requireUppercase: config.password.requireUppercase,
    requireLowercase: config.password.requireLowercase,
  };
  const hasher = new PasswordHasher({ cost: PASSWORD_COSTS[config.password.cost] });
  const users = new UserService(shared);
  const credentials = new Credentials({ ...shared, hasher, rateLimiter });
  const sessions = new SessionService({
    ...shared,
    users,
    key: await openSessionKey(join(config.dataDir, 'session.key')),
    options: {
      accessTokenLifetimeMs: config.sessions.accessTokenLifetimeMs,
      refreshTokenLifetimeMs: config.sessions.refreshTokenLifetimeMs,
    },
  });
  const tokens = new RegistrationTokens(shared);
  const uia = new UiaService({
    store: new MemoryUiaSessions(clock, { lifetimeMs: config.sessions.uiaTimeoutMs }),
    stages: [dummyStage, new PasswordStage(credentials), new RegistrationTokenStage(tokens)],
    random,
    clock,
    reuseMs: config.sessions.uiaReuseMs,
  });
  const accounts = new AccountService({ ...shared, users, sessions, uia, hasher, passwordPolicy });
  const activity = new DeviceActivity({ ...shared, timers });
  const devices = new DeviceService({ ...shared, sessions, uia, activity });
  const registration = new RegistrationService({
    ...shared,
    users,
    sessions,
    uia,
    tokens,
    hasher,
    passwordPolicy,
    options: config.registration,
  });
  const firstAdmin = new FirstAdmin({ users, registration, random });
  const sharedSecret = new SharedSecretRegistration({
    registration,
    clock,
    random,
    secret: config.registration.sharedSecret ?? undefined,
  });
  const loginTokens = new LoginTokens({ database, clock, random, uia, users });
  const login = new LoginService({ credentials, sessions, tokens: loginTokens });
  return { users, sessions, accounts, activity, devices, firstAdmin, login, loginTokens, registration, sharedSecret };
}
