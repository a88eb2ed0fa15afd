import { bytesOfText } from '#src/kernel/text/text-bytes.ts';
import type { AccountDataRecord } from '#src/storage/user-data/account-data.ts';
import { putTagsIn, TAG_TYPE } from './tag-content.ts';

/** One piece of account data as clients are shown it. */
export interface AccountDataEntry {
  /** 0 for global account data. */
  readonly roomNid: number;
  readonly type: string;
  /** The content, JSON text. */
  readonly json: string;
  /** Position of the last change in the stream of the user's shard; 0 for what the user has never changed. */
  readonly pos: number;
}

/** An entry whose content is computed when it is read, such as m.push_rules: not cached, since it is seldom read and may be long. */
export class ServedEntry implements AccountDataEntry {
  readonly roomNid: number;
  readonly type: string;
  readonly pos: number;
  readonly #serve: () => string;

  constructor(roomNid: number, type: string, pos: number, serve: () => string) {
    this.roomNid = roomNid;
    this.type = type;
    this.pos = pos;
    this.#serve = serve;
  }

  get json(): string {
    return this.#serve();
  }
}

/** A tag of a room as it is from now on; null: it is none any more. */
export interface TagChange {
  readonly room: number;
  readonly tag: string;
  readonly content: string | null;
}

interface HeldEntry {
  readonly entry: AccountDataEntry;
  /** Of its content, in bytes. */
  readonly weight: number;
}

export const IGNORED_USER_LIST = 'm.ignored_user_list';

/** Memory that a content takes, in bytes. Ignored users are kept as a set beside the text, once they were asked for. */
export const weightOf = (type: string, json: string): number =>
  bytesOfText(json) * (type === IGNORED_USER_LIST ? 4 : 1);

/** Memory of an entry beside its texts, in bytes. */
const ENTRY_BYTES = 200;
/** What it takes more in a room: a key of its own, or the map of the room's tags. As measured. */
const IN_ROOM_BYTES = 32;
const TAGS_BYTES = 64;

const weightOfTag = (tag: string, content: string): number => ENTRY_BYTES + bytesOfText(tag) + bytesOfText(content);

const keyOf = (roomNid: number, type: string): string => `${roomNid} ${type}`;

/** All account data of one user, in memory. */
export class UserAccountData {
  readonly userId: string;
  /** The global ones by type, since they are asked for at every sync; those of rooms by room and type. */
  readonly #global = new Map<string, HeldEntry>();
  readonly #ofRooms = new Map<string, HeldEntry>();
  /** By room. */
  readonly #tags = new Map<number, Map<string, string>>();
  #latest = 0;
  #weight = 0;

  constructor(userId: string) {
    this.userId = userId;
  }

  /** Position of the latest change. */
  get latest(): number {
    return this.#latest;
  }

  /** About how many bytes this takes. */
  get weight(): number {
    return ENTRY_BYTES + this.#weight;
  }

  /** All entries, including types that every user has. */
  entries(): readonly AccountDataEntry[] {
    return [...this.#global.values(), ...this.#ofRooms.values()].map(({ entry }) => entry);
  }

  /** What was changed after this position of the user's shard. */
  changedSince(pos: number): AccountDataEntry[] {
    return pos >= this.#latest ? [] : this.entries().filter((entry) => entry.pos > pos);
  }

  entry(roomNid: number, type: string): AccountDataEntry | undefined {
    return this.#held(roomNid, type)?.entry;
  }

  /** The tags of a room, with what the user said of each as JSON text. */
  tags(roomNid: number): ReadonlyMap<string, string> {
    return new Map(this.#tags.get(roomNid));
  }

  /** Adds what lies in the database; what is newer here stays. @param serve how it is shown instead of the content */
  apply({ room: roomNid, type, content, pos }: AccountDataRecord, serve?: () => string): void {
    if (serve !== undefined) this.#set(new ServedEntry(roomNid, type, pos, serve), 0);
    else if (type === TAG_TYPE && roomNid !== 0) {
      const withTags = (): string => putTagsIn(content, this.tags(roomNid));
      this.#set(new ServedEntry(roomNid, type, pos, withTags), weightOf(type, content));
    } else this.#set({ roomNid, type, json: content, pos }, weightOf(type, content));
  }

  /** Sets the entry of a type that is stored in a table of its own, from the change with its position on. */
  serve(entry: ServedEntry): void {
    if ((this.entry(entry.roomNid, entry.type)?.pos ?? -1) <= entry.pos) this.#replace(entry, 0);
  }

  /** Sets tags of rooms that were read or changed; null: it is none any more. */
  applyTags(changes: readonly TagChange[]): void {
    for (const change of changes) this.#applyTag(change);
  }

  #applyTag({ room, tag, content }: TagChange): void {
    let tags = this.#tags.get(room);
    if (tags === undefined) {
      this.#tags.set(room, (tags = new Map()));
      this.#weight += TAGS_BYTES;
    }
    const before = tags.get(tag);
    if (before !== undefined) this.#weight -= weightOfTag(tag, before);
    if (content === null) {
      tags.delete(tag);
      return;
    }
    tags.set(tag, content);
    this.#weight += weightOfTag(tag, content);
  }

  #held(roomNid: number, type: string): HeldEntry | undefined {
    return roomNid === 0 ? this.#global.get(type) : this.#ofRooms.get(keyOf(roomNid, type));
  }

  #set(entry: AccountDataEntry, weight: number): void {
    if ((this.entry(entry.roomNid, entry.type)?.pos ?? -1) < entry.pos) this.#replace(entry, weight);
  }

  #replace(entry: AccountDataEntry, weight: number): void {
    const { roomNid, type } = entry;
    const key = keyOf(roomNid, type);
    const before = this.#held(roomNid, type);
    const own = ENTRY_BYTES + key.length + (roomNid === 0 ? 0 : IN_ROOM_BYTES);
    this.#weight += weight - (before === undefined ? -own : before.weight);
    if (roomNid === 0) this.#global.set(type, { entry, weight });
    else this.#ofRooms.set(key, { entry, weight });
    this.#latest = Math.max(this.#latest, entry.pos);
  }
}
