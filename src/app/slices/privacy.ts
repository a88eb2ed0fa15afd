import { join } from 'node:path';
import { UserErasure } from '#src/services/admin/privacy/user-erasure.ts';
import { ExportFiles } from '#src/services/admin/privacy/export-files.ts';
import { UserExports } from '#src/services/admin/privacy/user-exports.ts';
import { UserArchive } from '#src/services/admin/privacy/user-archive.ts';
import { UserEventRedactions } from '#src/services/admin/privacy/user-event-redactions.ts';
import { LocalAccounts } from '#src/services/admin/users/local-accounts.ts';
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

/** Milliseconds between two checks for expired archives. */
const CLEAN_EACH_MS = 3_600_000;

/** Exports, erasure and redaction of all data of a user. */
export interface Privacy {
  readonly userEventRedactions: UserEventRedactions;
  readonly userErasure: UserErasure;
  readonly userExports: UserExports;
  readonly exportFiles: ExportFiles;
  /** Whether users export their own data themselves. */
  readonly usersExport: boolean;
  /** Those that are tasks. */
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
  const userEventRedactions = new UserEventRedactions({
    database,
    tasks,
    rooms,
    redactions: userRedactions,
    serverName: config.serverName,
  });
  const { auditLog, clock, contents, loader, logger, timers, userReads: reads } = below;
  const { exportLifetimeMs, exportMaxBytes, usersExport } = config.privacy;
  const files = new ExportFiles({ folder: join(config.dataDir, 'exports'), clock, lifetimeMs: exportLifetimeMs });
  const localAccounts = new LocalAccounts(users);
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
  const userExports = new UserExports({
    database,
    tasks,
    auditLog,
    localAccounts,
    archive,
    files,
    now: () => clock.now(),
    maxBytes: exportMaxBytes,
  });
  let cleaning: Timer | undefined;
  // What it did not get to is left to the next check or the next process.
  const clean = (): void => {
    // A kill leaves the rest of them to the next start.
    void files.clean().catch((err: unknown) => logger.warn('old archives of users could not be deleted', { err }));
  };
  const userErasure = new UserErasure({
    database,
    interner,
    tasks,
    localAccounts,
    rooms,
    redactions: userEventRedactions,
    accounts,
    deactivation,
    media,
    exports: userExports,
  });
  return {
    name: 'privacy',
    services: {
      userEventRedactions,
      userErasure,
      userExports,
      exportFiles: files,
      usersExport,
      userTasks: [userEventRedactions, userErasure, userExports],
    },
    start() {
      clean();
      cleaning = timers.every(CLEAN_EACH_MS, clean);
    },
    idle: () => files.condition.idle(),
    async close() {
      cleaning?.cancel();
      await files.condition.close();
    },
  };
}
