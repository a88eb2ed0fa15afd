import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { eventId as eventIdOf } from '#src/protocol/events/event-hashes.ts';
import type { Pdu } from '#src/protocol/events/pdu.ts';
import { eventRow } from '#src/services/room-model/event/event-row.ts';
import type { EventRow } from '#src/storage/events/event-rows.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { EventStanding } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Database } from '#src/storage/database.ts';
import { violatesUnique } from '#src/storage/failures.ts';
import { floorStateOf, restoreEvents, statesThatAreThere } from '#src/storage/retention/archive-writes.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import type { Names } from '#src/storage/room-model/names.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import type { ArchivedEvent } from './room-archive.ts';

const BATCH = 200;
const PDU = ',"pdu":';

interface Line {
  readonly head: Omit<ArchivedEvent, 'pdu'>;
  readonly pdu: Pdu;
  /** As it was signed, byte for byte. */
  readonly json: string;
}

/**
 * Puts archived events back into their rooms. What is there already stays as it is, so that an archive can be read again after a
 * failure. Events get the states that they had, where these can still be read, and the room's oldest one otherwise: history visibility
 * does not use what in that state is newer than the event.
 *
 * Purges of the room wait meanwhile, and remote events are accepted between two batches: they may name what comes back.
 */
export class ArchiveImport {
  readonly #database: Database;
  readonly #interner: Interner;
  readonly #rooms: RoomRegistry;
  readonly #loader: EventLoader;
  readonly #stream: RoomEventStream;

  constructor(options: {
    readonly database: Database;
    readonly interner: Interner;
    readonly rooms: RoomRegistry;
    readonly loader: EventLoader;
    readonly stream: RoomEventStream;
  }) {
    this.#database = options.database;
    this.#interner = options.interner;
    this.#rooms = options.rooms;
    this.#loader = options.loader;
    this.#stream = options.stream;
  }

  /**
   * @returns how many events came back, and how many the file holds
   * @throws for a line that is none of an archive, or a room that is not of this database
   */
  async file(path: string): Promise<{ readonly restored: number; readonly read: number }> {
    const lines = createInterface({ input: createReadStream(path, 'utf8'), crlfDelay: Infinity });
    let restored = 0;
    let read = 0;
    let batch: Line[] = [];
    const write = async (): Promise<void> => {
      for (const [roomId, ofRoom] of Map.groupBy(batch, (line) => line.head.room_id)) {
        restored += await this.#restore(roomId, ofRoom);
      }
      batch = [];
    };
    for await (const text of lines) {
      if (text.trim() === '') continue;
      read += 1;
      batch.push(parseLine(text, `${path}, line ${read}`));
      if (batch.length >= BATCH) await write();
    }
    await write();
    return { restored, read };
  }

  async #restore(roomId: string, lines: readonly Line[]): Promise<number> {
    const room = await this.#rooms.byId(roomId);
    if (room === undefined) throw new Error(`the room ${roomId} is not in this database`);
    const standings = await room.turns.rewritePast(() => room.turns.besidesHead(() => this.#write(room, lines)));
    if (standings.size > 0) this.#stream.publish({ kind: 'restored', room });
    return standings.size;
  }

  /** @returns the positions of those that were not there */
  async #write(room: Room, lines: readonly Line[]): Promise<ReadonlyMap<number, EventStanding>> {
    const interner = this.#interner;
    const names = await interner.ensure({
      types: lines.flatMap(({ head, pdu }) => (head.rel_type === null ? [pdu.type] : [pdu.type, head.rel_type])),
      users: lines.map(({ pdu }) => pdu.sender),
      stateKeys: lines.flatMap(({ pdu }) =>
        pdu.state_key === undefined ? [] : [{ type: pdu.type, stateKey: pdu.state_key }],
      ),
    });
    const floor = await floorStateOf(this.#database, room.nid);
    const wanted = lines.flatMap(({ head }) => [head.state, head.position, head.current_state ?? head.state]);
    const states = await statesThatAreThere(this.#database, room.nid, wanted);
    const rows = new Map(lines.map((line) => [line.head.event_id, this.#rowOf(room, names, line, states, floor)]));
    try {
      const restored = new Set(await restoreEvents(this.#database, [...rows.values()]));
      const standings = new Map<number, EventStanding>();
      for (const { nid, state, flags, currentState } of rows.values()) {
        if (restored.has(nid)) standings.set(nid, { state, flags, currentState });
      }
      if (standings.size > 0) {
        room.attachRestored(standings);
        this.#loader.attachRestored(standings);
      }
      return standings;
    } catch (error) {
      if (violatesUnique(error, 'events_pkey')) {
        throw new Error(`positions of ${room.roomId} are taken by other events: the archive is of another database`, {
          cause: error,
        });
      }
      throw error;
    }
  }

  #rowOf(room: Room, names: Names, { head, pdu, json }: Line, states: ReadonlySet<number>, floor: number): EventRow {
    if (eventIdIn(room, head.event_id, pdu) !== head.event_id) {
      throw new Error(`the archived event ${head.event_id} is not what its id says: the file was changed`);
    }
    const isReadable = (state: number | null): state is number => state !== null && (state === 0 || states.has(state));
    const tookPart = (head.flags & EVENT_FLAGS.state) !== 0 && states.has(head.position);
    return eventRow(
      names,
      {
        room,
        nid: head.position,
        topo: head.depth,
        eventId: head.event_id,
        state: isReadable(head.state) ? head.state : floor,
        currentState: isReadable(head.current_state) ? head.current_state : undefined,
        flags: tookPart ? head.flags : head.flags & ~EVENT_FLAGS.state,
        replaces: head.replaces ?? undefined,
        json,
        pdu,
      },
      {
        prev: head.prev,
        auth: head.auth,
        // Redacted content does not tell any more.
        relation: { rel: head.rel ?? undefined, relType: head.rel_type ?? undefined },
        redactedBy: head.redacted_by ?? undefined,
      },
    );
  }
}

/** The id that the event's content makes; before version 3 ids are assigned, and only what the file says can be known. */
const eventIdIn = (room: Room, assigned: string, pdu: Pdu): string =>
  room.version.eventIdFormat === 'assigned' ? assigned : eventIdOf(room.version, pdu);

const parseLine = (text: string, where: string): Line => {
  const start = text.indexOf(PDU);
  try {
    if (start < 0) throw new Error('it has no pdu');
    const head = JSON.parse(`${text.slice(0, start)}}`) as Line['head'];
    const json = text.slice(start + PDU.length, -1);
    const pdu = JSON.parse(json) as Pdu;
    if (
      head.v !== 1 ||
      typeof head.room_id !== 'string' ||
      typeof head.position !== 'number' ||
      typeof pdu.type !== 'string'
    ) {
      throw new Error('members are missing');
    }
    return { head, pdu, json };
  } catch (error) {
    throw new Error(`${where} is no line of an archive: ${(error as Error).message}`, { cause: error });
  }
};
