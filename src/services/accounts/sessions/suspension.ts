import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Requester } from './requester.ts';

/**
 * Operations that suspended users are refused. Client-Server API, "Account suspension": joining and knocking, accepting and sending
 * invites, changing profiles, and all that others would see in rooms. Messages and redactions are judged by what is sent
 * (`RoomSending`); everything else stays open to them: reading, leaving, rejecting invites, devices, keys, deactivation.
 */
const REFUSED: ReadonlySet<string> = new Set([
  'ban',
  'createRoom',
  'deleteProfileField',
  'deleteRoomAlias',
  'inviteUser',
  'joinRoom',
  'joinRoomById',
  'kick',
  'knockRoom',
  'setProfileField',
  'setRoomAlias',
  'setRoomStateWithKey',
  'setRoomVisibilityOnDirectory',
  'setTyping',
  'unban',
  'upgradeRoom',
]);

/** @throws MatrixError M_USER_SUSPENDED when the requester is suspended and the operation is one that they are refused */
export const assertAllowed = (requester: Requester, operationId: string): void => {
  if (requester.isSuspended === true && REFUSED.has(operationId)) throw userSuspended();
};

export const userSuspended = (): MatrixError =>
  new MatrixError('M_USER_SUSPENDED', 'You cannot do this while your account is suspended.');
