import { purgeRoom, reclaimDiskSpace } from '#src/jobs/definitions.ts';
import type { Clock } from '#src/kernel/clock.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Database } from '#src/storage/database.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { retentionOfRooms } from '#src/storage/retention/purges.ts';
import type { HistoryPurge } from './history-purge.ts';
import { contentOf, lifetimeIn, type RetentionLimits } from './retention-policy.ts';

const ROOMS_AT_ONCE = 200;

export interface RetentionServiceOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly rooms: RoomRegistry;
  readonly purge: HistoryPurge;
  readonly limits: RetentionLimits;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Purges events by the retention policies of rooms (`m.room.retention`) and the server's own limits. MSC1763. */
export class RetentionService {
  readonly #options: RetentionServiceOptions;

  constructor(options: RetentionServiceOptions) {
    this.#options = options;
  }

  /** Makes a job for each room that holds events longer than it may. @returns how many */
  async findDueRooms(signal: AbortSignal): Promise<number> {
    const { database, interner, limits, clock } = this.#options;
    const key = { type: 'm.room.retention', stateKey: '' };
    const names = await interner.find({ stateKeys: [key] });
    // While the name of the event type is unknown, no room has a policy: the server's own limits apply.
    const skey = names.peekStateKey(key.type, key.stateKey) ?? 0;
    let count = 0;
    for (let after = 0; !signal.aborted;) {
      const records = await retentionOfRooms(database, after, skey, ROOMS_AT_ONCE);
      const last = records.at(-1);
      if (last === undefined) break;
      after = last.room;
      const due = records.flatMap(({ room, json, oldest_ts: oldest }) => {
        const lifetime = lifetimeIn(contentOf(json), limits);
        const beforeTs = lifetime === undefined ? undefined : clock.now() - lifetime;
        return beforeTs !== undefined && oldest !== null && oldest < beforeTs ? [{ room, beforeTs }] : [];
      });
      if (due.length === 0) continue;
      count += due.length;
      await database.write(async (tx) => {
        for (const payload of due) await tx.enqueue(purgeRoom, payload);
      });
    }
    return count;
  }

  /** Purges a room's old events. @returns whether it came to its end */
  async purgeRoom(nid: number, beforeTs: number, signal: AbortSignal): Promise<boolean> {
    const { database, rooms, purge, logger } = this.#options;
    const room = await rooms.byNid(nid);
    if (room === undefined) return true;
    const { deleted, isDone } = await purge.purgeHistory(room, beforeTs, signal);
    if (isDone && deleted > 0) {
      logger.info('old events of a room were purged', { room_id: room.roomId, events: deleted });
      await database.write((tx) => tx.enqueue(reclaimDiskSpace, {}));
    }
    return isDone;
  }
}
