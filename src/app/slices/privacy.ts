import { EraseUser } from '#src/services/admin/privacy/erase-user.ts';
import { RedactUserEvents } from '#src/services/admin/privacy/redact-user-events.ts';
import { Subjects } from '#src/services/admin/users/subjects.ts';
import type { AnyTaskKind } from '#src/services/admin/tasks/task.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Accounts } from './accounts.ts';
import type { Tasks } from './admin-tasks.ts';
import type { Commit } from './commit.ts';
import type { Deactivations } from './deactivation.ts';
import type { Media } from './media.ts';
import type { RoomModel } from './room-model.ts';
import type { Rooms } from './rooms.ts';
import type { Users } from './users.ts';

/** What is done with all that there is of a user. */
export interface Privacy {
  readonly redactUserEvents: RedactUserEvents;
  readonly eraseUser: EraseUser;
  /** What of it is a task. */
  readonly userTasks: readonly AnyTaskKind[];
}

export function composePrivacy(
  below: Platform & Tasks & Commit & Users & Accounts & RoomModel & Rooms & Media & Deactivations,
): Slice<Privacy> {
  const { accounts, adminTasks: tasks, config, database, deactivation, interner, mediaModeration: media } = below;
  const { rooms, userRedactions, users } = below;
  const redactUserEvents = new RedactUserEvents({
    database,
    tasks,
    rooms,
    redactions: userRedactions,
    serverName: config.serverName,
  });
  const eraseUser = new EraseUser({
    database,
    interner,
    tasks,
    subjects: new Subjects(users),
    rooms,
    redactions: redactUserEvents,
    accounts,
    deactivation,
    media,
  });
  return {
    name: 'privacy',
    services: { redactUserEvents, eraseUser, userTasks: [redactUserEvents, eraseUser] },
  };
}
