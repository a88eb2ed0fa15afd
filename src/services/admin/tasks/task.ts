import type { runTask } from '#src/jobs/definitions.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { TaskStatus } from '#src/storage/admin/admin-tasks.ts';
import type { Tx } from '#src/storage/database.ts';

export { TASK_STATUSES, type TaskStatus } from '#src/storage/admin/admin-tasks.ts';

/** A task as its kind sees it. */
export interface Task<Params extends JsonObject = JsonObject, Result extends JsonObject = JsonObject> {
  readonly id: string;
  /** Its subject: a room, a user ... Tasks of one resource run one after the other. */
  readonly resource: string | undefined;
  readonly params: Params;
  /** What it has noted so far; empty when it begins. */
  readonly result: Partial<Result>;
}

/** A task as it is shown. */
export interface TaskRecord extends Task {
  readonly action: string;
  readonly status: TaskStatus;
  /** It is being done, and ends at its next step. */
  readonly isCancelled: boolean;
  readonly error: string | undefined;
  /** User id; undefined for the operator at the command line, and for the server itself. */
  readonly requestedBy: string | undefined;
  readonly via: string;
  /** Milliseconds since the epoch. */
  readonly createdTs: number;
  readonly updatedTs: number;
}

export interface TaskContext<Result extends JsonObject> {
  /** Aborted when the task is cancelled or paused, and when the process ends: then return `interrupted` at the next good place. */
  readonly signal: AbortSignal;
  /**
   * Notes how far it has come: the members of `progress` replace those that were noted before. In the transaction of the step, where it
   * must not be done twice.
   */
  readonly note: (tx: Tx | undefined, progress: Partial<Result>) => Promise<void>;
}

/** A kind of long-running task. It may be killed at any step and is resumed: it checks the current state and its stored progress. */
export interface TaskKind<Params extends JsonObject = JsonObject, Result extends JsonObject = JsonObject> {
  /** `verb_noun`, as Synapse calls its own: `delete_room`. */
  readonly action: string;
  /** The job that does it; default `admin.run_task`, which is never paused. */
  readonly job?: typeof runTask;
  /**
   * Does it.
   *
   * @returns what is shown at the end, or `interrupted`
   * @throws when it fails: administrators see the message of a MatrixError
   */
  run(task: Task<Params, Result>, context: TaskContext<Result>): Promise<Result | 'interrupted'>;
}

/** A kind of task, whatever its parameters and result. */
export type AnyTaskKind = Pick<TaskKind, 'action'> & {
  run(task: never, context: never): Promise<JsonObject | 'interrupted'>;
};
