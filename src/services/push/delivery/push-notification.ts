import type { JsonObject, JsonValue } from '#src/protocol/json/json-value.ts';
import type { PushAction } from '#src/protocol/push/push-ruleset.ts';
import { pusherData } from '#src/services/push/pushers/pusher-registry.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { PusherRecord } from '#src/storage/push/pushers.ts';

/** An event as a push gateway is told of it. */
export interface PushedEvent {
  readonly room: Room;
  readonly event: StoredEvent;
  readonly actions: readonly PushAction[];
  readonly senderDisplayName: string | undefined;
}

/** What a notification says of the numbers: undefined for pushers that do not want to know. */
const countsOf = (unread: number | undefined): JsonObject =>
  // "Counts whose value is zero should be omitted": but gateways take what is missing for unchanged, and the badge would stay as it was.
  unread === undefined ? {} : { counts: { unread } };

const deviceOf = (pusher: PusherRecord, tweaks: JsonObject | undefined): JsonObject => {
  const { url: _url, ...data } = pusherData(pusher);
  return {
    app_id: pusher.appId,
    pushkey: pusher.pushkey,
    // "The unix timestamp (in seconds) when the pushkey was last updated."
    pushkey_ts: Math.floor(pusher.updatedTs / 1_000),
    data,
    ...(tweaks === undefined ? {} : { tweaks }),
  };
};

/** "A dictionary of customisations made to the way this notification is to be presented." A tweak without a value is true. */
const tweaksOf = (actions: readonly PushAction[]): JsonObject => {
  const tweaks: [string, JsonValue][] = [];
  for (const action of actions)
    if (typeof action === 'object') tweaks.push([action.set_tweak, (action.value as JsonValue | undefined) ?? true]);
  return Object.fromEntries(tweaks);
};

/** High is what makes a sound or a highlight, or may turn out to when it is decrypted. */
const priorityOf = (event: StoredEvent, tweaks: JsonObject): 'high' | 'low' => {
  const { highlight, sound } = tweaks;
  const isHeard = sound !== undefined && sound !== false && sound !== '' && sound !== null;
  return event.type === 'm.room.encrypted' || highlight === true || isHeard ? 'high' : 'low';
};

/** A notification about an event. Push Gateway API, `POST /_matrix/push/v1/notify`. */
export const eventNotification = (
  pusher: PusherRecord,
  { room, event, actions, senderDisplayName }: PushedEvent,
  unread: number | undefined,
  includeContent: boolean,
): JsonObject => {
  const tweaks = tweaksOf(actions);
  const always = {
    event_id: event.eventId,
    room_id: room.roomId,
    prio: priorityOf(event, tweaks),
    ...countsOf(unread),
  };
  // "only the event_id, room_id, counts, and devices are required to be populated": tweaks tell something of what the event says.
  if (pusherData(pusher)['format'] === 'event_id_only') return { ...always, devices: [deviceOf(pusher, undefined)] };
  const name = room.stateText('m.room.name', 'name') ?? '';
  const alias = room.stateText('m.room.canonical_alias', 'alias') ?? '';
  const roomName = name === '' ? alias : name;
  const isMember = event.type === 'm.room.member' && event.stateKey !== undefined;
  const { membership } = event.content;
  return {
    ...always,
    // The name that `event_id` had: older gateways know no other.
    id: event.eventId,
    type: event.type,
    sender: event.sender,
    ...(senderDisplayName === undefined ? {} : { sender_display_name: senderDisplayName }),
    ...(roomName === '' ? {} : { room_name: roomName }),
    ...(alias === '' ? {} : { room_alias: alias }),
    ...(isMember ? { user_is_target: event.stateKey === pusher.userId } : {}),
    // Not in the specification, and sent by all other servers.
    ...(isMember && membership !== undefined ? { membership } : {}),
    ...(includeContent ? { content: event.content } : {}),
    devices: [deviceOf(pusher, tweaks)],
  };
};

/** A notification that something else is unread than before. */
export const countsNotification = (pusher: PusherRecord, unread: number): JsonObject => ({
  ...countsOf(unread),
  devices: [deviceOf(pusher, undefined)],
});
