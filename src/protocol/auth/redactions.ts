import type { IdentifiedPdu } from '#src/protocol/events/pdu.ts';
import { redactionTarget, roomIdOf } from '#src/protocol/events/pdu.ts';
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
