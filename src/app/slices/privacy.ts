import { RedactUserEvents } from '#src/services/admin/privacy/redact-user-events.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Tasks } from './admin-tasks.ts';
import type { RoomModel } from './room-model.ts';
import type { Rooms } from './rooms.ts';

/** What is done with all that there is of a user. */
export interface Privacy {
  readonly redactUserEvents: RedactUserEvents;
}

export function composePrivacy(below: Platform & Tasks & RoomModel & Rooms): Slice<Privacy> {
  const { adminTasks: tasks, config, database, rooms, userRedactions: redactions } = below;
  return {
    name: 'privacy',
    services: {
      redactUserEvents: new RedactUserEvents({ database, tasks, rooms, redactions, serverName: config.serverName }),
    },
  };
}
