/** An event before which something is missing. */
interface Waiting {
  /** Until when its server is waited for where it is away, in monotonic milliseconds. */
  readonly until: number;
  /** Ids of the events that it lacks. */
  lacks: readonly string[];
}

/** The event whose turn it is. */
export interface NextBehindGap {
  /** Its place in the line. */
  readonly seq: number;
  readonly until: number;
  /** Something came that it lacked: it is tried without a look at the others. */
  readonly isReady: boolean;
}

/**
 * Events of one server and room before which something is missing, in their order. They are read when their turn comes: here are their places in the
 * line, and what each lacks, so that what comes wakes those that wait for it, and no others.
 */
export class EventsBehindGaps {
  readonly #waiting = new Map<number, Waiting>();
  /** Places by what is lacked. */
  readonly #lacking = new Map<string, Set<number>>();
  readonly #ready = new Set<number>();
  /** Whether their server is to be asked for what the first one lacks. */
  isDue = false;

  get size(): number {
    return this.#waiting.size;
  }

  /** Whether one of them is to be tried. */
  get hasNext(): boolean {
    return this.#ready.size > 0 || (this.isDue && this.#waiting.size > 0);
  }

  has(seq: number): boolean {
    return this.#waiting.has(seq);
  }

  /** @param until in monotonic milliseconds */
  add(seq: number, until: number, lacks: readonly string[]): void {
    this.#waiting.set(seq, { until, lacks: [] });
    this.lacks(seq, lacks);
    this.isDue = true;
  }

  /** Notes what one of them lacks. */
  lacks(seq: number, ids: readonly string[]): void {
    const waiting = this.#waiting.get(seq);
    if (waiting === undefined) return;
    this.#forget(seq, waiting);
    waiting.lacks = ids;
    for (const id of ids) {
      const places = this.#lacking.get(id) ?? new Set();
      this.#lacking.set(id, places.add(seq));
    }
  }

  /** An event is here now. @returns whether one of them lacked it */
  came(eventId: string): boolean {
    const places = this.#lacking.get(eventId);
    if (places === undefined) return false;
    for (const seq of places) this.#ready.add(seq);
    return true;
  }

  /** Those of which something came, then the first one, if their server is to be asked. */
  next(): NextBehindGap | undefined {
    const [ready] = this.#ready;
    const [first] = this.isDue && ready === undefined ? this.#waiting.keys() : [];
    const seq = ready ?? first;
    const waiting = seq === undefined ? undefined : this.#waiting.get(seq);
    if (seq === undefined || waiting === undefined) return undefined;
    this.#ready.delete(seq);
    return { seq, until: waiting.until, isReady: ready !== undefined };
  }

  /** What came for it is still to be looked at. */
  tryAgain(seq: number): void {
    if (this.#waiting.has(seq)) this.#ready.add(seq);
  }

  delete(seq: number): void {
    const waiting = this.#waiting.get(seq);
    if (waiting === undefined) return;
    this.#forget(seq, waiting);
    this.#waiting.delete(seq);
    this.#ready.delete(seq);
  }

  #forget(seq: number, { lacks }: Waiting): void {
    for (const id of lacks) {
      const places = this.#lacking.get(id);
      places?.delete(seq);
      if (places?.size === 0) this.#lacking.delete(id);
    }
  }
}
