import { Tally } from '#src/kernel/tally.ts';
import { setImmediate } from 'node:timers/promises';
import { type Eventually, isPromise, perform, type Steps } from '#src/kernel/concurrency/steps.ts';
import type { Timers } from '#src/kernel/timers.ts';
import {
  covers,
  MAX_ROOMS_BEHIND,
  ORIGIN,
  type PositionVector,
  type RoomsBehind,
  shardOfName,
  type SyncPosition,
} from '#src/protocol/wire/position.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import type { AccountDataService } from '#src/services/user-data/account-data/account-data-service.ts';
import type { UserAccountData } from '#src/services/user-data/account-data/user-account-data.ts';
import { ignoredBy } from '#src/services/user-data/account-data/ignored-users.ts';
import type { LargeSyncs } from './large-syncs.ts';
import type { SyncPlan, SyncPlanner } from './plan.ts';
import { isInMemory, type PlannedRoom, type RoomPlan } from './room-plan.ts';
import type { Part, Section, SectionRequest, SectionView } from './section.ts';
import type { Answer } from './sent-to-client.ts';
import type { SectionPart, SyncEncoder } from './sync-encoder.ts';
import type { SyncFilters } from './sync-filter.ts';
import type { SyncRequest, SyncResult } from './sync-request.ts';
import type { EphemeralSource } from './sync-sources.ts';
import type { SyncUser } from './sync-user.ts';
import type { SyncUsers } from './sync-users.ts';
import { SyncWait } from './wait.ts';

/** Rooms that are read together: as many statements for all of them as for one. */
const ROOMS_AT_ONCE = 100;
/** Rooms that are not in memory are read so many at a time at most. */
const ROOMS_READ_AT_ONCE = 2_000;
/** About how many bytes a member event takes, and how many of a room are told that the client knows. */
const BYTES_OF_MEMBER = 500;
const BYTES_OF_KNOWN_ROOM = 16_384;
/** Stands for counts of another run of the process: nothing that was ephemeral is known. */
const NOTHING_EPHEMERAL = { run: '0', count: 0 };

export interface SyncEngineOptions {
  readonly users: SyncUsers;
  readonly writer: Pick<Writer, 'committed'>;
  readonly ephemeral: EphemeralSource;
  readonly timers: Timers;
  readonly filters: SyncFilters;
  readonly planner: SyncPlanner;
  readonly accountData: Pick<AccountDataService, 'peek' | 'load'>;
  readonly largeSyncs: LargeSyncs;
  /** In the order in which they are written. */
  readonly sections: readonly Section[];
  /** Bytes of rooms after which an answer ends: the other rooms come with the next one. */
  readonly mostBytes: number;
}

/** Rooms that are told from one position on: by number, above `from` and up to `to`. */
interface Stretch {
  readonly from: number;
  readonly to: number;
  readonly common: SectionRequest;
  readonly views: (SectionView | undefined)[];
  readonly plan: SyncPlan;
}

/** Placeholder for a section that was not opened: it has no changes. */
const QUIET = undefined;

/**
 * The engine behind /sync and the WebSocket API: given a position, it collects everything that is new for a user since then, and the
 * position up to which that is. Sections know the content, encoders the format. Client-Server API, "Syncing".
 *
 * A message in a large room wakes all its members at the same moment. So sections that have no news for a user are not asked
 * (`SyncUser`), what is in memory is answered without a promise, and what is the same for all members is written once.
 */
export class SyncEngine {
  readonly #options: SyncEngineOptions;
  /** Counter of responses: initial, with changes, and empty after the timeout. */
  readonly counts = new Tally('initial', 'news', 'empty');
  /** Requests that wait for news. */
  waiting = 0;
  /** The newest end of a response: the same object for all that end there. */
  #end: SyncPosition | undefined;

  constructor(options: SyncEngineOptions) {
    this.#options = options;
    const cursors = options.sections.flatMap(({ cursor }) => cursor ?? []);
    if (new Set(cursors).size !== cursors.length || cursors.some((cursor) => !/^[a-z]$/.test(cursor)))
      throw new Error(`the cursors of sections must be different lower-case letters: ${cursors.join(' ')}`);
    for (const [index, section] of options.sections.entries()) section.listen?.(options.users.wakerOf(index));
  }

  /**
   * Responds at once when there are changes, else waits until the timeout. When everything is in memory, the result is not a
   * promise.
   */
  sync<Body>(request: SyncRequest, encoder: () => SyncEncoder<Body>): Eventually<SyncResult<Body>> {
    return perform(this.#sync(request, encoder));
  }

  *#sync<Body>(request: SyncRequest, encoder: () => SyncEncoder<Body>): Steps<SyncResult<Body>> {
    const { largeSyncs, timers, users } = this.#options;
    const user = users.peek(request.userId) ?? ((yield users.open(request.userId)) as SyncUser);
    const isLarge = request.since === undefined || request.since.rooms !== undefined || request.fullState;
    if (!isLarge && request.timeout <= 0) {
      const result = yield* this.#compute(user, request, encoder());
      this.counts.add(result.isEmpty ? 'empty' : 'news');
      return result;
    }
    user.hold();
    const wait = new SyncWait(timers, user, isLarge ? 0 : request.timeout, request.signal);
    try {
      for (;;) {
        const { version } = user;
        const result = isLarge
          ? ((yield largeSyncs.run(request.userId, async () =>
              perform(this.#compute(user, request, encoder())),
            )) as SyncResult<Body>)
          : yield* this.#compute(user, request, encoder());
        if (!result.isEmpty || wait.isOver) {
          this.counts.add(isLarge ? 'initial' : result.isEmpty ? 'empty' : 'news');
          return result;
        }
        // Changes arrived during the computation: compute again without waiting.
        this.waiting += 1;
        try {
          yield wait.since(version);
        } finally {
          this.waiting -= 1;
        }
      }
    } finally {
      wait.end();
      user.release();
    }
  }

  *#compute<Body>(user: SyncUser, request: SyncRequest, encoder: SyncEncoder<Body>): Steps<SyncResult<Body>> {
    const { accountData, sections } = this.#options;
    const { userId, since } = request;
    const data = accountData.peek(userId) ?? ((yield accountData.load(userId)) as UserAccountData);
    const answer: Answer = { end: undefined };
    // Only for the request as a whole: what the client knows nothing of may be the rest of an answer whose first part it has.
    if (since === undefined || request.fullState) user.forgetSentMembers(request.deviceId ?? '');
    else user.acknowledgeMembers(request.deviceId ?? '', since);
    const common = this.#requestOf(user, request, data, since, answer);
    const known = since === undefined || request.fullState ? undefined : user.versionAt(since);
    const views: (SectionView | undefined)[] = sections.map(() => QUIET);
    for (let reading = this.#open(views, common, since, known); reading !== undefined;) {
      yield reading;
      // Open sections that woke meanwhile, too.
      reading = this.#open(views, common, since, known);
    }
    let behind: { readonly common: SectionRequest; readonly views: (SectionView | undefined)[] }[] | undefined;
    if (since?.rooms !== undefined)
      for (const rooms of since.rooms) {
        const earlier = this.#requestOf(user, earlierRequest(request, rooms), data, since, answer);
        // A section without parts for rooms may note whom they show: its one view sees all of them.
        const opened = sections.map(({ tellsOfRooms }, index) => (tellsOfRooms === false ? views[index] : QUIET));
        const reading = this.#open(opened, earlier, undefined, undefined, ({ tellsOfRooms }) => tellsOfRooms !== false);
        if (reading !== undefined) yield reading;
        (behind ??= []).push({ common: earlier, views: opened });
      }
    // One turn of the event loop from here to the plan: the response contains nothing after this end.
    const end = this.#endNow();
    const stretches = this.#stretches({ common, views }, behind, since?.rooms, end);
    user.told(end);

    let isEmpty = true;
    let left = this.#options.mostBytes;
    let rest: readonly RoomsBehind[] | undefined;
    for (let index = 0; index < stretches.length; index++) {
      const stretch = stretches[index] as Stretch;
      const told = yield* this.#tell(stretch, data, end, encoder, left, this.#mayCut(index, stretches.length));
      if (told.hasNews) isEmpty = false;
      left -= told.bytes;
      const isLast = index === stretches.length - 1;
      if (told.cutAfter === undefined && (left > 0 || isLast)) continue;
      rest = behindAfter(stretches, index, told.cutAfter ?? stretch.to);
      break;
    }
    const general: SectionPart[] = [];
    for (let index = 0; index < views.length; index++) {
      const answer = views[index]?.general?.(end);
      const part = isPromise(answer) ? ((yield answer) as Part | undefined) : answer;
      if (part === undefined) continue;
      general.push({ section: nameOf(sections, index), part });
      if (part.isNews) isEmpty = false;
    }
    encoder.general(general);
    const next = withCursors(end, sections, general, rest);
    answer.end = next;
    // A response with a part of the rooms is followed at once by the next, even if no room is left.
    const isPart = rest !== undefined || since?.rooms !== undefined;
    return { body: encoder.end(next), next, isEmpty: isEmpty && !common.isInitial && !isPart };
  }

  /** What is planned in one turn of the event loop: all rooms from one position on, for almost everybody. */
  #stretches(
    first: Pick<Stretch, 'common' | 'views'>,
    behind: readonly Pick<Stretch, 'common' | 'views'>[] | undefined,
    rooms: readonly RoomsBehind[] | undefined,
    end: SyncPosition,
  ): readonly Stretch[] {
    const { planner } = this.#options;
    const { common, views } = first;
    if (rooms === undefined) {
      const plan = planner.plan(common, end, changedRooms(views, end));
      return [{ common, views, plan, from: 0, to: Infinity }];
    }
    const bounds = [0, ...rooms.map(({ after }) => after), Infinity];
    return [first, ...(behind ?? [])].map((part, index): Stretch => {
      const [from = 0, to = Infinity] = bounds.slice(index, index + 2);
      const isMeant = (nid: number): boolean => nid > from && nid <= to;
      const plan = planner.plan(part.common, end, changedRooms(part.views, end), isMeant);
      return { ...part, plan, from, to };
    });
  }

  /** A cut in the first stretch makes one more of them, any other one does not. */
  #mayCut(index: number, stretches: number): boolean {
    return index > 0 || stretches <= MAX_ROOMS_BEHIND;
  }

  /**
   * Tells the rooms of a stretch, in the order of their numbers where they might be too many.
   *
   * @param most bytes after which it ends, where it may
   * @returns the room after which it ended, where there are more
   */
  *#tell<Body>(
    { common, plan, views }: Stretch,
    data: UserAccountData,
    end: SyncPosition,
    encoder: SyncEncoder<Body>,
    most: number,
    mayCut: boolean,
  ): Steps<{ readonly hasNews: boolean; readonly bytes: number; readonly cutAfter: number | undefined }> {
    const { planner, sections } = this.#options;
    const planned = planner.rooms(plan, common, data);
    const unordered = isPromise(planned) ? ((yield planned) as readonly PlannedRoom[]) : planned;
    const rooms = unordered.length > 1 ? unordered.toSorted((a, b) => a.room.nid - b.room.nid) : unordered;
    let hasNews = false;
    let bytes = 0;
    let ready: readonly RoomPlan[] = [];
    for (let at = 0, next = 0; at < rooms.length || next < ready.length;) {
      if (next === ready.length) {
        next = 0;
        if (areInMemory(rooms)) {
          ready = rooms;
          at = rooms.length;
        } else {
          const reading = planner.read(rooms.slice(at, at + ROOMS_READ_AT_ONCE));
          const read = (yield reading) as Awaited<typeof reading>;
          ready = read.rooms;
          at += read.looked;
          if (ready.length === 0) continue;
        }
      }
      const some = ready.length === 1 ? ready : takeTogether(ready, next, common, most - bytes);
      next += some.length;
      for (const view of views) {
        const preparing = view?.prepare?.(some, end);
        if (preparing !== undefined) yield preparing;
      }
      for (const room of some) {
        const parts: SectionPart[] = [];
        let isNews = false;
        for (let index = 0; index < views.length; index++) {
          const answer = views[index]?.room?.(room, end);
          const part = isPromise(answer) ? ((yield answer) as Part | undefined) : answer;
          if (part === undefined) continue;
          parts.push({ section: nameOf(sections, index), part });
          if (part.isNews) isNews = true;
        }
        if (!isNews) continue;
        encoder.room(room, parts);
        hasNews = true;
        for (const { part } of parts) bytes += lengthOf(part);
      }
      if (at === rooms.length && next === ready.length) break;
      if (mayCut && bytes >= most) return { hasNews, bytes, cutAfter: some.at(-1)?.room.nid };
      // Where everything is in memory, no other request would run before the last room.
      yield setImmediate();
    }
    return { hasNews, bytes, cutAfter: undefined };
  }

  #endNow(): SyncPosition {
    const { ephemeral, writer } = this.#options;
    const vector = writer.committed();
    const count = ephemeral.current;
    if (this.#end?.vector !== vector || this.#end.ephemeral.count !== count)
      this.#end = { vector, ephemeral: { run: ephemeral.run, count } };
    return this.#end;
  }

  #requestOf(
    user: SyncUser,
    { deviceId, filter, fullState, since, stateAfter, userId }: SyncRequest,
    data: UserAccountData,
    acknowledged: SyncPosition | undefined,
    answer: Answer,
  ): SectionRequest {
    const { ephemeral, filters } = this.#options;
    const vector = since?.vector ?? ORIGIN;
    const isUnchanged = since === undefined || covers(vector, data.latest);
    return {
      user,
      userId,
      deviceId,
      filter: filters.of(filter),
      since: vector,
      acknowledged,
      answer,
      // Everything ephemeral of another run of the process is forgotten: such a reader has seen nothing of this one.
      sinceCount: since?.ephemeral.run === ephemeral.run ? since.ephemeral.count : 0,
      isInitial: since === undefined,
      fullState,
      stateAfter,
      ignored: () => ignoredBy(data),
      hasChanged: isUnchanged ? NOTHING_CHANGED : (type) => !covers(vector, data.entry(0, type)?.pos ?? 0),
    };
  }

  /**
   * Opens the sections that are not open yet, but for those of which it is known that they have nothing to tell; those that have
   * something to read do so at the same time.
   *
   * @param known the version of the user that the client knows, if that is remembered
   * @param isMeant which sections to open; all when left out
   * @returns what is to be waited for; undefined when all are open
   */
  #open(
    views: (SectionView | undefined)[],
    common: SectionRequest,
    since: SyncPosition | undefined,
    known: number | undefined,
    isMeant?: (section: Section) => boolean,
  ): Promise<unknown> | undefined {
    const { sections, users } = this.#options;
    let reading: Promise<unknown>[] | undefined;
    for (let index = 0; index < sections.length; index++) {
      const section = sections[index];
      if (section === undefined || views[index] !== undefined || isMeant?.(section) === false) continue;
      const isQuiet = section.opensOnlyWhenWoken === true && known !== undefined;
      if (isQuiet && !users.mayHaveNews(common.user, index, known)) continue;
      const behind = section.cursor === undefined ? undefined : since?.behind?.[section.cursor];
      const view = section.open(behind === undefined ? common : this.#behind(common, section, since, behind));
      if (isPromise(view)) (reading ??= []).push(view.then((opened) => (views[index] = opened)));
      else views[index] = view;
    }
    return reading === undefined ? undefined : Promise.all(reading);
  }

  /** The request for a section that is behind the others. */
  #behind(
    common: SectionRequest,
    { keepsRemainder }: Section,
    since: SyncPosition | undefined,
    behind: number,
  ): SectionRequest {
    if (keepsRemainder === true)
      return { ...common, rest: since?.ephemeral.run === this.#options.ephemeral.run ? behind : 0 };
    return { ...common, since: lowered(common.since, shardOfName(common.userId), behind) };
  }
}

const NOTHING_CHANGED = (): boolean => false;
const NO_ROOMS: ReadonlySet<number> = new Set();

/** Rooms with changes in a section. */
const changedRooms = (views: readonly (SectionView | undefined)[], end: SyncPosition): ReadonlySet<number> => {
  let changed: Set<number> | undefined;
  for (const view of views) {
    const rooms = view?.changedRooms?.(end);
    if (rooms === undefined) continue;
    for (const nid of rooms) (changed ??= new Set()).add(nid);
  }
  return changed ?? NO_ROOMS;
};

const nameOf = (sections: readonly Section[], index: number): string => (sections[index] as Section).name;

const lowered = (vector: PositionVector, shard: number, position: number): PositionVector =>
  vector.with(shard, Math.min(vector[shard] ?? 0, position));

/** The same request for rooms that are behind the others. */
const earlierRequest = (request: SyncRequest, { fullState, since }: RoomsBehind): SyncRequest => {
  const isNew = since.every((position, shard) => position === ORIGIN[shard]);
  return {
    ...request,
    since: isNew ? undefined : { vector: since, ephemeral: NOTHING_EPHEMERAL },
    fullState: fullState || request.fullState,
  };
};

/** Rooms that are behind the others when a response ends after the room with this number. */
const behindAfter = (stretches: readonly Stretch[], index: number, after: number): readonly RoomsBehind[] => {
  const untold = stretches.slice(index).map(({ common, from }, place): RoomsBehind => ({
    after: place === 0 ? after : from,
    since: common.since,
    fullState: common.fullState,
  }));
  // Of a stretch that was told to its end nothing is left.
  return stretches[index]?.to === after ? untold.slice(1) : untold;
};

/** The rooms that are read together from a place on: those of which no more is told than about as much as may be, and one in any case. */
const takeTogether = (
  rooms: readonly RoomPlan[],
  at: number,
  { filter, fullState }: SectionRequest,
  most: number,
): readonly RoomPlan[] => {
  let weight = 0;
  let to = at;
  while (to < rooms.length && to < at + ROOMS_AT_ONCE) {
    const { isFull, room } = rooms[to] as RoomPlan;
    const members = filter.lazyLoadMembers ? 0 : BYTES_OF_MEMBER * room.members.size;
    weight += isFull || fullState ? room.stateBytes() + members : BYTES_OF_KNOWN_ROOM;
    if (weight > most && to > at) break;
    to += 1;
  }
  return rooms.slice(at, to);
};

const areInMemory = (rooms: readonly PlannedRoom[]): rooms is readonly RoomPlan[] => rooms.every(isInMemory);

const lengthOf = ({ events = [], members = {} }: Part): number => {
  let length = 0;
  for (const name in members) length += members[name]?.length ?? 0;
  for (const event of events) length += event.length;
  return length;
};

/** The end of a response, with where the sections continue that could not tell everything, and the rooms that did not fit. */
const withCursors = (
  end: SyncPosition,
  sections: readonly Section[],
  general: readonly SectionPart[],
  rooms: readonly RoomsBehind[] | undefined,
): SyncPosition => {
  let behind: Record<string, number> | undefined;
  for (const { section, part } of general) {
    if (part.until === undefined) continue;
    const cursor = sections.find(({ name }) => name === section)?.cursor;
    if (cursor !== undefined) (behind ??= {})[cursor] = part.until;
  }
  if (behind === undefined && rooms === undefined) return end;
  return { ...end, ...(behind === undefined ? {} : { behind }), ...(rooms === undefined ? {} : { rooms }) };
};
