import {
  type HistoryVisibility,
  isShared,
  mayUserSee,
  parseHistoryVisibility,
} from '#src/protocol/visibility/history-visibility.ts';
import { HISTORY_VISIBILITY, MEMBER } from '#src/protocol/events/event-types.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import { type Member, type Membership, membershipIn } from '#src/services/room-model/room/membership.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { StateChain } from '#src/services/room-model/state/state-chain.ts';
import type { StateStore } from '#src/services/room-model/state/state-store.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import type { StickySource, StickyView } from '#src/services/events/sticky/sticky-view.ts';
import { type ErasedSenders, NOBODY_ERASED } from './erased-senders.ts';
import { MembershipPast } from './membership-past.ts';

/** Events of which the states are asked for at once, and states, or events with their texts, that are read at once. */
const OUTLINES_AT_ONCE = 1_000;
const TEXTS_AT_ONCE = 128;

/** An event that a user may see, with their membership at the event, changes by the event itself included (`unsigned.membership`). */
export interface VisibleEvent {
  readonly event: StoredEvent;
  readonly membership: Membership | undefined;
  /** The user may not see the state that the event replaced: `prev_content` and the like are left out. */
  readonly hidesPrevious?: boolean;
  /** It is reduced for this user: the text for others must not be used. */
  readonly isReduced?: boolean;
}

/** What is known of an event without its text. */
export interface EventOutline {
  readonly nid: number;
  readonly type: string;
  readonly isState: boolean;
}

/** What decides whether a user may see an event, but for what the event itself changes. */
interface Standing {
  /** Both in the state before the event. */
  readonly visibility: HistoryVisibility;
  readonly membership: Membership | undefined;
  readonly joinedLater: boolean;
}

/** Whether a user was in the room at a position. */
type WasJoined = (position: number) => boolean;

/**
 * Decides which events of a room a user may see, and in which form. Client-Server API, "Room History Visibility".
 *
 * Events of users whose content was erased are shown in their redacted form to users who were not in the room then: "any users (or servers)
 * which join the room after the erasure request are served redacted copies of the events sent by this account". What makes up the room as
 * it is now (its name, its rules, its encryption; not its members) is the room's, and stays as it is for all. POST /account/deactivate.
 */
export class EventVisibility {
  readonly #interner: Interner;
  readonly #loader: EventLoader;
  readonly #states: StateStore;
  readonly #past: MembershipPast;
  readonly #sticky: StickySource | undefined;
  readonly #erased: ErasedSenders;

  constructor(
    interner: Interner,
    loader: EventLoader,
    states: StateStore,
    sticky?: StickySource,
    erased: ErasedSenders = NOBODY_ERASED,
  ) {
    this.#sticky = sticky;
    this.#erased = erased;
    this.#interner = interner;
    this.#loader = loader;
    this.#states = states;
    this.#past = new MembershipPast(loader);
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
    if (this.#erased.isEmpty || !visible.some(({ event }) => this.#isOfErased(event))) return visible;
    const past = member === undefined ? undefined : await this.#past.of(room, member, oldestOf(events));
    return this.#reduced(room, visible, (position) => position > 0 && past?.at(position) === 'join');
  }

  /** Events from the time in which the reader is a member. */
  asMember(room: Room, member: Member, events: readonly StoredEvent[]): VisibleEvent[] {
    const { membership, since } = member;
    return this.#reduced(
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
    return this.#reduced(
      room,
      asStateBy(room, userId, events, membershipAt),
      (position) => membershipAt(position) === 'join',
    );
  }

  /** The same for a member, without reading anything: what was set before they joined the last time counts as set before they were there. */
  asStateOfMember(room: Room, member: Member, events: readonly StoredEvent[]): VisibleEvent[] {
    const membershipAt = (position: number): Membership => (position >= member.since ? member.membership : 'leave');
    return this.#reduced(
      room,
      asStateBy(room, member.userId, events, membershipAt),
      (position) => membershipAt(position) === 'join',
    );
  }

  #isOfErased({ sender, previous, redactedBecause }: StoredEvent): boolean {
    return [sender, previous?.sender, redactedBecause?.sender].some(
      (one) => one !== undefined && this.#erased.has(one),
    );
  }

  /** The events with those of erased users reduced. Current state is not reduced: it belongs to the room. */
  #reduced(room: Room, visible: VisibleEvent[], wasJoined: WasJoined): VisibleEvent[] {
    if (this.#erased.isEmpty || !visible.some(({ event }) => this.#isOfErased(event))) return visible;
    const isHidden = (event: StoredEvent | undefined): event is StoredEvent =>
      event !== undefined && this.#erased.has(event.sender) && !wasJoined(event.nid);
    return visible.map((one) => {
      const { event, membership } = one;
      const { previous, redactedBecause: because } = event;
      const isOfRoom = event.type !== MEMBER && isInForce(room, event);
      const hidesPrevious = one.hidesPrevious === true || isHidden(previous);
      if (isHidden(event) && membership !== 'join' && !isOfRoom)
        return { event: event.redactedCopy(), membership, hidesPrevious, isReduced: true };
      if (isHidden(because))
        return { event: event.redactedAs(because.redactedCopy()), membership, hidesPrevious, isReduced: true };
      return isHidden(previous) ? { event, membership, hidesPrevious, isReduced: true } : one;
    });
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
      const standings = await this.#standings(room, userId, events);
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
    const standings = await this.#standings(room, userId, events);
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

  /** What the states before events say of the room's visibility, and of a user's membership, in the same order. */
  async #standings(
    room: Room,
    userId: string,
    events: readonly { readonly nid: number; readonly state: number }[],
  ): Promise<readonly Standing[]> {
    const member = room.member(userId);
    const joinedUntil = member === undefined ? 0 : await this.#past.joinedUntil(room, member);
    const names = await this.#interner.find({
      stateKeys: [
        { type: HISTORY_VISIBILITY, stateKey: '' },
        { type: MEMBER, stateKey: userId },
      ],
    });
    const visibilityKey = names.peekStateKey(HISTORY_VISIBILITY, '');
    const memberKey = member === undefined ? undefined : names.peekStateKey(MEMBER, userId);
    const chains = await this.#chainsAt(
      room,
      events.map(({ state }) => state),
    );
    const places = events.map(({ nid: position, state }) => {
      const chain = chains.get(state);
      const visibility = visibilityKey === undefined ? undefined : chain?.get(visibilityKey);
      const own = memberKey === undefined ? undefined : chain?.get(memberKey);
      // An event that came back out of an archive may stand in a later state than its own, which is gone.
      const isLater = (nid: number | undefined): boolean => position > 0 && nid !== undefined && nid > position;
      return {
        visibility,
        isVisibilityLater: isLater(visibility),
        member: isLater(own) ? undefined : own,
      };
    });
    const nids = new Set(places.flatMap((place) => [place.visibility ?? [], place.member ?? []].flat()));
    const loaded = await this.#loader.load([...nids].map((nid) => ({ room, nid })));
    const at = (nid: number | undefined): StoredEvent | undefined => (nid === undefined ? undefined : loaded.get(nid));
    return places.map(({ visibility, isVisibilityLater, member: own }, index) => {
      const before = at(own);
      return {
        visibility: isVisibilityLater ? 'joined' : parseHistoryVisibility(at(visibility)?.content),
        membership: before === undefined ? undefined : membershipIn(before.content),
        joinedLater: (events[index]?.nid ?? Infinity) < joinedUntil,
      };
    });
  }

  /** "Any joined user or server is authorised to see sticky events for the duration they remain sticky." MSC4354. */
  async #stickyOf(room: Room, userId: string): Promise<StickyView | undefined> {
    return room.isJoined(userId) ? (await this.#sticky?.forRooms([room]))?.get(room.nid) : undefined;
  }

  async #chainsAt(room: Room, ids: readonly number[]): Promise<Map<number, StateChain>> {
    const current = room.stateChain;
    const found = await this.#states.load(ids.filter((id) => id !== current.nid));
    return new Map(found).set(current.nid, current);
  }
}

const oldestOf = (events: readonly StoredEvent[]): number =>
  events.reduce((first, { nid }) => (nid > 0 ? Math.min(first, nid) : first), Infinity);

/** Whether an event is what the room's state says now. */
const isInForce = (room: Room, event: StoredEvent): boolean =>
  event.stateKey !== undefined && room.stateEvent(event.type, event.stateKey)?.nid === event.nid;

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
