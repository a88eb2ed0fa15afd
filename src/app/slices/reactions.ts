import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Accounts } from './accounts.ts';
import type { DelayedEvents } from './delayed-events.ts';
import type { ThirdPartyInviting } from './third-party-invites.ts';
import type { UserData } from './user-data.ts';

/** What follows from something in another area. */
export function composeReactions(
  below: Platform & Accounts & UserData & ThirdPartyInviting & DelayedEvents,
): Slice<object> {
  const { accounts, accountThreepids, delayedEvents, logger, profiles, users } = below;
  users.onRegistered(({ account, displayName }) => {
    if (displayName === undefined) return;
    profiles.setDisplayname(account.userId, displayName).catch((err: unknown) => {
      logger.error('the name of a new user could not be set', { user_id: account.userId, err });
    });
  });
  accounts.onDeactivated(({ userId }) => {
    accountThreepids.release(userId).catch((err: unknown) => {
      logger.error('the addresses of a deactivated user could not be released', { user_id: userId, err });
    });
  });
  accounts.onDeactivated(({ userId }) => {
    delayedEvents.cancelAll(userId).catch((err: unknown) => {
      // None of them will be sent all the same: that is asked at the time.
      logger.warn('the delayed events of a deactivated user could not be cancelled', { user_id: userId, err });
    });
  });
  return { name: 'reactions', services: {} };
}
