import type { DestinationRoomRow } from '#src/storage/federation/destination-rooms.ts';

/** Events of a room that a server is still to be sent: those after a position. */
export interface PendingSpan {
  after: number;
  /** The last one that concerns it; undefined while it takes part in the room. */
  upTo: number | undefined;
  /** The newest one that is known to be waiting. */
  newest: number;
  /**
   * The server joined the room, and first gets our earlier events that are still sticky: those after this one, up to `after`.
   * Undefined when it has them.
   */
  stickyAfter: number | undefined;
}

export interface PendingRoom {
  readonly room: number;
  readonly span: Readonly<PendingSpan>;
}

export interface DestinationPlace {
  readonly destination: string;
  readonly room: number;
}

export interface PendingChanges {
  readonly taken: readonly DestinationPlace[];
  readonly replaced: readonly DestinationPlace[];
  readonly rows: readonly DestinationRoomRow[];
}

/** Times a server came and went while nothing could be sent to it: what is older goes. */
const MAX_SPANS = 8;
/** Rooms of all servers together: beyond it the server for which most wait is forgotten, and asks for what it missed when it is back. */
export const MAX_ROOMS = 1_000_000;

const keyOf = (destination: string, room: number): string => `${room} ${destination}`;

/**
 * The rooms with unsent events of each server, as positions: what waits for a server that is away takes as much space for one event
 * as for a million. A server that has everything has no entry.
 */
export class PendingRooms {
  /** Destination -> room -> spans, ascending and apart. Rooms are in the order in which they are sent. */
  readonly #pending = new Map<string, Map<number, PendingSpan[]>>();
  /** What differs from what was kept last. */
  readonly #unkept = new Map<string, DestinationPlace>();
  /** What was kept. */
  readonly #kept = new Set<string>();
  readonly #most: number;
  #size = 0;

  constructor(most = MAX_ROOMS) {
    this.#most = most;
  }

  /** Servers that are still to be sent something. */
  get destinations(): Iterable<string> {
    return this.#pending.keys();
  }

  /** Rooms of all servers together. */
  get size(): number {
    return this.#size;
  }

  has(destination: string): boolean {
    return this.#pending.has(destination);
  }

  /** Whether events of a room wait for a server that takes part in it. */
  isOpen(destination: string, room: number): boolean {
    const last = this.#pending.get(destination)?.get(room)?.at(-1);
    return last !== undefined && last.upTo === undefined;
  }

  /** Takes back what an earlier process kept. */
  recall({ destination, room, after, upTo, stickyAfter }: DestinationRoomRow, newest: number): void {
    this.#kept.add(keyOf(destination, room));
    this.#spansOf(destination, room).push({
      after,
      upTo: upTo ?? undefined,
      newest: upTo ?? newest,
      stickyAfter: stickyAfter ?? undefined,
    });
  }

  /** A server takes part in a room from a position on, and is to be sent what is sticky there. */
  join(destination: string, room: number, at: number): void {
    const spans = this.#spansOf(destination, room);
    const last = spans.at(-1);
    if (last !== undefined && last.upTo === undefined) last.stickyAfter = 0;
    else this.#open(spans, { after: Math.max(at, last?.upTo ?? at), upTo: undefined, newest: at, stickyAfter: 0 });
    this.#note(destination, room);
  }

  /** A server takes part in a room, and is to be sent events after one position, up to another at least. */
  add(destination: string, room: number, after: number, newest: number): void {
    const spans = this.#spansOf(destination, room);
    const last = spans.at(-1);
    if (last?.upTo === undefined && last !== undefined) {
      last.newest = Math.max(last.newest, newest);
      return;
    }
    this.#open(spans, {
      after: Math.max(after, last?.upTo ?? after),
      upTo: undefined,
      newest,
      stickyAfter: undefined,
    });
    this.#note(destination, room);
  }

  /** A server takes part in a room no longer after an event. @param after what it had, when nothing was waiting for it */
  end(destination: string, room: number, upTo: number, after: number): void {
    const last = this.#pending.get(destination)?.get(room)?.at(-1);
    if (last !== undefined && last.upTo === undefined) {
      last.upTo = upTo;
      last.newest = upTo;
      last.stickyAfter = undefined;
    } else
      this.#spansOf(destination, room).push({
        after: Math.max(after, last?.upTo ?? after),
        upTo,
        newest: upTo,
        stickyAfter: undefined,
      });
    this.#note(destination, room);
  }

  /** The rooms of a server, in the order in which they are sent, each with the first of its spans. */
  *of(destination: string): Generator<PendingRoom> {
    for (const [room, [span]] of this.#pending.get(destination) ?? []) if (span !== undefined) yield { room, span };
  }

  /** A server has been sent everything of a room up to a position. The room's turn comes again after the others. */
  advance(destination: string, room: number, sent: PendingRoom['span'], upTo: number): void {
    const rooms = this.#pending.get(destination);
    const spans = rooms?.get(room);
    const [first] = spans ?? [];
    if (rooms === undefined || spans === undefined || first !== sent) return;
    if (upTo >= first.newest && first.stickyAfter === undefined) spans.shift();
    else first.after = Math.max(first.after, upTo);
    rooms.delete(room);
    if (spans.length > 0) rooms.set(room, spans);
    else this.#size -= 1;
    if (rooms.size === 0) this.#pending.delete(destination);
    this.#note(destination, room);
  }

  /** A server has been sent sticky events of a room up to a position; undefined for all of them. */
  advanceSticky(destination: string, room: number, sent: PendingRoom['span'], upTo: number | undefined): void {
    const [first] = this.#pending.get(destination)?.get(room) ?? [];
    if (first === undefined || first !== sent || first.stickyAfter === undefined) return;
    first.stickyAfter = upTo;
    this.advance(destination, room, sent, first.after);
  }

  /** A server is to be sent nothing any more. */
  forget(destination: string): void {
    const rooms = this.#pending.get(destination);
    if (rooms === undefined) return;
    for (const room of rooms.keys()) this.#note(destination, room);
    this.#size -= rooms.size;
    this.#pending.delete(destination);
  }

  /** The servers that are still to be sent something of a room. */
  waitingFor(room: number): string[] {
    return [...this.#pending].flatMap(([destination, rooms]) => (rooms.has(room) ? destination : []));
  }

  /** Nothing of a room is to be sent any more. */
  forgetRoom(room: number): void {
    for (const destination of this.waitingFor(room)) {
      const rooms = this.#pending.get(destination);
      if (rooms?.delete(room) !== true) continue;
      this.#size -= 1;
      if (rooms.size === 0) this.#pending.delete(destination);
      this.#note(destination, room);
    }
  }

  /** What has changed since the last call, to be kept: of which rooms the rows go, and which rows come in their place. */
  takeChanges(): PendingChanges {
    const taken = [...this.#unkept.values()];
    const replaced: DestinationPlace[] = [];
    const rows: DestinationRoomRow[] = [];
    for (const [key, place] of this.#unkept) {
      const { destination, room } = place;
      const spans = this.#pending.get(destination)?.get(room) ?? [];
      if (this.#kept.has(key)) replaced.push(place);
      for (const { after, upTo, stickyAfter } of spans)
        rows.push({ destination, room, after, upTo: upTo ?? null, stickyAfter: stickyAfter ?? null });
      if (spans.length > 0) this.#kept.add(key);
      else this.#kept.delete(key);
    }
    this.#unkept.clear();
    return { taken, replaced, rows };
  }

  /** What was taken could not be stored, or that is unknown. */
  putBack({ taken }: PendingChanges): void {
    for (const { destination, room } of taken) {
      this.#kept.add(keyOf(destination, room));
      this.#note(destination, room);
    }
  }

  #open(spans: PendingSpan[], span: PendingSpan): void {
    spans.push(span);
    if (spans.length > MAX_SPANS) spans.shift();
  }

  #spansOf(destination: string, room: number): PendingSpan[] {
    if (this.#size >= this.#most && this.#pending.get(destination)?.has(room) !== true) this.#forgetLargest();
    let rooms = this.#pending.get(destination);
    if (rooms === undefined) this.#pending.set(destination, (rooms = new Map<number, PendingSpan[]>()));
    let spans = rooms.get(room);
    if (spans === undefined) {
      rooms.set(room, (spans = []));
      this.#size += 1;
    }
    return spans;
  }

  #forgetLargest(): void {
    let largest: string | undefined;
    let most = 0;
    for (const [destination, { size }] of this.#pending) {
      if (size <= most) continue;
      largest = destination;
      most = size;
    }
    if (largest !== undefined) this.forget(largest);
  }

  #note(destination: string, room: number): void {
    const key = keyOf(destination, room);
    if (!this.#unkept.has(key)) this.#unkept.set(key, { destination, room });
  }
}
