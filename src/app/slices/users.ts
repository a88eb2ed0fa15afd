import { AppserviceQueries } from '#src/services/accounts/appservices/appservice-queries.ts';
import { ShadowBans } from '#src/services/accounts/moderation/shadow-bans.ts';
import { AccountStream } from '#src/services/accounts/stream/account-stream.ts';
import { UserActions } from '#src/services/accounts/users/user-actions.ts';
import { UserService } from '#src/services/accounts/users/user-service.ts';
import { ProfileChanges } from '#src/services/user-data/profiles/profile-changes.ts';
import { ProfileService } from '#src/services/user-data/profiles/profile-service.ts';
import { listNewUser } from '#src/services/reading/user-directory/directory-entries.ts';
import { userCaches } from '../config/cache-shares.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { AppserviceRegistry } from './appservice-registry.ts';
import type { Commit } from './commit.ts';
import type { Queries } from './federation-queries.ts';
import type { Outbound } from './outbound.ts';

/** The users of this server: their accounts and profiles. */
export interface Users {
  readonly accountStream: AccountStream;
  readonly users: UserService;
  readonly shadowBans: ShadowBans;
  /** Queries application services for users and aliases of their namespaces. */
  readonly appserviceQueries: AppserviceQueries;
  /** Records the activity of users. */
  readonly userActions: UserActions;
  readonly profiles: ProfileService;
  readonly profileChanges: ProfileChanges;
}

export function composeUsers(below: Platform & Outbound & AppserviceRegistry & Commit & Queries): Slice<Users> {
  const { appserviceApi, appservices, clock, config, database, logger, remoteProfiles, timers, writer } = below;
  const accountStream = new AccountStream(logger);
  const shadowBans = new ShadowBans(database, accountStream);
  const { enabled, periodMs } = config.accountValidity;
  const users = new UserService({
    database,
    clock,
    stream: accountStream,
    serverName: config.serverName,
    listNew: listNewUser,
    validityMs: enabled ? periodMs : null,
  });
  const appserviceQueries = new AppserviceQueries({ appservices, api: appserviceApi, users, clock });
  const profileChanges = new ProfileChanges({ database, writer, timers, logger });
  const profiles = new ProfileService({
    database,
    changes: profileChanges,
    accountExists: (userId) => appserviceQueries.userExists(userId),
    clock,
    serverName: config.serverName,
    remote: remoteProfiles,
    maxFields: config.quotas.profileFields,
    cacheBytes: userCaches(config).profiles,
  });
  return {
    name: 'users',
    services: {
      accountStream,
      shadowBans,
      users,
      appserviceQueries,
      userActions: new UserActions(),
      profiles,
      profileChanges,
    },
    async start() {
      await shadowBans.start();
      await profileChanges.start();
    },
    idle: () => profileChanges.idle(),
    close: () => profileChanges.close(),
  };
}
