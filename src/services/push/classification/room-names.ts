import { NameIndex } from '#src/protocol/push/name-index.ts';
import { localpartOf } from '#src/protocol/identifiers/server-name.ts';
import { OnceByKey } from '#src/kernel/caches/once.ts';
import { LoopYield } from '#src/kernel/event-loop/loop-yield.ts';
import type { JsonObject, JsonValue } from '#src/protocol/json/json-value.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { Member } from '#src/services/room-model/room/membership.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Database } from '#src/storage/database.ts';
import { textsOf } from '#src/storage/reading/search.ts';

/** Member events read at once. */
const READ_AT_ONCE = 1_000;
/** Of those, how many in one turn of the event loop. */
const NAMES_AT_ONCE = 200;

/** Names that mention members of a room: display name in the room, and localpart. */
export interface MemberNames {
  readonly index: NameIndex;
  /** By user id; users without one are left out. */
  readonly displayNames: ReadonlyMap<string, string>;
}

interface Known extends MemberNames {
  /** The room's `membersVersion` that they were read at. */
  version: number;
  readonly displayNames: Map<string, string>;
}

const isHere = (member: Member | undefined): member is Member => member?.local === true && member.membership === 'join';

const textIn = (value: JsonValue | undefined): string | undefined => (typeof value === 'string' ? value : undefined);

/** Caches the names of local members of rooms. They are read when first asked for, and follow each change of a member. */
export class RoomNames {
  readonly #database: Database;
  readonly #loader: EventLoader;
  readonly #rooms = new WeakMap<Room, Known>();
  readonly #reading = new OnceByKey<Room, void>();

  constructor(database: Database, loader: EventLoader) {
    this.#database = database;
    this.#loader = loader;
  }

  /** The names as of the last `prepare`; undefined when there was none. */
  of(room: Room): MemberNames | undefined {
    return this.#rooms.get(room);
  }

  /** Brings the names up to date. Undefined when they are. */
  prepare(room: Room): Promise<void> | undefined {
    const reading = this.#reading.peek(room);
    if (reading !== undefined) return reading.then(() => this.prepare(room));
    const known = this.#rooms.get(room);
    if (known?.version === room.membersVersion) return undefined;
    const changed = known === undefined ? undefined : room.membersChangedSince(known.version);
    return this.#reading.run(room, () =>
      known === undefined || changed === undefined ? this.#readAll(room) : this.#follow(room, known, changed),
    );
  }

  async #readAll(room: Room): Promise<void> {
    const known: Known = { version: room.membersVersion, index: new NameIndex(), displayNames: new Map() };
    const members = [...room.members.values()].filter(isHere);
    const loopYield = new LoopYield(NAMES_AT_ONCE);
    for (let at = 0; at < members.length; at += READ_AT_ONCE) {
      const some = members.slice(at, at + READ_AT_ONCE);
      const places = some.map(({ event }) => ({ room: room.nid, nid: event }));
      const texts = new Map((await textsOf(this.#database, places)).map(({ nid, json }) => [nid, json]));
      for (const { userId, event } of some) {
        const json = texts.get(event);
        const { content } = (json === undefined ? {} : JSON.parse(json)) as { readonly content?: JsonObject };
        put(known, userId, textIn(content?.['displayname']));
        await loopYield.after(1);
      }
    }
    this.#rooms.set(room, known);
  }

  async #follow(room: Room, known: Known, changed: readonly string[]): Promise<void> {
    const version = room.membersVersion;
    const members = [...new Set(changed)].map((userId) => [userId, room.member(userId)] as const);
    const here = members.flatMap(([, member]) => (isHere(member) ? [{ room, nid: member.event }] : []));
    const events = await this.#loader.load(here);
    for (const [userId, member] of members) {
      if (isHere(member)) put(known, userId, textIn(events.get(member.event)?.content['displayname']));
      else {
        known.index.delete(userId);
        known.displayNames.delete(userId);
      }
    }
    known.version = version;
  }
}

const put = ({ index, displayNames }: Known, userId: string, displayName: string | undefined): void => {
  index.set(userId, [localpartOf(userId), ...(displayName === undefined ? [] : [displayName])]);
  if (displayName === undefined) displayNames.delete(userId);
  else displayNames.set(userId, displayName);
};
