import type { ReceiptKind } from '#src/storage/commit/stream-writes.ts';

/** A receipt of a user. */
export interface Receipt {
  readonly userId: string;
  readonly kind: ReceiptKind;
  /** Undefined: not threaded; else `main` or the id of the thread's root. */
  readonly thread: string | undefined;
  readonly eventId: string;
  /** Position of the event; undefined while this server does not know the event. */
  readonly event: number | undefined;
  /** Milliseconds since the epoch. */
  readonly ts: number;
  /** Position of the receipt in the stream of the room's shard. */
  readonly pos: number;
}

/** A user's latest read positions in one room, private and public receipts taken together. */
export interface ReadPositions {
  readonly unthreaded: number | undefined;
  readonly main: number | undefined;
  /** By id of the thread's root. */
  readonly threads: ReadonlyMap<string, number>;
  /** Position up to which all threads are read. */
  readonly threadsFloor: number;
}

const NOTHING_READ: ReadPositions = { unthreaded: undefined, main: undefined, threads: new Map(), threadsFloor: 0 };

/** `thread_id` of the main timeline. Client-Server API, "Threaded read receipts". */
export const MAIN_THREAD = 'main';

const LOG_LENGTH = 256;
/** Receipts of others that a reader is shown at once, beside what the log has. */
export const MAX_SHOWN = 2_000;

/** Key of the receipt that a new one of the same user replaces: kind and thread. */
export const slotOf = (receipt: Pick<Receipt, 'kind' | 'thread'>): string => `${receipt.kind} ${receipt.thread ?? ''}`;

const isNewer = (receipt: Receipt, than: Receipt | undefined): boolean => than === undefined || receipt.pos > than.pos;

/** All receipts of one room, in memory. */
export class RoomReceipts {
  readonly #byUser = new Map<string, Map<string, Receipt>>();
  readonly #floors = new Map<string, number>();
  /** The latest changes, oldest first: every change after `#floor`. */
  readonly #log: Receipt[] = [];
  #floor = 0;
  #latest = 0;
  #count = 0;
  /** How often one was added, and by how many are wanted the position after which the newest of them were, when so many had been added. */
  #added = 0;
  readonly #newestAfter = new Map<number, { readonly position: number; readonly added: number }>();

  /** Position of the latest receipt. */
  get latest(): number {
    return this.#latest;
  }

  get size(): number {
    return this.#count;
  }

  /** The receipts of all users, private ones included; `visibleTo` filters them for a reader. */
  all(): Receipt[] {
    return [...this.#byUser.values()].flatMap((slots) => [...slots.values()]);
  }

  /** Receipts as this user may see them: all public ones and their own private ones. */
  visibleTo(userId: string): Receipt[] {
    return this.all().filter((receipt) => isVisible(receipt, userId));
  }

  /** Receipts that came after this position of the room's shard and were not replaced since. */
  changedSince(pos: number): Receipt[] {
    if (pos >= this.#latest) return [];
    if (pos < this.#floor) return this.all().filter((receipt) => receipt.pos > pos);
    let start = this.#log.length;
    while (start > 0 && (this.#log[start - 1]?.pos ?? 0) > pos) start--;
    return this.#log
      .slice(start)
      .filter((receipt) => this.of(receipt.userId, receipt.kind, receipt.thread) === receipt);
  }

  /**
   * What a reader is shown who knows everything up to a position of the room's shard: in a room of very many receipts their own, and the newest of the
   * others. `isVisible` filters them.
   *
   * @param most of others; up to twice as many where there are very many
   */
  shownTo(userId: string, after: number, most = MAX_SHOWN): Receipt[] {
    if (after >= this.#floor || this.#count <= most) return this.changedSince(after);
    const from = Math.max(after, this.#positionOf(most));
    const found: Receipt[] = [];
    for (const [name, slots] of this.#byUser) {
      const first = name === userId ? after : from;
      for (const receipt of slots.values()) if (receipt.pos > first) found.push(receipt);
    }
    return found;
  }

  /** The position after which so many receipts came, or up to twice as many. */
  #positionOf(newest: number): number {
    const known = this.#newestAfter.get(newest);
    if (known !== undefined && this.#added - known.added < newest) return known.position;
    const positions = Float64Array.from(this.all(), ({ pos }) => pos).sort();
    const position = positions.at(-newest - 1) ?? 0;
    this.#newestAfter.set(newest, { position, added: this.#added });
    return position;
  }

  of(userId: string, kind: ReceiptKind, thread: string | undefined): Receipt | undefined {
    return this.#byUser.get(userId)?.get(slotOf({ kind, thread }));
  }

  /** Up to where a user has read, as their receipts say. Client-Server API, "Marking notifications as read". */
  readPositions(userId: string): ReadPositions {
    const slots = this.#byUser.get(userId);
    if (slots === undefined && this.#floors.size === 0) return NOTHING_READ;
    let unthreaded: number | undefined;
    let main: number | undefined;
    const threads = new Map<string, number>();
    for (const { thread, event } of slots?.values() ?? []) {
      if (event === undefined) continue;
      if (thread === undefined) unthreaded = Math.max(unthreaded ?? event, event);
      else if (thread === MAIN_THREAD) main = Math.max(main ?? event, event);
      else threads.set(thread, Math.max(threads.get(thread) ?? event, event));
    }
    return { unthreaded, main, threads, threadsFloor: this.#floors.get(userId) ?? 0 };
  }

  /** The receipts that a user has in threads. */
  inThreads(userId: string): Receipt[] {
    return [...(this.#byUser.get(userId)?.values() ?? [])].filter(
      ({ thread }) => thread !== undefined && thread !== MAIN_THREAD,
    );
  }

  /** The position up to which threads without a stored receipt count as read. */
  floorOf(userId: string): number {
    return this.#floors.get(userId) ?? 0;
  }

  raiseFloor(userId: string, position: number): void {
    this.#floors.set(userId, Math.max(position, this.floorOf(userId)));
  }

  /** Removes a receipt that is not kept any longer. */
  remove(receipt: Receipt): void {
    const slots = this.#byUser.get(receipt.userId);
    if (slots?.get(slotOf(receipt))?.pos !== receipt.pos) return;
    slots.delete(slotOf(receipt));
    this.#count--;
  }

  /** Removes all receipts of a user. */
  forget(userId: string): void {
    this.#count -= this.#byUser.get(userId)?.size ?? 0;
    this.#byUser.delete(userId);
    this.#floors.delete(userId);
  }

  /** Adds a committed receipt, unless a newer one is present. */
  apply(receipt: Receipt): void {
    let slots = this.#byUser.get(receipt.userId);
    if (slots === undefined) this.#byUser.set(receipt.userId, (slots = new Map<string, Receipt>()));
    const slot = slotOf(receipt);
    const before = slots.get(slot);
    if (!isNewer(receipt, before)) return;
    slots.set(slot, receipt);
    if (before === undefined) this.#count++;
    this.#added++;
    this.#latest = Math.max(this.#latest, receipt.pos);
    this.#log.push(receipt);
    // Trimmed occasionally, many at once: removing one entry from the front would move all others each time.
    if (this.#log.length >= 2 * LOG_LENGTH) {
      this.#floor = this.#log[this.#log.length - LOG_LENGTH - 1]?.pos ?? this.#floor;
      this.#log.splice(0, this.#log.length - LOG_LENGTH);
    }
  }

  /** Call after loading from the database, which does not store the order of changes. */
  loaded(): void {
    this.#log.length = 0;
    this.#floor = this.#latest;
  }
}

/** Private receipts are for their owner only. Client-Server API, "Private read receipts". */
const isVisible = (receipt: Receipt, userId: string): boolean => receipt.kind === 'm.read' || receipt.userId === userId;
