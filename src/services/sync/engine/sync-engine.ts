import { setImmediate } from 'node:timers/promises';
import type { Timers } from '#src/kernel/timers.ts';
import { covers, ORIGIN, type PositionVector, shardOfName, type SyncPosition } from '#src/protocol/wire/position.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import type { AccountDataService } from '#src/services/user-data/account-data/account-data-service.ts';
import type { UserAccountData } from '#src/services/user-data/account-data/user-account-data.ts';
import { ignoredBy } from '#src/services/user-data/account-data/ignored-users.ts';
import type { LargeSyncs } from './large-syncs.ts';
import type { SyncPlanner } from './plan.ts';
import type { Section, SectionRequest, SectionView } from './section.ts';
import type { SectionPart, SyncEncoder } from './sync-encoder.ts';
import type { SyncFilters } from './sync-filter.ts';
import type { SyncRequest, SyncResult } from './sync-request.ts';
import type { EphemeralSource } from './sync-sources.ts';
import type { SyncUser } from './sync-user.ts';
import type { SyncUsers } from './sync-users.ts';
import { NewsWait } from './wait.ts';

/** Rooms that are read together: as many statements for all of them as for one. */
const ROOMS_AT_ONCE = 100;

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
}

interface OpenSection {
  readonly section: Section;
  readonly view: SectionView;
}

/**
 * The engine behind /sync and the WebSocket API: given a position, everything that a user is to be told since then, and the
 * position up to which that is. What there is to tell it asks of sections; how it is written is for encoders. Client-Server API, "Syncing".
 */
export class SyncEngine {
  readonly #options: SyncEngineOptions;

  constructor(options: SyncEngineOptions) {
    this.#options = options;
    const cursors = options.sections.flatMap(({ cursor }) => cursor ?? []);
    if (new Set(cursors).size !== cursors.length || cursors.some((cursor) => !/^[a-z]$/.test(cursor)))
      throw new Error(`the cursors of sections must be different lower-case letters: ${cursors.join(' ')}`);
    for (const section of options.sections) section.listen?.(options.users);
  }

  /** Answers at once when there is news, else waits for some until the timeout. */
  async sync<Body>(request: SyncRequest, encoder: () => SyncEncoder<Body>): Promise<SyncResult<Body>> {
    const user = await this.#options.users.open(request.userId);
    const release = user.hold();
    const isLarge = request.since === undefined || request.fullState;
    const wait = new NewsWait(this.#options.timers, user, isLarge ? 0 : request.timeout, request.signal);
    try {
      for (;;) {
        const { version } = user;
        const result = await (isLarge
          ? this.#options.largeSyncs.run(request.userId, () => this.#compute(user, request, encoder()))
          : this.#compute(user, request, encoder()));
        if (!result.isEmpty || wait.isOver) return result;
        // What came while we computed was not in the answer: no waiting then.
        await wait.since(version);
      }
    } finally {
      wait.end();
      release();
    }
  }

  async #compute<Body>(user: SyncUser, request: SyncRequest, encoder: SyncEncoder<Body>): Promise<SyncResult<Body>> {
    const { accountData, ephemeral, planner, writer } = this.#options;
    const { userId } = request;
    const data = accountData.peek(userId) ?? (await accountData.load(userId));
    const common = this.#requestOf(user, request, data);
    const views = await this.#open(common, request.since);
    // One turn of the event loop from here to the plan: everything that is told lies before this end.
    const end: SyncPosition = {
      vector: writer.committed(),
      ephemeral: { run: ephemeral.run, count: ephemeral.current },
    };
    const changed = new Set<number>();
    for (const { view } of views) for (const nid of view.changedRooms?.(end) ?? []) changed.add(nid);
    const plan = planner.plan(common, end, changed);

    const rooms = await planner.rooms(plan, common, data);
    let isEmpty = true;
    for (let at = 0; at < rooms.length; at += ROOMS_AT_ONCE) {
      const some = rooms.slice(at, at + ROOMS_AT_ONCE);
      for (const { view } of views) await view.prepare?.(some, end);
      for (const room of some) {
        const parts = await partsOf(views, (view) => view.room?.(room, end));
        if (!parts.some(({ part }) => part.isNews)) continue;
        encoder.room(room, parts);
        isEmpty = false;
      }
      // Where all is in memory nobody else would have their turn before the last room.
      if (at + ROOMS_AT_ONCE < rooms.length) await setImmediate();
    }
    const general = await partsOf(views, (view) => view.general?.(end));
    if (general.some(({ part }) => part.isNews)) isEmpty = false;
    encoder.general(general);
    const next = withCursors(end, this.#options.sections, general);
    return { body: encoder.end(next), next, isEmpty: isEmpty && !common.isInitial };
  }

  #requestOf(
    user: SyncUser,
    { deviceId, filter, fullState, since, stateAfter, userId }: SyncRequest,
    data: UserAccountData,
  ): SectionRequest {
    const { ephemeral, filters } = this.#options;
    return {
      user,
      userId,
      deviceId,
      filter: filters.of(filter),
      since: since?.vector ?? ORIGIN,
      // Everything ephemeral of another run of the process is forgotten: such a reader has seen nothing of this one.
      sinceCount: since?.ephemeral.run === ephemeral.run ? since.ephemeral.count : 0,
      isInitial: since === undefined,
      fullState,
      stateAfter,
      ignored: () => ignoredBy(data),
      hasChanged: (type) => since !== undefined && !covers(since.vector, data.entry(0, type)?.pos ?? 0),
    };
  }

  /** Opens the sections; those that have something to read do so at the same time. */
  async #open(common: SectionRequest, since: SyncPosition | undefined): Promise<readonly OpenSection[]> {
    const opened = this.#options.sections.map((section) => {
      const behind = section.cursor === undefined ? undefined : since?.behind?.[section.cursor];
      return section.open(
        behind === undefined ? common : { ...common, since: lowered(common.since, shardOfName(common.userId), behind) },
      );
    });
    const views = await Promise.all(opened.map((view) => Promise.resolve(view)));
    return views.map((view, index) => ({ section: this.#options.sections[index] as Section, view }));
  }
}

const isPromise = (value: unknown): value is Promise<unknown> => value instanceof Promise;

const lowered = (vector: PositionVector, shard: number, position: number): PositionVector =>
  vector.with(shard, Math.min(vector[shard] ?? 0, position));

/** What each section says, in their order. */
const partsOf = async (
  views: readonly OpenSection[],
  ask: (view: SectionView) => ReturnType<NonNullable<SectionView['general']>>,
): Promise<readonly SectionPart[]> => {
  const parts: SectionPart[] = [];
  for (const { section, view } of views) {
    const answer = ask(view);
    const part = isPromise(answer) ? await answer : answer;
    if (part !== undefined) parts.push({ section: section.name, part });
  }
  return parts;
};

/** The end of a response, with where the sections continue that could not tell everything. */
const withCursors = (
  end: SyncPosition,
  sections: readonly Section[],
  general: readonly SectionPart[],
): SyncPosition => {
  const behind: Record<string, number> = {};
  for (const { section, part } of general) {
    const cursor = sections.find(({ name }) => name === section)?.cursor;
    if (cursor !== undefined && part.until !== undefined) behind[cursor] = part.until;
  }
  return Object.keys(behind).length === 0 ? end : { ...end, behind };
};
