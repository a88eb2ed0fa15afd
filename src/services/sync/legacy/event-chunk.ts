import { SHARDS } from '#src/protocol/wire/position.ts';

/** An event as it is sent. */
export interface SentEvent {
  /** Its position in the stream of its room's shard. */
  readonly nid: number;
  /** `origin_server_ts`, milliseconds. */
  readonly ts: number;
  /** JSON text. */
  readonly json: string;
}

/** How far beyond its bytes a chunk grows before it is cut: so that it is not sorted for each room. */
const SLACK = 1.5;

/** The events of one answer of the event stream: of each shard those that came first, as many as it has bytes for, and one in any case. */
export class EventChunk {
  readonly #maxBytes: number;
  /** Those of the shards before. */
  readonly #whole: SentEvent[] = [];
  #ofShard: SentEvent[] = [];
  #bytes = 0;
  #upTo = 0;
  #isCut = false;

  /** @param maxBytes of JSON, as its length */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Whether there is no room for events of another shard. */
  get isFull(): boolean {
    return this.#isCut || this.#bytes >= this.#maxBytes;
  }

  /** Begins with the events of another shard. @param end the position up to which they are told, if all of them fit */
  begin(end: number): void {
    this.#upTo = end;
    this.#isCut = false;
  }

  /** The position up to which events of the shard still have a place. */
  get upTo(): number {
    return this.#upTo;
  }

  /** Adds events of a room, in their order. */
  add(events: readonly SentEvent[]): void {
    for (const event of events) {
      if (event.nid > this.#upTo) continue;
      this.#ofShard.push(event);
      this.#bytes += event.json.length;
    }
    if (this.#bytes > SLACK * this.#maxBytes) this.#cut();
  }

  /** Ends with a shard. @returns the position up to which all its events are told */
  end(): number {
    this.#cut();
    this.#whole.push(...this.#ofShard.splice(0));
    return this.#upTo;
  }

  /**
   * The events as JSON texts. Rooms have orders of their own: between them the time decides.
   *
   * @param areOfRooms rather than of one room
   */
  texts(areOfRooms: boolean): readonly string[] {
    return (areOfRooms ? this.#whole.toSorted((a, b) => a.ts - b.ts) : this.#whole).map(({ json }) => json);
  }

  /** Leaves the newest out. */
  #cut(): void {
    if (this.#bytes <= this.#maxBytes) return;
    const byPosition = this.#ofShard.toSorted((a, b) => b.nid - a.nid);
    const least = this.#whole.length === 0 ? 1 : 0;
    let left = 0;
    while (this.#bytes > this.#maxBytes && byPosition.length - left > least)
      this.#bytes -= byPosition[left++]?.json.length ?? 0;
    if (left === 0) return;
    // The position before it in its shard.
    const upTo = (byPosition[left - 1]?.nid ?? 0) - SHARDS;
    this.#upTo = upTo;
    this.#isCut = true;
    this.#ofShard = this.#ofShard.filter(({ nid }) => nid <= upTo);
  }
}
