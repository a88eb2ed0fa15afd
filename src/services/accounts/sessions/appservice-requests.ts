import type { Clock } from '#src/kernel/clock.ts';
import { LiveCache } from '#src/kernel/caches/live-cache.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { ApplicationService } from '#src/services/accounts/appservices/application-service.ts';
import type { Appservices } from '#src/services/accounts/appservices/appservices.ts';
import type { AccountStream } from '#src/services/accounts/stream/account-stream.ts';
import type { Account, UserService } from '#src/services/accounts/users/user-service.ts';
import type { Database } from '#src/storage/database.ts';
import { findDevice } from '#src/storage/accounts/devices.ts';
import type { Asserted, Requester } from '#src/services/accounts/sessions/requester.ts';
import {
  accountExpired,
  notRegistered,
  userDeactivated,
  userLocked,
} from '#src/services/accounts/users/account-errors.ts';
import { deviceKey } from '#src/protocol/identifiers/device-names.ts';

export interface AppserviceRequestsDependencies {
  readonly appservices: Appservices;
  readonly users: UserService;
  readonly database: Database;
  readonly clock: Clock;
  readonly stream: AccountStream;
  /** Whether accounts have to be renewed. */
  readonly accountsExpire: boolean;
}

/** Devices whose existence is cached. */
const REMEMBERED_DEVICES = 20_000;

const cannotActAs = (): MatrixError =>
  new MatrixError('M_FORBIDDEN', 'This application service cannot act as that user: it is in none of its namespaces.');

/** Finds the user that a request of an application service acts as. Application Service API, "Identity assertion". */
export class AppserviceRequests {
  readonly #deps: AppserviceRequestsDependencies;
  readonly #devices = new LiveCache<{ readonly isThere: boolean }>({
    name: 'appservice_users',
    maxSize: REMEMBERED_DEVICES,
  });

  constructor(deps: AppserviceRequestsDependencies) {
    this.#deps = deps;
    deps.stream.on('device_changed', ({ userId, deviceId }) => {
      this.#devices.forget(deviceKey(userId, deviceId));
    });
  }

  /**
   * The requester of a request. Users and devices that were asked for before cost no statement.
   *
   * @param allow `locked`: for logging out
   * @throws MatrixError M_FORBIDDEN (not a user of its own, or not registered), M_UNKNOWN_DEVICE, M_USER_LOCKED, M_USER_DEACTIVATED,
   *   ORG_MATRIX_EXPIRED_ACCOUNT
   */
  async requester(service: ApplicationService, asserted: Asserted, allow?: 'locked'): Promise<Requester> {
    const { appservices, clock, users } = this.#deps;
    const userId = asserted.userId ?? service.sender;
    if (!appservices.isUserOf(service, userId)) throw cannotActAs();
    const account = await users.account(userId);
    if (account === undefined) throw notRegistered();
    this.#assertUsable(account, clock.now(), allow);
    const { deviceId } = asserted;
    if (deviceId !== undefined && !(await this.#hasDevice(userId, deviceId)))
      throw new MatrixError('M_UNKNOWN_DEVICE', 'The user that you act as has no device with that id.');
    const isOwnUser = account.appserviceId === service.id || appservices.ownerOfUser(userId) === service;
    return {
      userId,
      deviceId,
      isGuest: account.isGuest,
      // A namespace that includes administrators serves to bridge their messages, not to administrate in their name.
      isAdmin: account.admin && isOwnUser,
      isSuspended: account.suspended,
      rateLimited: service.rateLimited && userId !== service.sender && !account.rateLimitExempt,
      appservice: { service, isOwnUser },
    };
  }

  #assertUsable(account: Account, now: number, allow: 'locked' | undefined): void {
    if (account.deactivated) throw userDeactivated();
    if (allow === 'locked') return;
    if (account.locked) throw userLocked();
    if (this.#deps.accountsExpire && !account.admin && (account.expiresTs ?? Infinity) <= now) throw accountExpired();
  }

  async #hasDevice(userId: string, deviceId: string): Promise<boolean> {
    if (deviceId.includes('\0')) return false;
    const key = deviceKey(userId, deviceId);
    const known = this.#devices.peek(key);
    if (known !== undefined) return known.isThere;
    const read = await this.#devices.get(key, async () => ({
      isThere: (await this.#deps.database.read((tx) => findDevice(tx, userId, deviceId))) !== undefined,
    }));
    return read.isThere;
  }
}
