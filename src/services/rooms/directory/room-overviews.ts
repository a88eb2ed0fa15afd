import { federates } from '#src/protocol/auth/create.ts';
import { CREATE } from '#src/protocol/events/event-types.ts';
import type { FollowedEvent } from '#src/services/events/stream/followed-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Database } from '#src/storage/database.ts';
import { type RoomOverviewRow, writeRoomOverviews } from '#src/storage/rooms/room-overviews.ts';

/** What canonical JSON of every state event contains. */
export const OF_STATE = '"state_key":"';
/** Characters of a text that is listed. */
const MAX_TEXT_LENGTH = 512;

/** Keeps what the administrators' list shows and sorts rooms by what their state says. */
export class RoomOverviews {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Follows events: writes their rooms anew. */
  async take(events: readonly FollowedEvent[]): Promise<void> {
    await this.write(new Set(events.map(({ room }) => room)));
  }

  /** Writes rooms as they are now. */
  async write(rooms: Iterable<Room>): Promise<void> {
    await writeRoomOverviews(this.#database, [...rooms].filter(({ isHere }) => isHere).map(overviewOf));
  }
}

/** What a room is listed by. */
export const overviewOf = (room: Room): RoomOverviewRow => ({
  room: room.nid,
  name: textOf(room, 'm.room.name', 'name'),
  canonicalAlias: textOf(room, 'm.room.canonical_alias', 'alias'),
  joined: room.joinedCount,
  joinedLocal: room.joinedLocalCount,
  encryption: textOf(room, 'm.room.encryption', 'algorithm'),
  federatable: federates(room.stateEvent(CREATE)),
  joinRules: textOf(room, 'm.room.join_rules', 'join_rule'),
  guestAccess: textOf(room, 'm.room.guest_access', 'guest_access'),
  historyVisibility: textOf(room, 'm.room.history_visibility', 'history_visibility'),
  stateEvents: room.state.size + room.stateChain.members().size,
});

/** A text of the state; null where there is none. PostgreSQL's text holds no NUL, and its length is bounded. */
const textOf = (room: Room, type: string, member: string): string | null => {
  const text = room.stateText(type, member)?.replaceAll('\0', '').slice(0, MAX_TEXT_LENGTH).toWellFormed();
  return text === undefined || text === '' ? null : text;
};
