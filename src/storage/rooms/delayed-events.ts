import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

/** A stored delayed event. Times are milliseconds since the epoch. */
export interface DelayedEventRecord {
  readonly delay_id: string;
  readonly user_id: string;
  readonly device_id: string | null;
  readonly room_id: string;
  readonly type: string;
  readonly state_key: string | null;
  /** JSON. */
  readonly content: string;
  readonly origin_server_ts: number | null;
  readonly sticky_duration_ms: number | null;
  /** Scheduled by a parameter of /send or /state, as clients did before the endpoint existed. */
  readonly older_form: boolean;
  readonly delay_ms: number;
  /** When it was scheduled or last restarted. */
  readonly scheduled_at: number;
  /** When it was sent, cancelled, or failed. */
  readonly finalised_ts: number | null;
  readonly event_id: string | null;
  /** JSON of the error for which it was not sent. */
  readonly error: string | null;
}

/** A delayed event that is scheduled. Times are milliseconds since the epoch. */
export interface NewDelayedEvent {
  readonly delayId: string;
  readonly userId: string;
  readonly deviceId: string | null;
  readonly roomId: string;
  readonly type: string;
  readonly stateKey: string | null;
  readonly content: string;
  readonly originServerTs: number | null;
  readonly stickyDurationMs: number | null;
  readonly olderForm: boolean;
  /** Key of the transaction that scheduled it, a UUID. */
  readonly txn: string | null;
  readonly delayMs: number;
  readonly scheduledAt: number;
}

const COLUMNS = `delay_id, user_id, device_id, room_id, type, state_key, content, origin_server_ts, sticky_duration_ms, older_form,
  delay_ms, scheduled_at, finalised_ts, event_id, error`;

const INSERT = sql(
  'delayed_insert',
  `with known as (
     select delay_id from delayed_events where txn = $11
   ), made as (
     insert into delayed_events (delay_id, user_id, device_id, room_id, type, state_key, content, origin_server_ts,
       sticky_duration_ms, older_form, txn, delay_ms, scheduled_at, look_at)
     select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13::bigint + $12::bigint
     where not exists (select from known) and ($14::int is null or $14 >
       (select count(*) from (select from delayed_events where user_id = $2 and finalised_ts is null limit $14) scheduled))
     on conflict (txn) do nothing
     returning delay_id
   ) select delay_id, false as is_new from known union all select delay_id, true from made`,
);
const BY_TXN = sql('delayed_by_txn', 'select delay_id from delayed_events where txn = $1');
const NEXT_OF_USER = sql(
  'delayed_next_of_user',
  'select min(scheduled_at + delay_ms) as due from delayed_events where user_id = $1 and finalised_ts is null',
);
const BY_ID = sql('delayed_by_id', `select ${COLUMNS} from delayed_events where delay_id = $1`);
// look_at stays as it is, and with it every index, unless the clock was set back.
const RESTART = sql(
  'delayed_restart',
  `update delayed_events d set scheduled_at = r.at, look_at = least(d.look_at, r.at + d.delay_ms)
   from unnest($1::text[], $2::text[], $3::bigint[]) r(delay_id, user_id, at)
   where d.delay_id = r.delay_id and (r.user_id is null or d.user_id = r.user_id) and d.finalised_ts is null
   returning d.delay_id`,
);
const FINALISE = sql(
  'delayed_finalise',
  `update delayed_events set finalised_ts = $2, event_id = $3, error = $4
   where delay_id = $1 and finalised_ts is null returning delay_id`,
);
const CANCEL_OF_USER = sql(
  'delayed_cancel_of_user',
  `update delayed_events set finalised_ts = $2 where delay_id in (
     select delay_id from delayed_events where user_id = $1 and finalised_ts is null order by delay_id for update skip locked
   ) and finalised_ts is null`,
);
// Restarted since the last look. Rows that are locked by another transaction are looked at again at once.
const MOVE_ON = sql(
  'delayed_move_on',
  `update delayed_events set look_at = scheduled_at + delay_ms where delay_id in (
     select delay_id from delayed_events
     where finalised_ts is null and look_at <= $1 and scheduled_at + delay_ms > $1 limit $2 for update skip locked
   ) returning 1`,
);
const DUE = sql(
  'delayed_due',
  `select ${COLUMNS} from delayed_events where finalised_ts is null and look_at <= $1 and scheduled_at + delay_ms <= $1
     and delay_id <> all($2::text[])
   order by scheduled_at + delay_ms, delay_id limit $3`,
);
const NEXT_LOOK = sql(
  'delayed_next_look',
  'select min(look_at) as look_at from delayed_events where finalised_ts is null and delay_id <> all($1::text[])',
);
const LOOK_LATER = sql(
  'delayed_look_later',
  'update delayed_events set look_at = $2 where delay_id = $1 and finalised_ts is null',
);
const SCHEDULED_OF_USER = sql(
  'delayed_scheduled_of_user',
  `select ${COLUMNS} from delayed_events where user_id = $1 and finalised_ts is null
     and ($2::text[] is null or delay_id = any($2)) and (scheduled_at + delay_ms, delay_id) > ($3::bigint, $4::text)
   order by scheduled_at + delay_ms, delay_id limit $5`,
);
const FINALISED_OF_USER = sql(
  'delayed_finalised_of_user',
  `select ${COLUMNS} from delayed_events where user_id = $1 and finalised_ts is not null
     and ($2::text[] is null or delay_id = any($2)) and ($3::bigint is null or (finalised_ts, delay_id) < ($3::bigint, $4::text))
   order by finalised_ts desc, delay_id desc limit $5`,
);
const DELETE_OLD = sql(
  'delayed_delete_old',
  `delete from delayed_events where delay_id in (
     select delay_id from delayed_events where finalised_ts < $1 limit $2
   ) returning 1`,
);
const DELETE_MANY = sql(
  'delayed_delete_many',
  `delete from delayed_events where delay_id in (
     select o.delay_id from (
       select user_id from delayed_events where finalised_ts is not null group by user_id having count(*) > $1
     ) u cross join lateral (
       select delay_id, finalised_ts from delayed_events e where e.user_id = u.user_id and e.finalised_ts is not null
       order by e.finalised_ts desc, e.delay_id desc offset $1
     ) o where o.finalised_ts < $2 limit $3
   ) returning 1`,
);

/**
 * Schedules an event, unless a request with the same transaction id did already.
 *
 * @param most how many a user may have scheduled; null: any number
 * @returns the id under which it is scheduled, and whether it was not before; undefined when the user has as many as they may
 */
export const insertDelayedEvent = async (
  database: Database,
  event: NewDelayedEvent,
  most: number | null,
): Promise<{ readonly delay_id: string; readonly is_new: boolean } | undefined> => {
  const [row] = await database.query<{ delay_id: string; is_new: boolean }>(INSERT, [
    event.delayId,
    event.userId,
    event.deviceId,
    event.roomId,
    event.type,
    event.stateKey,
    event.content,
    event.originServerTs,
    event.stickyDurationMs,
    event.olderForm,
    event.txn,
    event.delayMs,
    event.scheduledAt,
    most,
  ]);
  if (row !== undefined || event.txn === null) return row;
  // Another request of the same transaction was faster by less than a statement.
  const known = event.txn === null ? undefined : await delayedEventOfTxn(database, event.txn);
  return known === undefined ? undefined : { delay_id: known, is_new: false };
};

/** The id of the delayed event that a transaction scheduled. */
export const delayedEventOfTxn = async (database: Database, txn: string): Promise<string | undefined> =>
  (await database.query<{ delay_id: string }>(BY_TXN, [txn]))[0]?.delay_id;

/** When the next of a user's delayed events is to be sent. */
export const nextDueOfUser = async (database: Database, userId: string): Promise<number | undefined> =>
  (await database.query<{ due: number | null }>(NEXT_OF_USER, [userId]))[0]?.due ?? undefined;

export const delayedEventById = async (database: Database, delayId: string): Promise<DelayedEventRecord | undefined> =>
  (await database.query<DelayedEventRecord>(BY_ID, [delayId]))[0];

/** A delayed event to restart. */
export interface DelayRestart {
  readonly delayId: string;
  /** Only if it is this user's. */
  readonly userId: string | undefined;
  readonly at: number;
}

/** Restarts delayed events, all in one statement. @returns which of them were still scheduled */
export const restartDelayedEvents = async (
  database: Database,
  restarts: readonly DelayRestart[],
): Promise<ReadonlySet<string>> => {
  const rows = await database.query<{ delay_id: string }>(RESTART, [
    restarts.map((restart) => restart.delayId),
    restarts.map((restart) => restart.userId ?? null),
    restarts.map((restart) => restart.at),
  ]);
  return new Set(rows.map((row) => row.delay_id));
};

/** Stores the outcome of a delayed event. @returns whether it was still scheduled */
export const finaliseDelayedEvent = async (
  database: Database,
  delayId: string,
  outcome: { readonly ts: number; readonly eventId?: string; readonly error?: string },
): Promise<boolean> =>
  (await database.query(FINALISE, [delayId, outcome.ts, outcome.eventId ?? null, outcome.error ?? null])).length > 0;

/** Cancels everything that a user has scheduled. */
export const cancelDelayedEventsOf = async (database: Database, userId: string, ts: number): Promise<void> => {
  await database.query(CANCEL_OF_USER, [userId, ts]);
};

/** Moves `look_at` of delayed events that are not due. @returns how many there were; `limit` at most */
export const moveDelayedEventsOn = async (database: Database, now: number, limit: number): Promise<number> =>
  (await database.query(MOVE_ON, [now, limit])).length;

/** Delayed events that are due, the longest overdue first, without those that are being processed. */
export const dueDelayedEvents = (
  database: Database,
  now: number,
  inHand: readonly string[],
  limit: number,
): Promise<DelayedEventRecord[]> => database.query<DelayedEventRecord>(DUE, [now, inHand, limit]);

/** When the next one has to be looked at, without those that are being processed; undefined when nothing is scheduled. */
export const nextDelayedLook = async (database: Database, inHand: readonly string[]): Promise<number | undefined> =>
  (await database.query<{ look_at: number | null }>(NEXT_LOOK, [inHand]))[0]?.look_at ?? undefined;

/** Postpones a delayed event. */
export const lookLater = async (database: Database, delayId: string, at: number): Promise<void> => {
  await database.query(LOOK_LATER, [delayId, at]);
};

/** A place in a list of delayed events: the time by which the list is sorted, and the id. */
export interface DelayedPlace {
  readonly ts: number;
  readonly delayId: string;
}

export interface DelayedQuery {
  readonly userId: string;
  /** Only these; all, when left out. */
  readonly delayIds: readonly string[] | undefined;
  readonly after: DelayedPlace | undefined;
  readonly limit: number;
}

/** A user's scheduled events, in the order in which they will be sent. */
export const scheduledDelayedEvents = (database: Database, query: DelayedQuery): Promise<DelayedEventRecord[]> =>
  database.query<DelayedEventRecord>(SCHEDULED_OF_USER, [
    query.userId,
    query.delayIds ?? null,
    query.after?.ts ?? 0,
    query.after?.delayId ?? '',
    query.limit,
  ]);

/** A user's finished delayed events, the latest first. */
export const finalisedDelayedEvents = (database: Database, query: DelayedQuery): Promise<DelayedEventRecord[]> =>
  database.query<DelayedEventRecord>(FINALISED_OF_USER, [
    query.userId,
    query.delayIds ?? null,
    query.after?.ts ?? null,
    query.after?.delayId ?? '',
    query.limit,
  ]);

/** Deletes up to `limit` that were finished before `before`. @returns how many */
export const deleteOldDelayedEvents = async (database: Database, before: number, limit: number): Promise<number> =>
  (await database.query(DELETE_OLD, [before, limit])).length;

/** Deletes up to `limit` finished before `before`, of users with more than `most`. @returns how many */
export const deleteManyDelayedEvents = async (
  database: Database,
  most: number,
  before: number,
  limit: number,
): Promise<number> => (await database.query(DELETE_MANY, [most, before, limit])).length;
