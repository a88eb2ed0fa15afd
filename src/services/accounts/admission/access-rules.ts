import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';

/**
 * Whether a kind of account may call something. A word alone: the specification says so. With a reason: the specification does not list
 * it, or leaves it to the server.
 */
export type AccessRule = 'allowed' | 'refused' | { readonly allowed: string } | { readonly refused: string };

/** Which accounts may call an endpoint, or a method of the WebSocket API. */
export interface AccessRules {
  /** Client-Server API, "Guest Access": what that section does not list is refused. */
  readonly guests: AccessRule;
  /** Client-Server API, "Account suspension". */
  readonly suspended: AccessRule;
  /** Whether application services may call it in a user's name; left out: they may. Application Service API, "Identity assertion". */
  readonly appservices?: AccessRule | undefined;
}

export const isAllowed = (rule: AccessRule): boolean =>
  rule === 'allowed' || (typeof rule === 'object' && 'allowed' in rule);

/** @throws MatrixError M_GUEST_ACCESS_FORBIDDEN, M_USER_SUSPENDED, M_FORBIDDEN (an application service) */
export const assertMayCall = (
  requester: Pick<Requester, 'isGuest' | 'isSuspended' | 'appservice'>,
  { guests, suspended, appservices }: AccessRules,
): void => {
  if (requester.appservice !== undefined && appservices !== undefined && !isAllowed(appservices))
    throw new MatrixError('M_FORBIDDEN', 'Application services cannot do this: it is for the owner of an account.');
  if (requester.isGuest && !isAllowed(guests)) throw guestsForbidden();
  if (requester.isSuspended === true && !isAllowed(suspended)) throw userSuspended();
};

export const guestsForbidden = (): MatrixError =>
  new MatrixError('M_GUEST_ACCESS_FORBIDDEN', 'Guests cannot do this: register an account first.');

export const userSuspended = (): MatrixError =>
  new MatrixError('M_USER_SUSPENDED', 'You cannot do this while your account is suspended.');

/** Rules for suspended users that hold for many endpoints. */
export const READS: AccessRule = { allowed: 'it changes nothing: suspended users may still read' };
export const KEEPS_OWN: AccessRule = { allowed: 'it changes what only the user reads' };
export const OTHERS_SEE: AccessRule = { refused: 'other users would see what it changes' };
/** "This applies to all aspects of the Client-Server API, except for Account Management." */
export const ACCOUNT_MANAGEMENT: AccessRule = 'refused';
export const ADMINISTERS: AccessRule = {
  refused: 'suspended users may not moderate others, or lift their own suspension',
};
