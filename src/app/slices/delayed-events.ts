import { DelayRestarts } from '#src/services/rooms/delayed-events/delay-restarts.ts';
import { DelayedEventLocks } from '#src/services/rooms/delayed-events/delayed-event-locks.ts';
import { DelayedCleaner } from '#src/services/rooms/delayed-events/delayed-cleaner.ts';
import { DelayedEventList } from '#src/services/rooms/delayed-events/delayed-event-list.ts';
import { DelayedEventService } from '#src/services/rooms/delayed-events/delayed-event-service.ts';
import { DelayedManagement } from '#src/services/rooms/delayed-events/delayed-management.ts';
import { DelayedSchedule } from '#src/services/rooms/delayed-events/delayed-schedule.ts';
import { DelayedSending } from '#src/services/rooms/delayed-events/delayed-sending.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Commit } from './commit.ts';
import type { Outbound } from './outbound.ts';
import type { Rooms } from './rooms.ts';
import type { Users } from './users.ts';

/** Events that are sent at a later time. */
export interface DelayedEvents {
  readonly delayedEvents: DelayedEventService;
  readonly delayedEventList: DelayedEventList;
  readonly delayedManagement: DelayedManagement;
}

export function composeDelayedEvents(below: Platform & Outbound & Commit & Users & Rooms): Slice<DelayedEvents> {
  const { clock, config, database, logger, random, rateLimiter, roomSending, timers, users, writer } = below;
  const { finalisedLifetimeMs, maxDelayMs, maxFinalised, maxScheduled, requireToken } = config.delayedEvents;
  const turns = new DelayedEventLocks();
  const sending = new DelayedSending({ database, clock, rateLimiter, users, roomSending, writer });
  const schedule = new DelayedSchedule({ database, clock, timers, logger, sending, turns });
  const delayedEvents = new DelayedEventService({
    serverName: config.serverName,
    database,
    clock,
    random,
    schedule,
    sending,
    writer,
    restarts: new DelayRestarts(database),
    turns,
    maxDelayMs,
    maxScheduled,
  });
  const cleaner = new DelayedCleaner({
    database,
    clock,
    timers,
    logger,
    lifetimeMs: finalisedLifetimeMs,
    most: maxFinalised,
  });
  return {
    name: 'delayed-events',
    services: {
      delayedEvents,
      delayedEventList: new DelayedEventList(database, writer),
      delayedManagement: new DelayedManagement({ events: delayedEvents, rateLimiter, requiresToken: requireToken }),
    },
    start() {
      schedule.start();
      cleaner.start();
    },
    idle: () => schedule.idle(),
    async close() {
      await schedule.close();
      await cleaner.close();
    },
  };
}
