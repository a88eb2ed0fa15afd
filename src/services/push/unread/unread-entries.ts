/** The numbers beside the positions are below this. */
const REASONS = 8;
/** Bytes of the longest entry: positions are below 2^50. */
const MAX_ENTRY_BYTES = 8;
const FIRST_BYTES = 16;
/** Most lists are empty nearly always. */
const NO_BYTES = new Uint8Array(0);

/** An entry as it is read: its position, and why it is there. */
type Visit = (nid: number, reason: number) => void;

/**
 * Positions of events, rising, each with a small number (0 to 7). Two bytes each where a user has not read thousands of events of a busy room,
 * since what is kept is by how much each position is above the one before it: there are as many of these lists as users and rooms.
 */
export class UnreadEntries {
  #bytes: Uint8Array = NO_BYTES;
  /** Where the last entry ends. */
  #end = 0;
  /** What the first entry's position is counted from. */
  #base = 0;
  #last = 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** How much memory they take, in bytes. */
  get bytes(): number {
    return this.#bytes.length;
  }

  /** Position of the first entry; undefined when there is none. */
  get first(): number | undefined {
    return this.#size === 0 ? undefined : this.#base + Math.floor(this.#valueAt(0) / REASONS);
  }

  /** Position of the last entry; -Infinity when there is none. */
  get last(): number {
    return this.#size === 0 ? -Infinity : this.#last;
  }

  /** Adds an entry after all others. @throws RangeError if it does not come after them */
  push(nid: number, reason: number): void {
    if (nid < this.#last && this.#size > 0) throw new RangeError(`position ${nid} is before ${this.#last}`);
    if (this.#size === 0) {
      this.#end = 0;
      this.#base = nid;
      this.#last = nid;
    }
    let value = (nid - this.#last) * REASONS + reason;
    if (this.#end + MAX_ENTRY_BYTES > this.#bytes.length) this.#makeRoom();
    // Beyond 31 bits, bit operations do not apply.
    while (value >= 0x80) {
      this.#bytes[this.#end] = (value % 0x80) | 0x80;
      this.#end += 1;
      value = Math.floor(value / 0x80);
    }
    this.#bytes[this.#end] = value;
    this.#end += 1;
    this.#last = nid;
    this.#size += 1;
  }

  /** Visits the entries up to a position, in order. */
  visit(upTo: number, visit: Visit): void {
    this.#walk(upTo, visit);
  }

  /** The number that is kept with a position; undefined when the position is not here. Cheap near the end. */
  at(nid: number): number | undefined {
    let found = this.#last;
    let offset = this.#end;
    while (offset > 0 && found >= nid) {
      offset = this.#before(offset);
      const value = this.#valueAt(offset);
      if (found === nid) return value % REASONS;
      found -= Math.floor(value / REASONS);
    }
    return undefined;
  }

  /** Removes the entries up to a position, and visits them. */
  shift(upTo: number, visit: Visit): void {
    // Called at every count; nearly always nothing more is read.
    if ((this.first ?? Infinity) > upTo) return;
    const { offset, nid, count } = this.#walk(upTo, visit);
    this.#base = nid;
    this.#size -= count;
    this.#bytes = offset === this.#end ? NO_BYTES : this.#bytes.slice(offset, this.#end);
    this.#end -= offset;
  }

  /** @returns where the first entry that was not visited begins, the position of the last one that was, and how many were */
  #walk(upTo: number, visit: Visit): { readonly offset: number; readonly nid: number; readonly count: number } {
    let [offset, nid, count] = [0, this.#base, 0];
    while (offset < this.#end) {
      const value = this.#valueAt(offset);
      const next = nid + Math.floor(value / REASONS);
      if (next > upTo) break;
      nid = next;
      visit(nid, value % REASONS);
      count += 1;
      offset = this.#after(offset);
    }
    return { offset, nid, count };
  }

  #makeRoom(): void {
    const larger = new Uint8Array(Math.ceil(this.#bytes.length * 1.5) + FIRST_BYTES);
    larger.set(this.#bytes.subarray(0, this.#end));
    this.#bytes = larger;
  }

  #valueAt(start: number): number {
    const bytes = this.#bytes;
    let byte = bytes[start] ?? 0;
    if (byte < 0x80) return byte;
    let value = byte & 0x7f;
    let scale = 0x80;
    for (let offset = start + 1; byte >= 0x80; offset += 1) {
      byte = bytes[offset] ?? 0;
      value += (byte & 0x7f) * scale;
      scale *= 0x80;
    }
    return value;
  }

  /** Where the entry after the one that begins here begins. */
  #after(start: number): number {
    let offset = start;
    while ((this.#bytes[offset] ?? 0) >= 0x80) offset += 1;
    return offset + 1;
  }

  /** Where the entry that ends here begins: only the last byte of an entry is below 128. */
  #before(end: number): number {
    let offset = end - 1;
    while (offset > 0 && (this.#bytes[offset - 1] ?? 0) >= 0x80) offset -= 1;
    return offset;
  }
}
