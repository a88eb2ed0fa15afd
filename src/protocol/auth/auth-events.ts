import type { IdentifiedPdu, Pdu } from '#src/protocol/events/pdu.ts';
import { roomIdOf } from '#src/protocol/events/pdu.ts';
import { isJsonObject } from '#src/protocol/json/json-value.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { ALLOW, reject } from './verdict.ts';
import type { AuthVerdict } from './verdict.ts';

/** The key of an entry of the room state. */
export type StateKeyPair = readonly [type: string, stateKey: string];

/** What the selection looks at: enough of an event that is yet to be built. */
export type AuthEventsSubject = Pick<Pdu, 'type' | 'sender' | 'content'> & { readonly state_key?: string };

/**
 * The keys of the state that belongs into an event's `auth_events`, as far as the state has them; no pair occurs twice.
 * Server-Server API, "Auth events selection".
 */
export function authEventKeysFor(version: RoomVersion, event: AuthEventsSubject): readonly StateKeyPair[] {
  // "The auth_events for the m.room.create event in a room is empty"
  if (event.type === 'm.room.create') return [];
  const keys: StateKeyPair[] = [];
  // "Depending on the room version, the m.room.create event." v1 to v11.
  if (version.auth.createEventSelected) keys.push(['m.room.create', '']);
  // "The current m.room.power_levels event, if any. The sender's current m.room.member event, if any."
  keys.push(['m.room.power_levels', ''], ['m.room.member', event.sender]);
  if (event.type !== 'm.room.member') return keys;
  const { membership, third_party_invite: invite, join_authorised_via_users_server: authorisingUser } = event.content;
  // "The target's current m.room.member event, if any."
  if (event.state_key !== undefined && event.state_key !== event.sender) keys.push(['m.room.member', event.state_key]);
  // "If membership is join, invite or knock, the current m.room.join_rules event, if any."
  if (membership === 'join' || membership === 'invite' || membership === 'knock') keys.push(['m.room.join_rules', '']);
  // "If membership is invite and content contains a third_party_invite property, the current m.room.third_party_invite event
  // with state_key matching content.third_party_invite.signed.token, if any."
  if (membership === 'invite' && isJsonObject(invite) && isJsonObject(invite['signed'])) {
    const { token } = invite['signed'];
    if (typeof token === 'string') keys.push(['m.room.third_party_invite', token]);
  }
  // "If membership is join, content.join_authorised_via_users_server is present, and the room version supports restricted rooms,
  // then the m.room.member event with state_key matching content.join_authorised_via_users_server." Since v8.
  if (version.auth.restrictedJoins && membership === 'join' && typeof authorisingUser === 'string') {
    if (!keys.some(([type, stateKey]) => type === 'm.room.member' && stateKey === authorisingUser)) {
      keys.push(['m.room.member', authorisingUser]);
    }
  }
  return keys;
}

/**
 * The rules "Considering the event's auth_events".
 *
 * @param authEvents the events that the event names, all of them, with `rejected` set on those that were rejected
 */
export function checkAuthEventsSelection(
  version: RoomVersion,
  event: IdentifiedPdu,
  authEvents: readonly IdentifiedPdu[],
): AuthVerdict {
  // The rule on m.room.create comes first and ends with a verdict, so that its auth events are not considered.
  if (event.pdu.type === 'm.room.create') return ALLOW;
  const wanted = authEventKeysFor(version, event.pdu);
  const seen = new Set<StateKeyPair>();
  const roomId = roomIdOf(version, event);
  let hasCreate = false;
  for (const authEvent of authEvents) {
    const { type, state_key: stateKey } = authEvent.pdu;
    const key = wanted.find((pair) => pair[0] === type && pair[1] === stateKey);
    // "If there are entries whose type and state_key don't match those specified by the auth events selection algorithm described
    // in the server specification, reject." Since v1; m.room.create must be selected until v11, and must not be since v12.
    if (key === undefined) return reject(`auth_events has ${type}, which does not belong there`);
    // "If there are duplicate entries for a given type and state_key pair, reject." Since v1.
    if (seen.has(key)) return reject(`auth_events has ${type} twice for the same state_key`);
    seen.add(key);
    // "If there are entries which were themselves rejected under the checks performed on receipt of a PDU, reject." Since v1.
    if (authEvent.rejected === true) return reject('auth_events names a rejected event');
    // "If any event in auth_events has a room_id which does not match that of the event being authorised, reject." Since v1.
    if (roomIdOf(version, authEvent) !== roomId) return reject('auth_events names an event of another room');
    hasCreate ||= type === 'm.room.create';
  }
  // "If there is no m.room.create event among the entries, reject." v1 to v11.
  return hasCreate || !version.auth.createEventSelected ? ALLOW : reject('auth_events has no m.room.create');
}
