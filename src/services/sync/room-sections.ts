import { encodeArrivalToken, encodeRoomToken } from '#src/protocol/wire/position.ts';
import { STICKY } from '#src/protocol/events/sticky.ts';
import type { Relation } from '#src/protocol/filters/event-predicate.ts';
import type { EventLoader } from '#src/services/events/event-loader.ts';
import type { StoredEvent } from '#src/services/events/stored-event.ts';
import type { Member } from '#src/services/rooms/membership.ts';
import type { Room } from '#src/services/rooms/room.ts';
import type { StateChain } from '#src/services/state/state-chain.ts';
import type { Interner } from '#src/storage/repositories/interner.ts';
import type { EventEncoder, ReadEvent, Relations } from './event-encoder.ts';
import { heroesOf, summaryChanged } from './room-summary.ts';
import type { StateChanges, StateReader } from './state-window.ts';
import type { SyncFilter } from './sync-filter.ts';
import type { SyncRequest } from './sync-request.ts';
import { stickySections, type StickySection } from './sticky-section.ts';
import type { RelationsSource, StickySource, VisibilitySource } from './sync-sources.ts';
import type { SyncUser } from './sync-user.ts';
import type { TimelineReader, TimelineWindow } from './timeline-window.ts';

/** A room that the response will speak of, as it was when the response was planned. */
export interface RoomPlan {
  readonly room: Room;
  readonly member: Member;
  readonly section: 'join' | 'leave';
  /** The client knows nothing of the room, or wants all of its state. */
  readonly isFull: boolean;
  /** Joined anew since the client's position: what it may know of an earlier stay does not go on in this timeline. */
  readonly isReturned: boolean;
  /** The timeline begins after this position; 0 when the client knows nothing of the room. */
  readonly after: number;
  readonly upTo: number;
  /** The state at `upTo`. */
  readonly end: StateChain;
  /** Show nothing but the user's own leave. */
  readonly onlyLeave: boolean;
}

/** Timeline, state and summary of a room, as JSON members. */
export interface RoomSection {
  readonly plan: RoomPlan;
  readonly json: string;
  readonly isEmpty: boolean;
}

export interface RoomSectionsOptions {
  readonly loader: EventLoader;
  readonly interner: Interner;
  readonly timelines: TimelineReader;
  readonly states: StateReader;
  readonly visibility: VisibilitySource;
  readonly relations: RelationsSource;
  readonly sticky: StickySource;
  readonly encoder: EventEncoder;
}

interface Draft {
  readonly plan: RoomPlan;
  readonly window: TimelineWindow;
  readonly events: readonly ReadEvent[];
  readonly sticky?: StickySection;
}

/** The parts of rooms that all come of their events: timeline, state, summary, sticky events. All rooms of a response are read together. */
export class RoomSections {
  readonly #options: RoomSectionsOptions;

  constructor(options: RoomSectionsOptions) {
    this.#options = options;
  }

  async build(
    plans: readonly RoomPlan[],
    user: SyncUser,
    request: SyncRequest,
    filter: SyncFilter,
    ignored: ReadonlySet<string>,
  ): Promise<RoomSection[]> {
    const drafts = await this.#withSticky(await this.#timelines(plans, user, filter, ignored), ignored);
    const upToEnd = request.stateAfter !== undefined;
    const changes = await this.#options.states.read(
      drafts.map(({ plan, window, events }) => ({
        room: plan.room,
        after: plan.isFull ? undefined : plan.after,
        upTo: plan.upTo,
        end: plan.end,
        window: { ...window, events: events.map(({ event }) => event) },
        upToEnd,
      })),
    );
    if (filter.lazyLoadMembers) {
      const members = new Set(drafts.flatMap((draft) => [...membersWanted(draft, user.userId)]));
      await this.#options.interner.ensureStateKeys(
        [...members].map((stateKey) => ({ type: 'm.room.member', stateKey })),
      );
    }
    const wanted = drafts.map((draft, index) => this.#stateEvents(draft, changes[index], user, request, filter));
    const loaded = await this.#options.loader.load(
      wanted.flatMap((nids, index) => {
        const room = drafts[index]?.plan.room;
        return room === undefined ? [] : nids.map((nid) => ({ room, nid }));
      }),
    );
    const relations = await this.#relations(drafts, request, ignored);
    return drafts.map((draft, index) => {
      const state = (wanted[index] ?? []).map((nid) => loaded.get(nid)).filter((event) => event !== undefined);
      return this.#encode(draft, state, request, filter, relations.get(draft));
    });
  }

  async #timelines(
    plans: readonly RoomPlan[],
    user: SyncUser,
    filter: SyncFilter,
    ignored: ReadonlySet<string>,
  ): Promise<Draft[]> {
    const shown = plans.filter((plan) => filter.timelineRoom(plan.room.roomId));
    const accepts = ignored.size === 0 ? filter.timeline : withoutIgnored(filter, ignored);
    const windows = filter.needsRelations
      ? await this.#relatedWindows(shown, filter, accepts)
      : await this.#options.timelines.read(shown, filter.timelineLimit, accepts);
    const byRoom = new Map(shown.map((plan, index) => [plan, windows[index]]));
    return Promise.all(
      plans.map(async (plan) => {
        const window = byRoom.get(plan) ?? { events: [], limited: false, hiddenState: [] };
        const events = await this.#visible(plan, window, user.userId);
        if (plan.onlyLeave) return { plan, window: { ...window, limited: false, hiddenState: [] }, events };
        return { plan, window: plan.isReturned ? { ...window, limited: true } : window, events };
      }),
    );
  }

  async #withSticky(drafts: readonly Draft[], ignored: ReadonlySet<string>): Promise<readonly Draft[]> {
    const sections = await stickySections(this.#options.sticky, drafts, ignored);
    if (sections.size === 0) return drafts;
    return drafts.map((draft) => {
      const sticky = sections.get(draft);
      return sticky === undefined ? draft : { ...draft, events: sticky.timeline, sticky };
    });
  }

  /** Timelines of a filter that asks what relates to the events. */
  async #relatedWindows(
    shown: readonly RoomPlan[],
    filter: SyncFilter,
    accepts: SyncFilter['timeline'],
  ): Promise<TimelineWindow[]> {
    const related = new Map<number, readonly Relation[]>();
    const passes = (event: Parameters<NonNullable<typeof accepts>>[0] & { readonly nid?: number }): boolean =>
      accepts?.(event, related.get(event.nid ?? 0)) !== false;
    return this.#options.timelines.read(shown, filter.timelineLimit, passes, async (events) => {
      for (const [nid, relations] of await this.#options.relations.relationsOf(events)) related.set(nid, relations);
    });
  }

  /** What of a timeline the user may see. Whoever was a member all the time sees everything; others have it checked. */
  async #visible(plan: RoomPlan, window: TimelineWindow, userId: string): Promise<readonly ReadEvent[]> {
    const { member, room } = plan;
    if (plan.onlyLeave) {
      const leave = window.events.find((event) => event.nid === member.event);
      return leave === undefined ? [] : [{ event: leave, membership: member.membership }];
    }
    if (plan.section === 'join' && window.events.every((event) => event.nid >= member.since)) {
      return window.events.map((event) => ({ event, membership: 'join' as const }));
    }
    const visible = await this.#options.visibility.visibleTo(room, userId, window.events);
    if (plan.section === 'join' || visible.some(({ event }) => event.nid === member.event)) return visible;
    // One's own leave is always shown.
    const leave = window.events.find((event) => event.nid === member.event);
    return leave === undefined ? visible : [...visible, { event: leave, membership: member.membership }];
  }

  /** Positions of the state events to be told, after filter and lazy loading. */
  #stateEvents(
    draft: Draft,
    changes: StateChanges | undefined,
    user: SyncUser,
    request: SyncRequest,
    filter: SyncFilter,
  ): number[] {
    const { plan, window, events } = draft;
    if (changes === undefined || !filter.stateRoom(plan.room.roomId)) return [];
    // Who reads state after the timeline's end takes none from the timeline: the leave has to be told there, too.
    // Nor does it stand in a timeline where a resolution brought an older leave back.
    if (plan.onlyLeave) {
      const isShown = request.stateAfter === undefined && events.length > 0;
      return isShown || plan.member.event === 0 ? [] : [plan.member.event];
    }
    if (!filter.lazyLoadMembers) return [...changes.others, ...changes.members];
    const sent = user.sentMembers(request.deviceId ?? '');
    const keep = (userId: string, nid: number): boolean => {
      // Whoever comes back to a room begins anew.
      const isRedundant = sent.remember(plan.room.nid, `${plan.member.since} ${userId}`, nid);
      return !isRedundant || plan.isFull || filter.includeRedundantMembers;
    };
    const members = new Set<number>();
    // Changes in a gap are told, redundant or not.
    if (!plan.isFull && (window.limited || request.stateAfter !== undefined))
      for (const nid of changes.members) members.add(nid);
    const wanted = membersWanted(draft, user.userId);
    const inTimeline = new Set(events.map(({ event }) => event.nid));
    for (const userId of wanted) {
      const skey = this.#options.interner.peekStateKey('m.room.member', userId);
      const nid = skey === undefined ? undefined : changes.base.get(skey);
      if (nid === undefined || (request.stateAfter === undefined && inTimeline.has(nid))) continue;
      if (keep(userId, nid)) members.add(nid);
    }
    return [...changes.others, ...members];
  }

  /**
   * What is bundled with the events of limited timelines; whoever has seen everything else adds that up themselves.
   * "GET /sync when the relevant section has a limited value of true". Client-Server API, "Aggregations of child events".
   */
  async #relations(
    drafts: readonly Draft[],
    request: SyncRequest,
    ignored: ReadonlySet<string>,
  ): Promise<ReadonlyMap<Draft, Relations>> {
    const found = new Map<Draft, Relations>();
    const limited = drafts.filter(({ window, events }) => window.limited && events.length > 0);
    if (limited.length === 0) return found;
    const { relations } = this.#options;
    if (limited.length > 1) {
      await relations.prepare(
        limited.flatMap(({ plan: { room }, events }) => events.map(({ event }) => ({ room, event }))),
      );
    }
    const reader = { userId: request.userId, deviceId: request.deviceId };
    for (const draft of limited) {
      const events = draft.events.map(({ event }) => event);
      const bundles = await relations.bundle(draft.plan.room, reader, events, { withRoomId: false, ignored });
      if (bundles.size > 0) found.set(draft, bundles);
    }
    return found;
  }

  #encode(
    { plan, window, events, sticky }: Draft,
    state: readonly StoredEvent[],
    request: SyncRequest,
    filter: SyncFilter,
    relations: Relations | undefined,
  ): RoomSection {
    const { encoder } = this.#options;
    const { room, member } = plan;
    const reader = { userId: request.userId, deviceId: request.deviceId };
    const stateEvents = filter.state === undefined ? state : state.filter((event) => filter.state?.(event) === true);
    const stateJson = stateEvents
      .map((event) =>
        encoder.event({ event, membership: event.nid >= member.since ? member.membership : 'leave' }, reader, filter),
      )
      .join(',');
    let json = `"${request.stateAfter ?? 'state'}":{"events":[${stateJson}]}`;
    const timeline = encoder.timeline(room, events, reader, filter, relations, sticky?.view);
    const first = events[0]?.event;
    const begin = first === undefined ? encodeArrivalToken(plan.upTo) : encodeRoomToken(first);
    json += `,"timeline":{"events":[${timeline}],"limited":${window.limited},"prev_batch":"${begin}"}`;
    if (
      plan.section === 'join' &&
      (plan.isFull || summaryChanged(events) || (window.limited && state.some(isMember)))
    ) {
      const summary: Record<string, unknown> = {
        'm.joined_member_count': room.joinedCount,
        'm.invited_member_count': room.invitedCount,
      };
      if (!isNamed(room)) summary['m.heroes'] = heroesOf(room, request.userId);
      json += `,"summary":${JSON.stringify(summary)}`;
    }
    const stuck = sticky?.events ?? [];
    if (sticky !== undefined && stuck.length > 0) {
      const texts = stuck.map((event) => {
        const membership = event.nid >= member.since ? member.membership : 'leave';
        return encoder.event({ event, membership }, reader, filter, undefined, sticky.view.ttl(event));
      });
      json += `,"${STICKY}":{"events":[${texts.join(',')}]}`;
    }
    const told = events.length + stateEvents.length + stuck.length;
    return { plan, json, isEmpty: !plan.isFull && told === 0 && !window.limited };
  }
}

/** Whose member events go with a timeline when members are loaded lazily. Client-Server API, "Lazy-loading room members". */
const membersWanted = ({ plan, events, sticky }: Draft, userId: string): ReadonlySet<string> => {
  const wanted = new Set(events.map(({ event }) => event.sender));
  for (const { sender } of sticky?.events ?? []) wanted.add(sender);
  // The summary names heroes only where the room has no name of its own.
  if ((plan.isFull || summaryChanged(events)) && !isNamed(plan.room)) {
    for (const hero of heroesOf(plan.room, userId)) wanted.add(hero);
  }
  if (plan.isFull) wanted.add(userId);
  return wanted;
};

const isMember = (event: StoredEvent): boolean => event.type === 'm.room.member';

const isNamed = (room: Room): boolean =>
  (room.stateText('m.room.name', 'name') ?? '') !== '' ||
  (room.stateText('m.room.canonical_alias', 'alias') ?? '') !== '';

/** "the server SHOULD NOT send events by ignored users to the client, except state". Client-Server API, "Ignoring Users". */
const withoutIgnored =
  (filter: SyncFilter, ignored: ReadonlySet<string>) =>
  (
    event: Parameters<NonNullable<SyncFilter['timeline']>>[0] & { readonly stateKey?: string | undefined },
    relations?: readonly Relation[],
  ): boolean =>
    !(event.sender !== undefined && ignored.has(event.sender) && event.stateKey === undefined) &&
    filter.timeline?.(event, relations) !== false;
