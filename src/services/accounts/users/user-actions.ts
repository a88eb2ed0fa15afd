import { Signal } from '#src/kernel/signal.ts';

/** Something that a user did. */
export interface UserAction {
  readonly userId: string;
  /** Undefined where it is not known on which device. */
  readonly deviceId: string | undefined;
}

/**
 * Publishes actions of users, as opposed to requests that their clients make by themselves. "A pro-active event may be sending a message to a
 * room". Client-Server API, "Last active ago".
 */
export class UserActions {
  /** Fires when a user has done something. */
  readonly acted = new Signal<UserAction>();

  note(userId: string, deviceId?: string): void {
    this.acted.emit({ userId, deviceId });
  }
}
