import { setImmediate } from 'node:timers/promises';
import { Tally } from '#src/kernel/tally.ts';
import { type Eventually, isPromise, perform, type Steps } from '#src/kernel/concurrency/steps.ts';
import type { Timers } from '#src/kernel/timers.ts';
import { covers, ORIGIN, type RoomsBehind, type SyncPosition } from '#src/protocol/wire/position.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import type { AccountDataService } from '#src/services/user-data/account-data/account-data-service.ts';
import type { UserAccountData } from '#src/services/user-data/account-data/user-account-data.ts';
import { ignoredBy } from '#src/services/user-data/account-data/ignored-users.ts';
import type { LargeSyncs } from './large-syncs.ts';
import type { SyncPlanner } from './plan.ts';
import type { Part, Section, SectionRequest } from './section.ts';
import { SectionOpener, type Views } from './section-opener.ts';
import type { Answer } from './sent-to-client.ts';
import { behindAfter, earlierRequest, mayCut, type Stretch, stretchesOf } from './stretches.ts';
import type { SectionPart, SyncEncoder } from './sync-encoder.ts';
import type { SyncFilters } from './sync-filter.ts';
import type { SyncRequest, SyncResult } from './sync-request.ts';
import type { EphemeralSource } from './sync-sources.ts';
import type { SyncUser } from './sync-user.ts';
import type { SyncUsers } from './sync-users.ts';
import { tellRooms } from './tell-rooms.ts';
import { SyncWait } from './wait.ts';

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
  readonly #opener: SectionOpener;
  /** The newest end of a response: the same object for all that end there. */
  #end: SyncPosition | undefined;

  constructor(options: SyncEngineOptions) {
    this.#options = options;
    this.#opener = new SectionOpener(options.sections, options.users, options.ephemeral);
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
          ? ((yield largeSyncs.run(request, async () =>
              perform(this.#compute(user, request, encoder(), () => largeSyncs.pause(request))),
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

  /** @param pause lets others have their turn between some rooms and the next */
  *#compute<Body>(
    user: SyncUser,
    request: SyncRequest,
    encoder: SyncEncoder<Body>,
    pause: () => Promise<void> = setImmediate,
  ): Steps<SyncResult<Body>> {
    const { accountData, planner, sections } = this.#options;
    const { userId, since } = request;
    const data = accountData.peek(userId) ?? ((yield accountData.load(userId)) as UserAccountData);
    const answer: Answer = { end: undefined };
    // Only for the request as a whole: what the client knows nothing of may be the rest of an answer whose first part it has.
    if (since === undefined || request.fullState) user.forgetSentMembers(request.deviceId ?? '');
    else user.acknowledgeMembers(request.deviceId ?? '', since);
    const common = this.#requestOf(user, request, data, since, answer);
    const known = since === undefined || request.fullState ? undefined : user.versionAt(since);
    const views: Views = sections.map(() => undefined);
    for (let reading = this.#opener.open(views, common, since, known); reading !== undefined;) {
      yield reading;
      // Open sections that woke meanwhile, too.
      reading = this.#opener.open(views, common, since, known);
    }
    let behind: Pick<Stretch, 'common' | 'views'>[] | undefined;
    if (since?.rooms !== undefined)
      for (const rooms of since.rooms) {
        const earlier = this.#requestOf(user, earlierRequest(request, rooms), data, since, answer);
        // A section without parts for rooms may note whom they show: its one view sees all of them.
        const opened = sections.map(({ hasRoomParts }, index) => (hasRoomParts === false ? views[index] : undefined));
        const reading = this.#opener.open(
          opened,
          earlier,
          undefined,
          undefined,
          ({ hasRoomParts }) => hasRoomParts !== false,
        );
        if (reading !== undefined) yield reading;
        (behind ??= []).push({ common: earlier, views: opened });
      }
    // One turn of the event loop from here to the plan: the response contains nothing after this end.
    const end = this.#endNow();
    const stretches = stretchesOf(planner, { common, views }, behind, since?.rooms, end);
    user.noteSent(end);

    let isEmpty = true;
    let left = this.#options.mostBytes;
    let rest: readonly RoomsBehind[] | undefined;
    for (let index = 0; index < stretches.length; index++) {
      const stretch = stretches[index] as Stretch;
      const target = { encoder, pause, most: left, mayCut: mayCut(index, stretches.length) };
      const told = yield* tellRooms(planner, sections, stretch, data, end, target);
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
}

const NOTHING_CHANGED = (): boolean => false;
const nameOf = (sections: readonly Section[], index: number): string => (sections[index] as Section).name;

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
