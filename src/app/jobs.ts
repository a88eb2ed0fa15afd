import { join } from 'node:path';
import { cleanStreams, findDueRooms, JOBS } from '#src/jobs/definitions.ts';
import type { JobDefinition, JobHandler } from '#src/jobs/job-definition.ts';
import { JobQueues } from '#src/jobs/job-queues.ts';
import { OutboxRelay } from '#src/services/delivery/outbox/outbox-relay.ts';
import { HistoryPurge } from '#src/services/retention/history-purge.ts';
import { RetentionService } from '#src/services/retention/retention-service.ts';
import { RoomArchive } from '#src/services/retention/room-archive.ts';
import { SpaceReturner } from '#src/services/retention/space-returner.ts';
import { StreamCleaner } from '#src/services/retention/stream-cleaner.ts';
import { cleanStreamsHandler } from '#src/workers/clean-streams.ts';
import { findDueRoomsHandler } from '#src/workers/find-due-rooms.ts';
import { purgeRoomHandler } from '#src/workers/purge-room.ts';
import { returnSpaceHandler } from '#src/workers/return-space.ts';
import type { Config } from './config/config.ts';
import type { Platform } from './platform.ts';
import type { RoomStore } from './rooms.ts';

const CLEAN_EVERY_MS = 3_600_000;
/** One for each queue to listen on, the others for what jobs say of themselves. */
const QUEUE_CONNECTIONS = 5;

/** Work that is done behind the requests. */
export interface Jobs {
  readonly queues: JobQueues;
  readonly purge: HistoryPurge;
  readonly retention: RetentionService;
  start(): Promise<void>;
  close(): Promise<void>;
}

/** Where archives of rooms go. */
const archiveFolder = (config: Config): string => config.retention.archiveDir ?? join(config.dataDir, 'archive');

/** @param handlers of jobs that others make */
export function composeJobs(platform: Platform, store: RoomStore, handlers: readonly JobHandler[] = []): Jobs {
  const { config, clock, database, logger, timers } = platform;
  const { interner, loader, rooms, stream } = store;
  const { batchSize, pauseMs } = config.retention;
  const purge = new HistoryPurge({
    database,
    rooms,
    loader,
    stream,
    clock,
    timers,
    batchSize,
    pauseMs,
    archive: config.retention.mode === 'archive' ? new RoomArchive(archiveFolder(config)) : undefined,
  });
  const retention = new RetentionService({
    database,
    interner,
    rooms,
    purge,
    limits: config.retention,
    clock,
    logger,
  });
  const cleaner = new StreamCleaner({
    database,
    clock,
    timers,
    batchSize: 1_000,
    pauseMs,
    transactionDays: config.retention.transactionDays,
  });
  const returner = new SpaceReturner({ database, clock, timers, logger, pauseMs });
  const queues = new JobQueues({
    store:
      config.redis.url === null
        ? { kind: 'postgres', pool: database.queueConnections(QUEUE_CONNECTIONS) }
        : { kind: 'redis', url: config.redis.url, prefix: `tsudoi-${config.serverName.replaceAll(':', '_')}` },
    definitions: JOBS,
    logger,
    timers,
  });
  const relay = new OutboxRelay({ database, queues, timers, logger });
  return {
    queues,
    purge,
    retention,
    async start() {
      await queues.open();
      await queues.work([
        findDueRoomsHandler(retention),
        purgeRoomHandler(retention),
        cleanStreamsHandler(cleaner),
        returnSpaceHandler(returner),
        ...handlers,
      ]);
      const looking = findDueRooms as unknown as JobDefinition;
      if (config.retention.enabled) await queues.repeat(looking, config.retention.intervalMs);
      else await queues.forget(looking);
      await queues.repeat(cleanStreams as unknown as JobDefinition, CLEAN_EVERY_MS);
      relay.start();
    },
    async close() {
      await relay.close();
      await queues.close();
    },
  };
}
