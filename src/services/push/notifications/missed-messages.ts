import { isJsonObject, type JsonObject, type JsonValue } from '#src/protocol/json/json-value.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { NotificationList } from './notification-list.ts';

/** A message that notified a user who has not read it. */
export interface MissedMessage {
  readonly roomId: string;
  /** What the room is called; undefined for one without a name, or alone with its sender. */
  readonly roomName: string | undefined;
  readonly senderId: string;
  readonly senderName: string | undefined;
  readonly type: string;
  readonly content: JsonObject;
  /** Milliseconds since the epoch. */
  readonly ts: number;
}

/** At once: a mail shows no more. */
const MAX = 100;

/** Lists unread messages that notified a user, for digests by mail: without muted rooms and ignored users. */
export class MissedMessages {
  readonly #list: NotificationList;
  readonly #rooms: RoomRegistry;
  readonly #loader: EventLoader;

  constructor(deps: { readonly list: NotificationList; readonly rooms: RoomRegistry; readonly loader: EventLoader }) {
    this.#list = deps.list;
    this.#rooms = deps.rooms;
    this.#loader = deps.loader;
  }

  /** Those that came after a time, the newest 100 of them, the oldest first. */
  async of(userId: string, since: number): Promise<MissedMessage[]> {
    const { notifications } = await this.#list.page({ userId, deviceId: undefined }, { limit: MAX });
    const missed: MissedMessage[] = [];
    for (const { event, read, roomId, ts } of notifications) {
      if (read || ts <= since) continue;
      const room = await this.#rooms.byId(roomId);
      const { type, sender, content } = JSON.parse(event) as { type: string; sender: string; content: JsonValue };
      if (room === undefined) continue;
      missed.push({
        roomId,
        roomName: room.stateText('m.room.name', 'name') ?? room.stateText('m.room.canonical_alias', 'alias'),
        senderId: sender,
        senderName: await this.#nameOf(room, sender),
        type,
        content: isJsonObject(content) ? content : {},
        ts,
      });
    }
    return missed.reverse();
  }

  async #nameOf(room: Room, userId: string): Promise<string | undefined> {
    const member = room.member(userId);
    const name = member && (await this.#loader.one(room, member.event))?.content['displayname'];
    return typeof name === 'string' ? name : undefined;
  }
}
