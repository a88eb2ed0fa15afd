import type { Place } from '#src/kernel/limits/line.ts';
import { networkOf } from '#src/kernel/network.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Database } from '#src/storage/database.ts';
import { thirdPartyId, type ThirdPartyId } from '#src/protocol/identifiers/third-party-id.ts';
import {
  type AccountCredentials,
  findCredentials,
  findCredentialsByAddress,
  replacePasswordHash,
} from '#src/storage/accounts/accounts.ts';
import type { LoginAttempts } from './login-attempts.ts';
import type { PasswordHasher } from './password-hasher.ts';
import { candidateUserIds } from '#src/services/accounts/users/usernames.ts';

/** The members with which `m.login.password` says who logs in, in `/login` and in user-interactive authentication. */
export interface PasswordClaim {
  readonly identifier?:
    | { readonly type?: unknown; readonly user?: unknown; readonly [member: string]: unknown }
    | undefined;
  /** The older form of `identifier`. */
  readonly user?: unknown;
  readonly password?: unknown;
  readonly [member: string]: unknown;
}

/** The user that a claim names: by user id or localpart, or by a third-party address (undefined: an impossible one). */
export type Claimant = { readonly user: string } | { readonly address: ThirdPartyId | undefined };

const NO_CLAIMANT: Claimant = { address: undefined };

export interface CredentialsDependencies {
  readonly database: Database;
  readonly hasher: PasswordHasher;
  readonly attempts: LoginAttempts;
  readonly serverName: string;
}

/** The request that a password came with. */
export interface Attempt {
  readonly address: string;
  /** The user whose access token came with it: others cannot use up their attempts. */
  readonly sessionOf?: string | undefined;
  /** The device that wants to be logged in again. */
  readonly deviceId?: string | undefined;
}

/** Checks passwords. */
export class Credentials {
  readonly #deps: CredentialsDependencies;

  constructor(deps: CredentialsDependencies) {
    this.#deps = deps;
  }

  /**
   * The user that a claim is about. Client-Server API, "Identifier types".
   *
   * @throws MatrixError M_UNKNOWN for a type of identifier that is not known, M_MISSING_PARAM
   */
  static claimantOf(claim: PasswordClaim): Claimant {
    const { identifier } = claim;
    const given = identifier ?? claim;
    const type = identifier?.type;
    if (type === 'm.id.phone') return NO_CLAIMANT;
    // The specification's own example of an address leaves the type out; before there were identifiers, it stood beside the password.
    if (type === 'm.id.thirdparty' || (type === undefined && given['medium'] !== undefined)) {
      const { address, medium } = given;
      if (typeof medium !== 'string' || typeof address !== 'string')
        throw new MatrixError('M_MISSING_PARAM', 'A third-party identifier needs medium and address.');
      return { address: thirdPartyId(medium, address) };
    }
    if (identifier !== undefined && type !== 'm.id.user')
      throw new MatrixError('M_UNKNOWN', 'The identifier must be of type m.id.user or m.id.thirdparty.');
    const { user } = given;
    if (typeof user !== 'string' || user === '')
      throw new MatrixError('M_MISSING_PARAM', 'The identifier must name a user.');
    return { user };
  }

  /** The account a claim is about, without regard to a password. One statement, whether there is one or not. */
  async resolve(claimant: Claimant): Promise<AccountCredentials | undefined> {
    const { database, serverName } = this.#deps;
    if ('address' in claimant)
      return claimant.address === undefined ? undefined : findCredentialsByAddress(database, claimant.address);
    const ids = candidateUserIds(claimant.user, serverName);
    if (ids.length === 0) return undefined;
    const found = await findCredentials(database, ids);
    return found.find((account) => account.userId === ids[0]) ?? found[0];
  }

  /** What failures are counted by where there is no such account. */
  #nameOf(claimant: Claimant): string {
    if ('user' in claimant) return candidateUserIds(claimant.user, this.#deps.serverName)[0] ?? '';
    const { address, medium } = claimant.address ?? { medium: '', address: '' };
    return `${medium} ${address}`;
  }

  /**
   * Checks a password. Unknown, deactivated and wrong are told apart neither by words nor by time. A hash made with an older cost is renewed.
   *
   * Only failures count, see `LoginAttempts`.
   *
   * @param claimed what `resolve` found for `claimant`
   * @returns the account, or undefined when there is none or the password is not its own
   * @throws MatrixError M_LIMIT_EXCEEDED, M_MISSING_PARAM for a password that is not text
   */
  async check(
    claimed: AccountCredentials | undefined,
    claimant: Claimant,
    password: unknown,
    { address, deviceId, sessionOf }: Attempt,
  ): Promise<AccountCredentials | undefined> {
    if (typeof password !== 'string') throw new MatrixError('M_MISSING_PARAM', 'The member password is missing.');
    const account = claimed?.deactivated === true ? undefined : claimed;
    const name = claimed?.userId ?? this.#nameOf(claimant);
    const network = networkOf(address);
    const isKnown = sessionOf !== undefined || account?.addresses.some((used) => networkOf(used) === network) === true;
    const undo = await this.#deps.attempts.begin({ name, network, isKnown, sessionOf, deviceId });
    const place = { party: sessionOf ?? network, isPreferred: isKnown };
    if (!(await this.#deps.hasher.verify(account?.passwordHash, password, place)) || account === undefined)
      return undefined;
    undo();
    return this.#renewed(account, password, place);
  }

  /** The account with a hash of today's cost; undefined when the password was changed meanwhile. */
  async #renewed(account: AccountCredentials, password: string, place: Place): Promise<AccountCredentials | undefined> {
    const { database, hasher } = this.#deps;
    const { passwordHash: old, userId } = account;
    if (old === null || !hasher.isOutdated(old)) return account;
    const passwordHash = await hasher.hash(password, place);
    if (await replacePasswordHash(database, userId, old, passwordHash)) return { ...account, passwordHash };
    // Another login has renewed it, or the password is another one.
    const [now] = await findCredentials(database, [userId]);
    return (await hasher.verify(now?.passwordHash, password, place)) ? now : undefined;
  }
}
