import { finishDeactivation } from '#src/jobs/definitions.ts';
import { networkOf } from '#src/kernel/network.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { AddressValidation } from '#src/services/accounts/validation/address-validation.ts';
import { EMAIL_STAGE } from '#src/services/accounts/uia/email-stage.ts';
import type { UiaService } from '#src/services/accounts/uia/uia-service.ts';
import type { AuthData } from '#src/services/accounts/uia/stages.ts';
import {
  checkGivenPassword,
  checkNewPassword,
  type PasswordPolicy,
} from '#src/services/accounts/credentials/password-policy.ts';
import type { PasswordHasher } from '#src/services/accounts/credentials/password-hasher.ts';
import type { AccountStream } from '#src/services/accounts/stream/account-stream.ts';
import type { UserService } from '#src/services/accounts/users/user-service.ts';
import { lockAddress, ownerOfAddress } from '#src/storage/accounts/account-threepids.ts';
import { deleteProofTokens } from '#src/storage/accounts/proof-tokens.ts';
import type { Database, Tx } from '#src/storage/database.ts';
import { PASSWORD_FLOWS } from '#src/services/accounts/uia/flows.ts';
import type { Requester } from './requester.ts';
import type { SessionService } from './session-service.ts';

export interface AccountServiceDependencies {
  readonly database: Database;
  readonly users: UserService;
  readonly sessions: SessionService;
  readonly uia: UiaService;
  readonly addressValidation: AddressValidation;
  readonly hasher: PasswordHasher;
  readonly stream: AccountStream;
  readonly passwordPolicy?: PasswordPolicy;
}

const RESET_FLOWS = [[EMAIL_STAGE]];

/** A change of password, and whether devices are logged out. */
export interface PasswordChange {
  readonly newPassword: string;
  readonly logoutDevices: boolean;
  readonly auth: AuthData | undefined;
  readonly ip: string;
}

/** Changes passwords and deactivates accounts. Client-Server API, "Password management", "Account deactivation". */
export class AccountService {
  readonly #deps: AccountServiceDependencies;

  constructor(deps: AccountServiceDependencies) {
    this.#deps = deps;
  }

  /**
   * Changes the requester's password after user-interactive authentication. Other devices are logged out and deleted unless
   * `logoutDevices` is false; the requester's own stays.
   *
   * @throws UiaChallenge; MatrixError M_WEAK_PASSWORD, M_INVALID_PARAM
   */
  async changePassword(requester: Requester, change: PasswordChange): Promise<void> {
    const { uia, passwordPolicy } = this.#deps;
    checkNewPassword(change.newPassword, passwordPolicy ?? {});
    const { newPassword, logoutDevices, auth, ip } = change;
    const { userId, deviceId } = requester;
    await uia.perform(
      {
        operation: 'changePassword',
        parameters: [newPassword, logoutDevices],
        flows: PASSWORD_FLOWS,
        userId,
        auth,
        ip,
      },
      () => this.setPassword(userId, newPassword, logoutDevices ? 'others' : 'none', deviceId),
    );
  }

  /**
   * Sets a new password for a user who has validated the address of the account. All its devices are logged out and deleted unless
   * `logoutDevices` is false.
   *
   * @throws UiaChallenge; MatrixError M_MISSING_TOKEN where no address can be validated, M_WEAK_PASSWORD, M_INVALID_PARAM, M_NOT_FOUND when
   *   no account has the address any more, M_THREEPID_AUTH_FAILED, M_FORBIDDEN for a locked account
   */
  async resetPassword({ newPassword, logoutDevices, auth, ip }: PasswordChange): Promise<void> {
    const { addressValidation, database, hasher, passwordPolicy, uia } = this.#deps;
    if (!addressValidation.isEnabled)
      throw new MatrixError(
        'M_MISSING_TOKEN',
        'This request needs an access token: this server resets no passwords by mail.',
      );
    checkNewPassword(newPassword, passwordPolicy ?? {});
    const asked = {
      operation: 'changePassword',
      parameters: [newPassword, logoutDevices],
      flows: RESET_FLOWS,
      auth,
      ip,
    };
    await uia.perform(asked, async ({ proofs }) => {
      const passwordHash = await hasher.hash(newPassword, { party: networkOf(ip), isPreferred: false });
      await database.write(async (tx) => {
        const { id } = await addressValidation.consume(tx, 'reset', proofs[EMAIL_STAGE] ?? '');
        await lockAddress(tx, id);
        const owner = await ownerOfAddress(tx, id);
        if (owner === undefined) throw new MatrixError('M_NOT_FOUND', 'No account of this server has that address.');
        await this.#giveNewPassword(tx, owner, passwordHash, logoutDevices);
      });
    });
  }

  async #giveNewPassword(tx: Tx, userId: string, passwordHash: string, logoutDevices: boolean): Promise<void> {
    const { sessions, users } = this.#deps;
    const account = await users.account(userId);
    // The job of a deactivation removes its addresses a moment later.
    if (account === undefined || account.deactivated)
      throw new MatrixError('M_NOT_FOUND', 'No account of this server has that address.');
    if (account.locked)
      throw new MatrixError('M_FORBIDDEN', 'This account has been locked by an administrator of this server.');
    await users.change(tx, userId, { passwordHash });
    if (logoutDevices) await sessions.revokeAllIn(tx, userId, 'password_changed');
  }

  /**
   * Sets a password without asking for the old one.
   *
   * @param logOut `others`: all devices but `keepDeviceId` are logged out and deleted
   * @throws MatrixError M_NOT_FOUND
   */
  async setPassword(userId: string, password: string, logOut: 'others' | 'none', keepDeviceId?: string): Promise<void> {
    const passwordHash = await this.#deps.hasher.hash(password, { party: userId, isPreferred: true });
    await this.#deps.database.write((tx) => this.#setPasswordIn(tx, userId, passwordHash, logOut, keepDeviceId));
  }

  async #setPasswordIn(
    tx: Tx,
    userId: string,
    passwordHash: string,
    logOut: 'others' | 'none',
    keepDeviceId?: string,
  ): Promise<void> {
    const { sessions, users } = this.#deps;
    await users.change(tx, userId, { passwordHash });
    if (logOut === 'others') await sessions.revokeAllIn(tx, userId, 'password_changed', keepDeviceId);
  }

  /**
   * Hashes a password that an administrator wants an account to have. @returns what sets it, in a transaction
   *
   * @throws MatrixError M_INVALID_PARAM
   */
  async passwordByAdmin(
    password: string,
    logOut: 'others' | 'none',
  ): Promise<{
    readonly hash: string;
    readonly setIn: (tx: Tx, userId: string, keepDeviceId?: string) => Promise<void>;
  }> {
    checkGivenPassword(password);
    const hash = await this.#deps.hasher.hash(password, { party: 'administrators', isPreferred: true });
    return { hash, setIn: (tx, userId, keepDeviceId) => this.#setPasswordIn(tx, userId, hash, logOut, keepDeviceId) };
  }

  /**
   * Deactivates the requester's account after user-interactive authentication. Application services do it without to users of their own, and
   * not at all to others.
   *
   * @throws UiaChallenge; MatrixError M_FORBIDDEN
   */
  async deactivateOwn(
    requester: Requester,
    request: { readonly erase: boolean; readonly auth: AuthData | undefined; readonly ip: string },
  ): Promise<void> {
    const { appservice, userId } = requester;
    const { erase, auth, ip } = request;
    if (appservice?.isOwnUser === false)
      throw new MatrixError('M_FORBIDDEN', 'An application service deactivates only users that are its own.');
    if (appservice !== undefined) return this.deactivate(userId, erase);
    await this.#deps.uia.perform(
      { operation: 'deactivateAccount', parameters: [erase], flows: PASSWORD_FLOWS, userId, auth, ip },
      () => this.deactivate(userId, erase),
    );
  }

  /**
   * Deactivates an account for ever: sessions end, the password is deleted, and its name is never given out again. What else follows
   * is a job.
   *
   * @throws MatrixError M_NOT_FOUND
   */
  deactivate(userId: string, erase: boolean): Promise<void> {
    return this.#deps.database.write((tx) => this.deactivateIn(tx, userId, erase));
  }

  /** As `deactivate`, within a transaction. */
  async deactivateIn(tx: Tx, userId: string, erase: boolean): Promise<void> {
    const { stream, users, sessions } = this.#deps;
    await users.change(tx, userId, {
      deactivated: true,
      admin: false,
      passwordHash: null,
      ...(erase ? { erased: true } : {}),
    });
    await sessions.revokeAllIn(tx, userId, 'deactivated');
    await deleteProofTokens(tx, userId);
    await tx.enqueue(finishDeactivation, { userId });
    tx.afterCommit(() => stream.publish({ kind: 'deactivated', userId, erase }));
  }
}
