import { PresenceService } from '#src/services/ephemeral/presence/presence-service.ts';
import { TypingService } from '#src/services/ephemeral/typing/typing-service.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Commit } from './commit.ts';
import type { EventStreaming } from './event-stream.ts';
import type { Memberships } from './membership.ts';
import type { RoomModel } from './room-model.ts';
import type { Users } from './users.ts';

/** Typing notifications and presence. */
export interface Ephemeral {
  readonly typing: TypingService;
  readonly presence: PresenceService;
}

export function composeEphemeral(
  below: Platform & Commit & Users & RoomModel & EventStreaming & Memberships,
): Slice<Ephemeral> {
  const { clock, config, database, ephemeral, logger, rooms, sharedRooms, shadowBans, stream, timers, userActions } =
    below;
  const presence = new PresenceService({
    database,
    clock,
    timers,
    logger,
    ephemeral,
    enabled: config.presence.enabled,
    idleMs: config.presence.idleMs,
    shadowBans,
    acted: userActions.acted,
    sharesRoom: (one, other) => sharedRooms.sharesRoom(one, other),
  });
  return {
    name: 'ephemeral',
    services: {
      typing: new TypingService({ rooms, stream, timers, ephemeral, actions: userActions, shadowBans }),
      presence,
    },
    idle: () => presence.idle(),
    close: () => presence.close(),
  };
}
