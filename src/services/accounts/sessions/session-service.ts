import { sendLoginNotice } from '#src/jobs/definitions.ts';
import type { Clock } from '#src/kernel/clock.ts';
import type { Random } from '#src/kernel/random.ts';
import type { AccountStream, RevocationReason, SessionEnded } from '#src/services/accounts/stream/account-stream.ts';
import type { UserService } from '#src/services/accounts/users/user-service.ts';
import type { Database, Tx } from '#src/storage/database.ts';
import { forgetDeviceSettings } from '#src/jobs/definitions.ts';
import { hasPasswordHash } from '#src/storage/accounts/accounts.ts';
import {
  countDevices,
  type DeletedDevice,
  deleteDevices,
  deleteOtherDevices,
  insertDevice,
} from '#src/storage/accounts/devices.ts';
import {
  type AdminLoginRecord,
  deleteAdminLogin,
  deleteOldestAdminLogins,
  insertAdminLogin,
  listAdminLogins,
} from '#src/storage/accounts/admin-logins.ts';
import { endAdminLogins } from '#src/services/accounts/users/ending-admin-logins.ts';
import { deleteLoginTokens } from '#src/storage/accounts/proof-tokens.ts';
import {
  confirmGeneration,
  deleteRefreshTokens,
  findRefreshToken,
  insertRefreshToken,
  replaceSession,
} from '#src/storage/accounts/sessions.ts';
import { takeUserTurn } from '#src/storage/user-turn.ts';
import { quotaFull } from '#src/protocol/errors/quota-full.ts';
import type { Appservices } from '#src/services/accounts/appservices/appservices.ts';
import { AccessTokens } from './access-token.ts';
import { checkDeviceId, checkDeviceName } from '#src/protocol/identifiers/device-names.ts';
import type { AppserviceRequests } from '#src/services/accounts/sessions/appservice-requests.ts';
import type { Asserted, Requester } from './requester.ts';
import type { SessionKey } from './session-key.ts';
import type { NewSession, RefreshedTokens, SessionRequest } from './session-types.ts';
import { unknownToken, userLocked, wrongPassword } from '#src/services/accounts/users/account-errors.ts';
import { hashOfSecret } from '#src/protocol/identifiers/opaque-secret.ts';
import { VerifiedTokens } from './verified-tokens.ts';

export interface SessionServiceOptions {
  /** Milliseconds an access token lasts when its session has refresh tokens; default 5 minutes. */
  readonly accessTokenLifetimeMs?: number;
  /** Milliseconds after which a refresh token that was not used ends; null, the default, for never. */
  readonly refreshTokenLifetimeMs?: number | null;
  /** Devices that a user may have; as many as they like, when left out. */
  readonly maxDevices?: number;
  /** Whether accounts have to be renewed. */
  readonly accountsExpire?: boolean;
}

export interface SessionServiceDependencies {
  readonly database: Database;
  readonly users: UserService;
  readonly clock: Clock;
  readonly random: Random;
  readonly stream: AccountStream;
  readonly serverName: string;
  readonly key: SessionKey;
  readonly appservices: Appservices;
  readonly appserviceRequests: AppserviceRequests;
  readonly options?: SessionServiceOptions;
}

const DEFAULT_LIFETIME_MS = 5 * 60_000;
/** Access tokens that are remembered as verified. */
const TOKENS_REMEMBERED = 100_000;
/** Sessions in which administrators act as one user. With one more the oldest ends. */
export const MAX_ADMIN_LOGINS = 100;
const UPPERCASE = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ';
/** Spent refresh tokens that are remembered per session, to notice when a stolen one is used. */
const SPENT_GENERATIONS = 20;
/** How long the tokens of an answer that got lost stay usable once the refresh was repeated. */
const REPEAT_WINDOW_MS = 60_000;

/** Longest header that is kept. */
const MAX_LANGUAGES_LENGTH = 200;

/** Payload of the job that tells a user of a login. */
const noticeOf = (
  { displayName, userId }: SessionRequest,
  { acceptLanguage, ip }: NonNullable<SessionRequest['noticed']>,
  deviceId: string,
  ts: number,
) => ({
  userId,
  deviceId,
  ip,
  ts,
  ...(displayName === undefined ? {} : { deviceName: displayName }),
  ...(acceptLanguage === undefined ? {} : { acceptLanguage: acceptLanguage.slice(0, MAX_LANGUAGES_LENGTH) }),
});

/**
 * Creates, refreshes and ends sessions, and authenticates access tokens. Client-Server API, "Using access tokens", "Refreshing access tokens",
 * "Soft logout".
 */
export class SessionService {
  readonly #deps: SessionServiceDependencies;
  readonly #tokens: AccessTokens;
  readonly #lifetimeMs: number;
  readonly #verified: VerifiedTokens;

  constructor(deps: SessionServiceDependencies) {
    this.#deps = deps;
    this.#tokens = new AccessTokens(deps.key, deps.serverName);
    this.#lifetimeMs = deps.options?.accessTokenLifetimeMs ?? DEFAULT_LIFETIME_MS;
    this.#verified = new VerifiedTokens(
      deps.database,
      deps.clock,
      this.#tokens,
      TOKENS_REMEMBERED,
      deps.options?.accountsExpire,
    );
    deps.stream.on('changed', ({ userId }) => {
      this.#verified.forget(userId);
    });
    deps.stream.on('admin_login_ended', ({ userId, sessionId }) => {
      this.#verified.forget(userId, (live) => live.sessionId === sessionId);
    });
  }

  /**
   * The requester of a token. A token that was seen before costs no statement.
   *
   * @param allow `locked`: for logging out, which locked accounts may do
   * @param asserted the user that an application service acts as
   * @throws MatrixError M_UNKNOWN_TOKEN, with `soft_logout` when the token has expired but its session has not; M_USER_LOCKED; of
   *   application services M_FORBIDDEN and M_UNKNOWN_DEVICE too
   */
  authenticate(token: string, allow?: 'locked', asserted: Asserted = {}): Promise<Requester> {
    const service = this.#deps.appservices.byToken(token);
    if (service !== undefined) return this.#deps.appserviceRequests.requester(service, asserted, allow);
    return this.#verified.authenticate(token, allow);
  }

  /** Whether this is a token that was good a moment ago, so that looking at it costs nothing. */
  knows(token: string): boolean {
    return this.#verified.knows(token) || this.#deps.appservices.byToken(token) !== undefined;
  }

  /**
   * Makes a session, and its device if that is new, in a transaction of its own.
   *
   * @param first what is done before, or not at all
   * @throws MatrixError M_INVALID_PARAM, M_TOO_LARGE; what `first` throws
   */
  createSession(request: SessionRequest, first?: (tx: Tx) => Promise<void>): Promise<NewSession> {
    return this.#deps.database.write(async (tx) => {
      await first?.(tx);
      return this.createSessionIn(tx, request);
    });
  }

  /** As `createSession`, within a transaction. */
  async createSessionIn(tx: Tx, request: SessionRequest): Promise<NewSession> {
    const { clock, random } = this.#deps;
    const { passwordHash, userId } = request;
    if (passwordHash !== undefined && !(await hasPasswordHash(tx, userId, passwordHash))) throw wrongPassword();
    const deviceId = request.deviceId ?? random.string(10, UPPERCASE);
    checkDeviceId(deviceId);
    if (request.displayName !== undefined) checkDeviceName(request.displayName);
    const createdTs = clock.now();
    const sessionId = random.string(22);
    const device = { userId, deviceId, displayName: request.displayName ?? null, createdTs };
    const isNew = await insertDevice(tx, device, request.ip);
    if (isNew) await this.#assertNotTooMany(tx, userId);
    if (isNew && request.noticed !== undefined)
      await tx.enqueue(sendLoginNotice, noticeOf(request, request.noticed, deviceId, createdTs));
    const replaced = await replaceSession(tx, { sessionId, userId, deviceId, createdTs });
    const refreshable = request.refreshable === true;
    const refreshToken = refreshable ? await this.#newRefreshToken(tx, sessionId, 0) : undefined;
    tx.afterCommit(() => {
      if (replaced !== undefined) this.#ended({ userId, deviceId, reason: 'replaced' }, replaced);
      if (isNew) this.#deps.stream.publish({ kind: 'device_changed', userId, deviceId, change: 'created' });
    });
    return {
      userId,
      deviceId,
      accessToken: this.#sign(userId, deviceId, sessionId, 0, refreshable),
      refreshToken,
      expiresInMs: refreshable ? this.#lifetimeMs : undefined,
    };
  }

  /**
   * Makes a device without a session: one that an application service acts on, or that an administrator made. Application Service API, "Device
   * management".
   *
   * @returns whether it is new; the name of one that is there stays
   * @throws MatrixError M_INVALID_PARAM, M_TOO_LARGE
   */
  async createDeviceIn(tx: Tx, userId: string, deviceId: string, displayName: string | undefined): Promise<boolean> {
    checkDeviceId(deviceId);
    if (displayName !== undefined) checkDeviceName(displayName);
    const createdTs = this.#deps.clock.now();
    if (!(await insertDevice(tx, { userId, deviceId, displayName: displayName ?? null, createdTs }))) return false;
    await this.#assertNotTooMany(tx, userId);
    tx.afterCommit(() => this.#deps.stream.publish({ kind: 'device_changed', userId, deviceId, change: 'created' }));
    return true;
  }

  async #assertNotTooMany(tx: Tx, userId: string): Promise<void> {
    const maxDevices = this.#deps.options?.maxDevices;
    if (maxDevices === undefined) return;
    await takeUserTurn(tx, userId);
    if ((await countDevices(tx, userId)) > maxDevices)
      throw quotaFull(
        'quotas.devices',
        `A user has at most ${maxDevices} devices on this server. Log some of them out, or name the one to log in again.`,
      );
  }

  /**
   * Exchanges a refresh token for a new pair. The old one stays good until the client uses something of the new pair, so that it can ask
   * again when the answer got lost. Using a spent one means that two parties have it: the session ends.
   *
   * @throws MatrixError M_UNKNOWN_TOKEN, M_USER_LOCKED
   */
  async refresh(refreshToken: string): Promise<RefreshedTokens> {
    const { database, clock, options } = this.#deps;
    const tokens = await database.write(async (tx) => {
      const found = await findRefreshToken(tx, hashOfSecret(refreshToken));
      if (found === undefined) return undefined;
      if (found.locked) throw userLocked();
      if (found.createdTs + (options?.refreshTokenLifetimeMs ?? Infinity) <= clock.now()) {
        throw unknownToken('The refresh token has expired: log in again with the same device id.', true);
      }
      const { sessionId, userId, deviceId, tokenGeneration } = found;
      if (tokenGeneration < found.generation) {
        await this.revokeDevicesIn(tx, userId, [deviceId], 'refresh_token_reused');
        return undefined;
      }
      if (tokenGeneration > found.generation) await confirmGeneration(tx, sessionId, tokenGeneration);
      const next = tokenGeneration + 1;
      await deleteRefreshTokens(tx, sessionId, {
        olderThanGeneration: tokenGeneration - SPENT_GENERATIONS,
        generation: next,
        madeBefore: clock.now() - REPEAT_WINDOW_MS,
      });
      return {
        accessToken: this.#sign(userId, deviceId, sessionId, next, true),
        refreshToken: await this.#newRefreshToken(tx, sessionId, next),
        expiresInMs: this.#lifetimeMs,
      };
    });
    if (tokens === undefined) throw unknownToken('This refresh token is not valid, or not any more: log in again.');
    return tokens;
  }

  /** Ends the session of a device and deletes the device. Returns whether it existed. */
  async revokeDevices(userId: string, deviceIds: readonly string[], reason: RevocationReason): Promise<void> {
    await this.#deps.database.write((tx) => this.revokeDevicesIn(tx, userId, deviceIds, reason));
  }

  /** Ends all sessions of a user and deletes the devices, but for one that may be kept. Within a transaction. */
  async revokeAllIn(tx: Tx, userId: string, reason: RevocationReason, keepDeviceId?: string): Promise<void> {
    await deleteLoginTokens(tx, userId);
    await endAdminLogins(tx, this.#deps.stream, userId, false);
    await this.#deletedIn(tx, userId, await deleteOtherDevices(tx, userId, keepDeviceId), reason);
  }

  /** Client-Server API, POST /logout: the session ends and "the device associated with the access token is also deleted". */
  async logout(requester: Requester): Promise<void> {
    const { adminLogin, deviceId, userId } = requester;
    if (adminLogin !== undefined) await this.endAdminLogin(userId, adminLogin.id);
    if (deviceId !== undefined) await this.revokeDevices(userId, [deviceId], 'logged_out');
  }

  /**
   * Makes a session in which an administrator acts as a user: one without a device, which the user does not see. It ends with its time, when it is logged
   * out, when the administrator logs out everywhere or is one no longer, and with the user's account.
   *
   * @returns its access token
   */
  async logInAs(
    tx: Tx,
    {
      admin,
      expiresTs,
      userId,
    }: { readonly admin: string; readonly userId: string; readonly expiresTs: number | null },
  ): Promise<{ readonly id: string; readonly accessToken: string }> {
    const { clock, random, stream } = this.#deps;
    const id = random.string(22);
    await insertAdminLogin(tx, { sessionId: id, userId, admin, createdTs: clock.now(), expiresTs });
    const surplus = await deleteOldestAdminLogins(tx, userId, MAX_ADMIN_LOGINS);
    tx.afterCommit(() => {
      for (const { sessionId } of surplus) stream.publish({ kind: 'admin_login_ended', userId, sessionId });
    });
    const claims = { userId, deviceId: undefined, sessionId: id, generation: 0, expiresTs: expiresTs ?? undefined };
    return { id, accessToken: this.#tokens.sign(claims) };
  }

  /** The sessions in which administrators act as a user. */
  adminLogins(userId: string): Promise<readonly AdminLoginRecord[]> {
    return listAdminLogins(this.#deps.database, userId, this.#deps.clock.now());
  }

  /** Ends a session in which an administrator acts as a user. @param also what is done in the same transaction, if there is such a session */
  endAdminLogin(
    userId: string,
    sessionId: string,
    also?: (tx: Tx, ended: AdminLoginRecord) => Promise<void>,
  ): Promise<boolean> {
    return this.#deps.database.write(async (tx) => {
      const ended = await deleteAdminLogin(tx, sessionId, userId);
      if (ended === undefined) return false;
      await also?.(tx, ended);
      tx.afterCommit(() => this.#deps.stream.publish({ kind: 'admin_login_ended', userId, sessionId }));
      return true;
    });
  }

  /** Client-Server API, POST /logout/all. */
  async logoutAll(userId: string): Promise<void> {
    await this.#deps.database.write((tx) => this.revokeAllIn(tx, userId, 'logged_out'));
  }

  /** As `revokeDevices`, within a transaction. @returns the ids of those that existed */
  async revokeDevicesIn(
    tx: Tx,
    userId: string,
    deviceIds: readonly string[],
    reason: RevocationReason,
  ): Promise<readonly string[]> {
    const deleted = await deleteDevices(tx, userId, deviceIds);
    await this.#deletedIn(tx, userId, deleted, reason);
    return deleted.map(({ deviceId }) => deviceId);
  }

  async #deletedIn(tx: Tx, userId: string, devices: readonly DeletedDevice[], reason: RevocationReason): Promise<void> {
    const deviceIds = devices.flatMap(({ deviceId, hasSettings }) => (hasSettings ? [deviceId] : []));
    if (deviceIds.length > 0) await tx.enqueue(forgetDeviceSettings, { userId, deviceIds });
    tx.afterCommit(() => {
      for (const { deviceId } of devices) this.#ended({ userId, deviceId, reason });
    });
  }

  #ended(ended: Omit<SessionEnded, 'kind'>, sessionId?: string): void {
    const { userId, deviceId, reason } = ended;
    const { stream } = this.#deps;
    this.#verified.forget(userId, (live) =>
      sessionId === undefined ? live.requester.deviceId === deviceId : live.sessionId === sessionId,
    );
    stream.publish({ kind: 'session_ended', ...ended });
    if (reason !== 'replaced') stream.publish({ kind: 'device_changed', userId, deviceId, change: 'deleted' });
  }

  #sign(userId: string, deviceId: string, sessionId: string, generation: number, expires: boolean): string {
    const expiresTs = expires ? this.#deps.clock.now() + this.#lifetimeMs : undefined;
    return this.#tokens.sign({ userId, deviceId, sessionId, generation, expiresTs });
  }

  async #newRefreshToken(tx: Tx, sessionId: string, generation: number): Promise<string> {
    const { clock, random } = this.#deps;
    const token = `tdr_${random.string(43)}`;
    await insertRefreshToken(tx, { hash: hashOfSecret(token), sessionId, generation, createdTs: clock.now() });
    return token;
  }
}
