import type { RateLimiter } from '#src/kernel/rate-limiter.ts';
import { DelayedCleaner } from '#src/services/rooms/delayed-events/delayed-cleaner.ts';
import { DelayedEventList } from '#src/services/rooms/delayed-events/delayed-event-list.ts';
import { DelayedEventService } from '#src/services/rooms/delayed-events/delayed-event-service.ts';
import { DelayedManagement } from '#src/services/rooms/delayed-events/delayed-management.ts';
import { DelayedSchedule } from '#src/services/rooms/delayed-events/delayed-schedule.ts';
import { DelayedSending } from '#src/services/rooms/delayed-events/delayed-sending.ts';
import { DelayRestarts } from '#src/services/rooms/delayed-events/delay-restarts.ts';
import { DelayTurns } from '#src/services/rooms/delayed-events/delay-turns.ts';
import type { RoomSending } from '#src/services/rooms/sending/room-sending.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import type { UserService } from '#src/services/accounts/users/user-service.ts';
import type { Config } from './config/config.ts';
import type { Platform } from './platform.ts';

/** Events that are sent at a later time. */
export interface DelayedEvents {
  readonly delayedEvents: DelayedEventService;
  readonly delayedEventList: DelayedEventList;
  readonly delayedManagement: DelayedManagement;
  /** To be called once the writer owns its shards. */
  start(): void;
  close(): Promise<void>;
}

export function composeDelayedEvents(
  platform: Pick<Platform, 'clock' | 'database' | 'logger' | 'random' | 'timers'> & {
    readonly config: Pick<Config, 'delayedEvents'>;
  },
  rateLimiter: RateLimiter,
  users: Pick<UserService, 'account'>,
  roomSending: RoomSending,
  writer: Writer,
): DelayedEvents {
  const { clock, config, database, logger, random, timers } = platform;
  const { finalisedLifetimeMs, maxDelayMs, maxFinalised, maxScheduled, requireToken } = config.delayedEvents;
  const turns = new DelayTurns();
  const sending = new DelayedSending({ database, clock, rateLimiter, users, roomSending, writer });
  const schedule = new DelayedSchedule({ database, clock, timers, logger, sending, turns });
  const delayedEvents = new DelayedEventService({
    database,
    clock,
    random,
    schedule,
    sending,
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
    delayedEvents,
    delayedEventList: new DelayedEventList(database),
    delayedManagement: new DelayedManagement({ events: delayedEvents, rateLimiter, requiresToken: requireToken }),
    start() {
      schedule.start();
      cleaner.start();
    },
    async close() {
      await schedule.close();
      await cleaner.close();
    },
  };
}
