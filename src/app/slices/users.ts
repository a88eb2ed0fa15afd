import { AccountStream } from '#src/services/accounts/stream/account-stream.ts';
import { UserActions } from '#src/services/accounts/users/user-actions.ts';
import { UserService } from '#src/services/accounts/users/user-service.ts';
import { ProfileService } from '#src/services/user-data/profiles/profile-service.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';

/** The users of this server: their accounts, and how they show themselves. */
export interface Users {
  readonly accountStream: AccountStream;
  readonly users: UserService;
  /** Tells what users do. */
  readonly userActions: UserActions;
  readonly profiles: ProfileService;
}

export function composeUsers({ clock, config, database, logger }: Platform): Slice<Users> {
  const accountStream = new AccountStream(logger);
  const { enabled, periodMs } = config.accountValidity;
  const users = new UserService({
    database,
    clock,
    stream: accountStream,
    serverName: config.serverName,
    validityMs: enabled ? periodMs : null,
  });
  const profiles = new ProfileService({
    database,
    accountExists: (userId) => users.exists(userId),
    clock,
    serverName: config.serverName,
    mostFields: config.quotas.profileFields,
  });
  return { name: 'users', services: { accountStream, users, userActions: new UserActions(), profiles } };
}
