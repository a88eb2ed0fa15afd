import type { PositionVector } from '#src/protocol/wire/position.ts';
import type { LoopYield } from '#src/kernel/event-loop/loop-yield.ts';
import { NO_FILTER } from '#src/protocol/filters/parse-filter.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { isCompleted, type RoomPlan } from '../engine/room-plan.ts';
import type { SectionRequest } from '../engine/section.ts';
import type { SyncFilter, SyncFilters } from '../engine/sync-filter.ts';
import { beginOfTimeline } from '../sections/timeline-window.ts';
import type { EventEncoder } from '../sections/event-encoder.ts';
import { heroesOf } from '../sections/room-summary.ts';
import type { StrippedStateSource } from '../sections/stripped-state.ts';
import type { SectionDraft, VisibleTimelines } from '../sections/visible-timelines.ts';
import type { SentRoom } from './connection.ts';
import type { Hero, RoomAnswer } from './room-answer.ts';
import {
  type Candidate,
  RoomSpans,
  type RoomSpansOptions,
  type Span,
  totals,
  type UnreadCounts,
  type WantedRoom,
} from './room-spans.ts';
import { isNewsAfter, newMembersIn, removedOf, type SentState, stateToSend } from './sent-state.ts';
import type { LeftRooms } from './left-rooms.ts';
import { CHARACTERS_OF_LOOK } from './room-lists.ts';
import { NOTHING_RESOLVED, type Resolved, type ResolvedStates } from './resolved-state.ts';

/** About how many bytes a member event has. */
const BYTES_OF_MEMBER = 500;
/** What else there is to do for a room takes as long as writing so many characters. */
const CHARACTERS_OF_ROOM = 1_000;

/** A room of an answer. */
export interface AnsweredRoom {
  readonly answer: RoomAnswer;
  /** What the client will know of it. */
  readonly sent: SentRoom;
  /** Members who are new to the client; undefined for all, where all are wanted. */
  readonly met: readonly string[] | undefined;
}

export interface SlidingRoomsOptions extends RoomSpansOptions {
  /** Bytes of states of an answer. */
  readonly mostBytes: number;
  readonly loader: EventLoader;
  readonly filters: SyncFilters;
  readonly timelines: VisibleTimelines;
  readonly encoder: EventEncoder;
  readonly stripped: StrippedStateSource;
  readonly left: LeftRooms;
  readonly resolved: ResolvedStates;
}

/** Computes the rooms of an answer. All of them are read together. */
export class SlidingRooms {
  readonly #options: SlidingRoomsOptions;
  readonly #spans: RoomSpans;
  readonly #byLimit = new Map<number, SyncFilter>();

  constructor(options: SlidingRoomsOptions) {
    this.#options = options;
    this.#spans = new RoomSpans(options);
  }

  /**
   * The rooms with news, with what the client will know of them. If their states exceed the size of an answer, only the first of these rooms: the
   * others stay as they are, and come with a later answer.
   *
   * @param before the position up to which the connection knows everything; undefined for nothing
   * @param loopYield called with the number of characters written
   */
  async read(
    rooms: readonly WantedRoom[],
    request: Pick<SectionRequest, 'user' | 'userId' | 'deviceId' | 'ignored'>,
    before: PositionVector | undefined,
    end: { readonly vector: PositionVector; readonly count: number },
    isDirect: (room: Pick<Room, 'roomId'>) => boolean,
    loopYield: LoopYield,
  ): Promise<{ readonly answered: readonly AnsweredRoom[]; readonly deferred: ReadonlySet<number> }> {
    const { unread } = this.#options;
    const candidates = await this.#spans.candidates(rooms, request.userId, end.vector, isDirect, loopYield);
    const { spans, deferred } = await this.#thatFit(candidates, request.userId, end.vector, loopYield);
    if (spans.length === 0) return { answered: [], deferred };
    const drafts = await this.#drafts(spans, request);
    const joined = spans.filter(({ plan }) => plan.section === 'join').map(({ plan }) => plan.room);
    if (joined.length > 1) await unread.load(request.userId, joined);
    const leaves = spans.filter(({ plan }) => plan.section === 'leave');
    const atLeave = await this.#options.left.states(leaves.map(({ plan, wanted }) => ({ plan, state: wanted.state })));
    const resolved = await this.#resolved(spans);
    const state: SentState[] = [];
    for (const span of spans) {
      const { plan } = span;
      state.push(
        await stateToSend(span, drafts.get(span), request.userId, atLeave.get(plan), loopYield, resolved.get(span)),
      );
    }
    const heroes = spans.map((span) => {
      const { plan, isInitial } = span;
      const isNews =
        isInitial ||
        changesHeroes(drafts.get(span)) ||
        isNewsAfter(plan.after, nameOf(plan.room)) ||
        resolved.has(span) ||
        isCompleted(span.plan);
      const showsHeroes = plan.section === 'join' && isNews && !isNamed(plan.room);
      return showsHeroes ? heroesOf(plan.room, request.userId) : [];
    });
    const loaded = await this.#options.loader.load(
      spans.flatMap((span, index) => {
        const { room } = span.plan;
        return [
          ...(state[index]?.nids ?? []).map((nid) => ({ room, nid })),
          ...Array.from(resolved.get(span)?.removed ?? [], (nid) => ({ room, nid })),
          ...(heroes[index] ?? []).flatMap((userId) => {
            const nid = room.member(userId)?.event ?? 0;
            return nid === 0 ? [] : [{ room, nid }];
          }),
        ];
      }),
    );
    const beside = await Promise.all(
      spans.map(async (span) => ({
        counts: await this.#counts(span, request.userId),
        strippedState: await this.#stripped(span, request.userId),
      })),
    );
    const answered: AnsweredRoom[] = [];
    for (const [index, span] of spans.entries()) {
      const { counts, strippedState } = beside[index] as (typeof beside)[number];
      const { nids, lazy } = state[index] ?? { nids: [], lazy: new Map<string, number>() };
      const isDm = isDirect(span.plan.room);
      const requiredState = await this.#requiredState(span, nids, loaded, request, loopYield);
      const answer: RoomAnswer = {
        ...this.#answer(span, drafts.get(span), request, before, atLeave.get(span.plan), resolved.get(span)),
        requiredState,
        removedState: removedOf(span, resolved.get(span), loaded),
        heroes:
          heroes[index]?.length === 0
            ? undefined
            : heroes[index]?.map((userId) => heroOf(span.plan.room, userId, loaded)),
        isDm: isDm || span.wanted.sent?.isDm === true ? isDm : undefined,
        strippedState,
        ...counts,
      };
      const sent: SentRoom = {
        vector: end.vector,
        count: end.count,
        timelineLimit: span.wanted.timelineLimit,
        wanted: span.wanted.state.key,
        membership: span.plan.member.membership,
        isDm,
        lazy,
        ...counts,
      };
      answered.push({ answer, sent, met: newMembersIn(span, lazy, loaded, nids) });
      await loopYield.after(CHARACTERS_OF_ROOM + (answer.timeline?.length ?? 0));
    }
    return { answered, deferred };
  }

  /** The first rooms that have news, as many as fit, and the numbers of the others. */
  async #thatFit(
    candidates: readonly Candidate[],
    userId: string,
    end: PositionVector,
    loopYield: LoopYield,
  ): Promise<{ readonly spans: readonly Span[]; readonly deferred: ReadonlySet<number> }> {
    let spans: readonly Span[] = [];
    let at = 0;
    while (spans.length === 0 && at < candidates.length) {
      const read = await this.#spans.read(candidates.slice(at), userId, end);
      at += read.looked;
      spans = read.spans;
    }
    if (spans.length === 0) return { spans, deferred: NONE };
    const first = await firstOf(spans, userId, this.#options.mostBytes, loopYield);
    const deferred = [
      ...spans.slice(first.length).map(({ plan }) => plan.room.nid),
      ...candidates.slice(at).map(({ wanted }) => wanted.listed.room.nid),
    ];
    return { spans: first, deferred: deferred.length === 0 ? NONE : new Set(deferred) };
  }

  /** The state of a room in the answer; large states are written in several turns of the event loop. */
  async #requiredState(
    { plan: { member }, wanted }: Span,
    nids: readonly number[],
    loaded: ReadonlyMap<number, StoredEvent>,
    { userId, deviceId }: Pick<SectionRequest, 'userId' | 'deviceId'>,
    loopYield: LoopYield,
  ): Promise<readonly string[]> {
    const filter = this.filter(wanted.timelineLimit);
    const texts: string[] = [];
    for (const nid of nids) {
      const event = loaded.get(nid);
      if (event === undefined) continue;
      const membership = event.nid >= member.since ? member.membership : 'leave';
      const text = this.#options.encoder.event({ event, membership }, { userId, deviceId }, filter);
      texts.push(text);
      const turn = loopYield.after(text.length);
      if (turn !== undefined) await turn;
    }
    return texts;
  }

  /** What the resolution of forks changed in rooms that the client knows. */
  async #resolved(spans: readonly Span[]): Promise<ReadonlyMap<Span, Resolved>> {
    const stretches = spans.flatMap((span) => {
      const { isInitial, plan, wanted } = span;
      if (isInitial || plan.section !== 'join') return [];
      return [{ ...plan, span, after: wanted.sent?.vector[plan.room.shard] ?? 0 }];
    });
    const found = await this.#options.resolved.find(stretches);
    return new Map(Array.from(found, ([{ span }, resolved]) => [span, resolved]));
  }

  /** The timelines that are wanted, those of the same length together. */
  async #drafts(
    spans: readonly Span[],
    request: Pick<SectionRequest, 'user' | 'userId' | 'deviceId' | 'ignored'>,
  ): Promise<ReadonlyMap<Span, SectionDraft>> {
    const drafts = new Map<Span, SectionDraft>();
    const shown = spans.filter(({ plan }) => plan.section === 'join' || plan.section === 'leave');
    for (const [limit, group] of Map.groupBy(shown, ({ wanted }) => wanted.timelineLimit)) {
      const read = await this.#options.timelines.read(
        group.map(({ plan }) => plan),
        {
          ...request,
          filter: this.filter(limit),
          since: [],
          acknowledged: undefined,
          answer: { end: undefined },
          sinceCount: 0,
          isInitial: false,
          fullState: false,
          stateAfter: 'state_after',
          hasChanged: () => false,
        },
      );
      for (const [index, draft] of read.entries()) {
        const span = group[index];
        if (span !== undefined) drafts.set(span, draft);
      }
    }
    return drafts;
  }

  /** The filter that asks for timelines of a length. */
  filter(limit: number): SyncFilter {
    let filter = this.#byLimit.get(limit);
    if (filter === undefined) {
      const { room } = NO_FILTER;
      const timeline = { ...room.timeline, limit: Math.max(limit, 1) };
      const source = { ...NO_FILTER, room: { ...room, timeline } };
      this.#byLimit.set(limit, (filter = this.#options.filters.of(source)));
    }
    return filter;
  }

  #answer(
    { wanted, plan, isInitial, isExpanded }: Span,
    draft: SectionDraft | undefined,
    { userId, deviceId }: Pick<SectionRequest, 'userId' | 'deviceId'>,
    before: PositionVector | undefined,
    atLeave: readonly StoredEvent[] | undefined,
    resolved: Resolved = NOTHING_RESOLVED,
  ): Omit<
    RoomAnswer,
    'requiredState' | 'removedState' | 'heroes' | 'isDm' | 'strippedState' | 'notification' | 'highlight'
  > {
    const { encoder } = this.#options;
    const { room } = plan;
    const filter = this.filter(wanted.timelineLimit);
    const reader = { userId, deviceId };
    const events = wanted.timelineLimit === 0 ? [] : (draft?.events ?? []);
    const first = events[0]?.event;
    const known = before?.[room.shard] ?? 0;
    const hasTimeline = draft !== undefined && wanted.timelineLimit > 0;
    return {
      listed: wanted.listed,
      lists: wanted.lists,
      isInitial,
      isExpanded,
      name: shownText(plan, isInitial, atLeave, resolved, 'm.room.name', 'name'),
      avatar: shownText(plan, isInitial, atLeave, resolved, 'm.room.avatar', 'url'),
      timeline: hasTimeline ? encoder.timeline(room, events, reader, filter) : undefined,
      prevBatch: hasTimeline ? beginOfTimeline(room, first, plan.upTo) : undefined,
      isLimited: draft?.window.limited ?? false,
      live: before === undefined ? 0 : events.filter(({ event }) => event.nid > known).length,
    };
  }

  async #counts({ plan }: Span, userId: string): Promise<UnreadCounts> {
    if (plan.section !== 'join') return { notification: 0, highlight: 0 };
    return totals(await this.#options.unread.counts(userId, plan.room, plan.upTo));
  }

  async #stripped({ plan }: Span, userId: string): Promise<readonly object[] | undefined> {
    if (plan.section !== 'invite' && plan.section !== 'knock') return undefined;
    return this.#options.stripped.strippedStateFor(plan.room, userId);
  }
}

const isNamed = (room: Room): boolean => (room.stateText('m.room.name', 'name') ?? '') !== '';

const nameOf = (room: Room): StoredEvent | undefined => room.stateEvent('m.room.name', '');

/** A text of the state as the room's reader may see it: null when it was taken away, undefined when the client knows it. */
const shownText = (
  { room, section, after }: RoomPlan,
  isInitial: boolean,
  atLeave: readonly StoredEvent[] | undefined,
  { removed, restored }: Resolved,
  type: string,
  member: string,
): string | null | undefined => {
  const event =
    section === 'leave' ? atLeave?.find((one) => one.type === type && one.stateKey === '') : room.stateEvent(type, '');
  const value = event?.content[member];
  const text = typeof value === 'string' && value !== '' ? value : undefined;
  if (isInitial) return text;
  const isResolved = event === undefined ? removed.size > 0 : restored.has(event.nid);
  return isResolved || isNewsAfter(after, event) ? (text ?? null) : undefined;
};

const changesHeroes = (draft: SectionDraft | undefined): boolean =>
  draft?.events.some(({ event }) => event.type === 'm.room.member' || event.type === 'm.room.name') === true;

const heroOf = (room: Room, userId: string, loaded: ReadonlyMap<number, StoredEvent>): Hero => {
  const content = loaded.get(room.member(userId)?.event ?? 0)?.content;
  const text = (name: string): string | undefined => {
    const value = content?.[name];
    return typeof value === 'string' ? value : undefined;
  };
  return { userId, displayname: text('displayname'), avatarUrl: text('avatar_url') };
};

const NONE: ReadonlySet<number> = new Set();

/** The first rooms whose states have about as many bytes as an answer has, and one in any case. */
const firstOf = async (
  spans: readonly Span[],
  userId: string,
  most: number,
  loopYield: LoopYield,
): Promise<readonly Span[]> => {
  if (spans.length === 1) return spans;
  let bytes = 0;
  // All states that are smaller fit together: it is not looked at how much of them is told.
  const small = most / spans.length;
  for (const [index, span] of spans.entries()) {
    if (bytes >= most) return spans.slice(0, index);
    const { room } = span.plan;
    for (const name of span.wanted.lists) bytes += name.length;
    if (span.plan.section !== 'join' || room.stateBytes() + BYTES_OF_MEMBER * room.members.size < small) continue;
    const nids = new Set((await stateToSend(span, undefined, userId, undefined, loopYield)).nids);
    for (const { event } of room.state.values()) if (nids.delete(event.nid)) bytes += event.json.length;
    bytes += BYTES_OF_MEMBER * nids.size;
    await loopYield.after(CHARACTERS_OF_LOOK * room.state.size);
  }
  return spans;
};
