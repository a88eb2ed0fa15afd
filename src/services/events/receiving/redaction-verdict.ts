import { redactionApplies } from '#src/protocol/auth/redactions.ts';
import { type IdentifiedPdu, redactionTarget } from '#src/protocol/events/pdu.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

/** Why a redaction that the rules allow is hidden from clients. */
export interface HeldBack {
  readonly reason: string;
  /** The event that is not here yet, with which it will be judged again. */
  readonly awaited?: string;
}

/**
 * Whether clients are shown a redaction: they carry out what they are shown. "They should not be sent to clients until both the redaction event
 * and the event the redaction affects have been received, and can be validated. [...] If the server would apply a redaction, the redaction event
 * is also sent to clients." Room versions, "Handling redactions". Since v3; before, the authorization rules have decided already.
 *
 * @param target the event that it names, if it is here
 * @param isInOtherRoom the event that it names is one of another room
 * @returns undefined when it is shown
 */
export const heldBackRedaction = (
  room: Room,
  redaction: IdentifiedPdu,
  target: IdentifiedPdu | undefined,
  isInOtherRoom: boolean,
): HeldBack | undefined => {
  const { version } = room;
  if (redaction.pdu.type !== 'm.room.redaction' || version.auth.redactionsAuthorised) return undefined;
  const awaited = redactionTarget(version, redaction.pdu);
  if (awaited === undefined) return { reason: 'it names no event to redact' };
  if (isInOtherRoom) return { reason: 'what it redacts is in another room' };
  if (target === undefined) return { reason: 'what it redacts is not here', awaited };
  return redactionApplies(version, redaction, target, room.powerLevels())
    ? undefined
    : { reason: 'its sender may not redact what it names' };
};
