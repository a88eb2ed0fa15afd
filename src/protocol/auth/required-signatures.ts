import { memberOf, type Pdu } from '#src/protocol/events/pdu.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import { isJsonObject, type JsonObject } from '#src/protocol/json/json-value.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';

/**
 * The servers whose valid signatures an event needs; others are not looked at. Server-Server API, "Validating hashes and
 * signatures on received events".
 *
 * @param eventId of room versions in which it is part of the event it says who assigned it
 */
export function requiredSignatures(version: RoomVersion, pdu: Pdu, eventId: string): ReadonlySet<string> {
  const servers = new Set<string>();
  const add = (id: string): void => void servers.add(domainOf(id) ?? '');
  // "unless the event is a 3rd party invite, only the signature(s) from the originating server (the server the sender belongs to)
  // are required": that is proved by who has signed the invitation.
  if (!isThirdPartyInvite(pdu)) add(pdu.sender);
  // "Room versions 1 and 2 also require that a signature is present from the domain in the event_id".
  if (version.eventIdFormat === 'assigned') add(eventId);
  // "If content has a join_authorised_via_users_server property: If the event is not validly signed by the homeserver of the user
  // ID denoted by the key, reject." Since v8.
  const authorisedBy = authorisingUser(version, pdu);
  if (authorisedBy !== undefined) add(authorisedBy);
  return servers;
}

const isThirdPartyInvite = (pdu: Pdu): boolean => {
  if (pdu.type !== 'm.room.member' || memberOf(pdu.content, 'membership') !== 'invite') return false;
  const invite: unknown = memberOf(pdu.content, 'third_party_invite');
  return isJsonObject(invite) && isJsonObject((invite as JsonObject)['signed']);
};

const authorisingUser = (version: RoomVersion, pdu: Pdu): string | undefined => {
  if (!version.auth.restrictedJoins || pdu.type !== 'm.room.member') return undefined;
  // No other membership is authorised by another user, whatever its content says.
  if (memberOf(pdu.content, 'membership') !== 'join') return undefined;
  const user = memberOf(pdu.content, 'join_authorised_via_users_server');
  return typeof user === 'string' ? user : undefined;
};
