import { LocalAccounts } from '#src/services/admin/users/local-accounts.ts';
import { UserAdministration } from '#src/services/admin/users/user-administration.ts';
import { UserChanges } from '#src/services/admin/users/user-changes.ts';
import { UserDevices } from '#src/services/admin/users/user-devices.ts';
import { UserFeatures } from '#src/services/admin/users/user-features.ts';
import { UserListing } from '#src/services/admin/users/user-listing.ts';
import { UserReads } from '#src/services/admin/users/user-reads.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Tasks } from './admin-tasks.ts';
import type { Auditing } from './audit.ts';
import type { Accounts } from './accounts.ts';
import type { Push } from './push.ts';
import type { UserData } from './user-data.ts';
import type { Users } from './users.ts';

/** Administration of users. */
export interface UserAdministrations {
  readonly userAdministration: UserAdministration;
  readonly userChanges: UserChanges;
  readonly userDevices: UserDevices;
  readonly userFeatures: UserFeatures;
  readonly userListing: UserListing;
  readonly userReads: UserReads;
}

export function composeUserAdministration(
  below: Platform & Auditing & Tasks & Users & Accounts & UserData & Pick<Push, 'pushers'>,
): Slice<UserAdministrations> {
  const { accountData, accounts, accountThreepids, auditLog, clock, config, database, devices } = below;
  const { moderation, ownAddresses, profiles, pushers, sessions, users } = below;
  const localAccounts = new LocalAccounts(users);
  return {
    name: 'user-administration',
    services: {
      userAdministration: new UserAdministration({
        database,
        clock,
        localAccounts,
        users,
        accounts,
        devices,
        sessions,
        moderation,
        ownAddresses,
        auditLog,
      }),
      userChanges: new UserChanges({
        database,
        serverName: config.serverName,
        localAccounts,
        users,
        accounts,
        threepids: accountThreepids,
        ownAddresses,
        profiles,
        auditLog,
        tasks: below.adminTasks,
      }),
      userDevices: new UserDevices({ database, localAccounts, devices, sessions, auditLog }),
      userFeatures: new UserFeatures(localAccounts),
      userListing: new UserListing(database),
      userReads: new UserReads({
        database,
        localAccounts,
        devices,
        threepids: accountThreepids,
        profiles,
        accountData,
        pushers,
      }),
    },
  };
}
