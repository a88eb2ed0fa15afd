import { cleanStreams, findDueRooms, JOBS } from '#src/jobs/definitions.ts';
import type { JobDefinition } from '#src/jobs/job-definition.ts';
import { JobQueues } from '#src/jobs/job-queues.ts';
import { OutboxRelay } from '#src/services/delivery/outbox/outbox-relay.ts';
import { cleanStreamsHandler } from '#src/workers/clean-streams.ts';
import { findDueRoomsHandler } from '#src/workers/find-due-rooms.ts';
import { purgeRoomHandler } from '#src/workers/purge-room.ts';
import { redeemThirdPartyInviteHandler } from '#src/workers/redeem-third-party-invite.ts';
import { returnSpaceHandler } from '#src/workers/return-space.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Retention } from './retention.ts';
import type { ThirdPartyInviting } from './third-party-invites.ts';

const CLEAN_EVERY_MS = 3_600_000;
/** One for each queue to listen on, the others for what jobs say of themselves. */
const QUEUE_CONNECTIONS = 5;

/** Work that is done behind the requests. */
export interface Jobs {
  readonly queues: JobQueues;
  readonly outboxRelay: OutboxRelay;
}

export function composeJobs(below: Platform & ThirdPartyInviting & Retention): Slice<Jobs> {
  const { config, database, inviteRedemption, logger, retention, spaceReturner, streamCleaner, timers } = below;
  const queues = new JobQueues({
    store:
      config.redis.url === null
        ? { kind: 'postgres', pool: database.queueConnections(QUEUE_CONNECTIONS) }
        : { kind: 'redis', url: config.redis.url, prefix: `tsudoi-${config.serverName.replaceAll(':', '_')}` },
    definitions: JOBS,
    logger,
    timers,
  });
  const outboxRelay = new OutboxRelay({ database, queues, timers, logger });
  return {
    name: 'jobs',
    services: { queues, outboxRelay },
    async start() {
      await queues.open();
      await queues.work([
        findDueRoomsHandler(retention),
        purgeRoomHandler(retention),
        cleanStreamsHandler(streamCleaner),
        returnSpaceHandler(spaceReturner),
        redeemThirdPartyInviteHandler(inviteRedemption),
      ]);
      const looking = findDueRooms as unknown as JobDefinition;
      if (config.retention.enabled) await queues.repeat(looking, config.retention.intervalMs);
      else await queues.forget(looking);
      await queues.repeat(cleanStreams as unknown as JobDefinition, CLEAN_EVERY_MS);
      outboxRelay.start();
    },
    async drain() {
      await outboxRelay.close();
      await queues.close();
    },
  };
}
