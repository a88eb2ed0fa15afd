import { bytesOfText } from '#src/kernel/text/text-bytes.ts';
import type { PositionVector } from '#src/protocol/wire/position.ts';
import type { DueProfile } from '../profiles/profile-updates.ts';

/** What was sent of a room on a connection. */
export interface SentRoom {
  /** Up to where. */
  readonly vector: PositionVector;
  /** The same for what is counted in memory. */
  readonly count: number;
  readonly timelineLimit: number;
  /** `StateWanted.key` of what was wanted. */
  readonly wanted: string;
  readonly membership: string;
  readonly isDm: boolean;
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
  /** The key counts that the device was sent, as JSON text; undefined: none. */
  readonly keys: string | undefined;
  /** The profiles that it was sent; undefined when it does not request them. */
  readonly profiles: KnownProfiles | undefined;
}

/** The profiles that a client knows. */
export interface KnownProfiles {
  /** The fields that it asks for; undefined for all. */
  readonly fields: readonly string[] | undefined;
  /** Users whose whole profiles are still to be sent. */
  readonly due: readonly DueProfile[];
}

/** What an answer adds to what the client knows, once the client acknowledges it. */
export interface ConnectionChange {
  readonly vector: PositionVector;
  readonly count: number;
  readonly rooms: ReadonlyMap<number, SentRoom>;
  readonly counts: ReadonlyMap<string, number>;
  readonly keys: string | undefined;
  readonly profiles: KnownProfiles | undefined;
}

/** Approximate bytes of a room, and of a member sent in it. */
const BYTES_OF_ROOM = 256;
const BYTES_OF_MEMBER = 64;

/** Bytes of a reference to a text that something else keeps too. */
const BYTES_OF_REFERENCE = 8;

/** About how many bytes the names in a client's request and the users still to be sent take. */
const bytesAsked = ({ state, change }: KeptConnection): number => {
  let bytes = 0;
  for (const known of [state, change]) {
    if (known === undefined) continue;
    for (const name of known.counts.keys()) bytes += name.length;
    for (const field of known.profiles?.fields ?? []) bytes += field.length;
    for (const due of known.profiles?.due ?? [])
      bytes += (typeof due === 'string' ? 1 : 1 + due.length) * BYTES_OF_REFERENCE;
  }
  return bytes;
};

/** About how many bytes rooms take. What is wanted of them is the same text for those of a list. */
const bytesOfRooms = (rooms: ReadonlyMap<number, SentRoom>): number => {
  let bytes = 0;
  let last: string | undefined;
  for (const { lazy, wanted } of rooms.values()) {
    bytes += BYTES_OF_ROOM + BYTES_OF_MEMBER * lazy.size;
    if (wanted !== last) bytes += wanted.length;
    last = wanted;
  }
  return bytes;
};

interface LastAnswer {
  readonly from: number;
  readonly digest: string;
  readonly body: string;
  /** Of both. */
  readonly bytes: number;
}

/** What is kept of a connection while no process runs. */
export interface KeptConnection {
  readonly number: number;
  readonly state: ConnectionState;
  /** What the client knows if it has the last answer. */
  readonly change: ConnectionChange | undefined;
  /** The number of the position to which the last answer leads. */
  readonly next: number | undefined;
}

/**
 * A connection of one device: two positions, that which the client has said it has, and that which the last answer leads to. An answer
 * that got lost is given again. Every answer with news leads to a position of its own, so that the number of a position says what the client
 * knows, whatever became of the process meanwhile. MSC4186, "Connections".
 */
export class Connection {
  /** Tells its positions from those of another connection with the same name. */
  readonly run: string;
  #number = 0;
  /** The greatest number that a position was given. */
  #issued = 0;
  /** Empty responses at this position. */
  #settled = 0;
  #vector: PositionVector | undefined;
  #count = 0;
  #counts: ReadonlyMap<string, number> = new Map();
  #keys: string | undefined;
  #profiles: KnownProfiles | undefined;
  readonly #rooms: Map<number, SentRoom>;
  #last: LastAnswer | undefined;
  /** What the two positions take beside the last answer, once it is known. */
  #known: number | undefined;
  /** What the last answer adds, whether it is still here or not. */
  #change: ConnectionChange | undefined;
  /** The position that it leads to. */
  #next: number | undefined;

  constructor(run: string, kept?: KeptConnection) {
    this.run = run;
    this.#rooms = new Map(kept?.state.rooms);
    if (kept === undefined) return;
    this.#number = kept.number;
    this.#vector = kept.state.vector;
    this.#count = kept.state.count;
    this.#counts = kept.state.counts;
    this.#keys = kept.state.keys;
    this.#profiles = kept.state.profiles;
    this.#change = kept.change;
    this.#next = kept.next;
    this.#issued = kept.next ?? kept.number;
  }

  /** About how many bytes of memory it takes. */
  get size(): number {
    return this.knownSize + (this.#last?.bytes ?? 0);
  }

  /** Those of them that it takes beside the last answer. */
  get knownSize(): number {
    this.#known ??=
      4 * BYTES_OF_ROOM +
      bytesOfRooms(this.#rooms) +
      (this.#change === undefined ? 0 : bytesOfRooms(this.#change.rooms)) +
      bytesAsked(this.kept);
    return this.#known;
  }

  /** Drops the last answer: it is made anew when the client asks for it once more. */
  dropAnswer(): void {
    this.#last = undefined;
  }

  /** What the client has, and the number of that position. */
  get number(): number {
    return this.#number;
  }

  get state(): ConnectionState {
    return {
      vector: this.#vector,
      count: this.#count,
      rooms: this.#rooms,
      counts: this.#counts,
      keys: this.#keys,
      profiles: this.#profiles,
    };
  }

  /**
   * Moves to the position of a request.
   *
   * @param number undefined for the beginning
   * @returns whether there is such a position: what the client has, or what the last answer led to
   */
  goTo(number: number): boolean {
    if (number === this.#number) return true;
    const change = this.#change;
    if (change === undefined || number !== this.#next) return false;
    this.#number = number;
    this.#settled = 0;
    this.#learn(change);
    return true;
  }

  /**
   * Advances the client's knowledge without a response: there was no change up to here, and its position stays.
   *
   * @returns how often that has been so at this position
   */
  settle(change: ConnectionChange): number {
    this.#learn(change);
    return (this.#settled += 1);
  }

  #learn({ vector, count, counts, keys, profiles, rooms }: ConnectionChange): void {
    this.#vector = vector;
    this.#count = count;
    this.#counts = counts;
    this.#keys = keys;
    this.#profiles = profiles;
    for (const [nid, sent] of rooms) this.#rooms.set(nid, sent);
    this.#last = undefined;
    this.#change = undefined;
    this.#next = undefined;
    this.#known = undefined;
  }

  /** The answer that was given to the same request at this position. */
  answered(digest: string): string | undefined {
    return this.#last?.from === this.#number && this.#last.digest === digest ? this.#last.body : undefined;
  }

  /** Notes an answer. Returns the number of the position that it leads to. */
  answer(digest: string, change: ConnectionChange, write: (number: number) => string): string {
    const next = (this.#issued += 1);
    const body = write(next);
    this.#last = { from: this.#number, digest, body, bytes: bytesOfText(digest) + bytesOfText(body) };
    this.#change = change;
    this.#next = next;
    this.#known = undefined;
    return body;
  }

  /** Both positions. */
  get kept(): KeptConnection {
    return { number: this.#number, state: this.state, change: this.#change, next: this.#next };
  }
}
