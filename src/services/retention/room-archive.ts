import { chmod, type FileHandle, mkdir, open } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { type Clock, systemClock } from '#src/kernel/clock.ts';
import { eventIdText } from '#src/services/room-model/event/event-ids.ts';
import type { EventRoom } from '#src/services/room-model/event/stored-event.ts';
import type { ArchivedRecord } from '#src/storage/retention/purges.ts';
import { DAY_MS, monthOf } from '#src/kernel/dates.ts';

const NEWLINE = 0x0a;
/** Bytes that are read at a time to find where the last line begins. */
const TAIL_BYTES = 65_536;

/** One event of an archive: a line of JSON. Numbers of events and states are those of the database that it was taken from. */
export interface ArchivedEvent extends Omit<ArchivedRecord, 'nid' | 'topo' | 'event_id' | 'ts' | 'json'> {
  readonly v: 1;
  readonly room_id: string;
  readonly event_id: string;
  readonly position: number;
  readonly depth: number;
  /** The signed event as servers exchange it. */
  readonly pdu: Readonly<Record<string, unknown>>;
}

/** Names of folders are shorter than file systems allow (255 bytes), however long and strange the id of a room is. */
const MAX_NAME = 200;

const folderNameOf = (roomId: string): string => {
  const name = encodeURIComponent(roomId);
  if (name.length <= MAX_NAME) return name;
  // A cut may leave half of an escaped character.
  const hash = createHash('sha256').update(roomId).digest('hex').slice(0, 32);
  return `${name.slice(0, MAX_NAME - 33).replace(/%.?$/, '')}~${hash}`;
};

/** There were no rooms before 2014. */
const FIRST_MS = 1_388_534_400_000;

/** Appends events to files, one for each room and month, in JSON Lines. They are for the server's user alone: messages stand in them. */
export class RoomArchive {
  readonly #folder: string;
  readonly #clock: Clock;

  constructor(folder: string, clock: Clock = systemClock) {
    this.#folder = folder;
    this.#clock = clock;
  }

  /** Where the events of a room are. */
  folder(roomId: string): string {
    return join(this.#folder, folderNameOf(roomId));
  }

  /** The month of an event, by what its sender says of the time: those before the first rooms, and in the future, have one file each. */
  #monthOf(ts: number): string {
    if (ts < FIRST_MS) return 'before';
    return ts > this.#clock.now() + DAY_MS ? 'after' : monthOf(ts);
  }

  /** Writes events; they are on the disk when it resolves. */
  async append(room: EventRoom, records: readonly ArchivedRecord[]): Promise<void> {
    for (const [month, ofMonth] of Map.groupBy(records, (record) => this.#monthOf(record.ts))) {
      const text = ofMonth.map((record) => `${lineOf(room, record)}\n`).join('');
      const folder = this.folder(room.roomId);
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await chmod(folder, 0o700);
      const file = await open(join(folder, `${month}.jsonl`), 'a+', 0o600);
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
