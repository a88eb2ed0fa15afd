import { LiveCache } from '#src/kernel/live-cache.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { Signal } from '#src/kernel/signal.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import type { Database } from '#src/storage/database.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { receiptsOfRooms } from '#src/storage/push/receipts.ts';
import { RECEIPT_KINDS, type ReceiptKind, THREADS_FLOOR } from '#src/storage/commit/stream-writes.ts';
import type { CountMarks } from './count-marks.ts';
import { MAIN_THREAD, type ReadPositions, type Receipt, RoomReceipts, slotOf } from './room-receipts.ts';

export interface ReceiptChanged {
  readonly room: Room;
  readonly receipt: Receipt;
  /** The mark for pushers that are sent unread counts, if there is one. */
  readonly mark: number | undefined;
}

export interface ReceiptServiceOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly writer: Writer;
  readonly events: EventService;
  readonly clock: Clock;
  readonly marks?: Pick<CountMarks, 'next'>;
  /** Threads of a room in which receipts of a user are kept; default 1 000. */
  readonly maxThreads?: number;
  /** Bytes that receipts of rooms may take in memory; default 96 MiB. */
  readonly cacheBytes?: number;
}

const MAX_THREADS = 1_000;
const CACHE_BYTES = 96 * 1024 * 1024;
/** About what a receipt takes. */
const RECEIPT_BYTES = 400;

const kindOf = (code: number): ReceiptKind => (code === RECEIPT_KINDS['m.read.private'] ? 'm.read.private' : 'm.read');

/** Stores and caches receipts. Those of rooms in use are in memory. Client-Server API, "Receipts". */
export class ReceiptService {
  readonly #database: Database;
  readonly #interner: Interner;
  readonly #writer: Writer;
  readonly #events: EventService;
  readonly #clock: Clock;
  readonly #marks: Pick<CountMarks, 'next'> | undefined;
  readonly #maxThreads: number;
  readonly #rooms: LiveCache<RoomReceipts>;
  /** Receipts on their way to the database, by room, user and slot. */
  readonly #pending = new Map<string, Receipt>();
  /** Fires once a receipt is committed and visible. */
  readonly changed = new Signal<ReceiptChanged>();

  constructor(options: ReceiptServiceOptions) {
    this.#database = options.database;
    this.#interner = options.interner;
    this.#writer = options.writer;
    this.#events = options.events;
    this.#clock = options.clock;
    this.#marks = options.marks;
    this.#maxThreads = options.maxThreads ?? MAX_THREADS;
    this.#rooms = new LiveCache({
      name: 'receipts',
      maxSize: options.cacheBytes ?? CACHE_BYTES,
      sizeOf: (receipts) => 500 + RECEIPT_BYTES * receipts.size,
    });
  }

  /** Forgets an erased user. */
  forget(userId: string): void {
    this.#rooms.updateAll((receipts) => receipts.forget(userId));
  }

  /** A room's receipts if they are in memory. */
  peek(room: Pick<Room, 'nid'>): RoomReceipts | undefined {
    return this.#rooms.peek(String(room.nid));
  }

  /** A room's receipts. */
  async forRoom(room: Pick<Room, 'nid'>): Promise<RoomReceipts> {
    const known = this.peek(room);
    if (known !== undefined) return known;
    const found = (await this.forRooms([room])).get(room.nid);
    if (found === undefined) throw new Error(`the receipts of room ${room.nid} were read but are not there`);
    return found;
  }

  /** Receipts of several rooms, by room; one statement for all that are not in memory. */
  async forRooms(rooms: readonly Pick<Room, 'nid'>[]): Promise<Map<number, RoomReceipts>> {
    const found = await this.#rooms.getAll(
      rooms.map(({ nid }) => String(nid)),
      (missing) => this.#read(missing.map(Number)),
    );
    return new Map(Array.from(found, ([nid, receipts]) => [Number(nid), receipts]));
  }

  async #read(nids: readonly number[]): Promise<ReadonlyMap<string, RoomReceipts>> {
    const fresh = new Map(nids.map((nid) => [nid, new RoomReceipts()]));
    const rows = await receiptsOfRooms(this.#database, nids);
    const names = await this.#interner.named({ users: rows.map((row) => row.user_nid) });
    for (const row of rows) {
      const receipts = fresh.get(row.room);
      const userId = names.userName(row.user_nid);
      if (row.kind === THREADS_FLOOR) receipts?.raiseFloor(userId, row.event ?? 0);
      else
        receipts?.apply({
          userId,
          kind: kindOf(row.kind),
          thread: row.thread === '' ? undefined : row.thread,
          eventId: row.event_id,
          event: row.event ?? undefined,
          ts: row.ts,
          pos: row.pos,
        });
    }
    for (const receipts of fresh.values()) receipts.loaded();
    return new Map(Array.from(fresh, ([nid, receipts]) => [String(nid), receipts]));
  }

  /** A user's latest read positions, as their receipts say. */
  async readPositions(room: Pick<Room, 'nid'>, userId: string): Promise<ReadPositions> {
    return (await this.forRoom(room)).readPositions(userId);
  }

  /** The receipt in a thread that is deleted for a new one: the oldest. */
  #oldestOfTooMany(receipts: RoomReceipts, userId: string): Receipt | undefined {
    if (receipts.size < this.#maxThreads) return undefined;
    const inThreads = receipts.inThreads(userId);
    if (inThreads.length < this.#maxThreads) return undefined;
    return inThreads.reduce((oldest, receipt) => ((receipt.event ?? 0) < (oldest.event ?? 0) ? receipt : oldest));
  }

  /**
   * Stores a receipt. One that is there already, or that would move backwards, is not written.
   *
   * @param thread undefined for a receipt that is not threaded; else `main` or the id of the thread's root
   * @param ts milliseconds since the epoch; now when left out
   * @returns whether anything changed
   */
  async receive(
    room: Room,
    userId: string,
    kind: ReceiptKind,
    thread: string | undefined,
    eventId: string,
    ts: number = this.#clock.now(),
  ): Promise<boolean> {
    const receipts = await this.forRoom(room);
    const event = (await this.#events.find(room, eventId))?.nid;
    const user = await this.#interner.userNid(userId);
    // From here on one turn of the event loop: what the receipt is compared with cannot change before it is queued.
    const key = `${room.nid} ${userId} ${slotOf({ kind, thread })}`;
    const before = this.#pending.get(key) ?? receipts.of(userId, kind, thread);
    if (before?.eventId === eventId) return false;
    if (before?.event !== undefined && event !== undefined && event < before.event) return false;
    const isInThread = thread !== undefined && thread !== MAIN_THREAD;
    if (isInThread && before === undefined && (event ?? Infinity) <= receipts.floorOf(userId)) return false;
    const tooMany = isInThread && before === undefined ? this.#oldestOfTooMany(receipts, userId) : undefined;
    const floor = tooMany === undefined ? undefined : Math.max(tooMany.event ?? 0, receipts.floorOf(userId));
    this.#writer.assertAccepting();
    const pos = this.#writer.allocate(room.shard);
    const receipt: Receipt = { userId, kind, thread, eventId, event, ts, pos };
    const mark = this.#marks?.next(userId);
    this.#pending.set(key, receipt);
    const settle = (): void => {
      if (this.#pending.get(key) === receipt) this.#pending.delete(key);
    };
    await this.#writer.append({
      positions: [pos],
      streams: {
        receipts: [
          {
            room: room.nid,
            user,
            kind: RECEIPT_KINDS[kind],
            thread: thread ?? '',
            eventId,
            event: event ?? null,
            ts,
            pos,
          },
          ...(floor === undefined
            ? []
            : [{ room: room.nid, user, kind: THREADS_FLOOR, thread: '', eventId: '', event: floor, ts, pos }]),
        ],
        ...(mark === undefined ? {} : { pushChecks: [{ user, mark }] }),
        ...(tooMany === undefined
          ? {}
          : {
              removedReceipts: [
                { room: room.nid, user, kind: RECEIPT_KINDS[tooMany.kind], thread: tooMany.thread ?? '' },
              ],
            }),
      },
      publish: () => {
        settle();
        this.#rooms.update(String(room.nid), (held) => {
          held.apply(receipt);
          if (floor === undefined || tooMany === undefined) return;
          held.raiseFloor(userId, floor);
          held.remove(tooMany);
        });
        this.changed.emit({ room, receipt, mark });
      },
      revert: settle,
    });
    return true;
  }
}
