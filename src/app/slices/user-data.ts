import { AccountDataService } from '#src/services/user-data/account-data/account-data-service.ts';
import { IgnoredUsers } from '#src/services/user-data/account-data/ignored-users.ts';
import { InvitePermission } from '#src/services/user-data/account-data/invite-permission.ts';
import { FilterService } from '#src/services/user-data/filters/filter-service.ts';
import { TagService } from '#src/services/user-data/tags/tag-service.ts';
import { TurnCredentials } from '#src/services/user-data/voip/turn-credentials.ts';
import { userCaches } from '../config/cache-shares.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Commit } from './commit.ts';
import type { PushRules } from './push-rules.ts';
import type { Users } from './users.ts';

/** Account data, tags, filters and profiles. */
export interface UserData {
  readonly accountData: AccountDataService;
  readonly ignoredUsers: IgnoredUsers;
  readonly invitePermission: InvitePermission;
  readonly filters: FilterService;
  readonly tags: TagService;
  readonly turn: TurnCredentials;
}

export function composeUserData(below: Platform & Commit & Users & PushRules): Slice<UserData> {
  const { clock, config, database, interner, pushRules, users, writer } = below;
  const { quotas } = config;
  const caches = userCaches(config);
  const accountData = new AccountDataService({
    database,
    interner,
    writer,
    served: [pushRules],
    quota: { ...quotas.accountData, tagsPerRoom: quotas.tagsPerRoom },
    cacheBytes: { users: caches.accountData, pieces: caches.accountDataPieces },
  });
  return {
    name: 'user-data',
    services: {
      accountData,
      ignoredUsers: new IgnoredUsers(accountData),
      invitePermission: new InvitePermission(accountData, (userId) => users.isLocal(userId)),
      filters: new FilterService(database, interner, quotas.filters, {
        stored: caches.storedFilters,
        inline: caches.inlineFilters,
      }),
      tags: new TagService(accountData),
      turn: new TurnCredentials(config.turn, clock),
    },
  };
}
