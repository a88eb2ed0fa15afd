/** What an entry of the state takes beside its event, and a membership, in bytes. */
const BYTES_OF_ENTRY = 100;
const BYTES_OF_MEMBER = 200;
/** What a room takes beside what is in it. */
const BYTES_OF_ROOM = 2_000;

/** What of a room is weighed. Sizes are in bytes. */
interface Weighed {
  /** The events of the current state but memberships. */
  readonly state: Iterable<{ readonly event: { readonly size: number } }>;
  readonly members: number;
  /** Of the state chain, the newest events, and the sticky events. */
  readonly sizes: readonly number[];
}

/**
 * About how many bytes a room takes in memory, by which the cache of rooms is bounded. Weighing costs a look at all of the room's state: it is
 * done again when the room has grown by a quarter.
 */
export class RoomWeight {
  #bytes = 0;
  /** By how much it has grown since it was weighed. */
  #grown = Infinity;

  /** As of when it was weighed last. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether it has grown by so much since it was weighed that it should be weighed again. */
  get hasGrown(): boolean {
    return this.#grown > this.#bytes / 4;
  }

  addEvent(size: number): void {
    this.#grown += size;
  }

  addMembers(count: number): void {
    this.#grown += count * BYTES_OF_MEMBER;
  }

  /** All of it is new. */
  forget(): void {
    this.#grown = Infinity;
  }

  /** @returns its bytes now */
  weigh({ members, sizes, state }: Weighed): number {
    let bytes = BYTES_OF_ROOM + members * BYTES_OF_MEMBER;
    for (const { event } of state) bytes += BYTES_OF_ENTRY + event.size;
    for (const size of sizes) bytes += size;
    this.#grown = 0;
    return (this.#bytes = bytes);
  }
}
