import { EventStream } from '#src/kernel/event-stream.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { AccountChanges, AccountRecord } from '#src/storage/accounts/accounts.ts';

/** Why a session ended. After `replaced` the device lives on with a new session; after all others it is gone. */
export type RevocationReason =
  | 'logged_out'
  | 'device_deleted'
  | 'password_changed'
  | 'deactivated'
  | 'refresh_token_reused'
  | 'replaced';

/** An account was made. */
export interface Registered {
  readonly kind: 'registered';
  readonly account: AccountRecord;
}

/** Something about an account changed: it was locked, suspended, became an administrator's ... */
export interface AccountChanged {
  readonly kind: 'changed';
  readonly userId: string;
  readonly changes: Omit<AccountChanges, 'passwordHash'>;
}

/** An account came to its end. What follows from that is a job of its own. */
export interface Deactivated {
  readonly kind: 'deactivated';
  readonly userId: string;
  /** Whether the user wants as much as possible to be erased. */
  readonly erase: boolean;
}

/** A session ended: told once for each device. */
export interface SessionEnded {
  readonly kind: 'session_ended';
  readonly userId: string;
  readonly deviceId: string;
  readonly reason: RevocationReason;
}

/** A session in which an administrator acted as a user ended. */
export interface AdminLoginEnded {
  readonly kind: 'admin_login_ended';
  readonly userId: string;
  readonly sessionId: string;
}

/** A device was made, renamed or deleted: what device lists of others must show. */
export interface DeviceChanged {
  readonly kind: 'device_changed';
  readonly userId: string;
  readonly deviceId: string;
  readonly change: 'created' | 'renamed' | 'deleted';
}

/** All that can happen to the accounts of this server. */
export type AccountEvent = Registered | AccountChanged | Deactivated | SessionEnded | AdminLoginEnded | DeviceChanged;

/**
 * The stream of accounts: the service that changes one publishes it here, after the commit and in its turn. Only caches and open
 * connections listen; what must happen because of it is a job that is committed with it.
 */
export class AccountStream extends EventStream<AccountEvent> {
  constructor(logger: Logger) {
    super('accounts', logger, (happened) => ({
      user_id: happened.kind === 'registered' ? happened.account.userId : happened.userId,
    }));
  }
}
