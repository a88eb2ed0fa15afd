import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

/** A received event that waits to be added to its room. */
export interface InboundEventRow {
  readonly room: number;
  readonly eventId: Buffer;
  readonly json: string;
}

/** The same as it lies in the database. */
export interface InboundEventRecord {
  readonly seq: number;
  readonly event_id: Buffer;
  readonly origin: string;
  readonly json: string;
  /** Milliseconds since the epoch. */
  readonly received_ts: number;
}

const STAGE = sql(
  'inbound_stage',
  `with t as (
     insert into inbound_transactions (origin, txn_id, answer, received_ts) values ($1, $2, $3, $4)
     on conflict do nothing returning 1
   ) insert into inbound_events (room, event_id, origin, json, received_ts)
   select u.room, u.event_id, $1, u.json, $4 from t, unnest($5::int[], $6::bytea[], $7::text[]) with ordinality u(room, event_id, json, place)
   order by u.place on conflict do nothing returning seq, event_id`,
);
const ANSWER = sql('inbound_answer', 'select answer from inbound_transactions where origin = $1 and txn_id = $2');
const WAITING = sql(
  'inbound_waiting',
  'select room, origin, count(*)::int as events from inbound_events group by room, origin',
);
const NEXT = sql(
  'inbound_next',
  'select seq, event_id, origin, json, received_ts from inbound_events where room = $1 and seq > $2 order by seq limit $3',
);
const DONE = sql('inbound_done', 'delete from inbound_events where seq = any($1::bigint[])');
const DONE_OF_ROOM = sql('inbound_done_of_room', 'delete from inbound_events where room = $1');
const OLD = sql(
  'inbound_clean',
  `delete from inbound_transactions where ctid = any(array(
     select ctid from inbound_transactions where received_ts < $1 limit $2
   )) returning 1`,
);
const SURPLUS = sql(
  'inbound_clean_surplus',
  `delete from inbound_transactions t using (
     select origin, txn_id, row_number() over (partition by origin order by received_ts desc) as place from inbound_transactions
   ) r where r.origin = t.origin and r.txn_id = t.txn_id and r.place > $1`,
);

/**
 * Stores the events of a transaction and its answer, in one commit.
 *
 * @returns the places of its events in the queue; those that wait already get none
 */
export const stageTransaction = (
  database: Database,
  transaction: {
    readonly origin: string;
    readonly txnId: string;
    /** JSON text. */
    readonly answer: string;
    /** Milliseconds since the epoch. */
    readonly receivedTs: number;
    readonly events: readonly InboundEventRow[];
  },
): Promise<{ seq: number; event_id: Buffer }[]> => {
  const { answer, events, origin, receivedTs, txnId } = transaction;
  return database.query(STAGE, [
    origin,
    txnId,
    answer,
    receivedTs,
    events.map(({ room }) => room),
    events.map(({ eventId }) => eventId),
    events.map(({ json }) => json),
  ]);
};

/** The answer to a transaction; undefined when it was not received yet. */
export const answerOf = async (database: Database, origin: string, txnId: string): Promise<string | undefined> =>
  (await database.query<{ answer: string }>(ANSWER, [origin, txnId]))[0]?.answer;

/** How many events wait, by room and origin. */
export const waitingEvents = (database: Database): Promise<{ room: number; origin: string; events: number }[]> =>
  database.query(WAITING, []);

/** The next events that wait for a room, after one of them. */
export const nextEvents = (
  database: Database,
  room: number,
  after: number,
  limit: number,
): Promise<InboundEventRecord[]> => database.query<InboundEventRecord>(NEXT, [room, after, limit]);

/** Removes events from the queue. */
export const finishEvents = async (database: Database, seqs: readonly number[]): Promise<void> => {
  await database.query(DONE, [seqs]);
};

/** Removes all events of a room from the queue. */
export const finishEventsOfRoom = async (database: Database, room: number): Promise<void> => {
  await database.query(DONE_OF_ROOM, [room]);
};

/** Forgets up to `limit` transactions that came before a time. @returns how many */
export const forgetTransactions = async (database: Database, before: number, limit: number): Promise<number> =>
  (await database.query(OLD, [before, limit])).length;

/** Forgets all but the last `most` transactions of each server. */
export const forgetSurplusTransactions = async (database: Database, most: number): Promise<void> => {
  await database.query(SURPLUS, [most]);
};
