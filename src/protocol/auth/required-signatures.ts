import type { Pdu } from '#src/protocol/events/pdu.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';

/**
 * The servers whose valid signatures an event needs; others are not looked at. Server-Server API, "Validating hashes and
 * signatures on received events".
 */
export function requiredSignatures(version: RoomVersion, event: Pdu): readonly string[] {
  const servers = new Set<string>();
  const add = (id: string | undefined): void => {
    const domain = id === undefined ? undefined : domainOf(id);
    if (domain !== undefined) servers.add(domain);
  };
  const isMember = event.type === 'm.room.member';
  const { membership, third_party_invite: invite, join_authorised_via_users_server: authorisingUser } = event.content;
  // "unless the event is a 3rd party invite, only the signature(s) from the originating server (the server the sender belongs to)
  // are required": that invite may be sent by another server in the name of the one who made it.
  if (!(isMember && membership === 'invite' && invite !== undefined)) add(event.sender);
  // "Room versions 1 and 2 also require that a signature is present from the domain in the event_id".
  if (version.eventIdFormat === 'assigned') add(event.event_id);
  // "If content has a join_authorised_via_users_server property: If the event is not validly signed by the homeserver of the user
  // ID denoted by the key, reject." Since v8.
  if (version.auth.restrictedJoins && isMember && typeof authorisingUser === 'string') add(authorisingUser);
  return [...servers];
}
