import type { Clock } from '#src/kernel/clock.ts';
import type { Eventually } from '#src/kernel/concurrency/steps.ts';
import { LoopYield } from '#src/kernel/event-loop/loop-yield.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { VisibleEvent } from '#src/services/reading/visibility/visible-event.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import type { Names } from '#src/storage/room-model/names.ts';
import { memberKey, SharedTimelines } from './shared-timelines.ts';
import type { EventEncoder, Relations } from './event-encoder.ts';
import { isCompleted, type RoomPlan } from '../engine/room-plan.ts';
import { heroesOf, summaryChanged } from './room-summary.ts';
import type { StateChanges, StateReader } from './state-window.ts';
import { beginOfTimeline } from './timeline-window.ts';
import type { Part, Section, SectionRequest, SectionView } from '../engine/section.ts';
import { type SectionDraft, VisibleTimelines, type VisibleTimelinesOptions } from './visible-timelines.ts';

/** Text that is written in one turn of the event loop; with what it takes to read and parse events, some milliseconds. */
const CHARACTERS_AT_ONCE = 150_000;
/** Events of a state that are read together; of more only so many are in memory at a time. */
const STATE_EVENTS_AT_ONCE = 500;
/** What a room costs by itself, in characters. */
const CHARACTERS_OF_ROOM = 3_000;

const lengthOf = ({ members = {} }: Part): number => Object.values(members).reduce((sum, text) => sum + text.length, 0);

export interface RoomEventsOptions extends VisibleTimelinesOptions {
  readonly clock: Clock;
  readonly stream: RoomEventStream;
  readonly loader: EventLoader;
  readonly interner: Interner;
  readonly states: StateReader;
  readonly encoder: EventEncoder;
}

/**
 * Timeline, state and summary of rooms. All rooms of a response are read together. Commits wake the members of their rooms
 * without any section asking for it.
 */
export class RoomEventsSection implements Section {
  readonly name = 'events';
  readonly #options: RoomEventsOptions;
  readonly #timelines: VisibleTimelines;
  readonly #common: SharedTimelines;
  readonly #drafts = new WeakMap<RoomPlan, SectionDraft>();
  /** Senders in rooms whose timelines are shared. */
  readonly #senders = new WeakMap<RoomPlan, readonly string[]>();

  constructor(options: RoomEventsOptions) {
    this.#options = options;
    this.#common = new SharedTimelines(options);
    this.#timelines = new VisibleTimelines(options);
  }

  /** What the reader of a response is shown of a room's timeline, once that was prepared. */
  draftOf(plan: RoomPlan): SectionDraft | undefined {
    return this.#drafts.get(plan);
  }

  /** The users in a room's timeline and summary, after `prepare`; for clients that request profiles. */
  seenIn(plan: RoomPlan, userId: string): Iterable<string> {
    const draft = this.#drafts.get(plan);
    return draft === undefined ? (this.#senders.get(plan) ?? []) : membersWanted(draft, userId);
  }

  open(request: SectionRequest): SectionView {
    return new RoomEventsView(request, this.#common, this.#senders, this.#options.bytes.response, (plans, budget) =>
      this.#read(plans, request, budget),
    );
  }

  async #read(
    plans: readonly RoomPlan[],
    request: SectionRequest,
    budget: ByteBudget,
  ): Promise<readonly RoomAndPart[]> {
    const { filter, userId } = request;
    const ignored = request.ignored();
    const drafts = await this.#timelines.read(plans, request, budget.bytes);
    for (const { events } of drafts) for (const { event } of events) budget.bytes -= event.json.length;
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
    const members = new Set(filter.lazyLoadMembers ? drafts.flatMap((draft) => [...membersWanted(draft, userId)]) : []);
    const names = await this.#options.interner.find({
      stateKeys: [...members].map((stateKey) => ({ type: 'm.room.member', stateKey })),
    });
    const wanted = drafts.map((draft, index) => this.#stateEvents(draft, changes[index], request, names));
    const loaded = await this.#options.loader.load(
      wanted.flatMap((nids, index) => {
        const room = drafts[index]?.plan.room;
        return room === undefined || nids.length > STATE_EVENTS_AT_ONCE ? [] : nids.map((nid) => ({ room, nid }));
      }),
    );
    const relations = await this.#relations(drafts, request, ignored);
    const parts: RoomAndPart[] = [];
    const loopYield = new LoopYield(CHARACTERS_AT_ONCE);
    for (const [index, draft] of drafts.entries()) {
      this.#drafts.set(draft.plan, draft);
      const state = await this.#stateText(draft.plan, wanted[index] ?? [], loaded, request);
      const part = this.#encode(draft, state, request, relations.get(draft));
      parts.push([draft.plan, part]);
      const turn = loopYield.after(CHARACTERS_OF_ROOM + lengthOf(part));
      if (turn !== undefined) await turn;
    }
    return parts;
  }

  /** The text of a state. One of very many events is read and written a part at a time. */
  async #stateText(
    plan: RoomPlan,
    nids: readonly number[],
    loaded: ReadonlyMap<number, StoredEvent>,
    { deviceId, filter, userId }: SectionRequest,
  ): Promise<StateText> {
    const { encoder, loader } = this.#options;
    const texts: string[] = [];
    let hasMembers = false;
    for (let at = 0; at < nids.length; at += STATE_EVENTS_AT_ONCE) {
      const some = nids.slice(at, at + STATE_EVENTS_AT_ONCE);
      const events =
        nids.length > STATE_EVENTS_AT_ONCE ? await loader.load(some.map((nid) => ({ room: plan.room, nid }))) : loaded;
      const state = some.map((nid) => events.get(nid)).filter((event) => event !== undefined);
      const shown = await this.#asShown(
        plan,
        filter.state === undefined ? state : state.filter((event) => filter.state?.(event) === true),
      );
      if (shown.length === 0) continue;
      texts.push(shown.map((one) => encoder.event(one, { userId, deviceId }, filter)).join(','));
      hasMembers ||= shown.some(({ event }) => isMember(event));
    }
    return { json: texts.join(','), isEmpty: texts.length === 0, hasMembers };
  }

  /** State events as the reader may see them: for a present member nothing is read. */
  async #asShown({ room, member, section }: RoomPlan, state: readonly StoredEvent[]): Promise<readonly VisibleEvent[]> {
    if (state.length === 0) return [];
    const { visibility } = this.#options;
    return section === 'join'
      ? visibility.asStateOfMember(room, member, state)
      : visibility.asState(room, member.userId, state);
  }

  /** Positions of the state events to send, after filter and lazy-loading. */
  #stateEvents(
    draft: SectionDraft,
    changes: StateChanges | undefined,
    request: SectionRequest,
    names: Names,
  ): number[] {
    const { filter, user } = request;
    const { plan, window, events } = draft;
    if (changes === undefined || !filter.stateRoom(plan.room.roomId)) return [];
    // With `use_state_after` clients take no state from the timeline: the leave must be in the state, too.
    // And it is not in the timeline when state resolution restored an older leave.
    if (plan.onlyLeave) {
      const isShown = request.stateAfter === undefined && events.length > 0;
      return isShown || plan.member.event === 0 ? [] : [plan.member.event];
    }
    if (!filter.lazyLoadMembers) return [...changes.others, ...changes.members];
    const sent = user.sentMembers(request.deviceId ?? '');
    const keep = (userId: string, nid: number): boolean => {
      // A user who rejoins a room gets all of its state.
      const isRedundant = sent.add(memberKey(plan, userId), nid, request.answer);
      return !isRedundant || plan.isFull || filter.includeRedundantMembers;
    };
    const members = new Set<number>();
    // Changes in a gap, or hidden from the timeline, are always sent.
    if (!plan.isFull && (window.limited || window.hiddenState.length > 0 || request.stateAfter !== undefined))
      for (const nid of changes.members) members.add(nid);
    const wanted = membersWanted(draft, user.userId);
    const inTimeline = new Set(events.map(({ event }) => event.nid));
    for (const userId of wanted) {
      const skey = names.peekStateKey('m.room.member', userId);
      const nid = skey === undefined ? undefined : changes.base.get(skey);
      if (nid === undefined || (request.stateAfter === undefined && inTimeline.has(nid))) continue;
      if (keep(userId, nid)) members.add(nid);
    }
    return [...changes.others, ...members];
  }

  /**
   * What is bundled with the events of limited timelines; a client that has seen everything else adds that up itself.
   * "GET /sync when the relevant section has a limited value of true". Client-Server API, "Aggregations of child events".
   */
  async #relations(
    drafts: readonly SectionDraft[],
    request: SectionRequest,
    ignored: ReadonlySet<string>,
  ): Promise<ReadonlyMap<SectionDraft, Relations>> {
    const found = new Map<SectionDraft, Relations>();
    const limited = drafts.filter(({ window, events }) => window.limited && events.length > 0);
    if (limited.length === 0) return found;
    const { relations } = this.#options;
    if (limited.length > 1) {
      await relations.prepare(
        limited.flatMap(({ plan: { room }, events }) => events.map(({ event }) => ({ room, event }))),
      );
    }
    const reader = { userId: request.userId, deviceId: request.deviceId };
    let characters = 0;
    for (const draft of limited) {
      // What is left out is read as relations.
      if (characters >= this.#options.bytes.response) break;
      const events = draft.events.map(({ event }) => event);
      const bundles = await relations.bundle(draft.plan.room, reader, events, { withRoomId: false, ignored });
      if (bundles.size > 0) found.set(draft, bundles);
      for (const bundle of bundles.values()) characters += bundle.length;
    }
    return found;
  }

  #encode(
    { plan, window, events, sticky }: SectionDraft,
    state: StateText,
    request: SectionRequest,
    relations: Relations | undefined,
  ): Part {
    const { encoder } = this.#options;
    const { filter } = request;
    const { room, member } = plan;
    const isGap = window.limited || window.hiddenState.length > 0;
    const reader = { userId: request.userId, deviceId: request.deviceId };
    const members: Record<string, string> = {};
    members[request.stateAfter ?? 'state'] = `{"events":[${state.json}]}`;
    const timeline = encoder.timeline(room, events, reader, filter, relations, sticky?.view);
    const first = events[0]?.event;
    const begin = beginOfTimeline(room, first, plan.upTo, plan.upTo);
    members['timeline'] = `{"events":[${timeline}],"limited":${window.limited},"prev_batch":"${begin}"}`;
    if (
      plan.section === 'join' &&
      (plan.isFull || isCompleted(plan) || summaryChanged(events) || (isGap && state.hasMembers))
    ) {
      const summary: Record<string, unknown> = {
        'm.joined_member_count': room.joinedCount,
        'm.invited_member_count': room.invitedCount,
      };
      if (!isNamed(room)) summary['m.heroes'] = heroesOf(room, request.userId);
      members['summary'] = JSON.stringify(summary);
    }
    const isEmpty = !plan.isFull && !isCompleted(plan) && events.length === 0 && state.isEmpty && !window.limited;
    // The leave is sent even if the filter excludes it, unless state resolution ended, without an event, a membership that was no join.
    return { members, isNews: !isEmpty || (plan.section === 'leave' && !(plan.onlyLeave && member.event === 0)) };
  }
}

/** The state to send of a room, as JSON texts of events. */
interface StateText {
  readonly json: string;
  readonly isEmpty: boolean;
  readonly hasMembers: boolean;
}

/** A room, and its part. */
type RoomAndPart = readonly [RoomPlan, Part];

/** How many bytes of events a response still has room for. */
interface ByteBudget {
  bytes: number;
}

/** One response. */
class RoomEventsView implements SectionView {
  readonly #request: SectionRequest;
  readonly #common: SharedTimelines;
  readonly #senders: WeakMap<RoomPlan, readonly string[]>;
  readonly #budget: ByteBudget;
  readonly #read: (plans: readonly RoomPlan[], budget: ByteBudget) => Promise<readonly RoomAndPart[]>;
  #parts: Map<RoomPlan, Part> | undefined;

  /**
   * @param senders notes the senders in rooms whose timelines are shared
   * @param read makes the parts of the other rooms
   */
  constructor(
    request: SectionRequest,
    common: SharedTimelines,
    senders: WeakMap<RoomPlan, readonly string[]>,
    bytes: number,
    read: (plans: readonly RoomPlan[], budget: ByteBudget) => Promise<readonly RoomAndPart[]>,
  ) {
    this.#request = request;
    this.#common = common;
    this.#senders = senders;
    this.#budget = { bytes };
    this.#read = read;
  }

  prepare(rooms: readonly RoomPlan[]): Eventually<void> {
    let others: RoomPlan[] | undefined;
    for (const plan of rooms) {
      if (plan.section !== 'join' && plan.section !== 'leave') continue;
      const left = Math.floor(this.#budget.bytes / rooms.length);
      const news = this.#common.of(plan, this.#request, left);
      if (news === undefined) (others ??= []).push(plan);
      else {
        this.#budget.bytes -= news.bytes;
        (this.#parts ??= new Map()).set(plan, news.part);
        if (this.#request.filter.profileFields !== undefined) this.#senders.set(plan, news.senders);
      }
    }
    return others === undefined ? undefined : this.#prepareOthers(others);
  }

  async #prepareOthers(plans: readonly RoomPlan[]): Promise<void> {
    for (const [plan, part] of await this.#read(plans, this.#budget)) (this.#parts ??= new Map()).set(plan, part);
  }

  room(plan: RoomPlan): Part | undefined {
    const part = this.#parts?.get(plan);
    this.#parts?.delete(plan);
    return part;
  }
}

/** Whose member events go with a timeline when members are loaded lazily. Client-Server API, "Lazy-loading room members". */
const membersWanted = ({ plan, events, sticky }: SectionDraft, userId: string): ReadonlySet<string> => {
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
