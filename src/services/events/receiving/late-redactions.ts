import { HIDDEN_FLAGS } from '#src/protocol/events/event-flags.ts';
import { redactionTarget } from '#src/protocol/events/pdu.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import { prepareRedaction } from '#src/services/events/building/redacting.ts';
import { eventIdBytes } from '#src/services/room-model/event/event-ids.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import { tailRow } from '#src/services/room-model/room/tail-row.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Database } from '#src/storage/database.ts';
import { endAwaiting, redactionsAwaiting, roomsAwaitingRedacted } from '#src/storage/events/awaited-redactions.ts';

export interface LateRedactionsOptions {
  readonly database: Database;
  readonly loader: EventLoader;
  readonly writer: Writer;
}

const REDACTION = 'm.room.redaction';

/**
 * Redactions that came before what they redact: servers send events in an order of their own, and the past comes last. Which rooms have any is
 * known, so that all others cost nothing. Room versions, "Handling redactions".
 */
export class LateRedactions {
  readonly #options: LateRedactionsOptions;
  readonly #rooms = new Set<number>();

  constructor(options: LateRedactionsOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    for (const room of await roomsAwaitingRedacted(this.#options.database)) this.#rooms.add(room);
  }

  /** A redaction waits in a room. */
  await(roomNid: number): void {
    this.#rooms.add(roomNid);
  }

  /** The redactions that wait for events which come now, by the ids of these. */
  async of(room: Room, eventIds: readonly string[]): Promise<ReadonlyMap<string, StoredEvent>> {
    const found = new Map<string, StoredEvent>();
    if (!this.#rooms.has(room.nid)) return found;
    const { database, loader } = this.#options;
    const ids = new Map(eventIds.map((id) => [eventIdBytes(id).toString('latin1'), id]));
    const rows = await redactionsAwaiting(database, room.nid, eventIds.map(eventIdBytes));
    const redactions = await loader.load(rows.map(({ redaction: nid }) => ({ room, nid })));
    for (const { redaction, target } of rows) {
      const id = ids.get(target.toString('latin1'));
      const event = redactions.get(redaction);
      // Of several the first one counts.
      if (id !== undefined && event !== undefined && (event.flags & HIDDEN_FLAGS) === 0 && !found.has(id))
        found.set(id, event);
    }
    return found;
  }

  /** Carries out what redactions say of events that came later, or that came before them out of the past; again where it was done. */
  async settle(room: Room, events: readonly StoredEvent[]): Promise<void> {
    const { database, loader } = this.#options;
    for (const event of events) {
      const id = event.type === REDACTION ? redactionTarget(room.version, event.pdu) : undefined;
      const target = id === undefined ? undefined : await loader.byId(room, id);
      if (target !== undefined && (event.flags & HIDDEN_FLAGS) === 0) await this.#redact(room, event, target);
    }
    const awaited = await this.of(
      room,
      events.map(({ eventId }) => eventId),
    );
    if (awaited.size === 0) return;
    for (const target of events) {
      const redaction = awaited.get(target.eventId);
      if (redaction !== undefined) await this.#redact(room, redaction, target);
    }
    await endAwaiting(database, room.nid, [...awaited.keys()].map(eventIdBytes));
  }

  async #redact(room: Room, redaction: StoredEvent, target: StoredEvent): Promise<void> {
    const { writer } = this.#options;
    await room.turns.exclusively(async () => {
      while (room.isAhead) await writer.nextBatch();
      const prepared = prepareRedaction(room, redaction, target, room.powerLevels());
      const isInMemory = target.redactedBecause?.nid === redaction.nid;
      if (prepared === undefined && !isInMemory) return;
      const row = { room: room.nid, nid: target.nid, redactedBy: redaction.nid, json: target.json };
      const position = writer.allocate(room.shard);
      await writer.append({
        positions: [position],
        events: { events: [], redactions: [prepared?.row ?? row], tails: [tailRow(room, position)] },
        publish: () => {
          room.moved(position);
          prepared?.apply();
        },
      });
    });
  }
}
