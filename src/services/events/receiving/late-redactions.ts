import { redactionApplies } from '#src/protocol/auth/redactions.ts';
import { EVENT_FLAGS, HIDDEN_FLAGS } from '#src/protocol/events/event-flags.ts';
import { type IdentifiedPdu, redactionTarget } from '#src/protocol/events/pdu.ts';
import { REDACTION } from '#src/protocol/events/event-types.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import { prepareRedaction } from '#src/services/events/building/redacting.ts';
import { eventIdBytes } from '#src/services/room-model/event/event-ids.ts';
import { identified } from '#src/services/room-model/event/identified-event.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
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
  readonly stream: Pick<RoomEventStream, 'publish' | 'lateRows'>;
}

/** Those that wait are soft-failed. */
const NEVER_SHOWN = EVENT_FLAGS.rejected | EVENT_FLAGS.outlier;

/**
 * Redactions that arrived before what they redact: other servers send events in any order, and backfilled ones last. It is known which rooms have
 * any, so that all others cost nothing. Room versions, "Handling redactions".
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

  /** The redactions that wait for events which come now, and apply to them, the first one first: by the ids of these events. */
  async of(room: Room, targets: readonly IdentifiedPdu[]): Promise<ReadonlyMap<string, readonly StoredEvent[]>> {
    const found = new Map<string, StoredEvent[]>();
    if (!this.#rooms.has(room.nid)) return found;
    const { database, loader } = this.#options;
    const byId = new Map(targets.map((one) => [eventIdBytes(one.eventId).toString('latin1'), one]));
    const rows = await redactionsAwaiting(
      database,
      room.nid,
      targets.map(({ eventId }) => eventIdBytes(eventId)),
    );
    const redactions = await loader.load(rows.map(({ redaction: nid }) => ({ room, nid })));
    for (const { redaction, target: id } of rows) {
      const target = byId.get(id.toString('latin1'));
      const event = redactions.get(redaction);
      if (target === undefined || event === undefined || (event.flags & NEVER_SHOWN) !== 0) continue;
      // A redaction by a user who may not redact the event does not redact it, however early it came.
      if (!redactionApplies(room.version, identified(event), target, room.powerLevels())) continue;
      found.set(target.eventId, [...(found.get(target.eventId) ?? []), event]);
    }
    return found;
  }

  /** Applies redactions to events that arrived later, or were backfilled before them; may be repeated. */
  async settle(room: Room, events: readonly StoredEvent[]): Promise<void> {
    const { database, loader } = this.#options;
    for (const event of events) {
      const id = event.type === REDACTION ? redactionTarget(room.version, event.pdu) : undefined;
      const target = id === undefined ? undefined : await loader.byId(room, id);
      if (target !== undefined && (event.flags & HIDDEN_FLAGS) === 0) await this.#redact(room, event, target);
    }
    const awaited = await this.of(room, events.map(identified));
    for (const target of events)
      for (const redaction of awaited.get(target.eventId) ?? []) await this.#redact(room, redaction, target);
    if (this.#rooms.has(room.nid))
      await endAwaiting(
        database,
        room.nid,
        events.map(({ eventId }) => eventIdBytes(eventId)),
      );
  }

  /** What applies is shown from now on: it was held back while the event was not here. */
  async #redact(room: Room, redaction: StoredEvent, target: StoredEvent): Promise<void> {
    const { loader, stream, writer } = this.#options;
    await room.turns.exclusively(async () => {
      while (room.isAhead) await writer.nextBatch();
      const prepared = prepareRedaction(room, redaction, target, room.powerLevels());
      const isInMemory = target.redactedBecause?.nid === redaction.nid;
      const isHidden = (redaction.flags & EVENT_FLAGS.softFailed) !== 0;
      if (prepared === undefined && !isInMemory && !isHidden) return;
      const row = { room: room.nid, nid: target.nid, redactedBy: redaction.nid, json: target.json };
      const position = writer.allocate(room.shard);
      await writer.append({
        positions: [position],
        events: {
          events: [],
          redactions: prepared !== undefined ? [prepared.row] : isInMemory ? [row] : [],
          revivals: isHidden ? [{ room: room.nid, event: redaction.nid, pos: position }] : [],
          // Events that are backfilled are not followed, but what was derived from those that they redact is.
          late: isHidden || redaction.nid <= 0 ? stream.lateRows(room, redaction) : [],
          tails: [tailRow(room, position)],
        },
        publish: () => {
          room.moved(position);
          prepared?.apply();
          if (isHidden) {
            loader.peek(redaction.nid)?.accept();
            room.show(redaction, position);
          }
          // Backfilled events are published to those alone who keep something of the past, as is what changes there.
          if (isHidden && redaction.nid > 0) stream.publish({ kind: 'revealed', room, event: redaction });
          else stream.publish({ kind: 'restored', room });
        },
      });
    });
  }
}
