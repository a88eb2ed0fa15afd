import { sql, type Database, type Tx } from '../database.ts';

export const REPORT_KINDS = ['event', 'room', 'user'] as const;
export type ReportKind = (typeof REPORT_KINDS)[number];
export const REPORT_STATES = ['open', 'resolved'] as const;
export type ReportState = (typeof REPORT_STATES)[number];

export interface NewReport {
  readonly kind: ReportKind;
  readonly reporter: string;
  readonly roomId: string | null;
  readonly eventId: string | null;
  /** The reported user, or the sender of the reported event. */
  readonly userId: string | null;
  readonly reason: string | null;
  /** -100 (most offensive) to 0; null when the reporter gave none. */
  readonly score: number | null;
  readonly createdTs: number;
}

export interface ReportRecord extends NewReport {
  readonly id: number;
  readonly state: ReportState;
  /** Who closed it, and when; null while it is open. */
  readonly resolvedBy: string | null;
  readonly resolvedTs: number | null;
  /** Notes of administrators. */
  readonly note: string | null;
}

/** A report with the name of its room. */
export interface ReportWithRoom extends ReportRecord {
  readonly roomName: string | null;
  readonly canonicalAlias: string | null;
}

/** Members that are left out do not filter. */
export interface ReportFilter {
  readonly kind?: ReportKind | undefined;
  readonly state?: ReportState | undefined;
  /** Parts of ids. */
  readonly reporter?: string | undefined;
  readonly roomId?: string | undefined;
  /** A part of that user's id. */
  readonly about?: string | undefined;
  /** The whole id. */
  readonly userId?: string | undefined;
}

const COLUMNS = `p.id, p.kind, p.reporter, p.room_id as "roomId", p.event_id as "eventId", p.user_id as "userId", p.reason, p.score,
  p.created_ts as "createdTs", p.state, p.resolved_by as "resolvedBy", p.resolved_ts as "resolvedTs", p.note`;
const WITH_ROOM = `${COLUMNS}, o.name as "roomName", o.canonical_alias as "canonicalAlias" from reports p
  left join rooms r on r.room_id = p.room_id left join room_overviews o on o.room = r.nid`;
const FILTER = `($1::text is null or p.kind = $1) and ($2::text is null or p.state = $2)
  and ($3::text is null or strpos(p.reporter, $3) > 0) and ($4::text is null or strpos(p.room_id, $4) > 0)
  and ($5::text is null or strpos(p.user_id, $5) > 0) and ($6::text is null or p.user_id = $6)`;

const INSERT = sql(
  'report_insert',
  `insert into reports (kind, reporter, room_id, event_id, user_id, reason, score, created_ts)
   values ($1, $2, $3, $4, $5, $6, $7, $8)`,
);
const COUNT = sql('reports_count', `select count(*)::int as count from reports p where ${FILTER}`);
const PAGES = {
  asc: sql(
    'reports_page_asc',
    `select ${WITH_ROOM} where ${FILTER} order by p.created_ts asc, p.id asc limit $7 offset $8`,
  ),
  desc: sql(
    'reports_page_desc',
    `select ${WITH_ROOM} where ${FILTER} order by p.created_ts desc, p.id desc limit $7 offset $8`,
  ),
};
const BEFORE = sql('reports_before', `select ${WITH_ROOM} where ${FILTER} and p.id < $8 order by p.id desc limit $7`);
const FIND = sql('report_find', `select ${WITH_ROOM} where p.id = $1`);
const LOCK = sql('report_lock', `select ${COLUMNS} from reports p where p.id = $1 for update`);
const RESOLVE = sql(
  'report_resolve',
  `update reports p set state = $2, resolved_by = $3, resolved_ts = $4, note = $5 where id = $1 returning ${COLUMNS}`,
);
const DELETE = sql('report_delete', 'delete from reports where id = $1');

const filterValues = ({ about, kind, reporter, roomId, state, userId }: ReportFilter): unknown[] => [
  kind ?? null,
  state ?? null,
  reporter ?? null,
  roomId ?? null,
  about ?? null,
  userId ?? null,
];

export const insertReport = async (tx: Tx, report: NewReport): Promise<void> => {
  const { createdTs, eventId, kind, reason, reporter, roomId, score, userId } = report;
  await tx.query(INSERT, [kind, reporter, roomId, eventId, userId, reason, score, createdTs]);
};

export const countReports = async (tx: Tx, filter: ReportFilter): Promise<number> =>
  (await tx.query<{ count: number }>(COUNT, filterValues(filter)))[0]?.count ?? 0;

/** A page of reports in the order in which they came. */
export const reportsPage = (
  tx: Tx,
  filter: ReportFilter,
  page: { readonly isDescending: boolean; readonly limit: number; readonly offset: number },
): Promise<ReportWithRoom[]> =>
  tx.query<ReportWithRoom>(PAGES[page.isDescending ? 'desc' : 'asc'], [
    ...filterValues(filter),
    page.limit,
    page.offset,
  ]);

/** The newest reports that were made before the one with this id. */
export const reportsBefore = (
  database: Database,
  filter: ReportFilter,
  limit: number,
  before: number = Number.MAX_SAFE_INTEGER,
): Promise<ReportWithRoom[]> => database.query<ReportWithRoom>(BEFORE, [...filterValues(filter), limit, before]);

export const findReport = async (database: Database, id: number): Promise<ReportWithRoom | undefined> =>
  (await database.query<ReportWithRoom>(FIND, [id]))[0];

/** The report, locked until the transaction ends. */
export const lockReport = async (tx: Tx, id: number): Promise<ReportRecord | undefined> =>
  (await tx.query<ReportRecord>(LOCK, [id]))[0];

export const changeReport = async (
  tx: Tx,
  id: number,
  { note, resolvedBy, resolvedTs, state }: Pick<ReportRecord, 'state' | 'resolvedBy' | 'resolvedTs' | 'note'>,
): Promise<void> => {
  await tx.query(RESOLVE, [id, state, resolvedBy, resolvedTs, note]);
};

export const deleteReport = async (tx: Tx, id: number): Promise<void> => {
  await tx.query(DELETE, [id]);
};
