import { chmod, type FileHandle, mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { eventIdText } from '#src/services/room-model/event/event-ids.ts';
import type { EventRoom } from '#src/services/room-model/event/stored-event.ts';
import type { ArchivedRecord } from '#src/storage/retention/purges.ts';

const DAY_MS = 86_400_000;
const NEWLINE = 0x0a;
/** Bytes that are read at a time to find where the last line begins. */
const TAIL_BYTES = 65_536;

/** The month of a time in UTC, as `2026-01`: days counted from the 1st of March of the year 0 have the leap day at the end. */
export const monthOf = (ts: number): string => {
  const days = Math.floor(ts / DAY_MS) + 719_468;
  const era = Math.floor(days / 146_097);
  const dayOfEra = days - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1_460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const marchMonth = Math.floor((5 * dayOfYear + 2) / 153);
  const month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  return `${String(year).padStart(4, '0')}-${String(month).padStart(2, '0')}`;
};

/** One event of an archive: a line of JSON. Numbers of events and states are those of the database that it was taken from. */
export interface ArchivedEvent {
  readonly v: 1;
  readonly room_id: string;
  readonly event_id: string;
  readonly position: number;
  readonly depth: number;
  readonly flags: number;
  readonly state: number;
  readonly current_state: number | null;
  readonly prev: readonly number[];
  readonly auth: readonly number[];
  readonly rel: number | null;
  readonly rel_type: string | null;
  readonly replaces: number | null;
  readonly redacted_by: number | null;
  /** The signed event as servers exchange it. */
  readonly pdu: Readonly<Record<string, unknown>>;
}

/** Appends events to files, one for each room and month, in JSON Lines. They are for the server's user alone: messages stand in them. */
export class RoomArchive {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Where the events of a room and month are. */
  path(roomId: string, month: string): string {
    return join(this.#folder, encodeURIComponent(roomId), `${month}.jsonl`);
  }

  /** Writes events; they are on the disk when it resolves. */
  async append(room: EventRoom, records: readonly ArchivedRecord[]): Promise<void> {
    for (const [month, ofMonth] of Map.groupBy(records, (record) => monthOf(record.ts))) {
      const text = ofMonth.map((record) => `${lineOf(room, record)}\n`).join('');
      const folder = join(this.#folder, encodeURIComponent(room.roomId));
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await chmod(folder, 0o700);
      const file = await open(this.path(room.roomId, month), 'a+', 0o600);
      try {
        // Archives that were begun when this was not so are closed as well.
        await file.chmod(0o600);
        await dropPartialLine(file);
        await file.writeFile(text);
        await file.sync();
      } finally {
        await file.close();
      }
      // The name of a new file is on the disk when its folder is.
      for (const path of [folder, this.#folder]) {
        const directory = await open(path, 'r');
        await directory.sync().finally(() => directory.close());
      }
    }
  }
}

/**
 * Deletes the beginning of a line at the end of a file. A full disk, or a kill, leaves one; its event is archived again, on a line of its own.
 */
const dropPartialLine = async (file: FileHandle): Promise<void> => {
  const { size } = await file.stat();
  for (let end = size; end > 0;) {
    const part = Buffer.alloc(Math.min(end, TAIL_BYTES));
    const { bytesRead } = await file.read(part, 0, part.length, end - part.length);
    const newline = part.subarray(0, bytesRead).lastIndexOf(NEWLINE);
    const lineEnd = newline === -1 ? 0 : end - part.length + newline + 1;
    if (newline !== -1 || end === part.length) {
      if (lineEnd < size) await file.truncate(lineEnd);
      return;
    }
    end -= part.length;
  }
};

const lineOf = (room: EventRoom, record: ArchivedRecord): string => {
  const { nid, topo, event_id: eventId, ts: _ts, json, ...rest } = record;
  const head: Omit<ArchivedEvent, 'pdu'> = {
    v: 1,
    room_id: room.roomId,
    event_id: eventIdText(room.version, eventId),
    position: nid,
    depth: topo,
    ...rest,
  };
  // What was signed stays as it was, byte for byte.
  return `${JSON.stringify(head).slice(0, -1)},"pdu":${json}}`;
};
