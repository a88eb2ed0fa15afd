import { redeemThirdPartyInvite } from '#src/jobs/definitions.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { quotaFull } from '#src/protocol/errors/quota-full.ts';
import { thirdPartyId, type ThirdPartyId } from '#src/protocol/identifiers/third-party-id.ts';
import type { UserService } from '#src/services/accounts/users/user-service.ts';
import type { Database, Tx } from '#src/storage/database.ts';
import {
  type AccountThreepidRecord,
  countAccountThreepids,
  deleteAccountThreepid,
  deleteAccountThreepids,
  insertAccountThreepid,
  listAccountThreepids,
  lockAddress,
  ownerOfAddress,
} from '#src/storage/accounts/account-threepids.ts';
import { deleteAllMailPushers, deleteMailPushers } from '#src/storage/push/pushers.ts';
import { claimThirdPartyInvites, deleteThirdPartyInvitesOf } from '#src/storage/rooms/third-party-invites.ts';
import { takeUserTurn } from '#src/storage/user-turn.ts';
import { accountNotFound } from '#src/services/accounts/users/account-errors.ts';

export interface AccountThreepidsOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly users: UserService;
  /** Addresses that an account may have. */
  readonly most: number;
}

/** The third-party addresses of accounts. An address belongs to one account at most. */
export class AccountThreepids {
  readonly #options: AccountThreepidsOptions;

  constructor(options: AccountThreepidsOptions) {
    this.#options = options;
  }

  /** The addresses of a local user, the oldest first. */
  list(userId: string): Promise<readonly AccountThreepidRecord[]> {
    return this.#options.database.read((tx) => listAccountThreepids(tx, userId));
  }

  /** Removes all addresses of a deactivated account, and the invites by address that its user made. */
  async release(userId: string): Promise<void> {
    await this.#options.database.write(async (tx) => {
      await deleteAccountThreepids(tx, userId);
      await deleteAllMailPushers(tx, userId);
      await deleteThirdPartyInvitesOf(tx, userId);
    });
  }

  /**
   * Sets the addresses of an account. The caller has verified that they are the user's own. Invitations that waited for one of them
   * are redeemed.
   *
   * @throws MatrixError M_NOT_FOUND, M_INVALID_PARAM, M_THREEPID_MEDIUM_NOT_SUPPORTED, M_THREEPID_IN_USE
   */
  async replace(userId: string, wanted: readonly { medium: string; address: string }[]): Promise<void> {
    const account = await this.#options.users.account(userId);
    if (account === undefined || account.deactivated) throw accountNotFound();
    await this.#options.database.write((tx) => this.replaceIn(tx, userId, wanted));
  }

  /**
   * As `replace`, within a transaction, for an account that is there.
   *
   * @returns the addresses that it has lost
   */
  async replaceIn(
    tx: Tx,
    userId: string,
    wanted: readonly { medium: string; address: string }[],
  ): Promise<readonly ThirdPartyId[]> {
    const ids = wanted.map(({ medium, address }) => checked(medium, address));
    const lost: ThirdPartyId[] = [];
    for (const had of await listAccountThreepids(tx, userId)) {
      if (ids.some((id) => isSame(id, had))) continue;
      await deleteAccountThreepid(tx, userId, had);
      await deleteMailPushers(tx, userId, had.address);
      lost.push(checked(had.medium, had.address));
    }
    // In one order for all, so that no two transactions wait for each other.
    for (const id of ids.toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1))) await this.bind(tx, userId, id);
    return lost;
  }

  /** Removes an address from an account, and e-mail pushers to it. One that the account does not have is fine. */
  async remove(userId: string, id: ThirdPartyId): Promise<void> {
    await this.#options.database.write(async (tx) => {
      await deleteAccountThreepid(tx, userId, id);
      if (id.medium === 'email') await deleteMailPushers(tx, userId, id.address);
    });
  }

  /**
   * Adds a validated address to an account; having it already is fine. Invitations that wait for its owner
   * are redeemed soon after the commit.
   *
   * @param validatedTs when it was found to be the user's; now, when left out
   * @throws MatrixError M_THREEPID_IN_USE, M_TOO_LARGE
   */
  async bind(tx: Tx, userId: string, id: ThirdPartyId, validatedTs?: number): Promise<void> {
    await lockAddress(tx, id);
    const owner = await ownerOfAddress(tx, id);
    if (owner === userId) return;
    if (owner !== undefined)
      throw new MatrixError('M_THREEPID_IN_USE', 'The address belongs to another account already.');
    const now = this.#options.clock.now();
    await takeUserTurn(tx, userId);
    await insertAccountThreepid(tx, { ...id, userId, validatedTs: validatedTs ?? now, addedTs: now });
    if ((await countAccountThreepids(tx, userId)) > this.#options.most)
      throw quotaFull('quotas.threepids', `An account has at most ${this.#options.most} addresses on this server.`);
    for (const token of await claimThirdPartyInvites(tx, id, userId))
      await tx.enqueue(redeemThirdPartyInvite, { token });
  }
}

const keyOf = ({ medium, address }: ThirdPartyId): string => `${medium} ${address}`;
const isSame = (one: ThirdPartyId, other: { medium: string; address: string }): boolean =>
  one.medium === other.medium && one.address === other.address;

const checked = (medium: string, address: string): ThirdPartyId => {
  if (medium !== 'email' && medium !== 'msisdn')
    throw new MatrixError('M_THREEPID_MEDIUM_NOT_SUPPORTED', `Accounts have no addresses of the medium ${medium}.`);
  const id = thirdPartyId(medium, address);
  if (id === undefined) throw new MatrixError('M_INVALID_PARAM', `The address is not of the form of ${medium}.`);
  return id;
};
