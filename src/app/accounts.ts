import { join } from 'node:path';
import { accountDeactivationEndpoints } from '#src/http/client-server/account_deactivation.ts';
import { deviceManagementEndpoints } from '#src/http/client-server/device_management.ts';
import { loginEndpoints } from '#src/http/client-server/login.ts';
import { logoutEndpoints } from '#src/http/client-server/logout.ts';
import { passwordManagementEndpoints } from '#src/http/client-server/password_management.ts';
import { refreshEndpoints } from '#src/http/client-server/refresh.ts';
import { registrationEndpoints } from '#src/http/client-server/registration.ts';
import { registrationTokenEndpoints } from '#src/http/client-server/registration_tokens.ts';
import { whoamiEndpoints } from '#src/http/client-server/whoami.ts';
import type { Endpoint } from '#src/http/endpoint.ts';
import { setupEndpoints } from '#src/http/setup.ts';
import { sharedSecretRegisterEndpoints } from '#src/http/synapse-admin/register.ts';
import type { RateLimiter } from '#src/kernel/rate-limiter.ts';
import { DeviceActivity } from '#src/services/devices/device-activity.ts';
import { DeviceService } from '#src/services/devices/device-service.ts';
import { FirstAdmin } from '#src/services/registration/first-admin.ts';
import { RegistrationService } from '#src/services/registration/registration-service.ts';
import { RegistrationTokens, RegistrationTokenStage } from '#src/services/registration/registration-tokens.ts';
import { SharedSecretRegistration } from '#src/services/registration/shared-secret.ts';
import { AccountService } from '#src/services/sessions/account-service.ts';
import { LoginService } from '#src/services/sessions/login-service.ts';
import { openSessionKey } from '#src/services/sessions/session-key.ts';
import { SessionService } from '#src/services/sessions/session-service.ts';
import { dummyStage, PasswordStage } from '#src/services/uia/stages.ts';
import { UiaService } from '#src/services/uia/uia-service.ts';
import { MemoryUiaSessions } from '#src/services/uia/uia-session-store.ts';
import { Credentials } from '#src/services/users/credentials.ts';
import { PASSWORD_COSTS, PasswordHasher } from '#src/services/users/password-hasher.ts';
import { UserService } from '#src/services/users/user-service.ts';
import type { Platform } from './platform.ts';

/** Accounts, sessions and devices, put together. */
export interface Accounts {
  readonly users: UserService;
  readonly sessions: SessionService;
  readonly accounts: AccountService;
  readonly activity: DeviceActivity;
  readonly firstAdmin: FirstAdmin;
  readonly endpoints: readonly Endpoint[];
}

export async function composeAccounts(
  platform: Platform,
  rateLimiter: RateLimiter,
  publicBaseUrl: () => string,
): Promise<Accounts> {
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
  const endpoints = [
    ...registrationEndpoints({ registration }),
    ...registrationTokenEndpoints({ registration }),
    ...loginEndpoints({ login: new LoginService({ credentials, sessions }), serverName, publicBaseUrl }),
    ...logoutEndpoints({ sessions }),
    ...refreshEndpoints({ sessions }),
    ...whoamiEndpoints(),
    ...passwordManagementEndpoints({ accounts }),
    ...accountDeactivationEndpoints({ accounts }),
    ...deviceManagementEndpoints({ devices }),
    ...sharedSecretRegisterEndpoints({ sharedSecret }),
    ...setupEndpoints({ firstAdmin }),
  ];
  return { users, sessions, accounts, activity, firstAdmin, endpoints };
}
