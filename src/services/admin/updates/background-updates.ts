import type { Clock } from '#src/kernel/clock.ts';
import { runUpdate } from '#src/jobs/definitions.ts';
import type { JobQueues } from '#src/jobs/job-queues.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { AdminTasks } from '#src/services/admin/tasks/admin-tasks.ts';
import type { TaskKind } from '#src/services/admin/tasks/task.ts';
import type { Actor } from '#src/services/audit/actor.ts';
import type { AuditLog } from '#src/services/audit/audit-log.ts';
import type { Database } from '#src/storage/database.ts';
import type { BackgroundUpdate } from './update.ts';

/** One update after the other. */
const RESOURCE = 'background_updates';

/** A type, since interfaces are no JSON objects to the compiler. */
// oxlint-disable-next-line typescript/consistent-type-definitions
type Progress = { readonly after: string; readonly items: number; readonly duration_ms: number };
export type UpdateKind = TaskKind<JsonObject, Progress>;

/** The task that does an update, and is resumed where it was. */
export const updateKind = (update: BackgroundUpdate, clock: Clock): UpdateKind => ({
  action: update.name,
  job: runUpdate,
  async run({ result }, { note, signal }) {
    let { after = '', items = 0, duration_ms: duration = 0 } = result;
    while (!signal.aborted) {
      const began = clock.monotonic();
      const step = await update.step(after);
      items += step.items;
      duration += clock.monotonic() - began;
      after = step.after ?? after;
      const progress = { after, items, duration_ms: Math.round(duration) };
      if (step.after === undefined) return progress;
      await note(undefined, progress);
    }
    return 'interrupted';
  },
});

/** An update that is being done. */
export interface CurrentUpdate {
  readonly name: string;
  readonly items: number;
  /** Milliseconds that its steps took. */
  readonly durationMs: number;
}

export interface BackgroundUpdatesOptions {
  readonly database: Database;
  readonly auditLog: AuditLog;
  readonly tasks: AdminTasks;
  readonly queues: Pick<JobQueues, 'isPaused' | 'pause' | 'resume'>;
  readonly kinds: readonly UpdateKind[];
}

/**
 * Background work on stored data: administrators pause all of it for a while, or have derived tables rebuilt. Paused are
 * retention, cleaning and updates, on every node, until they are enabled or a node starts.
 */
export class BackgroundUpdates {
  readonly #options: BackgroundUpdatesOptions;

  constructor(options: BackgroundUpdatesOptions) {
    this.#options = options;
  }

  async isEnabled(): Promise<boolean> {
    return !(await this.#options.queues.isPaused('maintenance'));
  }

  /** Pauses what is done in the background, or has it resumed. What is being done stops at its next good place. */
  async setEnabled(actor: Actor, enabled: boolean): Promise<void> {
    const { auditLog, database, queues } = this.#options;
    const before = await this.isEnabled();
    await database.write(async (tx) => {
      const action = enabled ? 'background_updates.enable' : 'background_updates.disable';
      await auditLog.record(tx, actor, { action, before, after: enabled });
    });
    await (enabled ? queues.resume('maintenance') : queues.pause('maintenance'));
  }

  /** The update that is being done, or was when it was paused. */
  async current(): Promise<CurrentUpdate | undefined> {
    const { kinds, tasks } = this.#options;
    const filter = { actions: kinds.map(({ action }) => action), statuses: ['active' as const] };
    const [task] = (await tasks.list(filter, { limit: 1 })).tasks;
    if (task === undefined) return undefined;
    const { items = 0, duration_ms: durationMs = 0 } = task.result as Partial<Progress>;
    return { name: task.action, items, durationMs };
  }

  /** Has an update done. @throws MatrixError M_UNKNOWN (400) for one that this server has not, or that waits already */
  async start(actor: Actor, name: string): Promise<void> {
    const { database, kinds, tasks } = this.#options;
    const kind = kinds.find(({ action }) => action === name);
    if (kind === undefined) throw new MatrixError('M_UNKNOWN', 'Invalid job_name', {}, 400);
    await database.write(async (tx) => {
      if (await tasks.isOpen(tx, kind, RESOURCE))
        throw new MatrixError('M_UNKNOWN', `Job ${name} is already in queue of background updates.`, {}, 400);
      const entry = { action: 'background_updates.start', target: name };
      await tasks.start(tx, actor, kind, { resource: RESOURCE, params: {}, entry });
    });
  }
}
