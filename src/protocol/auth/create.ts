import type { IdentifiedPdu, Pdu } from '#src/protocol/events/pdu.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import { isUserId } from '#src/protocol/identifiers/identifiers.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { ROOM_VERSIONS } from '#src/protocol/room-versions/room-versions.ts';
import { ALLOW, reject } from './verdict.ts';
import type { AuthVerdict } from './verdict.ts';

/**
 * The user who made the room: `content.creator` until v10, since v11 the sender of `m.room.create`.
 * Undefined only if a create event without a creator was let through.
 */
export function creatorOf(version: RoomVersion, create: Pdu): string | undefined {
  if (version.auth.implicitCreator) return create.sender;
  const { creator } = create.content;
  return typeof creator === 'string' ? creator : undefined;
}

/** The users whose power level is infinite: the sender of `m.room.create` and its `additional_creators`. Empty before v12. */
export function privilegedCreatorsOf(
  version: RoomVersion,
  create: Pick<Pdu, 'sender' | 'content'>,
): ReadonlySet<string> {
  if (!version.auth.privilegedCreators) return new Set();
  const { additional_creators: additional } = create.content;
  const others = Array.isArray(additional) ? additional.filter((user) => typeof user === 'string') : [];
  return new Set([create.sender, ...others]);
}

/** Whether users of other servers may be in a room, by its `m.room.create`. Client-Server API, `m.federate`. */
export const federates = (create: Pick<Pdu, 'content'> | undefined): boolean => create?.content['m.federate'] !== false;

/** The rules "If type is m.room.create". */
export function checkCreate(version: RoomVersion, { pdu }: IdentifiedPdu): AuthVerdict {
  // "If it has any prev_events, reject." Since v1.
  if (pdu.prev_events.length > 0) return reject('m.room.create must not have prev_events');
  if (version.roomIdIsCreateHash) {
    // "If the event has a room_id, reject." Since v12.
    if (pdu.room_id !== undefined) return reject('m.room.create must not have a room_id in this room version');
  } else if (pdu.room_id === undefined || domainOf(pdu.room_id) !== domainOf(pdu.sender)) {
    // "If the domain of the room_id does not match the domain of the sender, reject." v1 to v11.
    return reject('the domain of the room_id of m.room.create is not that of its sender');
  }
  // "If content.room_version is present and is not a recognised version, reject." Since v1.
  const { room_version: roomVersion, additional_creators: additional } = pdu.content;
  if (roomVersion !== undefined && (typeof roomVersion !== 'string' || !ROOM_VERSIONS.has(roomVersion))) {
    return reject('content.room_version of m.room.create is not a known room version');
  }
  // "If content has no creator property, reject." v1 to v10.
  if (!version.auth.implicitCreator && pdu.content['creator'] === undefined)
    return reject('m.room.create has no content.creator');
  // "If additional_creators is present in content and is not an array of strings where each string passes the same user ID
  // validation applied to sender, reject." Since v12.
  if (
    version.auth.privilegedCreators &&
    additional !== undefined &&
    !(Array.isArray(additional) && additional.every(isUserId))
  ) {
    return reject('content.additional_creators of m.room.create is not a list of user ids');
  }
  return ALLOW;
}
