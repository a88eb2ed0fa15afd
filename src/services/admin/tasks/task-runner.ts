import type { Clock } from '#src/kernel/clock.ts';
import type { Logger } from '#src/kernel/logger.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { beginTask, endTask, findTask, noteTask, type TaskRow } from '#src/storage/admin/admin-tasks.ts';
import type { Database } from '#src/storage/database.ts';
import { isOfDatabase } from '#src/storage/failures.ts';
import { type AdminTasks, taskRecord } from './admin-tasks.ts';
import type { AnyTaskKind, TaskKind } from './task.ts';

export interface TaskRunnerOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly tasks: AdminTasks;
  readonly kinds: readonly AnyTaskKind[];
}

/** Runs the tasks of administrators. A job calls it. */
export class TaskRunner {
  readonly #options: TaskRunnerOptions;
  readonly #kinds: ReadonlyMap<string, TaskKind>;

  constructor(options: TaskRunnerOptions) {
    this.#options = options;
    this.#kinds = new Map(options.kinds.map((kind) => [kind.action, kind as unknown as TaskKind]));
    if (this.#kinds.size < options.kinds.length) throw new Error('two kinds of tasks have the same action');
  }

  /** Runs the tasks of a lane, one after the other. @returns false when it was broken off because of the signal */
  async run(lane: string, signal: AbortSignal): Promise<boolean> {
    const { clock, database } = this.#options;
    while (!signal.aborted) {
      const row = await beginTask(database, lane, clock.now());
      if (row === undefined) return true;
      if (!(await this.#do(row, signal))) return false;
    }
    return false;
  }

  /** @returns false when it is to be resumed */
  async #do(row: TaskRow, signal: AbortSignal): Promise<boolean> {
    const { clock, database, logger, tasks } = this.#options;
    const { action, id } = row;
    const cancel = new AbortController();
    if (row.isCancelled) cancel.abort();
    const stop = tasks.cancelled.subscribe((cancelled) => {
      if (cancelled === id) cancel.abort();
    });
    const task = taskRecord(row);
    let result = task.result;
    const end = async (how: Parameters<typeof endTask>[2]): Promise<true> => {
      await endTask(database, id, how, clock.now());
      tasks.ended.emit(id);
      logger.info('a task ended', { task: id, action, resource: row.resource, status: how.status });
      return true;
    };
    try {
      const kind = this.#kinds.get(action);
      if (kind === undefined) return await end({ status: 'failed', error: `This server knows no task ${action}.` });
      // It may have been cancelled before this run listened.
      if ((await findTask(database, id))?.isCancelled === true) cancel.abort();
      const made = cancel.signal.aborted
        ? 'interrupted'
        : await kind.run(task, {
            signal: AbortSignal.any([signal, cancel.signal]),
            note: async (tx, progress) => {
              result = { ...result, ...progress } as JsonObject;
              if (!(await noteTask(tx ?? database, id, JSON.stringify(result), clock.now()))) cancel.abort();
            },
          });
      if (made !== 'interrupted') return await end({ status: 'complete', result: JSON.stringify(made) });
    } catch (error) {
      const isAsked = signal.aborted || cancel.signal.aborted;
      // The database will be back, and the job is tried again then.
      if (isOfDatabase(error)) throw error;
      if (!isAsked) {
        logger.error('a task failed', { task: id, action, resource: row.resource, err: error });
        const shownError =
          error instanceof MatrixError ? error.message : 'It failed by a fault of this server; its log says more.';
        return await end({ status: 'failed', error: shownError });
      }
    } finally {
      stop();
    }
    if ((await findTask(database, id))?.isCancelled === true) return end({ status: 'cancelled' });
    return false;
  }
}
