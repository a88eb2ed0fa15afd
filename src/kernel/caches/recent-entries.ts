/** One of the newest entries, numbered in the order in which they came. */
export interface Numbered<Entry> {
  readonly seq: number;
  readonly entry: Entry;
}

interface Kept<Entry> extends Numbered<Entry> {
  readonly bytes: number;
}

/** A page of entries, the newest first. */
export interface RecentPage<Entry> {
  readonly entries: readonly Numbered<Entry>[];
  /** The number after which the next page begins; undefined at the end. */
  readonly next: number | undefined;
}

/** The newest entries in memory, as many as fit into so many bytes of their JSON: the oldest ones make room. */
export class RecentEntries<Entry extends object> {
  readonly #maxBytes: number;
  #kept: Kept<Entry>[] = [];
  /** Where the oldest one stands: those before it are gone, and cut off now and then. */
  #first = 0;
  #seq = 0;
  #bytes = 0;

  /** @param maxBytes 0 keeps nothing */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes that are in use. */
  get bytes(): number {
    return this.#bytes;
  }

  /** How many came in all. */
  get total(): number {
    return this.#seq;
  }

  /** How many are kept. */
  get size(): number {
    return this.#kept.length - this.#first;
  }

  /** Keeps an entry. One that is too large for all of the space is counted only. */
  add(entry: Entry): void {
    this.#seq += 1;
    const bytes = Buffer.byteLength(JSON.stringify(entry));
    if (bytes > this.#maxBytes) return;
    this.#kept.push({ seq: this.#seq, entry, bytes });
    this.#bytes += bytes;
    this.#makeRoom();
  }

  /** Takes the newest entry that matches out again, if it is among the newest so many. */
  take(matches: (entry: Entry) => boolean, among: number): Entry | undefined {
    const last = Math.max(this.#first, this.#kept.length - among);
    for (let at = this.#kept.length - 1; at >= last; at -= 1) {
      const { bytes, entry } = this.#kept[at] as Kept<Entry>;
      if (!matches(entry)) continue;
      this.#kept.splice(at, 1);
      this.#bytes -= bytes;
      return entry;
    }
    return undefined;
  }

  /** Entries that match, the newest first, those before a number. */
  list(limit: number, before: number = Infinity, matches: (entry: Entry) => boolean = () => true): RecentPage<Entry> {
    const entries: Numbered<Entry>[] = [];
    for (let at = this.#kept.length - 1; at >= this.#first; at -= 1) {
      const one = this.#kept[at] as Kept<Entry>;
      if (one.seq >= before || !matches(one.entry)) continue;
      if (entries.length === limit) return { entries, next: entries.at(-1)?.seq };
      entries.push({ seq: one.seq, entry: one.entry });
    }
    return { entries, next: undefined };
  }

  #makeRoom(): void {
    while (this.#bytes > this.#maxBytes && this.#first < this.#kept.length) {
      this.#bytes -= (this.#kept[this.#first] as Kept<Entry>).bytes;
      this.#first += 1;
    }
    if (this.#first > this.#kept.length / 2 && this.#first > 64) {
      this.#kept = this.#kept.slice(this.#first);
      this.#first = 0;
    }
  }
}
