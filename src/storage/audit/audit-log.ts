import { sql, type Database, type Tx } from '../database.ts';

export interface NewAuditRow {
  readonly ts: number;
  readonly actor: string | null;
  readonly deviceId: string | null;
  readonly ip: string | null;
  readonly via: string;
  readonly action: string;
  readonly target: string | null;
  readonly roomId: string | null;
  readonly taskId: string | null;
  /** JSON text. */
  readonly before: string | null;
  readonly after: string | null;
  readonly reason: string | null;
}

export interface AuditRow extends NewAuditRow {
  readonly id: number;
}

/** Filter of audit entries; members that are left out or null do not filter. */
export interface AuditRowFilter {
  readonly actor?: string | null | undefined;
  /** Only what was done at the command line. */
  readonly byOperator?: boolean | undefined;
  /** A noun (`user`), or the beginning of an action (`user.sus`). */
  readonly action?: string | null | undefined;
  readonly target?: string | null | undefined;
  readonly roomId?: string | null | undefined;
  /** Milliseconds since the epoch: from, and before. */
  readonly from?: number | null | undefined;
  readonly until?: number | null | undefined;
}

/** Where a page begins: behind this row. */
export interface AuditPlace {
  readonly ts: number;
  readonly id: number;
}

const INSERT = sql(
  'audit_log_insert',
  `insert into audit_log (ts, actor, device_id, ip, via, action, target, room_id, task_id, before_json, after_json, reason)
   values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
);

const COLUMNS = `id, ts, actor, device_id as "deviceId", ip, via, action, target, room_id as "roomId", task_id as "taskId",
   before_json as "before", after_json as "after", reason`;
/** Each has an index that is read in the order of the page; other conditions are then looked at row by row. */
const CONDITIONS = {
  actor: 'actor = $7::text',
  operator: 'actor is null and via = $7::text',
  target: 'target = $7::text',
  room: 'room_id = $7::text',
  action: `split_part(action, '.', 1) = split_part($7::text, '.', 1)`,
  time: '$7::text is null',
} as const;
type Way = keyof typeof CONDITIONS;

const LIST = Object.fromEntries(
  Object.entries(CONDITIONS).map(([way, condition]) => [
    way,
    sql(
      `audit_log_by_${way}`,
      `select ${COLUMNS} from audit_log where ${condition} and ts >= $1::bigint and (ts, id) < ($2::bigint, $3::bigint)
         and ($4::text is null or (split_part(action, '.', 1) = split_part($4, '.', 1) and starts_with(action, $4)))
         and ($5::text is null or target = $5) and ($6::text is null or room_id = $6)
       order by ts desc, id desc limit $8`,
    ),
  ]),
) as Record<Way, ReturnType<typeof sql>>;

const ALLOW_RETENTION = sql('audit_log_retention', `select set_config('tsudoi.audit_retention', 'on', true)`);
const FORGET = sql(
  'audit_log_forget',
  `delete from audit_log where id = any(array(select id from audit_log where ts < $1 order by ts limit $2)) returning 1`,
);

const LATEST_TIME = Number.MAX_SAFE_INTEGER;

export const insertAuditRow = async (tx: Tx, row: NewAuditRow): Promise<void> => {
  const { action, actor, after, before, deviceId, ip, reason, roomId, target, taskId, ts, via } = row;
  await tx.query(INSERT, [ts, actor, deviceId, ip, via, action, target, roomId, taskId, before, after, reason]);
};

/** Rows that match, the newest first. @param after only those behind this place */
export const listAuditRows = (
  database: Database,
  { action = null, actor = null, byOperator = false, from, roomId = null, target = null, until }: AuditRowFilter,
  limit: number,
  after?: AuditPlace,
): Promise<AuditRow[]> => {
  const [way, value]: readonly [Way, string | null] = byOperator
    ? ['operator', 'cli']
    : actor !== null
      ? ['actor', actor]
      : target !== null
        ? ['target', target]
        : roomId !== null
          ? ['room', roomId]
          : action !== null
            ? ['action', action]
            : ['time', null];
  const before = Math.min(until ?? LATEST_TIME, after?.ts ?? LATEST_TIME);
  const id = after !== undefined && after.ts === before ? after.id : 0;
  return database.query<AuditRow>(LIST[way], [from ?? 0, before, id, action, target, roomId, value, limit]);
};

/** Deletes up to `limit` rows from before a time. This alone may delete any. @returns how many */
export const forgetAuditRows = (database: Database, before: number, limit: number): Promise<number> =>
  database.write(async (tx) => {
    await tx.query(ALLOW_RETENTION);
    return (await tx.query(FORGET, [before, limit])).length;
  });
