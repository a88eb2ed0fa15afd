import { isShared, mayUserSee, parseHistoryVisibility } from '#src/protocol/visibility/history-visibility.ts';
import { HISTORY_VISIBILITY, MEMBER } from '#src/protocol/events/event-types.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import { type Member, type Membership, membershipIn } from '#src/services/room-model/room/membership.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { StateStore } from '#src/services/room-model/state/state-store.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import type { StickySource, StickyView } from '#src/services/events/sticky/sticky-view.ts';
import { ErasedContent } from './erased-content.ts';
import { type ErasedSenders, NOBODY_ERASED } from './erased-senders.ts';
import { EventStandings } from './event-standings.ts';
import { MembershipPast } from './membership-past.ts';
import type { VisibleEvent } from './visible-event.ts';

/** Events of which the states are asked for at once, and states, or events with their texts, that are read at once. */
const OUTLINES_AT_ONCE = 1_000;
const TEXTS_AT_ONCE = 128;

/** What is known of an event without its text. */
export interface EventOutline {
  readonly nid: number;
  readonly type: string;
  readonly isState: boolean;
}

/** Decides which events of a room a user may see, and in which form. Client-Server API, "Room History Visibility". */
export class EventVisibility {
  readonly #loader: EventLoader;
  readonly #past: MembershipPast;
  readonly #sticky: StickySource | undefined;
  readonly #standings: EventStandings;
  readonly #erased: ErasedContent;

  constructor(
    interner: Interner,
    loader: EventLoader,
    states: StateStore,
    sticky?: StickySource,
    erased: ErasedSenders = NOBODY_ERASED,
  ) {
    this.#sticky = sticky;
    this.#erased = new ErasedContent(erased);
    this.#loader = loader;
    this.#past = new MembershipPast(loader);
    this.#standings = new EventStandings(interner, loader, states, this.#past);
  }

  /** When and how a user was a member. */
  get past(): MembershipPast {
    return this.#past;
  }

  /**
   * The events that a user may see, in the order given. Costs no statement for what came while they were in the room, nor for
   * history that was always open to all members; everything else is judged by the states at the events, read all at once.
   *
   * Events that arrive while a user is in the room are visible to them, even where the sender did not know of them yet: that is why positions
   * decide first, and states only where positions do not.
   */
  async visibleTo(room: Room, userId: string, wanted: readonly StoredEvent[]): Promise<VisibleEvent[]> {
    // An event that the database has and the room does not have yet is being published: it is not visible yet, since other answers would not have it.
    const events = wanted.some(({ nid }) => nid > room.lastPosition)
      ? wanted.filter(({ nid }) => nid <= room.lastPosition)
      : wanted;
    const member = room.member(userId);
    const joinedSince = member?.membership === 'join' ? member.since : Infinity;
    if (member !== undefined && events.every((event) => event.nid >= joinedSince))
      return this.asMember(room, member, events);
    const visible = await this.#withoutUnseenPast(room, userId, await this.#visible(room, userId, events));
    if (!this.#erased.concerns(visible)) return visible;
    const past = member === undefined ? undefined : await this.#past.of(room, member, oldestOf(events));
    return this.#erased.reduced(room, visible, (position) => position > 0 && past?.at(position) === 'join');
  }

  /** Events from the time in which the reader is a member. */
  asMember(room: Room, member: Member, events: readonly StoredEvent[]): VisibleEvent[] {
    const { membership, since } = member;
    return this.#erased.reduced(
      room,
      events.map((event) => ({ event, membership: event.nid >= since ? membership : 'leave' })),
      (position) => membership === 'join' && position >= since,
    );
  }

  /**
   * State events for a user who may read the room's state: all of them, in the order given, whether or not the user could see them
   * when they were sent. What they replaced is shown to users who were, or could have been, there.
   */
  async asState(room: Room, userId: string, events: readonly StoredEvent[]): Promise<VisibleEvent[]> {
    const member = room.member(userId);
    const periods = member === undefined ? undefined : await this.#past.of(room, member, oldestOf(events));
    const membershipAt = (position: number): Membership | undefined => {
      if (periods === undefined) return 'leave';
      return position > 0 ? periods.at(position) : undefined;
    };
    return this.#erased.reduced(
      room,
      asStateBy(room, userId, events, membershipAt),
      (position) => membershipAt(position) === 'join',
    );
  }

  /** The same for a member, without reading anything: what was set before they joined the last time counts as set before they were there. */
  asStateOfMember(room: Room, member: Member, events: readonly StoredEvent[]): VisibleEvent[] {
    const membershipAt = (position: number): Membership => (position >= member.since ? member.membership : 'leave');
    return this.#erased.reduced(
      room,
      asStateBy(room, member.userId, events, membershipAt),
      (position) => membershipAt(position) === 'join',
    );
  }

  async #withoutUnseenPast(room: Room, userId: string, visible: VisibleEvent[]): Promise<VisibleEvent[]> {
    const isUnsure = ({ event, membership }: VisibleEvent): boolean =>
      event.previous !== undefined && membership !== 'join' && !isOwnMember(event, userId);
    const unsure = visible.filter(isUnsure);
    if (unsure.length === 0 || alwaysShared(room)) return visible;
    const seen = await this.#visible(
      room,
      userId,
      unsure.flatMap(({ event }) => event.previous ?? []),
    );
    const known = new Set(seen.map(({ event }) => event.nid));
    return visible.map((one) =>
      isUnsure(one) && !known.has(one.event.previous?.nid ?? Number.NaN) ? { ...one, hidesPrevious: true } : one,
    );
  }

  async #visible(room: Room, userId: string, events: readonly StoredEvent[]): Promise<VisibleEvent[]> {
    const membershipAt = await this.#positions(room, userId);
    const verdicts: (VisibleEvent | undefined)[] = [];
    const open: { readonly event: StoredEvent; readonly index: number }[] = [];
    for (const [index, event] of events.entries()) {
      const membership = membershipAt(event.nid);
      if (membership === undefined) open.push({ event, index });
      else verdicts[index] = { event, membership };
    }
    if (open.length > 0) await this.#judge(room, userId, open, verdicts);
    return verdicts.filter((verdict) => verdict !== undefined);
  }

  /** A user's membership at positions that they see by it alone; undefined where the state at the event decides. */
  async #positions(room: Room, userId: string): Promise<(position: number) => Membership | undefined> {
    const member = room.member(userId);
    if (member === undefined) return () => undefined;
    const periods = await this.#past.of(room, member);
    const sharedUntil = alwaysShared(room) ? await this.#past.joinedUntil(room, member) : -Infinity;
    return (position) => {
      const membership = position > 0 ? periods.at(position) : undefined;
      return membership === 'join' || position < sharedUntil ? membership : undefined;
    };
  }

  /**
   * Which of these events a user may see, by the same rules, without reading what is in them.
   *
   * @param groups events, those first that are wanted most
   * @param most how many of each group, and of all, are looked at where the state at the event decides; the others are not seen
   */
  async seen(
    room: Room,
    userId: string,
    groups: readonly (readonly EventOutline[])[],
    most: { readonly ofGroup: number; readonly ofAll: number },
  ): Promise<ReadonlySet<number>> {
    const member = room.member(userId);
    const isSure =
      this.seesAll(room, userId) ||
      (member?.membership === 'join' && groups.every((group) => group.every(({ nid }) => nid >= member.since)));
    const membershipAt = isSure ? () => 'join' as const : await this.#positions(room, userId);
    const seen = new Set<number>();
    const unsure: EventOutline[][] = [];
    for (const group of groups) {
      const open: EventOutline[] = [];
      for (const event of group) {
        // What the room does not have yet is being published.
        if (event.nid > room.lastPosition) continue;
        if (membershipAt(event.nid) !== undefined) seen.add(event.nid);
        else if (open.length < most.ofGroup) open.push(event);
      }
      if (open.length > 0) unsure.push(open);
    }
    const share = Math.max(1, Math.floor(most.ofAll / Math.max(1, unsure.length)));
    const open = unsure.flatMap((group) => group.slice(0, share)).slice(0, most.ofAll);
    for (let at = 0; at < open.length; at += OUTLINES_AT_ONCE) {
      // One part after the other: no more is in memory than one of them.
      // oxlint-disable-next-line eslint/no-await-in-loop
      for (const nid of await this.#seenByState(room, userId, open.slice(at, at + OUTLINES_AT_ONCE))) seen.add(nid);
    }
    return seen;
  }

  async #seenByState(room: Room, userId: string, open: readonly EventOutline[]): Promise<readonly number[]> {
    const seen: number[] = [];
    // What changes the membership or the visibility itself is judged by what it says.
    const decides = ({ isState, type }: EventOutline): boolean =>
      isState && (type === MEMBER || type === HISTORY_VISIBILITY);
    const changes = open.filter(decides);
    const others = changes.length === 0 ? open : open.filter((event) => !decides(event));
    for (let at = 0; at < changes.length; at += TEXTS_AT_ONCE) {
      const places = changes.slice(at, at + TEXTS_AT_ONCE).map(({ nid }) => ({ room, nid }));
      // oxlint-disable-next-line eslint/no-await-in-loop
      const loaded = await this.#loader.load(places);
      // oxlint-disable-next-line eslint/no-await-in-loop
      for (const { event } of await this.#visible(room, userId, [...loaded.values()])) seen.push(event.nid);
    }
    if (others.length === 0) return seen;
    const sticky = await this.#stickyOf(room, userId);
    const places = await this.#loader.statesOf(
      room,
      others.map(({ nid }) => nid),
    );
    const groups = [...Map.groupBy(places, ({ state }) => state).values()];
    for (let at = 0; at < groups.length; at += TEXTS_AT_ONCE) {
      const events = groups.slice(at, at + TEXTS_AT_ONCE).flat();
      // oxlint-disable-next-line eslint/no-await-in-loop
      const standings = await this.#standings.of(room, userId, events);
      for (const [index, { nid }] of events.entries()) {
        const standing = standings[index];
        if ((standing !== undefined && mayUserSee(standing)) || sticky?.ttl({ nid }) !== undefined) seen.push(nid);
      }
    }
    return seen;
  }

  /** Whether a user is sure to see every event of a room, without a look at any of them. */
  seesAll(room: Room, userId: string): boolean {
    return room.isJoined(userId) && alwaysShared(room);
  }

  /** Whether a user may see one event. */
  async maySee(room: Room, userId: string, event: StoredEvent): Promise<boolean> {
    return (await this.visibleTo(room, userId, [event])).length > 0;
  }

  async #judge(
    room: Room,
    userId: string,
    open: readonly { readonly event: StoredEvent; readonly index: number }[],
    verdicts: (VisibleEvent | undefined)[],
  ): Promise<void> {
    const events = open.map(({ event }) => event);
    const standings = await this.#standings.of(room, userId, events);
    const sticky = events.some((event) => event.stickyDuration !== undefined)
      ? await this.#stickyOf(room, userId)
      : undefined;
    for (const [i, { event, index }] of open.entries()) {
      const standing = standings[i];
      if (standing === undefined) continue;
      const { membership } = standing;
      const isOwn = isOwnMember(event, userId);
      const membershipAfter = isOwn ? membershipIn(event.content) : undefined;
      const sees = mayUserSee({
        ...standing,
        visibilityAfter:
          event.type === HISTORY_VISIBILITY && event.stateKey === ''
            ? parseHistoryVisibility(event.content)
            : undefined,
        membershipAfter,
      });
      // A user sees their own leave: without it their client would not learn of it.
      if (sees || sticky?.ttl(event) !== undefined || (isOwn && membership !== undefined))
        verdicts[index] = { event, membership: membershipAfter ?? membership ?? 'leave' };
    }
  }

  /** "Any joined user or server is authorised to see sticky events for the duration they remain sticky." MSC4354. */
  async #stickyOf(room: Room, userId: string): Promise<StickyView | undefined> {
    return room.isJoined(userId) ? (await this.#sticky?.forRooms([room]))?.get(room.nid) : undefined;
  }
}

const oldestOf = (events: readonly StoredEvent[]): number =>
  events.reduce((first, { nid }) => (nid > 0 ? Math.min(first, nid) : first), Infinity);

const asStateBy = (
  room: Room,
  userId: string,
  events: readonly StoredEvent[],
  membershipAt: (position: number) => Membership | undefined,
): VisibleEvent[] => {
  const isOpen = alwaysShared(room);
  return events.map((event) => {
    const membership = membershipAt(event.nid);
    return { event, membership, hidesPrevious: membership !== 'join' && !isOpen && !isOwnMember(event, userId) };
  });
};

const isOwnMember = (event: StoredEvent, userId: string): boolean => event.type === MEMBER && event.stateKey === userId;

/** Whether every event of the room can be seen by every member of now: its visibility was set once at most, and lets them. */
const alwaysShared = (room: Room): boolean => {
  const event = room.stateEvent(HISTORY_VISIBILITY);
  if (event?.replaces !== undefined) return false;
  return isShared(parseHistoryVisibility(event?.content));
};
