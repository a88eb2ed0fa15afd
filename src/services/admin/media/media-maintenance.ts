import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { AdminTasks } from '#src/services/admin/tasks/admin-tasks.ts';
import type { TaskKind } from '#src/services/admin/tasks/task.ts';
import type { Actor } from '#src/services/audit/actor.ts';
import type { AuditEntry, AuditLog } from '#src/services/audit/audit-log.ts';
import { type MediaSweep, type MediaSweeps, SWEEP_START } from '#src/services/media/media-sweeps.ts';
import type { Database } from '#src/storage/database.ts';

/** Steps that are done while the administrator waits; the rest is a task. */
const STEPS_AT_ONCE = 4;
/** The end of 1970 in milliseconds: an earlier time was probably given in seconds. */
const EARLIEST_MS = 30_000_000_000;

export interface MediaMaintenanceOptions {
  readonly database: Database;
  readonly auditLog: AuditLog;
  readonly tasks: Pick<AdminTasks, 'start'>;
  readonly sweeps: MediaSweeps;
  readonly serverName: string;
}

/** What was done before the response. */
export interface Swept {
  /** The ids of what was deleted; empty where nothing is. */
  readonly deleted: readonly string[];
  /** How many pieces of media were deleted or quarantined. */
  readonly count: number;
  /** The task that does the rest, where there is more. */
  readonly taskId: string | undefined;
}

type SweepParams = MediaSweep & { readonly after: number };
/** A type, since interfaces are no JSON objects to the compiler. */
// oxlint-disable-next-line typescript/consistent-type-definitions
type SweepResult = { readonly after: number; readonly count: number };

/** Deletes or quarantines many files at once for administrators: the first two thousand while they wait, the others in a task. */
export class MediaMaintenance {
  readonly #options: MediaMaintenanceOptions;
  /** The task that resumes a sweep. */
  readonly kind: TaskKind<SweepParams, SweepResult>;

  constructor(options: MediaMaintenanceOptions) {
    this.#options = options;
    const { database, sweeps } = options;
    this.kind = {
      action: 'sweep_media',
      run: async ({ params, result }, { note, signal }) => {
        let { after = params.after, count = 0 } = result;
        while (!signal.aborted) {
          const from = { after, count };
          const step = await database.writeAgain(async (tx) => {
            const made = await sweeps.step(tx, params, from.after);
            await note(tx, { after: made.after ?? from.after, count: from.count + made.count });
            return made;
          });
          count += step.count;
          if (step.after === undefined) return { after, count };
          after = step.after;
        }
        return 'interrupted';
      },
    };
  }

  /**
   * Deletes this server's media that were not requested since a time, except what is protected or quarantined.
   *
   * @param request `of`: the server whose media are meant; `before`: milliseconds since the epoch; `largerThan`: bytes; `keepsShown`: whether avatars
   *   of people and rooms and the like stay
   * @throws MatrixError M_INVALID_PARAM for a time that cannot be meant, M_UNKNOWN for another server
   */
  deleteOld(
    request: {
      readonly of?: string;
      readonly before: number;
      readonly largerThan: number;
      readonly keepsShown: boolean;
    },
    actor: Actor,
  ): Promise<Swept> {
    const { of, ...what } = request;
    assertMilliseconds(what.before);
    if (of !== undefined && of !== this.#options.serverName)
      throw new MatrixError('M_UNKNOWN', 'Only media of this server can be deleted.');
    return this.#sweep({ kind: 'delete_old', ...what }, { action: 'media.delete_old', after: what }, actor);
  }

  /** Deletes cached media of other servers that were not requested since a time. @throws MatrixError M_INVALID_PARAM */
  purgeRemote(before: number, actor: Actor): Promise<Swept> {
    assertMilliseconds(before);
    return this.#sweep({ kind: 'purge_remote', before }, { action: 'media.purge_remote', after: { before } }, actor);
  }

  /** Quarantines all that a user has uploaded, but for what is protected. */
  quarantineUser(userId: string, actor: Actor): Promise<Swept> {
    const sweep = { kind: 'quarantine_user', userId, by: actor.userId ?? '' } as const;
    return this.#sweep(sweep, { action: 'media.quarantine_user', target: userId }, actor);
  }

  /** Quarantines what events of a room name in clear text, but for what is protected. */
  quarantineRoom(roomId: string, actor: Actor): Promise<Swept> {
    const sweep = { kind: 'quarantine_room', roomId, by: actor.userId ?? '' } as const;
    return this.#sweep(sweep, { action: 'media.quarantine_room', target: roomId, roomId }, actor);
  }

  async #sweep(sweep: MediaSweep, entry: AuditEntry, actor: Actor): Promise<Swept> {
    const { auditLog, database, sweeps, tasks } = this.#options;
    const deleted: string[] = [];
    let count = 0;
    for (let after = SWEEP_START, step = 1; ; step++) {
      const from = after;
      const made = await database.writeAgain(async (tx) => {
        const done = await sweeps.step(tx, sweep, from);
        if (done.after === undefined || step < STEPS_AT_ONCE) {
          if (step === 1) await auditLog.record(tx, actor, entry);
          return { ...done, taskId: undefined };
        }
        const params = { ...sweep, after: done.after };
        return { ...done, taskId: await tasks.start(tx, actor, this.kind, { resource: 'media', params, entry }) };
      });
      deleted.push(...made.deleted);
      count += made.count;
      if (made.after === undefined || made.taskId !== undefined) return { deleted, count, taskId: made.taskId };
      after = made.after;
    }
  }
}

const assertMilliseconds = (before: number): void => {
  if (before < EARLIEST_MS)
    throw new MatrixError(
      'M_INVALID_PARAM',
      'before_ts is a time in 1970: it has to be in milliseconds since the epoch, not in seconds.',
    );
};
