import { join } from 'node:path';
import { EraseUser } from '#src/services/admin/privacy/erase-user.ts';
import { ExportFiles } from '#src/services/admin/privacy/export-files.ts';
import { ExportUser } from '#src/services/admin/privacy/export-user.ts';
import { UserArchive } from '#src/services/admin/privacy/user-archive.ts';
import { RedactUserEvents } from '#src/services/admin/privacy/redact-user-events.ts';
import { Subjects } from '#src/services/admin/users/subjects.ts';
import type { AnyTaskKind } from '#src/services/admin/tasks/task.ts';
import type { Timer } from '#src/kernel/timers.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Accounts } from './accounts.ts';
import type { Auditing } from './audit.ts';
import type { Tasks } from './admin-tasks.ts';
import type { Commit } from './commit.ts';
import type { Deactivations } from './deactivation.ts';
import type { Media } from './media.ts';
import type { RoomModel } from './room-model.ts';
import type { Rooms } from './rooms.ts';
import type { UserAdministrations } from './user-administration.ts';
import type { Users } from './users.ts';

/** Milliseconds between two looks for archives whose time is over. */
const CLEAN_EACH_MS = 3_600_000;

/** What is done with all that there is of a user. */
export interface Privacy {
  readonly redactUserEvents: RedactUserEvents;
  readonly eraseUser: EraseUser;
  readonly exportUser: ExportUser;
  /** Whether users export their own data themselves. */
  readonly usersExport: boolean;
  /** What of it is a task. */
  readonly userTasks: readonly AnyTaskKind[];
}

export function composePrivacy(
  below: Platform &
    Auditing &
    Tasks &
    Commit &
    Users &
    Accounts &
    RoomModel &
    Rooms &
    Media &
    Deactivations &
    UserAdministrations,
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
  const { auditLog, clock, contents, loader, logger, timers, userReads: reads } = below;
  const { exportLifetimeMs, exportMaxBytes, usersExport } = config.privacy;
  const files = new ExportFiles({ folder: join(config.dataDir, 'exports'), clock, lifetimeMs: exportLifetimeMs });
  const subjects = new Subjects(users);
  const archive = new UserArchive({
    database,
    interner,
    loader,
    rooms,
    reads,
    media,
    contents,
    serverName: config.serverName,
  });
  const exportUser = new ExportUser({
    database,
    tasks,
    auditLog,
    subjects,
    archive,
    files,
    now: () => clock.now(),
    maxBytes: exportMaxBytes,
  });
  let cleaning: Timer | undefined;
  // It looks what is there: what it did not come to, the next look or the next process does.
  const clean = (): void =>
    void files.clean().catch((err: unknown) => logger.warn('old archives of users could not be deleted', { err }));
  const eraseUser = new EraseUser({
    database,
    interner,
    tasks,
    subjects,
    rooms,
    redactions: redactUserEvents,
    accounts,
    deactivation,
    media,
    exports: exportUser,
  });
  return {
    name: 'privacy',
    services: {
      redactUserEvents,
      eraseUser,
      exportUser,
      usersExport,
      userTasks: [redactUserEvents, eraseUser, exportUser],
    },
    start() {
      clean();
      cleaning = timers.every(CLEAN_EACH_MS, clean);
    },
    close: () => cleaning?.cancel(),
  };
}
