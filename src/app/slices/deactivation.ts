import { Deactivation } from '#src/services/admin/deactivation/deactivation.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Commit } from './commit.ts';
import type { DelayedEvents } from './delayed-events.ts';
import type { Memberships } from './membership.ts';
import type { ThirdPartyInviting } from './third-party-invites.ts';
import type { Users } from './users.ts';

/** The end of accounts, in all areas. */
export interface Deactivations {
  readonly deactivation: Deactivation;
}

export function composeDeactivation(
  below: Platform & Commit & Users & Memberships & ThirdPartyInviting & DelayedEvents,
): Slice<Deactivations> {
  const { accountThreepids, database, delayedEvents, interner, logger, membership, profiles, users } = below;
  const deactivation = new Deactivation({
    database,
    interner,
    users,
    membership,
    ending: [
      { what: 'addresses', end: (userId) => accountThreepids.release(userId) },
      { what: 'delayed events', end: (userId) => delayedEvents.cancelAll(userId) },
    ],
    erased: [{ what: 'profile', end: (userId) => profiles.clear(userId) }],
    logger,
  });
  return { name: 'deactivation', services: { deactivation } };
}
