import type { Database } from '../database.ts';
import { sql } from '../statement.ts';
import { arrayLiteral } from '../array-literal.ts';

/** The delivery state of an application service. */
export interface AppserviceDelivery {
  readonly service: string;
  /** The prefix of its transaction ids, which end with their number: no service is ever sent the same id twice. */
  readonly run: string;
  /** Number of the last transaction that was delivered, or given up. */
  readonly delivered: number;
  /** Number of the one that was begun and is not answered. */
  readonly begun: number | null;
  /** Place in its log up to which everything was delivered. */
  readonly done: number;
  /** Place of the last event of the transaction that was begun; `done` when it has none. */
  readonly sending: number | null;
  /** What the transaction that was begun contains beside events, as JSON. Without one that was begun: what the next one contains. */
  readonly extras: string | null;
  /** Positions up to which it was sent device list changes, by shard; null when it was sent none. */
  readonly devices: readonly number[] | null;
  /** How often in a row it could not be reached. */
  readonly failures: number;
  /** How often in a row it refused what it was sent. */
  readonly refusals: number;
  /** When to try again, in milliseconds. */
  readonly retryAt: number | null;
  /** When a transaction arrived last, in milliseconds. */
  readonly successTs: number | null;
  /** Why the last one failed, in words; null when it was delivered. */
  readonly failure: string | null;
  /** When it last had a WebSocket open, in milliseconds. */
  readonly socketTs: number | null;
}

/** Events that a service is interested in, in order; the last of them has the place `last`, those before it the places before it. */
export interface AppserviceLogEntry {
  readonly service: string;
  readonly last: number;
  /** Of each event. */
  readonly rooms: readonly number[];
  readonly events: readonly number[];
}

const ALL = sql(
  'appservice_deliveries',
  `select service, run, delivered, begun, done, sending, extras, devices, failures, refusals, retry_at as "retryAt",
     success_ts as "successTs", failure, socket_ts as "socketTs" from appservice_deliveries`,
);
const SAVE = sql(
  'appservice_delivery_save',
  `insert into appservice_deliveries as d (service, run, delivered, begun, done, sending, extras, devices, failures, refusals, retry_at,
     success_ts, failure, socket_ts)
   values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
   on conflict (service) do update set run = excluded.run, delivered = excluded.delivered, begun = excluded.begun, done = excluded.done,
     sending = excluded.sending, extras = excluded.extras, devices = excluded.devices, failures = excluded.failures,
     refusals = excluded.refusals, retry_at = excluded.retry_at, success_ts = excluded.success_ts, failure = excluded.failure`,
);
// What is done need not be kept: a row of which some events are to be sent still stays as it is.
const SAVE_DONE = sql(
  'appservice_delivery_done',
  `with gone as (delete from appservice_log where service = $1 and last <= $2)
   update appservice_deliveries set delivered = $3, begun = null, done = $2, sending = null, extras = null, devices = $4, failures = 0,
     refusals = 0, retry_at = null, success_ts = $5, failure = null where service = $1`,
);
const NOTE_SOCKET = sql(
  'appservice_delivery_socket',
  `insert into appservice_deliveries (service, run, socket_ts) values ($1, $2, $3)
   on conflict (service) do update set socket_ts = excluded.socket_ts`,
);
const ENDS = sql('appservice_log_ends', 'select service, max(last) as last from appservice_log group by service');
// What was appended, and up to which events: one does not come without the other.
const APPEND = sql(
  'appservice_log_append',
  `with reached as (
     insert into event_followers (name, shard, pos) select $5, c.* from unnest($6::smallint[], $7::bigint[]) c(shard, pos)
     on conflict (name, shard) do update set pos = greatest(event_followers.pos, excluded.pos)
   ) insert into appservice_log (service, last, rooms, events)
   select l.service, l.last, l.rooms::int[], l.events::bigint[]
   from unnest($1::text[], $2::bigint[], $3::text[], $4::text[]) l(service, last, rooms, events)`,
);
const READ = sql(
  'appservice_log_read',
  'select service, last, rooms, events from appservice_log where service = $1 and last > $2 order by last limit $3',
);
const DROP = sql('appservice_log_drop', 'delete from appservice_log where service = $1 and last <= $2');
const FORGET = sql(
  'appservice_delivery_forget',
  `with gone as (delete from appservice_log where service = any($1::text[]))
   delete from appservice_deliveries where service = any($1::text[])`,
);

/** Of all services that were ever sent something. */
export const appserviceDeliveries = (database: Database): Promise<AppserviceDelivery[]> =>
  database.query<AppserviceDelivery>(ALL);

export const saveAppserviceDelivery = async (database: Database, delivery: AppserviceDelivery): Promise<void> => {
  const { begun, delivered, devices, done, extras, failure, failures, refusals, retryAt, run, sending } = delivery;
  const { service, socketTs, successTs } = delivery;
  const values = [service, run, delivered, begun, done, sending, extras, devices, failures, refusals, retryAt];
  await database.query(SAVE, [...values, successTs, failure, socketTs]);
};

/** Everything up to `delivery.done` arrived: nothing is under way, and the log up to there goes. */
export const saveAppserviceDone = async (database: Database, delivery: AppserviceDelivery): Promise<void> => {
  const { delivered, devices, done, service, successTs } = delivery;
  await database.query(SAVE_DONE, [service, done, delivered, devices, successTs]);
};

/** Notes when a service had a WebSocket open, beside whatever else is noted of it. */
export const noteSocket = async (
  database: Database,
  { run, service, socketTs }: Pick<AppserviceDelivery, 'service' | 'run' | 'socketTs'>,
): Promise<void> => {
  await database.query(NOTE_SOCKET, [service, run, socketTs]);
};

/** The places of the last events in the logs that have any. */
export const appserviceLogEnds = async (database: Database): Promise<Map<string, number>> =>
  new Map(
    (await database.query<{ service: string; last: number }>(ENDS)).map(
      ({ service, last }) => [service, last] as const,
    ),
  );

/**
 * Appends to logs, and remembers under the name of a follower up to which events that was done.
 *
 * @param reached by shard; those that have not moved are left out
 */
export const appendAppserviceLog = async (
  database: Database,
  entries: readonly AppserviceLogEntry[],
  name: string,
  reached: ReadonlyMap<number, number>,
): Promise<void> => {
  await database.query(APPEND, [
    entries.map(({ service }) => service),
    entries.map(({ last }) => last),
    entries.map(({ rooms }) => arrayLiteral(rooms)),
    entries.map(({ events }) => arrayLiteral(events)),
    name,
    [...reached.keys()],
    [...reached.values()],
  ]);
};

/** What comes after a place in the log of a service. */
export const readAppserviceLog = (
  database: Database,
  service: string,
  after: number,
  limit: number,
): Promise<AppserviceLogEntry[]> => database.query<AppserviceLogEntry>(READ, [service, after, limit]);

/** Deletes the oldest of a log: everything up to a place. */
export const dropAppserviceLog = async (database: Database, service: string, upTo: number): Promise<void> => {
  await database.query(DROP, [service, upTo]);
};

/** Deletes the state of services that do not exist any more. */
export const forgetAppserviceDeliveries = async (database: Database, services: readonly string[]): Promise<void> => {
  await database.query(FORGET, [services]);
};
