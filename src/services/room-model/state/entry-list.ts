import type { EntryArrays } from '#src/protocol/wire/packed-state.ts';

/** Entries of a state, ascending by state key, in 12 bytes each: state key -> event. In a delta event 0 takes an entry out. */
export class EntryList implements EntryArrays, Iterable<readonly [skey: number, event: number]> {
  static readonly EMPTY = new EntryList({ keys: new Int32Array(0), events: new Float64Array(0) });
  readonly keys: Int32Array;
  readonly events: Float64Array;

  /** @param entries are kept, not copied */
  constructor({ keys, events }: EntryArrays) {
    this.keys = keys;
    this.events = events;
  }

  /** The last of several pairs with the same key counts. */
  static from(pairs: Iterable<readonly [skey: number, event: number]>): EntryList {
    const sorted = [...new Map(pairs)].sort(([a], [b]) => a - b);
    if (sorted.length === 0) return EntryList.EMPTY;
    return new EntryList({
      keys: Int32Array.from(sorted, ([skey]) => skey),
      events: Float64Array.from(sorted, ([, event]) => event),
    });
  }

  get size(): number {
    return this.keys.length;
  }

  /** The event of a key; undefined where there is no such entry. */
  get(skey: number): number | undefined {
    const { keys } = this;
    // Halving by hand: with `firstIndex` and its call for each look this takes 1.5 to 2 times as long, and it is what reading states is made of.
    let low = 0;
    let high = keys.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const found = keys[middle] ?? 0;
      if (found === skey) return this.events[middle];
      if (found < skey) low = middle + 1;
      else high = middle - 1;
    }
    return undefined;
  }

  /** Both together; where both have a key, the newer one counts. */
  under(newer: EntryList): EntryList {
    if (this.size === 0) return newer;
    if (newer.size === 0) return this;
    const keys = new Int32Array(this.size + newer.size);
    const events = new Float64Array(keys.length);
    let count = 0;
    let i = 0;
    let j = 0;
    while (i < this.size || j < newer.size) {
      const a = this.keys[i] ?? Infinity;
      const b = newer.keys[j] ?? Infinity;
      const isNewer = b <= a;
      keys[count] = isNewer ? b : a;
      events[count++] = (isNewer ? newer.events[j] : this.events[i]) ?? 0;
      if (a <= b) i++;
      if (isNewer) j++;
    }
    return trimmed(keys, events, count);
  }

  /** What is there once entries are taken out. */
  present(): EntryList {
    if (!this.events.includes(0)) return this;
    const keys = new Int32Array(this.size);
    const events = new Float64Array(this.size);
    let count = 0;
    for (let i = 0; i < this.size; i++) {
      const event = this.events[i] ?? 0;
      if (event === 0) continue;
      keys[count] = this.keys[i] ?? 0;
      events[count++] = event;
    }
    return trimmed(keys, events, count);
  }

  *[Symbol.iterator](): Generator<readonly [skey: number, event: number]> {
    for (let i = 0; i < this.size; i++) yield [this.keys[i] ?? 0, this.events[i] ?? 0];
  }
}

const trimmed = (keys: Int32Array, events: Float64Array, count: number): EntryList =>
  new EntryList(
    count === keys.length ? { keys, events } : { keys: keys.slice(0, count), events: events.slice(0, count) },
  );
