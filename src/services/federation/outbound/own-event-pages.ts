import type { Clock } from '#src/kernel/clock.ts';
import type { Pdu } from '#src/protocol/events/pdu.ts';
import type { Database } from '#src/storage/database.ts';
import { type EventSpan, eventsToSend } from '#src/storage/federation/destination-rooms.ts';
import type { EventRecord } from '#src/storage/room-model/event-reads.ts';

/** An event that is sent to other servers. */
export interface EventToSend {
  readonly nid: number;
  /** Canonical JSON. */
  readonly json: string;
  readonly sender: string;
}

/** Events that are read at once. */
const PAGE = 100;
/** Milliseconds for which others use what was read: long enough for those who are behind together, and no longer. */
const FRESH_MS = 2_000;
/** Characters of all pages together. */
const MAX_CHARACTERS = 8_000_000;

interface Page {
  readonly room: number;
  /** It holds the events after this position. */
  readonly after: number;
  readonly readAt: number;
  readonly events: Promise<readonly EventToSend[]>;
  /** Up to where it holds all of them: everything, as long as it is being read. */
  covered: number;
  characters: number;
}

/** Reads what other servers are to be sent out of the database. Servers that are behind in a room at the same time read it once. */
export class OwnEventPages {
  readonly #database: Database;
  readonly #clock: Clock;
  /** The oldest first. */
  #pages: readonly Page[] = [];

  constructor(database: Database, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
  }

  /** @returns the first events of the span, oldest first, and up to where it has no others */
  async read(span: EventSpan): Promise<{ readonly events: readonly EventToSend[]; readonly covered: number }> {
    const { after, room, upTo } = span;
    if (upTo <= after) return { events: [], covered: upTo };
    for (;;) {
      const page = this.#find(room, after) ?? this.#open(span);
      const events = await page.events;
      // While it was being read nobody knew how far it would reach.
      if (page.covered <= after) continue;
      return {
        events: events.filter(({ nid }) => nid > after && nid <= upTo),
        covered: Math.min(page.covered, upTo),
      };
    }
  }

  #find(room: number, after: number): Page | undefined {
    const oldest = this.#clock.now() - FRESH_MS;
    this.#pages = this.#pages.filter(({ readAt }) => readAt > oldest);
    return this.#pages.findLast((page) => page.room === room && page.after <= after && page.covered > after);
  }

  #open(span: EventSpan): Page {
    const { after, room, upTo } = span;
    const page: Page = {
      room,
      after,
      readAt: this.#clock.now(),
      events: eventsToSend(this.#database, span, PAGE).then(
        (records) => {
          page.covered = records.length < PAGE ? upTo : (records.at(-1)?.nid ?? upTo);
          page.characters = records.reduce((sum, { json }) => sum + json.length, 0);
          this.#bound();
          return records.map(eventToSend);
        },
        (error: unknown) => {
          this.#pages = this.#pages.filter((one) => one !== page);
          throw error;
        },
      ),
      covered: Infinity,
      characters: 0,
    };
    this.#pages = [...this.#pages, page];
    return page;
  }

  #bound(): void {
    let characters = this.#pages.reduce((sum, page) => sum + page.characters, 0);
    this.#pages = this.#pages.filter((page) => {
      if (characters <= MAX_CHARACTERS) return true;
      characters -= page.characters;
      return false;
    });
  }
}

export const eventToSend = ({ nid, json }: EventRecord): EventToSend => ({
  nid,
  json,
  sender: (JSON.parse(json) as Pdu).sender,
});
