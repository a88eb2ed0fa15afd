import type { IdentifiedPdu } from '#src/protocol/events/pdu.ts';
import { createdRoomId } from '#src/protocol/events/pdu.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { checkCreate, federates } from './create.ts';
import { checkMembership, membershipOf } from './membership-rules.ts';
import { checkPowerLevels } from './power-level-rules.ts';
import { parsePowerLevels } from './power-levels.ts';
import type { PowerLevels } from './power-levels.ts';
import { ALLOW, reject } from './verdict.ts';
import type { AuthVerdict, StateAccess } from './verdict.ts';

/**
 * The authorization rules of a room version, but for what concerns the `auth_events` themselves
 * (see `checkAuthEventsSelection`) and signatures (see `requiredSignatures`). Room versions, "Authorisation rules".
 *
 * @param event the event, of correct format
 * @param state the state to judge it against; `m.room.create` must be found there in every room version, even where it is not
 *   among the auth events (then the room id names it)
 * @param powerLevels the power levels of that same state, if the caller has them at hand; parsed from it otherwise
 */
export function checkAuth(
  version: RoomVersion,
  event: IdentifiedPdu,
  state: StateAccess,
  powerLevels?: PowerLevels,
): AuthVerdict {
  const { pdu } = event;
  const { type, sender } = pdu;
  // "If type is m.room.create". Since v1.
  if (type === 'm.room.create') return checkCreate(version, event);

  const create = state('m.room.create', '');
  // "If there is no m.room.create event among the entries, reject." Since v1.
  if (create === undefined) return reject('the room has no m.room.create');
  // "If the event's room_id is not an event ID for an accepted (not rejected) m.room.create event, with the sigil ! instead of $,
  // reject." Since v12.
  if (version.roomIdIsCreateHash && (pdu.room_id !== createdRoomId(create.eventId) || create.rejected === true)) {
    return reject('the room_id is not that of an accepted m.room.create');
  }
  // "If the content of the m.room.create event in the room state has the property m.federate set to false, and the sender domain
  // of the event does not match the sender domain of the create event, reject." Since v1.
  if (!federates(create.pdu) && domainOf(sender) !== domainOf(create.pdu.sender)) {
    return reject('the room does not federate');
  }
  // "If type is m.room.aliases: If event has no state_key, reject. If sender's domain doesn't match state_key, reject.
  // Otherwise, allow." v1 to v5.
  if (version.auth.aliasesBySenderDomain && type === 'm.room.aliases') {
    if (pdu.state_key === undefined) return reject('m.room.aliases has no state_key');
    return domainOf(sender) === pdu.state_key
      ? ALLOW
      : reject("the state_key of m.room.aliases is not the sender's domain");
  }

  let parsed = powerLevels;
  const levels = (): PowerLevels =>
    (parsed ??= parsePowerLevels(version, state('m.room.power_levels', '')?.pdu.content, create.pdu));
  if (type === 'm.room.member') return checkMembership(version, event, create, state, levels);

  // "If the sender's current membership state is not join, reject." Since v1.
  if (membershipOf(state, sender) !== 'join') return reject('the sender is not in the room');
  const power = levels();
  const senderLevel = power.userLevel(sender);
  // "If type is m.room.third_party_invite: Allow if and only if sender's current power level is greater than or equal to the
  // invite level." Since v1.
  if (type === 'm.room.third_party_invite') {
    return senderLevel >= power.invite ? ALLOW : reject("the sender's power level is below the invite level");
  }
  // "If the event type's required power level is greater than the sender's power level, reject." Since v1.
  const required = power.eventLevel(type, pdu.state_key !== undefined);
  if (required > senderLevel) return reject(`the sender's power level is below ${required}, which ${type} requires`);
  // "If the event has a state_key that starts with an @ and does not match the sender, reject." Since v1.
  if (pdu.state_key?.startsWith('@') === true && pdu.state_key !== sender)
    return reject("the state_key is another user's");
  if (type === 'm.room.power_levels')
    return checkPowerLevels(version, pdu, state('m.room.power_levels', '')?.pdu.content, power);
  // "If type is m.room.redaction". v1 and v2.
  if (version.auth.redactionsAuthorised && type === 'm.room.redaction')
    return checkRedaction(event, senderLevel >= power.redact);
  return ALLOW;
}

function checkRedaction({ eventId, pdu }: IdentifiedPdu, hasRedactLevel: boolean): AuthVerdict {
  // "If the sender's power level is greater than or equal to the redact level, allow." v1 and v2.
  if (hasRedactLevel) return ALLOW;
  // "If the domain of the event_id of the event being redacted is the same as the domain of the event_id of the
  // m.room.redaction, allow. Otherwise, reject." v1 and v2.
  const domain = domainOf(eventId);
  return domain !== undefined && pdu.redacts !== undefined && domainOf(pdu.redacts) === domain
    ? ALLOW
    : reject('the redacted event is of another server, and the sender is below the redact level');
}
