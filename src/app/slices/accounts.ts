import { CaptchaService, VERIFY_URLS } from '#src/remote/captcha-service.ts';
import { IdentityService } from '#src/remote/identity-service.ts';
import { LoginAttempts } from '#src/services/accounts/credentials/login-attempts.ts';
import { Credentials } from '#src/services/accounts/credentials/credentials.ts';
import { type Argon2, PASSWORD_COSTS, PasswordHasher } from '#src/services/accounts/credentials/password-hasher.ts';
import type { PasswordPolicy } from '#src/services/accounts/credentials/password-policy.ts';
import { AccountValidity } from '#src/services/accounts/validity/account-validity.ts';
import { DeviceActivity } from '#src/services/accounts/devices/device-activity.ts';
import { DeviceService } from '#src/services/accounts/devices/device-service.ts';
import { AccountModeration } from '#src/services/accounts/moderation/account-moderation.ts';
import { OpenIdTokens } from '#src/services/accounts/openid/openid-tokens.ts';
import { JwtLogins } from '#src/services/accounts/registration/jwt-logins.ts';
import { FirstAdmin } from '#src/services/accounts/registration/first-admin.ts';
import { InteractiveRegistration } from '#src/services/accounts/registration/interactive-registration.ts';
import { NewAccounts } from '#src/services/accounts/registration/new-accounts.ts';
import { RegistrationService } from '#src/services/accounts/registration/registration-service.ts';
import { RegistrationTokens, RegistrationTokenStage } from '#src/services/accounts/registration/registration-tokens.ts';
import { SharedSecretRegistration } from '#src/services/accounts/registration/shared-secret.ts';
import { AppserviceAdministration } from '#src/services/accounts/appservices/appservice-administration.ts';
import { AppserviceSenders } from '#src/services/accounts/appservices/senders.ts';
import { AppserviceTokens } from '#src/services/accounts/sessions/appservice-tokens.ts';
import { AppserviceRequests } from '#src/services/accounts/sessions/appservice-requests.ts';
import { AccountService } from '#src/services/accounts/sessions/account-service.ts';
import { LoginService } from '#src/services/accounts/sessions/login-service.ts';
import { LoginTokens } from '#src/services/accounts/sessions/login-tokens.ts';
import { OwnRateLimits } from '#src/services/accounts/admission/own-rate-limits.ts';
import { SessionPolls } from '#src/services/accounts/sessions/session-polls.ts';
import { SessionService } from '#src/services/accounts/sessions/session-service.ts';
import { AccountThreepids } from '#src/services/accounts/threepids/account-threepids.ts';
import { AddressRules } from '#src/services/accounts/validation/address-rules.ts';
import { AddressValidation } from '#src/services/accounts/validation/address-validation.ts';
import { LinkTokens } from '#src/services/accounts/validation/link-tokens.ts';
import { NextLinks } from '#src/services/accounts/validation/next-links.ts';
import { OwnAddresses } from '#src/services/accounts/contact/own-addresses.ts';
import { EmailStage } from '#src/services/accounts/uia/email-stage.ts';
import { CaptchaStage } from '#src/services/accounts/uia/captcha-stage.ts';
import { dummyStage, PasswordStage, type Stage } from '#src/services/accounts/uia/stages.ts';
import { type Policies, TermsStage } from '#src/services/accounts/uia/terms-stage.ts';
import { UiaService } from '#src/services/accounts/uia/uia-service.ts';
import { MemoryUiaSessions } from '#src/services/accounts/uia/uia-session-store.ts';
import type { Platform } from '../ground/platform.ts';
import type { ServerFiles } from '../ground/server-files.ts';
import type { Slice } from '../ground/slice.ts';
import type { AppserviceRegistry } from './appservice-registry.ts';
import type { Auditing } from './audit.ts';
import type { Outbound } from './outbound.ts';
import type { Policy } from './policy.ts';
import type { Users } from './users.ts';

/** Accounts, sessions and devices. */
export interface Accounts {
  readonly sessions: SessionService;
  readonly accounts: AccountService;
  readonly accountValidity: AccountValidity;
  readonly activity: DeviceActivity;
  readonly appserviceAdministration: AppserviceAdministration;
  readonly appserviceSenders: AppserviceSenders;
  readonly appserviceTokens: AppserviceTokens;
  readonly devices: DeviceService;
  readonly firstAdmin: FirstAdmin;
  readonly login: LoginService;
  readonly loginTokens: LoginTokens;
  readonly moderation: AccountModeration;
  readonly openId: OpenIdTokens;
  readonly passwordPolicy: PasswordPolicy;
  readonly interactiveRegistration: InteractiveRegistration;
  readonly registration: RegistrationService;
  readonly registrationTokens: RegistrationTokens;
  readonly sharedSecret: SharedSecretRegistration;
  readonly sessionPolls: SessionPolls;
  readonly uia: UiaService;
  readonly accountThreepids: AccountThreepids;
  readonly addressValidation: AddressValidation;
  readonly ownAddresses: OwnAddresses;
  readonly linkTokens: LinkTokens;
}

/** @param below may contain another implementation of password hashes */
export function composeAccounts(
  below: Platform &
    Auditing &
    ServerFiles &
    Outbound &
    AppserviceRegistry &
    Users &
    Policy & { readonly argon2?: Argon2 | undefined },
): Slice<Accounts> {
  const { accountStream, appservices, auditLog, config, clock, database, logger, metrics, profiles } = below;
  const { random, rateLimiter } = below;
  const { outbound, policyGate: policy, sessionKey, signingKeys, timers, users } = below;
  const { accessTokenLifetimeMs, refreshTokenLifetimeMs, uiaReuseMs, uiaTimeoutMs } = config.sessions;
  const { cost, ...passwordPolicy } = config.password;
  const shared = { database, clock, logger, random, serverName: config.serverName, stream: accountStream };
  const hasher = new PasswordHasher({
    cost: PASSWORD_COSTS[cost],
    ...(below.argon2 === undefined ? {} : { argon2: below.argon2 }),
  });
  metrics.gaugeOf('tsudoi_password_hashes_waiting', 'queued password hashes', () => hasher.waiting);
  const attempts = new LoginAttempts({ database, rateLimiter });
  const credentials = new Credentials({ ...shared, hasher, attempts });
  const sessions = new SessionService({
    ...shared,
    users,
    key: sessionKey,
    appservices,
    appserviceRequests: new AppserviceRequests({
      ...shared,
      appservices,
      users,
      accountsExpire: config.accountValidity.enabled,
    }),
    options: {
      accessTokenLifetimeMs,
      refreshTokenLifetimeMs,
      maxDevices: config.quotas.devices,
      accountsExpire: config.accountValidity.enabled,
    },
  });
  const tokens = new RegistrationTokens({ ...shared, auditLog: below.auditLog });
  const linkTokens = new LinkTokens(sessionKey.privateKey);
  const { email } = config;
  const addressValidation = new AddressValidation({
    database,
    clock,
    random,
    rateLimiter,
    rules: new AddressRules(email),
    nextLinks: new NextLinks(email.nextLinkHosts),
    linkTokens,
    language: email.language,
    isEnabled: email.smtpUrl !== null,
    lifetimeMs: email.tokenLifetimeMs,
    maxWrongTokens: email.maxWrongTokens,
    hidesAccounts: email.hideAccounts,
    refusesDisposable: config.registration.refuseDisposableMail,
  });
  const accountThreepids = new AccountThreepids({ database, clock, users, most: config.quotas.threepids });
  const captcha = captchaStage(below);
  const terms = config.registration.terms as unknown as Policies;
  const stages: Stage[] = [
    dummyStage,
    new PasswordStage(credentials, attempts),
    new RegistrationTokenStage(tokens),
    new EmailStage(addressValidation),
  ];
  if (captcha !== undefined) stages.push(captcha);
  stages.push(new TermsStage(terms));
  const uia = new UiaService({
    store: new MemoryUiaSessions(clock, { lifetimeMs: uiaTimeoutMs }),
    stages,
    random,
    clock,
    reuseMs: uiaReuseMs,
  });
  const ownLimits = new OwnRateLimits({ database, rateLimiter, stream: accountStream });
  const activity = new DeviceActivity({ ...shared, timers });
  const newAccounts = new NewAccounts({ ...shared, users, sessions, appservices, rateLimiter });
  const registration = new RegistrationService({
    ...shared,
    accounts: newAccounts,
    users,
    appservices,
    hasher,
    policy,
    passwordPolicy,
    profiles,
    auditLog,
    guests: config.registration.guests,
  });
  const interactiveRegistration = new InteractiveRegistration({
    ...shared,
    accounts: newAccounts,
    users,
    sessions,
    uia,
    tokens,
    addressValidation,
    accountThreepids,
    hasher,
    policy,
    passwordPolicy,
    options: { ...config.registration, captchaStage: captcha?.type, hasTerms: Object.keys(terms).length > 0 },
  });
  const loginTokens = new LoginTokens({ database, clock, random, uia, users });
  const accountValidity = new AccountValidity({
    database,
    clock,
    users,
    linkTokens,
    auditLog,
    periodMs: config.accountValidity.enabled ? config.accountValidity.periodMs : null,
  });
  const appserviceSenders = new AppserviceSenders({ ...shared, appservices, users });
  return {
    name: 'accounts',
    services: {
      appserviceAdministration: new AppserviceAdministration({
        ...shared,
        appservices,
        senders: appserviceSenders,
        auditLog,
      }),
      appserviceSenders,
      appserviceTokens: new AppserviceTokens({ appservices, sessions }),
      accountValidity,
      sessions,
      accounts: new AccountService({
        ...shared,
        users,
        sessions,
        uia,
        addressValidation,
        hasher,
        passwordPolicy,
      }),
      sessionPolls: new SessionPolls(accountStream),
      activity,
      uia,
      accountThreepids,
      addressValidation,
      linkTokens,
      ownAddresses: new OwnAddresses({
        database,
        threepids: accountThreepids,
        validation: addressValidation,
        uia,
        identity: new IdentityService(outbound),
        signer: { serverName: config.serverName, key: signingKeys[0] },
        trustedServers: config.identity.trustedServers,
        most: config.quotas.threepids,
      }),
      devices: new DeviceService({ ...shared, sessions, uia, activity }),
      firstAdmin: new FirstAdmin({ users, registration, random, stream: accountStream }),
      login: new LoginService({
        attempts,
        credentials,
        sessions,
        rateLimiter,
        policy,
        appservices,
        users,
        serverName: config.serverName,
        tokens: loginTokens,
        proved: jwtLogins(below, registration),
        givesNotice: email.loginNotices && email.smtpUrl !== null,
      }),
      loginTokens,
      moderation: new AccountModeration({ users, database, auditLog }),
      openId: new OpenIdTokens({ database, clock, random }),
      passwordPolicy,
      interactiveRegistration,
      registration,
      registrationTokens: tokens,
      sharedSecret: new SharedSecretRegistration({
        registration,
        clock,
        random,
        secret: config.registration.sharedSecret ?? undefined,
      }),
    },
    async start() {
      await appserviceSenders.ensure();
      await ownLimits.start();
      await accountValidity.start();
    },
    reload: () => appserviceSenders.ensure(),
    close: () => activity.close(),
  };
}

function captchaStage({ config, logger, outbound }: Platform & Outbound): CaptchaStage | undefined {
  const { provider, secretKey, siteKey, verifyUrl } = config.registration.captcha;
  if (provider === null || siteKey === null || secretKey === null) return undefined;
  const service = new CaptchaService({ outbound, logger, secretKey, verifyUrl: verifyUrl ?? VERIFY_URLS[provider] });
  return new CaptchaStage(provider, siteKey, service);
}

function jwtLogins(
  { clock, config, users }: Platform & Users,
  registration: RegistrationService,
): JwtLogins | undefined {
  const { enabled, key, ...options } = config.jwt;
  if (!enabled || key === null) return undefined;
  return new JwtLogins({ clock, users, registration, serverName: config.serverName, options: { ...options, key } });
}
