import { limitExceeded } from '#src/protocol/errors/limit-exceeded.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { AdminTasks } from '#src/services/admin/tasks/admin-tasks.ts';
import type { Task, TaskContext, TaskKind, TaskRecord } from '#src/services/admin/tasks/task.ts';
import type { LocalAccounts } from '#src/services/admin/users/local-accounts.ts';
import type { Actor } from '#src/services/audit/actor.ts';
import type { AuditLog } from '#src/services/audit/audit-log.ts';
import type { Database } from '#src/storage/database.ts';
import type { ExportFiles } from './export-files.ts';
import type { UserArchive } from './user-archive.ts';

type Params = { readonly user_id: string; readonly with_files: boolean };

export type ExportResult = {
  readonly bytes: number;
  readonly rooms: number;
  readonly events: number;
  readonly files: number;
  /** Until when it is kept, in milliseconds since the epoch. */
  readonly expires_ts: number;
};

/** An archive, or one that is being made. */
export interface UserExport {
  readonly id: string;
  readonly status: TaskRecord['status'];
  readonly createdTs: number;
  readonly result: Partial<ExportResult>;
  readonly error: string | undefined;
}

export interface UserExportsOptions {
  readonly database: Database;
  readonly tasks: AdminTasks;
  readonly auditLog: AuditLog;
  readonly localAccounts: LocalAccounts;
  readonly archive: UserArchive;
  readonly files: ExportFiles;
  readonly now: () => number;
  /** Bytes that an archive may have. */
  readonly maxBytes: number;
}

const MAX_LISTED = 100;

/** Writes everything about a user into an archive: a task. A kill leaves no partial archive; the task starts again. */
export class UserExports implements TaskKind<Params, ExportResult> {
  readonly action = 'export_user';
  readonly #options: UserExportsOptions;

  constructor(options: UserExportsOptions) {
    this.#options = options;
  }

  /**
   * Has it done. @returns its id
   *
   * @throws MatrixError M_NOT_FOUND; M_UNKNOWN (400) for users of other servers; M_LIMIT_EXCEEDED while another one of the user is being made
   */
  async start(actor: Actor, userId: string, withFiles: boolean): Promise<string> {
    const { database, localAccounts, tasks } = this.#options;
    await localAccounts.account(userId);
    const open = await tasks.list(
      { actions: [this.action], resource: userId, statuses: ['scheduled', 'active'] },
      { limit: 1 },
    );
    if (open.tasks.length > 0)
      throw limitExceeded('user_exports', 60_000, 'An archive of this user is being made already: wait for it.');
    const params: Params = { user_id: userId, with_files: withFiles };
    const entry = { action: 'user.export', target: userId, after: { with_files: withFiles } };
    return database.write((tx) => tasks.start(tx, actor, this, { resource: userId, params, entry }));
  }

  async run(
    { id, params }: Task<Params, ExportResult>,
    { signal }: TaskContext<ExportResult>,
  ): Promise<ExportResult | 'interrupted'> {
    const { archive, files, maxBytes, now } = this.#options;
    const counts = { rooms: 0, events: 0, files: 0 };
    try {
      const content = await archive.pack(params.user_id, params.with_files, counts, signal);
      const bytes = await files.write(id, content, maxBytes);
      return { bytes, ...counts, expires_ts: now() + files.lifetimeMs };
    } catch (error) {
      if (signal.aborted) return 'interrupted';
      throw error;
    }
  }

  /** The archives of a user, the newest first. */
  async list(userId: string): Promise<readonly UserExport[]> {
    const { tasks } = await this.#options.tasks.list(
      { actions: [this.action], resource: userId },
      { limit: MAX_LISTED },
    );
    return tasks.map(exportOf);
  }

  /**
   * The bytes of an archive.
   *
   * @throws MatrixError M_NOT_FOUND when it is none of the user's, not made yet, or there no longer
   */
  async read(actor: Actor, userId: string, id: string): Promise<NonNullable<Awaited<ReturnType<ExportFiles['read']>>>> {
    const { auditLog, database, files, now } = this.#options;
    const task = await this.#own(userId, id);
    const { expires_ts: expires = 0 } = task.result as Partial<ExportResult>;
    const found = task.status === 'complete' && expires > now() ? await files.read(id) : undefined;
    if (found === undefined) throw notFound();
    await database.write((tx) =>
      auditLog.record(tx, actor, { action: 'user.download_export', target: userId, taskId: id }),
    );
    return found;
  }

  /** Deletes an archive before its time. @throws MatrixError M_NOT_FOUND */
  async delete(actor: Actor, userId: string, id: string): Promise<void> {
    const { auditLog, database, files, tasks } = this.#options;
    const task = await this.#own(userId, id);
    if (task.status === 'scheduled' || task.status === 'active') await tasks.cancel(actor, id);
    else
      await database.write((tx) =>
        auditLog.record(tx, actor, { action: 'user.delete_export', target: userId, taskId: id }),
      );
    await files.delete(id);
  }

  /** Deletes all archives of a user, as part of an erasure. */
  async forget(userId: string): Promise<void> {
    for (const { id } of await this.list(userId)) await this.#options.files.delete(id);
  }

  async #own(userId: string, id: string): Promise<TaskRecord> {
    const task = await this.#options.tasks.get(id);
    if (task?.action !== this.action || task.resource !== userId) throw notFound();
    return task;
  }
}

const notFound = (): MatrixError =>
  new MatrixError('M_NOT_FOUND', 'There is no such archive, or it is there no longer.');

const exportOf = ({ createdTs, error, id, result, status }: TaskRecord): UserExport => ({
  id,
  status,
  createdTs,
  result: result as Partial<ExportResult>,
  error,
});
