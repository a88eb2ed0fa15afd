import { eventIdText } from '#src/services/room-model/event/event-ids.ts';
import { relationOf, type StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { UnreadRecord } from '#src/storage/push/unread.ts';

/** Id of the root of the thread that an event is in; undefined in the main timeline. */
export const rootOfRecord = (room: Room, record: Pick<UnreadRecord, 'root_id' | 'json'>): string | undefined => {
  if (record.root_id !== null) return eventIdText(room.version, record.root_id);
  if (record.json === null) return undefined;
  const { content } = JSON.parse(record.json) as Partial<Pick<StoredEvent['pdu'], 'content'>>;
  return content === undefined ? undefined : relationOf(content)?.eventId;
};
