import type { PositionVector } from '#src/protocol/wire/position.ts';

/** What a connection was told of a room. */
export interface SentRoom {
  /** Up to where. */
  readonly vector: PositionVector;
  /** The same for what is counted in memory. */
  readonly count: number;
  readonly timelineLimit: number;
  /** `StateWanted.key` of what was wanted. */
  readonly wanted: string;
  readonly membership: string;
  /** Members that were told lazily: user -> position of the member event. */
  readonly lazy: ReadonlyMap<string, number>;
  readonly notification: number;
  readonly highlight: number;
}

/** A connection at one position: what the client is known to have. */
export interface ConnectionState {
  /** Undefined: it knows nothing yet. */
  readonly vector: PositionVector | undefined;
  readonly count: number;
  readonly rooms: ReadonlyMap<number, SentRoom>;
  /** How many rooms each list had. */
  readonly counts: ReadonlyMap<string, number>;
}

export const NEW_CONNECTION: ConnectionState = { vector: undefined, count: 0, rooms: new Map(), counts: new Map() };

/** What an answer adds to what the client knows, once it says that it has it. */
export interface ConnectionChange {
  readonly vector: PositionVector;
  readonly count: number;
  readonly rooms: ReadonlyMap<number, SentRoom>;
  readonly counts: ReadonlyMap<string, number>;
}

interface LastAnswer<Body> {
  readonly from: number;
  readonly digest: string;
  readonly body: Body;
  readonly change: ConnectionChange;
}

/**
 * A connection of one device: two positions, that which the client has said it has, and that which the last answer leads to. An answer
 * that got lost is given again. MSC4186, "Connections".
 */
export class Connection<Body> {
  /** Tells its positions from those of another connection with the same name. */
  readonly run: string;
  #number = 0;
  #vector: PositionVector | undefined;
  #count = 0;
  #counts: ReadonlyMap<string, number> = new Map();
  readonly #rooms: Map<number, SentRoom>;
  #last: LastAnswer<Body> | undefined;

  constructor(run: string, at?: { readonly number: number; readonly state: ConnectionState }) {
    this.run = run;
    this.#rooms = new Map(at?.state.rooms);
    if (at === undefined) return;
    this.#number = at.number;
    this.#vector = at.state.vector;
    this.#count = at.state.count;
    this.#counts = at.state.counts;
  }

  /** How much of the memory it takes, in rooms. */
  get size(): number {
    return 4 + this.#rooms.size + (this.#last?.change.rooms.size ?? 0);
  }

  /** What the client has, and the number of that position. */
  get number(): number {
    return this.#number;
  }

  get state(): ConnectionState {
    return { vector: this.#vector, count: this.#count, rooms: this.#rooms, counts: this.#counts };
  }

  /**
   * Goes to the position that a request names.
   *
   * @param number undefined for the beginning
   * @returns whether there is such a position: what the client has, or what the last answer led to
   */
  goTo(number: number): boolean {
    if (number === this.#number) return true;
    if (this.#last === undefined || number !== this.#number + 1) return false;
    const { change } = this.#last;
    this.#number = number;
    this.#vector = change.vector;
    this.#count = change.count;
    this.#counts = change.counts;
    for (const [nid, sent] of change.rooms) this.#rooms.set(nid, sent);
    this.#last = undefined;
    return true;
  }

  /** The answer that was given to the same request at this position. */
  answered(digest: string): Body | undefined {
    return this.#last?.from === this.#number && this.#last.digest === digest ? this.#last.body : undefined;
  }

  /** Notes an answer. Returns the number of the position that it leads to. */
  answer(digest: string, change: ConnectionChange, write: (number: number) => Body): Body {
    const body = write(this.#number + 1);
    this.#last = { from: this.#number, digest, body, change };
    return body;
  }

  /** What the client will have when it says that it has the last answer; what it has, when there is none. */
  get newest(): { readonly number: number; readonly state: ConnectionState } {
    if (this.#last === undefined) return { number: this.#number, state: this.state };
    const { change } = this.#last;
    const rooms = new Map([...this.#rooms, ...change.rooms]);
    return { number: this.#number + 1, state: { ...change, rooms } };
  }
}
