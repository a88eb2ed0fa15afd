import type { JsonObject, JsonValue } from '#src/protocol/json/json-value.ts';
import type { PushAction } from '#src/protocol/push/push-ruleset.ts';
import { pusherData } from '#src/services/push/pushers/pusher-registry.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { PusherRecord } from '#src/storage/push/pushers.ts';

/** An event as it is sent to a push gateway. */
export interface PushedEvent {
  readonly room: Room;
  readonly event: StoredEvent;
  readonly actions: readonly PushAction[];
  readonly senderDisplayName: string | undefined;
}

/** The `counts` of a notification; undefined for pushers that do not want them. */
const countsOf = (unread: number | undefined): JsonObject =>
  // "Counts whose value is zero should be omitted": but gateways treat a missing count as unchanged, and the badge would keep its number.
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

/** High for events with a sound or highlight, and for encrypted ones, which may turn out to have one. */
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
  // "only the event_id, room_id, counts, and devices are required to be populated": tweaks reveal something of the event's content.
  if (pusherData(pusher)['format'] === 'event_id_only') return { ...always, devices: [deviceOf(pusher, undefined)] };
  const name = room.stateText('m.room.name', 'name') ?? '';
  const alias = room.stateText('m.room.canonical_alias', 'alias') ?? '';
  const roomName = name === '' ? alias : name;
  const isMember = event.type === 'm.room.member' && event.stateKey !== undefined;
  const { membership } = event.content;
  return {
    ...always,
    // The former name of `event_id`, for older gateways.
    id: event.eventId,
    type: event.type,
    sender: event.sender,
    ...(senderDisplayName === undefined ? {} : { sender_display_name: senderDisplayName }),
    ...(roomName === '' ? {} : { room_name: roomName }),
    ...(alias === '' ? {} : { room_alias: alias }),
    ...(isMember ? { user_is_target: event.stateKey === pusher.userId } : {}),
    // Not in the specification, but sent by all other servers.
    ...(isMember && membership !== undefined ? { membership } : {}),
    ...(includeContent ? { content: event.content } : {}),
    devices: [deviceOf(pusher, tweaks)],
  };
};

/** A notification of a changed unread count. */
export const countsNotification = (pusher: PusherRecord, unread: number): JsonObject => ({
  ...countsOf(unread),
  devices: [deviceOf(pusher, undefined)],
});
