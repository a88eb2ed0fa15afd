import { LiveCache } from '#src/kernel/caches/live-cache.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { Signal } from '#src/kernel/signal.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import type { Database } from '#src/storage/database.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { receiptsOfRooms } from '#src/storage/push/receipts.ts';
import { RECEIPT_KINDS, type ReceiptKind, type ReceiptRow, THREADS_FLOOR } from '#src/storage/commit/stream-writes.ts';
import type { CountMarks } from './count-marks.ts';
import { MAIN_THREAD, type ReadPositions, type Receipt, RoomReceipts, slotOf } from './room-receipts.ts';

export interface ReceiptChanged {
  readonly room: Room;
  readonly receipt: Receipt;
  /** The mark for pushers that are sent unread counts, if there is one. */
  readonly mark: number | undefined;
}

/** A receipt that is to be stored. */
export interface NewReceipt {
  readonly room: Room;
  readonly userId: string;
  readonly kind: ReceiptKind;
  /** Undefined for a receipt that is not threaded; else `main` or the id of the thread's root. */
  readonly thread: string | undefined;
  readonly eventId: string;
  /** Milliseconds since the epoch. */
  readonly ts: number;
}

interface ChangingThreads {
  readonly added: Set<string>;
  readonly removed: Set<Receipt>;
}

/** A receipt on its way to the database. */
interface AcceptedReceipt {
  readonly key: string;
  readonly room: Room;
  readonly receipt: Receipt;
  /** The user's number. */
  readonly user: number;
  readonly mark: number | undefined;
  readonly rows: readonly ReceiptRow[];
  /** What is deleted for it, and up to where the user has read such threads then. */
  readonly removed: Receipt | undefined;
  readonly floor: number | undefined;
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
/** Approximate bytes of a receipt in memory. */
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
  /** Queued receipts that are not committed yet, by room, user and slot. */
  readonly #pending = new Map<string, Receipt>();
  /** Of users in rooms: threads whose first receipts are on their way, and receipts that are deleted for these. */
  readonly #changing = new Map<string, ChangingThreads>();
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

  /** A user's latest read positions, from their receipts. */
  async readPositions(room: Pick<Room, 'nid'>, userId: string): Promise<ReadPositions> {
    return (await this.forRoom(room)).readPositions(userId);
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
    return (await this.receiveAll([{ room, userId, kind, thread, eventId, ts }])) > 0;
  }

  /** The same for several, in their order: in a handful of statements and one write, however many they are. @returns how many changed anything */
  async receiveAll(received: readonly NewReceipt[]): Promise<number> {
    const [ofRooms, events, names] = await Promise.all([
      this.forRooms(received.map(({ room }) => room)),
      this.#events.positions(received),
      this.#interner.ensure({ users: received.map(({ userId }) => userId) }),
    ]);
    // From here on one turn of the event loop: what a receipt is compared with cannot change before it is queued.
    this.#writer.assertAccepting();
    const accepted = received.flatMap((one, index) => {
      const receipts = ofRooms.get(one.room.nid);
      return receipts === undefined ? [] : (this.#accept(one, receipts, events[index], names.user(one.userId)) ?? []);
    });
    if (accepted.length === 0) return 0;
    const settle = (): void => {
      for (const { key, receipt, removed, room } of accepted) {
        if (this.#pending.get(key) === receipt) this.#pending.delete(key);
        this.#settleThreads(`${room.nid} ${receipt.userId}`, key, removed);
      }
    };
    await this.#writer.append({
      positions: accepted.map(({ receipt }) => receipt.pos),
      streams: {
        receipts: accepted.flatMap(({ rows }) => rows),
        pushChecks: accepted.flatMap(({ mark, user }) => (mark === undefined ? [] : { user, mark })),
        removedReceipts: accepted.flatMap(({ removed, room, user }) =>
          removed === undefined
            ? []
            : { room: room.nid, user, kind: RECEIPT_KINDS[removed.kind], thread: removed.thread ?? '' },
        ),
      },
      publish: () => {
        settle();
        for (const { floor, mark, receipt, removed, room } of accepted) {
          this.#rooms.update(String(room.nid), (held) => {
            held.apply(receipt);
            if (floor === undefined || removed === undefined) return;
            held.raiseFloor(receipt.userId, floor);
            held.remove(removed);
          });
          this.changed.emit({ room, receipt, mark });
        }
      },
      revert: settle,
    });
    return accepted.length;
  }

  #settleThreads(place: string, key: string, removed: Receipt | undefined): void {
    const changing = this.#changing.get(place);
    if (changing === undefined) return;
    changing.added.delete(key);
    if (removed !== undefined) changing.removed.delete(removed);
    if (changing.added.size === 0) this.#changing.delete(place);
  }

  /**
   * Gives a receipt its position, and notes that it is on its way.
   *
   * @param event the position of its event, where that is known
   * @returns undefined when it is there already, or would move backwards
   */
  #accept(
    { eventId, kind, room, thread, ts, userId }: NewReceipt,
    receipts: RoomReceipts,
    event: number | undefined,
    user: number,
  ): AcceptedReceipt | undefined {
    const key = `${room.nid} ${userId} ${slotOf({ kind, thread })}`;
    const before = this.#pending.get(key) ?? receipts.of(userId, kind, thread);
    if (before?.eventId === eventId) return undefined;
    if (before?.event !== undefined && event !== undefined && event < before.event) return undefined;
    let removed: Receipt | undefined;
    if (thread !== undefined && thread !== MAIN_THREAD && before === undefined) {
      if ((event ?? Infinity) <= receipts.floorOf(userId)) return undefined;
      const place = `${room.nid} ${userId}`;
      const changing = this.#changing.get(place) ?? { added: new Set(), removed: new Set() };
      if (receipts.size + changing.added.size >= this.#maxThreads) {
        const inThreads = receipts.inThreads(userId).filter((one) => !changing.removed.has(one));
        if (inThreads.length + changing.added.size >= this.#maxThreads) {
          removed = oldestOf(inThreads);
          // All places are taken by receipts that are on their way.
          if (removed === undefined) return undefined;
          changing.removed.add(removed);
        }
      }
      changing.added.add(key);
      this.#changing.set(place, changing);
    }
    const floor = removed === undefined ? undefined : Math.max(removed.event ?? 0, receipts.floorOf(userId));
    const pos = this.#writer.allocate(room.shard);
    const receipt: Receipt = { userId, kind, thread, eventId, event, ts, pos };
    this.#pending.set(key, receipt);
    const row = { room: room.nid, user, ts, pos };
    const rows: ReceiptRow[] = [
      { ...row, kind: RECEIPT_KINDS[kind], thread: thread ?? '', eventId, event: event ?? null },
    ];
    if (floor !== undefined) rows.push({ ...row, kind: THREADS_FLOOR, thread: '', eventId: '', event: floor });
    return { key, room, receipt, user, mark: this.#marks?.next(userId), rows, floor, removed };
  }
}

const oldestOf = (receipts: readonly Receipt[]): Receipt | undefined =>
  receipts.length === 0
    ? undefined
    : receipts.reduce((oldest, receipt) => ((receipt.event ?? 0) < (oldest.event ?? 0) ? receipt : oldest));
