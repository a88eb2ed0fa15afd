import type { IdentifiedPdu, Pdu } from '#src/protocol/events/pdu.ts';
import { redactionTarget, roomIdOf } from '#src/protocol/events/pdu.ts';
import { redactContent } from '#src/protocol/events/redaction.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import type { PowerLevels } from './power-levels.ts';

/**
 * Whether a redaction that the authorization rules let through is to be applied to the event it names.
 * Room versions, "Handling redactions".
 *
 * @param powerLevels those at the redaction
 */
export function redactionApplies(
  version: RoomVersion,
  redaction: IdentifiedPdu,
  target: IdentifiedPdu,
  powerLevels: PowerLevels,
): boolean {
  if (redactionTarget(version, redaction.pdu) !== target.eventId || redaction.eventId === target.eventId) return false;
  if (roomIdOf(version, redaction) !== roomIdOf(version, target)) return false;
  // In v1 and v2 the authorization rules have decided already.
  if (version.auth.redactionsAuthorised) return true;
  // "The power level of the redaction event's sender is greater than or equal to the redact level." Since v3.
  if (powerLevels.userLevel(redaction.pdu.sender) >= powerLevels.redact) return true;
  // "The domain of the redaction event's sender matches that of the original event's sender." Since v3.
  return domainOf(redaction.pdu.sender) === domainOf(target.pdu.sender);
}

/**
 * What a room would lose by the redaction of an event, as a sentence; undefined when nothing would be lost. Clients are refused such
 * redactions. The rules allow them, so those of other servers are carried out where all servers do so.
 */
export function redactionHarm(version: RoomVersion, target: Pdu): string | undefined {
  const { content, state_key: stateKey, type } = target;
  if (stateKey === undefined) return undefined;
  const isLost = (key: string): boolean =>
    content[key] !== undefined && redactContent(version, type, content)[key] === undefined;
  switch (type) {
    case 'm.room.create':
      // Before v11 type, m.federate, room_version and predecessor go.
      return Object.keys(content).some(isLost)
        ? 'Without the content of m.room.create the room would no longer be what it is.'
        : undefined;
    case 'm.room.server_acl':
      return 'A redacted m.room.server_acl shuts all servers out: send one with other rules instead.';
    case 'm.room.encryption':
      return 'A redacted m.room.encryption would let clients talk in the clear.';
    case 'm.room.member':
      // Kept since v9: what a join rests on counts whenever state is resolved.
      return isLost('join_authorised_via_users_server')
        ? 'In this room version a redacted join is none any more, as nobody vouches for it.'
        : undefined;
    default:
      return undefined;
  }
}

/**
 * Whether a redaction that applies is carried out here. That of `m.room.create` is not, in versions that would keep nothing of it: all
 * servers still know what the room is, and whether it federates.
 */
export function isRedactable(version: RoomVersion, target: Pdu): boolean {
  return target.type !== 'm.room.create' || redactionHarm(version, target) === undefined;
}
