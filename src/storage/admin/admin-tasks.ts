import { sql, type Database, type Tx } from '../database.ts';

export const TASK_STATUSES = ['scheduled', 'active', 'complete', 'failed', 'cancelled'] as const;
export type TaskStatus = (typeof TASK_STATUSES)[number];

export interface TaskRow {
  /** In the order in which they were asked for. */
  readonly seq: number;
  readonly id: string;
  readonly action: string;
  readonly resource: string | null;
  readonly lane: string;
  /** JSON text. */
  readonly params: string;
  readonly status: TaskStatus;
  /** It was cancelled. */
  readonly isCancelled: boolean;
  readonly result: string | null;
  readonly error: string | null;
  readonly requestedBy: string | null;
  readonly via: string;
  readonly createdTs: number;
  readonly updatedTs: number;
}

export type NewTaskRow = Omit<TaskRow, 'seq' | 'status' | 'isCancelled' | 'result' | 'error' | 'updatedTs'>;

/** Conditions that are left out or null do not apply. */
export interface TaskRowFilter {
  readonly actions?: readonly string[] | undefined;
  readonly resource?: string | undefined;
  readonly statuses?: readonly TaskStatus[] | undefined;
  /** Only those that changed last before this time, in milliseconds since the epoch. */
  readonly updatedBefore?: number | undefined;
}

const COLUMNS = `seq, id, action, resource, lane, params, status, is_cancelled as "isCancelled", result, error,
  requested_by as "requestedBy", via, created_ts as "createdTs", updated_ts as "updatedTs"`;
const OPEN = `status in ('scheduled', 'active')`;

const INSERT = sql(
  'admin_task_insert',
  `insert into admin_tasks (id, action, resource, lane, params, status, requested_by, via, created_ts, updated_ts)
   values ($1, $2, $3, $4, $5, 'scheduled', $6, $7, $8, $8)`,
);
const COUNT_OPEN = sql(
  'admin_tasks_open',
  `select count(*)::int as count from (select 1 from admin_tasks where ${OPEN} limit $1) open`,
);
const TURN = sql('admin_tasks_turn', 'select pg_advisory_xact_lock(hashtextextended($1, 6))');
const OPEN_OF = sql(
  'admin_task_open_of',
  `select 1 from admin_tasks where action = $1 and resource = $2 and ${OPEN} limit 1`,
);
const FIND = sql('admin_task_find', `select ${COLUMNS} from admin_tasks where id = $1`);
const LOCK = sql('admin_task_lock', `select ${COLUMNS} from admin_tasks where id = $1 for update`);
// Locked before it is changed: one that is cancelled at this moment is passed over, and the next one is begun.
const NEXT = sql(
  'admin_task_next',
  `update admin_tasks set status = 'active', updated_ts = $2 where seq = (
     select seq from admin_tasks where lane = $1 and ${OPEN} order by seq limit 1 for update) returning ${COLUMNS}`,
);
const NOTE = sql(
  'admin_task_note',
  `update admin_tasks set result = $2, updated_ts = $3 where id = $1 and status = 'active' and not is_cancelled returning 1`,
);
const END = sql(
  'admin_task_end',
  `update admin_tasks set status = $2, result = coalesce($3, result), error = $4, updated_ts = $5 where id = $1 and ${OPEN}`,
);
const CANCEL = sql('admin_task_cancel', 'update admin_tasks set is_cancelled = true, updated_ts = $2 where id = $1');
const LIST = sql(
  'admin_tasks_list',
  `select ${COLUMNS} from admin_tasks where seq < $1 and ($2::text[] is null or action = any($2)) and ($3::text is null or resource = $3)
     and ($4::text[] is null or status = any($4)) and ($5::bigint is null or updated_ts < $5)
   order by seq desc limit $6`,
);
const FORGET = sql(
  'admin_tasks_forget',
  `delete from admin_tasks where seq = any(array(
     select seq from admin_tasks where updated_ts < $1 and status not in ('scheduled', 'active') limit $2)) returning 1`,
);

export const insertTask = async (tx: Tx, task: NewTaskRow): Promise<void> => {
  const { action, createdTs, id, lane, params, requestedBy, resource, via } = task;
  await tx.query(INSERT, [id, action, resource, lane, params, requestedBy, via, createdTs]);
};

/** How many wait or are running; counted up to `most`. */
export const countOpenTasks = async (tx: Tx, most: number): Promise<number> =>
  (await tx.query<{ count: number }>(COUNT_OPEN, [most]))[0]?.count ?? 0;

/** Whether one of these tasks of a resource waits or is being done. Nobody else who asks so begins one until the transaction ends. */
export const isTaskOpen = async (tx: Tx, action: string, resource: string): Promise<boolean> => {
  await tx.query(TURN, [`${action} ${resource}`]);
  return (await tx.query(OPEN_OF, [action, resource])).length > 0;
};

export const findTask = async (database: Database, id: string): Promise<TaskRow | undefined> =>
  (await database.query<TaskRow>(FIND, [id]))[0];

/** The task, which nobody else changes until the transaction ends. */
export const lockTask = async (tx: Tx, id: string): Promise<TaskRow | undefined> =>
  (await tx.query<TaskRow>(LOCK, [id]))[0];

/** Begins the first task of a lane that has not ended, or resumes it. */
export const beginTask = async (database: Database, lane: string, now: number): Promise<TaskRow | undefined> =>
  (await database.query<TaskRow>(NEXT, [lane, now]))[0];

/** Notes how far a task has come. @returns false when it was cancelled */
export const noteTask = async (
  on: Pick<Database | Tx, 'query'>,
  id: string,
  result: string,
  now: number,
): Promise<boolean> => (await on.query(NOTE, [id, result, now])).length > 0;

export const endTask = async (
  on: Pick<Database | Tx, 'query'>,
  id: string,
  end: { readonly status: TaskStatus; readonly result?: string; readonly error?: string },
  now: number,
): Promise<void> => {
  await on.query(END, [id, end.status, end.result ?? null, end.error ?? null, now]);
};

/** Cancels a task. */
export const cancelTask = async (tx: Tx, id: string, now: number): Promise<void> => {
  await tx.query(CANCEL, [id, now]);
};

/** Tasks, the newest first. @param before only those that were asked for before the task with this `seq` */
export const listTasks = (
  database: Database,
  { actions, updatedBefore, resource, statuses }: TaskRowFilter,
  limit: number,
  before: number = Number.MAX_SAFE_INTEGER,
): Promise<TaskRow[]> =>
  database.query<TaskRow>(LIST, [
    before,
    actions ?? null,
    resource ?? null,
    statuses ?? null,
    updatedBefore ?? null,
    limit,
  ]);

/** Deletes up to `limit` tasks that ended before a time. @returns how many */
export const forgetTasks = async (database: Database, before: number, limit: number): Promise<number> =>
  (await database.query(FORGET, [before, limit])).length;
