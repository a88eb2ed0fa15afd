/** An event with missing prev or auth events. */
interface Waiting {
  /** Until when its origin is waited for while it is unreachable, in monotonic milliseconds. */
  readonly until: number;
  /** Ids of its missing events. */
  lacks: readonly string[];
}

/** The event to try next. */
export interface NextBehindGap {
  /** Its place in the queue. */
  readonly seq: number;
  readonly until: number;
  /** One of its missing events has arrived: it is tried before the others. */
  readonly isReady: boolean;
}

/**
 * Events of one origin and room with missing events before them, in order. They are read when their turn comes: this holds their places in the
 * queue and the ids that each is missing, so that an event that arrives wakes only those that wait for it.
 */
export class EventsBehindGaps {
  readonly #waiting = new Map<number, Waiting>();
  /** Places by the id of a missing event. */
  readonly #lacking = new Map<string, Set<number>>();
  readonly #ready = new Set<number>();
  /** Whether their origin is to be asked for the missing events of the first one. */
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

  /** Notes the missing events of one of them. */
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

  /** Notes an arrived event. @returns whether a waiting event was missing it */
  came(eventId: string): boolean {
    const places = this.#lacking.get(eventId);
    if (places === undefined) return false;
    for (const seq of places) this.#ready.add(seq);
    return true;
  }

  /** Those with an arrived event first, then the first one, if their origin is to be asked. */
  next(): NextBehindGap | undefined {
    const [ready] = this.#ready;
    const [first] = this.isDue && ready === undefined ? this.#waiting.keys() : [];
    const seq = ready ?? first;
    const waiting = seq === undefined ? undefined : this.#waiting.get(seq);
    if (seq === undefined || waiting === undefined) return undefined;
    this.#ready.delete(seq);
    return { seq, until: waiting.until, isReady: ready !== undefined };
  }

  /** An event arrived for it that was not considered yet. */
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
