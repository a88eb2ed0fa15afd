import { isIgnored } from '#src/services/user-data/account-data/ignored-users.ts';
import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import type { Clock } from '#src/kernel/clock.ts';
import type { EventLoader, EventPlace } from '#src/services/room-model/event/event-loader.ts';
import { isFresh, type StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import { type BundledAggregations, eventText, type Reader } from '#src/services/reading/client-events/client-events.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { EventVisibility } from '#src/services/reading/visibility/event-visibility.ts';
import { REL, type RelatedEvent } from './related-events.ts';
import type { RelationIndex, RelationTarget } from './relation-index.ts';
import { editsOf, isReplacement } from './replacements.ts';

/** The users that a user ignores. Client-Server API, "Ignoring Users". */
export type IgnoredUsers = (userId: string) => Promise<ReadonlySet<string>>;

/** How aggregations are written. */
export interface BundleForm {
  /** Events within aggregations tell their room, as the events around them do. */
  readonly withRoomId: boolean;
  /** The users that the reader ignores, when that is known already. */
  readonly ignored?: ReadonlySet<string> | undefined;
}

type Related = readonly RelatedEvent[];
type Bundles = ReadonlyMap<number, string>;

interface SharedBundles {
  readonly version: number;
  readonly withRoomId: boolean;
  readonly events: readonly StoredEvent[];
  readonly bundles: Bundles;
  /** They tell how old events are, so they hold for a short while only. */
  readonly writtenAt: number;
}

/** What is bundled with one event, before it is written. */
interface Draft {
  readonly event: StoredEvent;
  readonly replies: Related;
  readonly references: Related;
  readonly edit: StoredEvent | undefined;
  readonly latest: StoredEvent | undefined;
}

/** References that are bundled with an event, the first ones; all of them are read as relations. */
export const MAX_REFERENCES = 1_000;
/**
 * Relations to one event, and to all events of an answer, of which the state at each is asked whether its reader may see it, the newest ones;
 * earlier ones are not counted. They are of times in which the reader was away.
 */
export const MAX_JUDGED_OF_EVENT = 1_000;
export const MAX_JUDGED = 4_000;
/** Edits of an event, the newest ones, that are looked at for a valid one, and those of all events of an answer beside their newest. */
export const MAX_EDITS = 20;
export const MAX_EDITS_OF_ANSWER = 100;
/** Events that are read at once. */
const READ_AT_ONCE = 128;

const NONE: Bundles = new Map();
const NO_USERS: ReadonlySet<string> = new Set();

export interface AggregationsOptions {
  readonly index: RelationIndex;
  readonly loader: EventLoader;
  readonly visibility: Pick<EventVisibility, 'seen' | 'visibleTo'>;
  readonly clock: Clock;
  readonly ignoredUsers: IgnoredUsers;
  /** Bytes of edits and latest replies after which the events of a page get no more of them: those are read as relations. */
  readonly maxBytes: number;
}

/** Aggregates relations of events, for each reader. Client-Server API, "Aggregations of child events". */
export class Aggregations implements BundledAggregations {
  readonly #options: AggregationsOptions;
  /** The texts that were written last for members of a room, where nothing in them depends on the reader. */
  readonly #shared = new WeakMap<Room, SharedBundles>();

  constructor(options: AggregationsOptions) {
    this.#options = options;
  }

  /**
   * Makes known what `bundle` will write for events of several rooms: it reads that no more. A handful of statements at most, however
   * many rooms, and none where nothing relates to the events.
   */
  async prepare(targets: readonly { readonly room: Room; readonly event: StoredEvent }[]): Promise<void> {
    const replies = await this.#prepare(targets);
    if (replies.length > 0) await this.#prepare(replies);
  }

  /** What relates to events, by their positions, visible or not: for filters. */
  relationsOf(targets: readonly RelationTarget[]): Promise<ReadonlyMap<number, readonly RelatedEvent[]>> {
    return this.#options.index.all(targets);
  }

  /** @returns the latest replies of the threads among them */
  async #prepare(
    targets: readonly { readonly room: Room; readonly event: StoredEvent }[],
  ): Promise<readonly { readonly room: Room; readonly event: StoredEvent }[]> {
    const { index } = this.#options;
    const related = await index.all(targets);
    if (related.size === 0) return [];
    const edits: EventPlace[] = [];
    const latest: { readonly room: Room; readonly nid: number }[] = [];
    for (const { room, event } of targets) {
      const some = related.get(event.nid) ?? [];
      const edit = some.length === 0 ? undefined : editsOf(event, some)[0];
      const reply = some.findLast(({ relType }) => relType === REL.thread);
      if (edit !== undefined) edits.push({ room, nid: edit.nid });
      if (reply !== undefined) latest.push({ room, nid: reply.nid });
    }
    const { loaded } = await this.#firstBytes([...edits, ...latest]);
    return latest.flatMap(({ room, nid }) => {
      const event = loaded.get(nid);
      return event === undefined ? [] : [{ room, event }];
    });
  }

  /**
   * JSON text of `m.relations`, by position, for those of the events that have any. For the same events without anything of the
   * reader's own in it, the same map comes again.
   */
  async bundle(
    room: Room,
    reader: Reader,
    events: readonly StoredEvent[],
    form: BundleForm = { withRoomId: true },
  ): Promise<Bundles> {
    return this.#bundle(room, reader, events, form, false);
  }

  async #bundle(
    room: Room,
    reader: Reader,
    events: readonly StoredEvent[],
    form: BundleForm,
    isNested: boolean,
  ): Promise<Bundles> {
    // "State events do not currently receive bundled aggregations."
    const targets = events.filter((event) => (event.flags & EVENT_FLAGS.state) === 0);
    const { index } = this.#options;
    const related = await index.all(targets.map((event) => ({ room, event })));
    if (related.size === 0) return NONE;
    const ignored = form.ignored ?? (await this.#options.ignoredUsers(reader.userId));
    const isShareable = !isNested && ignored.size === 0 && isTheSameForAll(room, reader, targets, related);
    const version = index.version(room);
    const known = isShareable ? this.#shared.get(room) : undefined;
    const now = this.#options.clock.now();
    if (
      known?.version === version &&
      isFresh(known.writtenAt, now) &&
      known.withRoomId === form.withRoomId &&
      isSame(known.events, events)
    )
      return known.bundles;
    const bundles = await this.#compute(room, reader, targets, related, { ...form, ignored }, isNested);
    if (isShareable && index.version(room) === version) {
      this.#shared.set(room, { version, withRoomId: form.withRoomId, events: [...events], bundles, writtenAt: now });
    }
    return bundles;
  }

  async #compute(
    room: Room,
    reader: Reader,
    targets: readonly StoredEvent[],
    related: ReadonlyMap<number, Related>,
    form: BundleForm,
    isNested: boolean,
  ): Promise<Bundles> {
    const shown = await this.#shown(room, reader, related, form.ignored ?? NO_USERS);
    const drafts = await this.#drafts(room, targets, shown, isNested);
    const within = drafts.flatMap(({ edit, latest }) => [edit, latest].filter((event) => event !== undefined));
    const visible = new Map(
      (await this.#options.visibility.visibleTo(room, reader.userId, within)).map((one) => [one.event.nid, one]),
    );
    const latest = drafts.flatMap((draft) => draft.latest ?? []);
    // "child events of the latest_event should themselves be aggregated". A reply cannot be the root of a thread: it goes no deeper.
    const nested = latest.length === 0 ? NONE : await this.#bundle(room, reader, latest, form, true);
    const now = this.#options.clock.now();
    const write = (event: StoredEvent, relations?: string): string =>
      eventText(
        visible.get(event.nid) ?? { event, membership: undefined },
        reader,
        { now, relations },
        form.withRoomId,
      );
    const bundles = new Map<number, string>();
    for (const draft of drafts) {
      const parts: string[] = [];
      // An edit by an erased user is empty for readers who were not in the room.
      if (draft.edit !== undefined && isReplacement(visible.get(draft.edit.nid)?.event ?? draft.edit))
        parts.push(`"${REL.replace}":${write(draft.edit)}`);
      if (draft.latest !== undefined) {
        const takesPart =
          draft.event.sender === reader.userId || draft.replies.some((reply) => reply.sender === reader.userId);
        parts.push(
          `"${REL.thread}":{"latest_event":${write(draft.latest, nested.get(draft.latest.nid))}` +
            `,"count":${draft.replies.length},"current_user_participated":${takesPart}}`,
        );
      }
      if (draft.references.length > 0) {
        const chunk = draft.references.slice(0, MAX_REFERENCES).map(({ eventId }) => ({ event_id: eventId }));
        parts.push(`"${REL.reference}":{"chunk":${JSON.stringify(chunk)}}`);
      }
      if (parts.length > 0) bundles.set(draft.event.nid, `{${parts.join(',')}}`);
    }
    return bundles;
  }

  /** Related events that the reader may see, without those of ignored users. */
  async #shown(
    room: Room,
    { userId }: Reader,
    related: ReadonlyMap<number, Related>,
    ignored: ReadonlySet<string>,
  ): Promise<ReadonlyMap<number, Related>> {
    const heard = new Map(
      [...related].map(([nid, all]) => [
        nid,
        all.filter((one) => !isIgnored(one, ignored) && one.relType !== REL.annotation),
      ]),
    );
    if (seesAll(room, userId, heard.values())) return heard;
    // Texts are not read for this: there may be any number of events, as large as events may be.
    const seen = await this.#options.visibility.seen(
      room,
      userId,
      Array.from(heard.values(), (some) => some.toReversed()),
      { ofGroup: MAX_JUDGED_OF_EVENT, ofAll: MAX_JUDGED },
    );
    return new Map([...heard].map(([nid, some]) => [nid, some.filter((one) => seen.has(one.nid))]));
  }

  /** The events at these places, in few statements, until there are too many bytes of them. */
  async #firstBytes(
    places: readonly EventPlace[],
  ): Promise<{ readonly loaded: ReadonlyMap<number, StoredEvent>; readonly isCut: boolean }> {
    const { loader, maxBytes } = this.#options;
    const loaded = new Map<number, StoredEvent>();
    let bytes = 0;
    for (let at = 0; at < places.length && bytes < maxBytes; at += READ_AT_ONCE) {
      for (const [nid, event] of await loader.load(places.slice(at, at + READ_AT_ONCE))) {
        if (bytes >= maxBytes) break;
        loaded.set(nid, event);
        bytes += event.json.length;
      }
    }
    return { loaded, isCut: bytes >= maxBytes };
  }

  /** Chooses what is bundled, and loads the events of it: all of them together. */
  async #drafts(
    room: Room,
    targets: readonly StoredEvent[],
    shown: ReadonlyMap<number, Related>,
    isNested: boolean,
  ): Promise<readonly Draft[]> {
    const { loader } = this.#options;
    const choices = targets.flatMap((event) => {
      const related = shown.get(event.nid) ?? [];
      if (related.length === 0) return [];
      // "It is not possible to create a thread from an event which itself is the child of an event relationship".
      const replies =
        isNested || event.relation !== undefined ? [] : related.filter(({ relType }) => relType === REL.thread);
      const references = related.filter(({ relType }) => relType === REL.reference);
      return [{ event, replies, references, edits: editsOf(event, related) }];
    });
    const first = choices.flatMap(({ replies, edits }) => [replies.at(-1) ?? [], edits[0] ?? []].flat());
    const { loaded, isCut } = await this.#firstBytes(first.map(({ nid }) => ({ room, nid })));
    const drafts: Draft[] = [];
    let looked = 0;
    for (const { event, replies, references, edits } of choices) {
      let edit: StoredEvent | undefined;
      const [newest] = edits;
      const isBeyond = isCut && newest !== undefined && !loaded.has(newest.nid);
      for (const { nid } of isBeyond ? [] : edits.slice(0, MAX_EDITS)) {
        if (!loaded.has(nid) && (looked += 1) > MAX_EDITS_OF_ANSWER) break;
        const candidate = loaded.get(nid) ?? (await loader.one(room, nid));
        if (candidate === undefined || !isReplacement(candidate)) continue;
        edit = candidate;
        break;
      }
      drafts.push({ event, replies, references, edit, latest: loaded.get(replies.at(-1)?.nid ?? Number.NaN) });
    }
    return drafts;
  }
}

const isSame = (a: readonly StoredEvent[], b: readonly StoredEvent[]): boolean =>
  a.length === b.length && a.every((event, index) => event === b[index]);

/** Whether a user was in the room all the time since the first of these events. */
const seesAll = (room: Room, userId: string, related: Iterable<Related>): boolean => {
  const member = room.member(userId);
  if (member?.membership !== 'join') return false;
  for (const some of related) for (const { nid } of some) if (nid < member.since) return false;
  return true;
};

/** Whether nothing in the bundles depends on the reader: only threads tell who takes part in them, and only senders see transaction ids. */
const isTheSameForAll = (
  room: Room,
  reader: Reader,
  targets: readonly StoredEvent[],
  related: ReadonlyMap<number, Related>,
): boolean =>
  seesAll(room, reader.userId, related.values()) &&
  targets.every((event) => event.sender !== reader.userId || !related.has(event.nid)) &&
  [...related.values()].every((some) => some.every(({ relType }) => relType !== REL.thread));
