import type { Clock } from '#src/kernel/clock.ts';
import type { Random } from '#src/kernel/random.ts';
import { Signal } from '#src/kernel/signal.ts';
import { runTask } from '#src/jobs/definitions.ts';
import { limitExceeded } from '#src/protocol/errors/limit-exceeded.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { Actor } from '#src/services/audit/actor.ts';
import type { AuditEntry, AuditLog } from '#src/services/audit/audit-log.ts';
import {
  cancelTask,
  countOpenTasks,
  endTask,
  findTask,
  insertTask,
  isTaskOpen,
  listTasks,
  lockTask,
  type TaskRow,
  type TaskRowFilter,
} from '#src/storage/admin/admin-tasks.ts';
import type { Database, Tx } from '#src/storage/database.ts';
import type { TaskKind, TaskRecord } from './task.ts';

/** Tasks that may wait or be done at once. */
export const MAX_OPEN = 1_000;

export type TaskFilter = TaskRowFilter;

export interface TaskPage {
  readonly tasks: readonly TaskRecord[];
  /** For the page after this one; undefined at the end. */
  readonly next?: string | undefined;
}

export interface AdminTasksOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly random: Random;
  readonly auditLog: AuditLog;
}

/** Long-running work that administrators start: it survives restarts, reports its progress, and can be cancelled. */
export class AdminTasks {
  readonly #options: AdminTasksOptions;
  /** Ids of tasks that were cancelled just now, for their runner in this process. */
  readonly cancelled = new Signal<string>();
  /** Ids of tasks that ended just now in this process, however they did. */
  readonly ended = new Signal<string>();

  constructor(options: AdminTasksOptions) {
    this.#options = options;
  }

  /**
   * Starts a task when `tx` is committed, and writes its entry of the audit log.
   *
   * @param request `resource`: what it is about; tasks of the same are done one after the other. `params` are shown to administrators
   * @returns the task's id
   * @throws MatrixError M_LIMIT_EXCEEDED when too many wait already
   */
  async start<Params extends JsonObject, Result extends JsonObject>(
    tx: Tx,
    actor: Actor,
    kind: TaskKind<Params, Result>,
    request: { readonly resource?: string | undefined; readonly params: Params; readonly entry: AuditEntry },
  ): Promise<string> {
    const { auditLog, clock, random } = this.#options;
    if ((await countOpenTasks(tx, MAX_OPEN)) >= MAX_OPEN)
      throw limitExceeded(
        'admin_tasks',
        60_000,
        `${MAX_OPEN} tasks wait or are being done: cancel some, or try again later.`,
      );
    const id = random.string(16);
    const lane = request.resource ?? id;
    await insertTask(tx, {
      id,
      action: kind.action,
      resource: request.resource ?? null,
      lane,
      params: JSON.stringify(request.params),
      requestedBy: actor.userId,
      via: actor.via,
      createdTs: clock.now(),
    });
    await auditLog.record(tx, actor, { ...request.entry, taskId: id });
    await tx.enqueue(kind.job ?? runTask, { lane });
    return id;
  }

  /** Whether a task of a kind waits for a resource, or is being done there; to be asked in the transaction that starts one where there is none. */
  isOpen(tx: Tx, { action }: Pick<TaskKind, 'action'>, resource: string): Promise<boolean> {
    return isTaskOpen(tx, action, resource);
  }

  /** A task once it has ended; undefined when the signal comes first. */
  async whenEnded(id: string, signal: AbortSignal): Promise<TaskRecord | undefined> {
    const { promise: isOver, resolve } = Promise.withResolvers<void>();
    const stop = this.ended.subscribe((ended) => {
      if (ended === id) resolve();
    });
    const abort = (): void => resolve();
    signal.addEventListener('abort', abort, { once: true });
    try {
      // It may have ended before this caller listened.
      const task = await this.get(id);
      if (task === undefined || (task.status !== 'scheduled' && task.status !== 'active')) return task;
      await isOver;
      return signal.aborted ? undefined : await this.get(id);
    } finally {
      signal.removeEventListener('abort', abort);
      stop();
    }
  }

  async get(id: string): Promise<TaskRecord | undefined> {
    const row = await findTask(this.#options.database, id);
    return row && taskRecord(row);
  }

  /** Tasks that match, the newest first. @param page how many, and the `next` of the page before. @throws MatrixError M_INVALID_PARAM */
  async list(
    filter: TaskFilter,
    page: { readonly limit: number; readonly from?: string | undefined },
  ): Promise<TaskPage> {
    if (page.from !== undefined && !/^\d{1,15}$/.test(page.from))
      throw new MatrixError('M_INVALID_PARAM', 'from is not the token of a page of tasks.');
    const before = page.from === undefined ? undefined : Number(page.from);
    const rows = await listTasks(this.#options.database, filter, page.limit + 1, before);
    const shown = rows.slice(0, page.limit);
    const tasks = shown.map(taskRecord);
    const last = shown.at(-1);
    return rows.length > page.limit && last !== undefined ? { tasks, next: String(last.seq) } : { tasks };
  }

  /**
   * Ends a task: at once while it waits, at its next step when it is being done. One that has ended stays as it is.
   *
   * @returns the task as it is then
   * @throws MatrixError M_NOT_FOUND
   */
  async cancel(actor: Actor, id: string): Promise<TaskRecord> {
    const { auditLog, clock, database } = this.#options;
    await database.write(async (tx) => {
      const row = await lockTask(tx, id);
      if (row === undefined) throw new MatrixError('M_NOT_FOUND', 'There is no such task.');
      if ((row.status !== 'scheduled' && row.status !== 'active') || row.isCancelled) return;
      if (row.status === 'scheduled') {
        await endTask(tx, id, { status: 'cancelled' }, clock.now());
        tx.afterCommit(() => this.ended.emit(id));
      } else await cancelTask(tx, id, clock.now());
      await auditLog.record(tx, actor, {
        action: 'task.cancel',
        target: row.resource ?? undefined,
        taskId: id,
        before: { action: row.action, status: row.status },
      });
      tx.afterCommit(() => this.cancelled.emit(id));
    });
    const task = await this.get(id);
    if (task === undefined) throw new MatrixError('M_NOT_FOUND', 'There is no such task.');
    return task;
  }
}

export const taskRecord = (row: TaskRow): TaskRecord => ({
  id: row.id,
  action: row.action,
  resource: row.resource ?? undefined,
  params: JSON.parse(row.params) as JsonObject,
  status: row.status,
  isCancelled: row.isCancelled,
  result: row.result === null ? {} : (JSON.parse(row.result) as JsonObject),
  error: row.error ?? undefined,
  requestedBy: row.requestedBy ?? undefined,
  via: row.via,
  createdTs: row.createdTs,
  updatedTs: row.updatedTs,
});
