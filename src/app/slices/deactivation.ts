import { Deactivation } from '#src/services/admin/deactivation/deactivation.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Commit } from './commit.ts';
import type { DelayedEvents } from './delayed-events.ts';
import type { Ephemeral } from './ephemeral.ts';
import type { Media } from './media.ts';
import type { Memberships } from './membership.ts';
import type { Push } from './push.ts';
import type { PushRules } from './push-rules.ts';
import type { UserData } from './user-data.ts';
import type { Accounts } from './accounts.ts';
import type { Users } from './users.ts';

/** The deactivation of accounts, across all areas. */
export interface Deactivations {
  readonly deactivation: Deactivation;
}

export function composeDeactivation(
  below: Platform &
    Commit &
    Users &
    Accounts &
    PushRules &
    UserData &
    Memberships &
    Media &
    DelayedEvents &
    Push &
    Ephemeral,
): Slice<Deactivations> {
  const { accountData, accountThreepids, database, delayedEvents, filters, followedThreads, interner, logger } = below;
  const { mediaCleaner, membership, ownAddresses, presence, profiles, pushRules, receipts, users } = below;
  const deactivation = new Deactivation({
    database,
    interner,
    users,
    membership,
    addresses: accountThreepids,
    binds: ownAddresses,
    delayedEvents,
    presence,
    media: mediaCleaner,
    caches: [accountData, pushRules, followedThreads, filters, profiles, receipts],
    logger,
  });
  return { name: 'deactivation', services: { deactivation } };
}
