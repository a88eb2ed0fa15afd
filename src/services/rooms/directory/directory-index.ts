import { type Counted, measured } from '#src/kernel/caches/counted-cache.ts';
import { Lazy } from '#src/kernel/caches/lazy.ts';
import { LoopYield } from '#src/kernel/event-loop/loop-yield.ts';
import { literalTest } from '#src/protocol/matching/literal.ts';
import { bytesOfText } from '#src/kernel/text/text-bytes.ts';
import { roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import { foldText } from '#src/protocol/text/fold.ts';
import type { Appended, RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Database } from '#src/storage/database.ts';
import { listedRooms, roomsOfNetworks } from '#src/storage/rooms/directory.ts';

/** Rooms whose texts are read together. */
const ROOMS_AT_ONCE = 50;
/** Characters that are compared in one turn of the event loop, and what an entry costs beside them. */
const CHARACTERS_AT_ONCE = 400_000;
const CHARACTERS_OF_ENTRY = 200;
/** Characters of a name, a topic or an alias that are searched. */
const MAX_TEXT_LENGTH = 512;
/** Bytes of texts that are kept. Those of further rooms are read at each search. */
export const TEXTS_BYTES = 32 * 1024 * 1024;
/** What the texts of a room take beside their characters, in bytes. */
const ENTRY_BYTES = 100;

/** What is searched of a room: as it stands but for upper and lower case, and folded. */
interface Texts {
  readonly lower: string;
  readonly folded: string;
}

interface Entry {
  readonly nid: number;
  readonly roomType: string | null;
  /** Whether it is on this server's own list. */
  isPublic: boolean;
  joined: number;
  /** Undefined as long as nobody has searched, and where there is no room for them. */
  texts: Texts | undefined;
}

/** What is kept of the texts. First come, first kept: a search looks at all of them, so that none is more worth it than another. */
class KeptTexts implements Counted {
  readonly unit = 'bytes';
  readonly limit: number;
  hits = 0;
  misses = 0;
  size = 0;
  weight = 0;

  constructor(maxBytes: number) {
    this.limit = maxBytes;
    measured('directory_texts', this);
  }

  /** Sets the texts of an entry, unless there is no room for them. */
  set(entry: Entry, texts: Texts | undefined): void {
    if (entry.texts !== undefined) {
      this.weight -= weightOf(entry.texts);
      this.size -= 1;
    }
    const weight = texts === undefined ? 0 : weightOf(texts);
    entry.texts = this.weight + weight > this.limit ? undefined : texts;
    if (entry.texts === undefined) return;
    this.weight += weight;
    this.size += 1;
  }
}

/** Which rooms of the directory are wanted. */
export interface DirectoryQuery {
  readonly searchTerm: string;
  /** Null stands for rooms without a type. */
  readonly roomTypes: readonly (string | null)[] | undefined;
  /** On which list: that of a network, which application services keep, or any; this server's own one when left out. */
  readonly list?: { readonly instanceId: string } | 'any' | undefined;
}

/**
 * The rooms that are listed, in the order in which they are shown: those with the most members first. Read at the first request for the
 * first time (counts in one statement, texts when they are searched), and kept up to date by the stream of room events from then on.
 */
export class DirectoryIndex {
  readonly #database: Database;
  readonly #rooms: RoomRegistry;
  readonly #entries = new Map<number, Entry>();
  /** The networks for which application services list a room, by its number. */
  readonly #networks = new Map<number, ReadonlySet<string>>();
  readonly #texts: KeptTexts;
  /** Rooms that have members. */
  #order: Entry[] = [];
  #isSorted = true;
  readonly #reading = new Lazy(() => this.#readLists());
  /** Rooms that changed while the list was read. */
  #changed: Set<Room> | undefined;
  #networksChanged: (() => void)[] = [];

  constructor(options: {
    readonly database: Database;
    readonly rooms: RoomRegistry;
    readonly stream: RoomEventStream;
    /** Default 32 MiB. */
    readonly maxTextBytes?: number;
  }) {
    this.#texts = new KeptTexts(options.maxTextBytes ?? TEXTS_BYTES);
    this.#database = options.database;
    this.#rooms = options.rooms;
    options.stream.on('appended', (appended) => this.#note(appended));
    options.stream.on('completed', ({ room }) => {
      if (this.#reading.made !== undefined && room.isPublic) this.#update(room, false);
    });
    options.stream.on('deleted', ({ room }) => {
      this.#update(room, false);
    });
  }

  /** Bytes of the texts that are kept. */
  get textBytes(): number {
    return this.#texts.weight;
  }

  /**
   * The numbers of the rooms that match, in order.
   *
   * @returns those from `start` on, `limit` at most, and how many match in all
   */
  async page(
    query: DirectoryQuery,
    start: number,
    limit: number,
  ): Promise<{ readonly nids: readonly number[]; readonly total: number }> {
    await this.#reading.get();
    const matches = matcherOf(query.searchTerm);
    const matching = matches === undefined ? undefined : await this.#matching(matches);
    const { list, roomTypes } = query;
    const isOn = this.#listed(list);
    const types = roomTypes === undefined ? undefined : new Set(roomTypes);
    const order = this.#sorted();
    const nidsOf = (entries: readonly Entry[]): number[] => entries.slice(start, start + limit).map(({ nid }) => nid);
    if (isOn === undefined && matches === undefined && types === undefined)
      return { nids: nidsOf(order), total: order.length };
    const found: Entry[] = [];
    const loopYield = new LoopYield(CHARACTERS_AT_ONCE);
    for (const entry of order) {
      const texts = matches === undefined ? undefined : entry.texts;
      const waiting = loopYield.after(CHARACTERS_OF_ENTRY + (texts?.lower.length ?? 0) + (texts?.folded.length ?? 0));
      if (waiting !== undefined) await waiting;
      if (isOn?.(entry) === false || (types !== undefined && !types.has(entry.roomType))) continue;
      if (matches === undefined || matching?.has(entry) === true || (entry.texts !== undefined && matches(entry.texts)))
        found.push(entry);
    }
    return { nids: nidsOf(found), total: found.length };
  }

  /** Notes that a room was listed, or is not any more. */
  listed(room: Room): void {
    this.#update(room, true);
  }

  /** Notes that an application service lists a room for a network, or does not any more. */
  listedInNetwork(room: Room, instanceId: string, isListed: boolean): void {
    if (this.#reading.made === undefined) return;
    const change = (): void => {
      const networks = new Set(this.#networks.get(room.nid));
      if (isListed) networks.add(instanceId);
      else networks.delete(instanceId);
      if (networks.size === 0) this.#networks.delete(room.nid);
      else this.#networks.set(room.nid, networks);
      this.#update(room, true);
    };
    // What is being read may hold it or not.
    if (this.#changed === undefined) change();
    else this.#networksChanged.push(change);
  }

  /** Whether a room is on a list; undefined when all rooms are. */
  #listed(list: DirectoryQuery['list']): ((entry: Entry) => boolean) | undefined {
    if (list === 'any' || (list === undefined && this.#networks.size === 0)) return undefined;
    if (list === undefined) return ({ isPublic }) => isPublic;
    return ({ nid }) => this.#networks.get(nid)?.has(list.instanceId) === true;
  }

  #isOnAnyList(room: Room): boolean {
    return room.isPublic || this.#networks.has(room.nid);
  }

  #note({ room, events, resolvedMembers = [] }: Appended): undefined {
    if (this.#reading.made === undefined || !this.#isOnAnyList(room)) return undefined;
    const isRenamed = events.some(
      ({ event }) => event.stateKey === '' && SEARCHED.some(([type]) => type === event.type),
    );
    const isCounted = resolvedMembers.length > 0 || events.some(({ member }) => member !== undefined);
    if (isRenamed || isCounted || !this.#entries.has(room.nid)) this.#update(room, isRenamed);
    return undefined;
  }

  #update(room: Room, isRenamed: boolean): void {
    if (this.#reading.made === undefined) return;
    this.#changed?.add(room);
    const before = this.#entries.get(room.nid);
    if (!this.#isOnAnyList(room)) {
      if (before === undefined) return;
      this.#texts.set(before, undefined);
      this.#entries.delete(room.nid);
      this.#order = this.#order.filter((entry) => entry !== before);
      return;
    }
    const entry = before ?? newEntry(room.nid, room.roomType ?? null, 0);
    entry.isPublic = room.isPublic;
    if (isRenamed || entry.texts === undefined) this.#texts.set(entry, textsOf(room));
    if (before !== undefined && before.joined === room.joinedCount) return;
    entry.joined = room.joinedCount;
    if (before === undefined) this.#add(entry);
    this.#isSorted = false;
  }

  #add(entry: Entry): void {
    this.#entries.set(entry.nid, entry);
    this.#order.push(entry);
    this.#isSorted = false;
  }

  #sorted(): readonly Entry[] {
    if (!this.#isSorted) {
      // A new array: another request may be walking through the old one.
      this.#order = this.#order.toSorted((a, b) => b.joined - a.joined || a.nid - b.nid);
      this.#isSorted = true;
    }
    // Where nobody is left there is nobody to join: they come last.
    const end = this.#order.findLastIndex(({ joined }) => joined > 0);
    return end === this.#order.length - 1 ? this.#order : this.#order.slice(0, end + 1);
  }

  async #readLists(): Promise<void> {
    const changed = (this.#changed = new Set<Room>());
    try {
      const rows = await listedRooms(this.#database);
      for (const { nid, room_type: roomType, version, joined } of rows)
        if (roomVersion(version) !== undefined && !this.#entries.has(nid))
          this.#add({ ...newEntry(nid, roomType, joined), isPublic: true });
      for (const { instanceId, nid, room_type: roomType, version, joined } of await roomsOfNetworks(this.#database)) {
        if (roomVersion(version) === undefined) continue;
        this.#networks.set(nid, new Set([...(this.#networks.get(nid) ?? []), instanceId]));
        if (!this.#entries.has(nid)) this.#add(newEntry(nid, roomType, joined));
      }
      for (const change of this.#networksChanged.splice(0)) change();
      for (const room of changed) this.#update(room, true);
    } finally {
      this.#changed = undefined;
    }
  }

  /** Reads the texts that are not kept. @returns the rooms whose texts there is no room for, as far as they match */
  async #matching(matches: (texts: Texts) => boolean): Promise<ReadonlySet<Entry>> {
    const matching = new Set<Entry>();
    const missing = [...this.#entries.values()].filter(({ texts }) => texts === undefined);
    this.#texts.hits += this.#entries.size - missing.length;
    this.#texts.misses += missing.length;
    for (let at = 0; at < missing.length; at += ROOMS_AT_ONCE) {
      const slice = missing.slice(at, at + ROOMS_AT_ONCE).filter(({ texts }) => texts === undefined);
      const visiting = this.#rooms.visit(slice, (room) => {
        const entry = this.#entries.get(room.nid);
        if (entry === undefined || entry.texts !== undefined) return;
        const texts = textsOf(room);
        this.#texts.set(entry, texts);
        if (entry.texts === undefined && matches(texts)) matching.add(entry);
      });
      if (visiting !== undefined) await visiting;
    }
    return matching;
  }
}

const weightOf = ({ folded, lower }: Texts): number => ENTRY_BYTES + bytesOfText(lower) + bytesOfText(folded);

const newEntry = (nid: number, roomType: string | null, joined: number): Entry => ({
  nid,
  roomType,
  joined,
  isPublic: false,
  texts: undefined,
});

const SEARCHED = [
  ['m.room.name', 'name'],
  ['m.room.topic', 'topic'],
  ['m.room.canonical_alias', 'alias'],
] as const;

const textsOf = (room: Room): Texts => {
  const texts = SEARCHED.flatMap(([type, member]) => room.stateText(type, member)?.slice(0, MAX_TEXT_LENGTH) ?? []);
  // Nothing that is searched for goes over the end of a line.
  return { lower: texts.join('\n').toLowerCase(), folded: texts.map(foldText).join('\n') };
};

/**
 * Whether a text holds what is searched for: as it stands but for upper and lower case, or with width, kind of kana and accents made
 * equal. Undefined when nothing is searched for.
 */
const matcherOf = (searched: string): ((texts: Texts) => boolean) | undefined => {
  const term = searched.toLowerCase().trim();
  if (term === '') return undefined;
  const folded = foldText(term);
  // Whoever searches, and whoever named the rooms, may have chosen what `includes` takes longest for.
  const isInLower = literalTest(term);
  const isInFolded = literalTest(folded);
  return (texts) => isInLower(texts.lower) || (folded !== '' && isInFolded(texts.folded));
};
