import { MAX_ROOMS_BEHIND, ORIGIN, type RoomsBehind, type SyncPosition } from '#src/protocol/wire/position.ts';
import type { SyncPlan, SyncPlanner } from './plan.ts';
import type { SectionRequest } from './section.ts';
import type { Views } from './section-opener.ts';
import type { SyncRequest } from './sync-request.ts';

/**
 * The rooms that a response tells from one position on: by number, above `from` and up to `to`. There is one stretch for almost everybody. A
 * client whose last response ended before its last room has one more for each position from which rooms are still to be told.
 */
export interface Stretch {
  readonly from: number;
  readonly to: number;
  readonly common: SectionRequest;
  readonly views: Views;
  readonly plan: SyncPlan;
}

/** Stands for counts of another run of the process: nothing that was ephemeral is known. */
const NOTHING_EPHEMERAL = { run: '0', count: 0 };
const NO_ROOMS: ReadonlySet<number> = new Set();

/**
 * Plans a response, in one turn of the event loop.
 *
 * @param first the sections as opened from the client's position
 * @param behind the same for each of the positions of `rooms`
 * @param rooms rooms that earlier responses did not get to; undefined for none
 */
export const stretchesOf = (
  planner: Pick<SyncPlanner, 'plan'>,
  first: Pick<Stretch, 'common' | 'views'>,
  behind: readonly Pick<Stretch, 'common' | 'views'>[] | undefined,
  rooms: readonly RoomsBehind[] | undefined,
  end: SyncPosition,
): readonly Stretch[] => {
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
};

/** Whether a response may end within a stretch. A cut in the first one makes one more of them, any other one does not. */
export const mayCut = (index: number, stretches: number): boolean => index > 0 || stretches <= MAX_ROOMS_BEHIND;

/** The same request for rooms that are behind the others. */
export const earlierRequest = (request: SyncRequest, { fullState, since }: RoomsBehind): SyncRequest => {
  const isNew = since.every((position, shard) => position === ORIGIN[shard]);
  return {
    ...request,
    since: isNew ? undefined : { vector: since, ephemeral: NOTHING_EPHEMERAL },
    fullState: fullState || request.fullState,
  };
};

/** Rooms that are behind the others when a response ends in a stretch, after the room with this number. */
export const behindAfter = (stretches: readonly Stretch[], index: number, after: number): readonly RoomsBehind[] => {
  const untold = stretches.slice(index).map(({ common, from }, place): RoomsBehind => ({
    after: place === 0 ? after : from,
    since: common.since,
    fullState: common.fullState,
  }));
  // Of a stretch that was told to its end nothing is left.
  return stretches[index]?.to === after ? untold.slice(1) : untold;
};

/** Rooms with changes in a section. */
const changedRooms = (views: Views, end: SyncPosition): ReadonlySet<number> => {
  let changed: Set<number> | undefined;
  for (const view of views) {
    const rooms = view?.changedRooms?.(end);
    if (rooms === undefined) continue;
    for (const nid of rooms) (changed ??= new Set()).add(nid);
  }
  return changed ?? NO_ROOMS;
};
