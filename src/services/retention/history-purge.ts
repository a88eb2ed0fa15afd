import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import type { Clock } from '#src/kernel/clock.ts';
import type { Timers } from '#src/kernel/timers.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Database } from '#src/storage/database.ts';
import {
  deleteDeltas,
  endPurge,
  purgeEvents,
  purgeProgress,
  type PurgeScanRecord,
  readForArchive,
  savePurgeProgress,
  scanBack,
} from '#src/storage/retention/purges.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import { PurgeCriteria, type PurgeParams } from './purge-criteria.ts';
import { PurgePlan } from './purge-plan.ts';
import type { RoomArchive } from './room-archive.ts';

export interface HistoryPurgeOptions {
  readonly database: Database;
  readonly rooms: RoomRegistry;
  readonly loader: EventLoader;
  readonly stream: RoomEventStream;
  readonly clock: Clock;
  readonly timers: Timers;
  /** Events that are deleted in one transaction. */
  readonly batchSize: number;
  /** Milliseconds between two batches at least; slow batches are followed by longer pauses. */
  readonly pauseMs: number;
  /** The archive into which events are written before they are deleted; none when left out. */
  readonly archive?: RoomArchive | undefined;
}

export interface PurgeOutcome {
  /** Events that are gone. */
  readonly deleted: number;
  /** Whether it came to its end; else it resumes from there when called again. */
  readonly isDone: boolean;
}

/** Batches take a share of the time: the pause after each is so many times as long as the batch. */
const PAUSE_PER_WORK = 2;
const NEVER = new AbortController().signal;

/**
 * Purges the old part of a room's history while the room is in use: events from before a time, with the mentions, search texts
 * and states that belong to them alone. What stays: the newest event and the forward extremities; everything that the current state
 * or the state at a kept event names, and the auth events behind that (hidden as outliers where they are old themselves, since
 * without them a fork could not be resolved as other servers resolve it).
 *
 * The newest of the old ones go first, so that whatever is still there is there with its state: a remote event may be built
 * on it at any time. Such events are accepted between two steps, never during one, and each step keeps what they need.
 *
 * Each event is judged by its own time, so that one with a forged time does not affect others. Purged events do not become backward
 * extremities: they are not to be fetched again.
 */
export class HistoryPurge {
  readonly #options: HistoryPurgeOptions;

  constructor(options: HistoryPurgeOptions) {
    this.#options = options;
  }

  /**
   * Purges a room's events from before a time (milliseconds since the epoch), or those that the parameters select. By a time alone, it resumes where an earlier
   * call with the same time stopped or was killed. A room whose state is partial has nothing that could go: its state is made of all that came since
   * the join, and of events that no other one names yet.
   */
  purgeHistory(room: Room, params: number | PurgeParams, signal: AbortSignal = NEVER): Promise<PurgeOutcome> {
    const { database } = this.#options;
    const criteria = new PurgeCriteria(database, typeof params === 'number' ? { beforeTs: params } : params);
    return room.turns.rewritePast(() =>
      room.partial === undefined ? this.#purge(room, criteria, signal) : Promise.resolve({ deleted: 0, isDone: true }),
    );
  }

  async #purge(room: Room, criteria: PurgeCriteria, signal: AbortSignal): Promise<PurgeOutcome> {
    const { database, loader, timers } = this.#options;
    const { beforeTs } = criteria;
    const pause = (workMs: number): Promise<void> =>
      timers.sleep(Math.max(this.#options.pauseMs, PAUSE_PER_WORK * workMs), signal);
    const progress = beforeTs === undefined ? undefined : await purgeProgress(database, room.nid, beforeTs);
    const alone = <T>(work: () => Promise<T>): Promise<T> => room.turns.besidesHead(work);
    const plan = await PurgePlan.make({ database, room: room.nid, criteria, signal, pause, alone });
    if (plan === undefined) return { deleted: progress?.deleted ?? 0, isDone: !signal.aborted };
    let cursor = Math.min(progress?.cursor ?? Infinity, plan.oldUpTo + 1);
    let deleted = progress?.deleted ?? 0;
    const goneState = new Set<number>();
    try {
      for (;;) {
        if (signal.aborted) return { deleted, isDone: false };
        const started = this.#options.clock.monotonic();
        const records = await scanBack(database, room.nid, cursor, this.#options.batchSize);
        const last = records.at(-1);
        if (last === undefined) break;
        cursor = last.nid;
        await criteria.prepare(records);
        const gone = await alone(async () => {
          await plan.catchUp();
          return this.#take(room, criteria, plan, records, { cursor, deleted });
        });
        deleted += gone.length;
        for (const record of gone) if (record.has_skey) goneState.add(record.nid);
        await pause(this.#options.clock.monotonic() - started);
      }
      if (!(await this.#sweepStates(plan, signal, pause, alone))) return { deleted, isDone: false };
    } finally {
      // Those whose place the events had taken are shown with them, as `prev_content`.
      if (goneState.size > 0) {
        room.forgetPrevious(goneState);
        loader.forgetPrevious(goneState);
      }
    }
    if (beforeTs !== undefined) await endPurge(database, room.nid);
    return { deleted, isDone: true };
  }

  /** @returns what was deleted */
  async #take(
    room: Room,
    criteria: PurgeCriteria,
    plan: PurgePlan,
    records: readonly PurgeScanRecord[],
    progress: { readonly cursor: number; readonly deleted: number },
  ): Promise<readonly PurgeScanRecord[]> {
    const { database, rooms, loader, stream, clock, archive } = this.#options;
    const old = records.filter((record) => !plan.staying.has(record.nid) && criteria.isOld(record));
    const gone = old.filter((record) => !plan.needed.has(record.nid));
    const detached = old.filter((record) => plan.needed.has(record.nid) && (record.flags & EVENT_FLAGS.outlier) === 0);
    const taken = [...gone, ...detached];
    if (archive !== undefined && taken.length > 0) {
      // Hidden ones were archived when they were hidden.
      const fresh = taken.filter((record) => (record.flags & EVENT_FLAGS.outlier) === 0).map((record) => record.nid);
      await archive.append(room, await readForArchive(database, room.nid, fresh));
    }
    await database.write(async (tx) => {
      // What is archived can come back, and wants its media then.
      await purgeEvents(tx, room.nid, { gone, detached }, archive === undefined ? clock.now() : undefined);
      const { cursor, deleted } = progress;
      if (criteria.beforeTs !== undefined)
        await savePurgeProgress(tx, {
          room: room.nid,
          beforeTs: criteria.beforeTs,
          cursor,
          deleted: deleted + gone.length,
          now: clock.now(),
        });
    });
    if (taken.length === 0) return gone;
    const goneNids = new Set(gone.map((record) => record.nid));
    const detachedNids = new Set(detached.map((record) => record.nid));
    // A caller that had the room read anew meanwhile holds another object.
    for (const held of new Set([room, rooms.peek(room.nid) ?? room])) held.removePurged(goneNids, detachedNids);
    loader.removePurged(goneNids, detachedNids);
    stream.publish({ kind: 'purged', room });
    return gone;
  }

  /** Deletes rows of state that no kept event needs, those of forks that came to nothing among them. */
  async #sweepStates(
    plan: PurgePlan,
    signal: AbortSignal,
    pause: (workMs: number) => Promise<void>,
    alone: (work: () => Promise<number>) => Promise<number>,
  ): Promise<boolean> {
    const { database, clock, batchSize } = this.#options;
    for (;;) {
      if (signal.aborted) return false;
      const started = clock.monotonic();
      const deleted = await alone(async () => {
        await plan.catchUp();
        const unused = plan.takeUnused(batchSize);
        if (unused.length > 0) await deleteDeltas(database, unused);
        return unused.length;
      });
      if (deleted === 0) return true;
      await pause(clock.monotonic() - started);
    }
  }
}
