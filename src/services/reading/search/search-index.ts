import { LoopYield } from '#src/kernel/event-loop/loop-yield.ts';
import { redactionTarget } from '#src/protocol/events/pdu.ts';
import { foldText } from '#src/protocol/text/fold.ts';
import { gramHashesOf } from '#src/protocol/text/grams.ts';
import { ENCRYPTION, REDACTION } from '#src/protocol/events/event-types.ts';
import { eventIdBytes } from '#src/services/room-model/event/event-ids.ts';
import type { FollowedEvent } from '#src/services/events/stream/followed-event.ts';
import type { Database } from '#src/storage/database.ts';
import {
  forgetEventDocs,
  forgetRedactedDocs,
  forgetRoomDocs,
  insertSearchDocs,
  type SearchDocRow,
} from '#src/storage/reading/search.ts';
import { searchableText, TYPE_OF_KEY } from './searchable-text.ts';

/** In one turn of the event loop. */
const CHARACTERS_AT_ONCE = 20_000;

/** The types of events that change what can be found. */
export const INDEXED_TYPES = [...Object.values(TYPE_OF_KEY), REDACTION, ENCRYPTION];

/** Maintains the full-text index of events. Texts of encrypted rooms are not in it. */
export class SearchIndex {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Indexes events; those that are indexed already stay. */
  async take(events: readonly FollowedEvent[]): Promise<void> {
    const rows: SearchDocRow[] = [];
    const redacted: Buffer[] = [];
    const encrypted = new Set<number>();
    const loopYield = new LoopYield(CHARACTERS_AT_ONCE);
    for (const { room, event } of events) {
      if (event.type === REDACTION) {
        const target = redactionTarget(room.version, event.pdu);
        if (target !== undefined) redacted.push(eventIdBytes(target));
      } else if (room.isEncrypted) {
        if (event.type === ENCRYPTION) encrypted.add(room.nid);
      } else {
        const text = searchableText(event.type, event.content);
        if (text === '') continue;
        const grams = gramHashesOf(room.nid, foldText(text));
        rows.push({ room: room.nid, ts: event.ts, event: event.nid, grams });
        const turn = loopYield.after(text.length);
        if (turn !== undefined) await turn;
      }
    }
    await insertSearchDocs(this.#database, rows);
    await forgetRedactedDocs(this.#database, redacted);
    await forgetRoomDocs(this.#database, [...encrypted]);
  }

  /** Forgets events of a room that are about to be deleted. To be called while they are still there. */
  forget(room: number, events: readonly number[]): Promise<void> {
    return forgetEventDocs(this.#database, room, events);
  }

  /** Forgets everything in a room. */
  forgetRoom(room: number): Promise<void> {
    return forgetRoomDocs(this.#database, [room]);
  }
}
