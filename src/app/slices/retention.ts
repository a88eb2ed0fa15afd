import { join } from 'node:path';
import { HistoryPurge } from '#src/services/retention/history-purge.ts';
import { RetentionService } from '#src/services/retention/retention-service.ts';
import { RoomArchive } from '#src/services/retention/room-archive.ts';
import { DiskSpaceReclaimer } from '#src/services/retention/disk-space-reclaimer.ts';
import { StreamCleaner } from '#src/services/retention/stream-cleaner.ts';
import { inboxLimits } from '../config/inbox-limits.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Commit } from './commit.ts';
import type { EventStreaming } from './event-stream.ts';
import type { RoomModel } from './room-model.ts';

/** Rows of a stream that are deleted at once. */
const CLEAN_AT_ONCE = 1_000;

/** Retention: deletes what has expired. Called by jobs. */
export interface Retention {
  readonly purge: HistoryPurge;
  readonly retention: RetentionService;
  readonly streamCleaner: StreamCleaner;
  readonly diskSpaceReclaimer: DiskSpaceReclaimer;
}

export function composeRetention(below: Platform & Commit & RoomModel & EventStreaming): Slice<Retention> {
  const { config, clock, database, interner, loader, logger, rooms, stream, timers } = below;
  const { archiveDir, batchSize, mode, pauseMs, transactionDays } = config.retention;
  const purge = new HistoryPurge({
    database,
    rooms,
    stream,
    loader,
    clock,
    timers,
    batchSize,
    pauseMs,
    archive: mode === 'archive' ? new RoomArchive(archiveDir ?? join(config.dataDir, 'archive'), clock) : undefined,
  });
  return {
    name: 'retention',
    services: {
      purge,
      retention: new RetentionService({
        database,
        interner,
        rooms,
        purge,
        limits: config.retention,
        clock,
        logger,
      }),
      streamCleaner: new StreamCleaner({
        database,
        clock,
        timers,
        batchSize: CLEAN_AT_ONCE,
        pauseMs,
        transactionDays,
        inboxLimits: inboxLimits(config),
        pushRetryMs: config.push.retryMs,
        auditDays: config.audit.retentionDays,
      }),
      diskSpaceReclaimer: new DiskSpaceReclaimer({ database, clock, timers, logger, pauseMs }),
    },
  };
}
