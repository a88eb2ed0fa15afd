import type { Database } from '../database.ts';
import { sql } from '../statement.ts';
import { type ShardGuard, StaleEpochError } from '../events/event-writes.ts';

/** Kinds of receipts as they are stored. */
export const RECEIPT_KINDS = { 'm.read': 1, 'm.read.private': 2 } as const;
export type ReceiptKind = keyof typeof RECEIPT_KINDS;

export interface ReceiptRow {
  readonly room: number;
  readonly user: number;
  readonly kind: number;
  /** Empty: not threaded; else `main` or the id of the thread's root. */
  readonly thread: string;
  readonly eventId: string;
  /** Position of the event, where it is known. */
  readonly event: number | null;
  readonly ts: number;
  readonly pos: number;
}

export interface AccountDataRow {
  readonly user: number;
  /** 0 for global account data. */
  readonly room: number;
  readonly type: string;
  /** JSON. */
  readonly content: string;
  readonly pos: number;
}

/** What has to be written together. */
export interface StreamWrite {
  readonly receipts?: readonly ReceiptRow[];
  readonly accountData?: readonly AccountDataRow[];
}

const WRITE_STREAMS = sql(
  'write_streams',
  `with guard as (
    update shards s set seq = greatest(s.seq, g.seq) from unnest($1::smallint[], $2::bigint[], $3::bigint[]) g(id, epoch, seq)
    where s.id = g.id and s.epoch = g.epoch returning s.id
  ), owned as (
    select 1 from guard having count(*) = cardinality($1::smallint[])
  ), new_receipts as (
    insert into receipts (room, user_nid, kind, thread, event_id, event, ts, pos)
    select r.* from owned, unnest($4::int[], $5::int[], $6::smallint[], $7::text[], $8::text[], $9::bigint[], $10::bigint[],
      $11::bigint[]) r(room, user_nid, kind, thread, event_id, event, ts, pos)
    on conflict (room, user_nid, kind, thread) do update set event_id = excluded.event_id, event = excluded.event,
      ts = excluded.ts, pos = excluded.pos
  ), new_account_data as (
    insert into account_data (user_nid, room, type, content, pos)
    select a.* from owned, unnest($12::int[], $13::int[], $14::text[], $15::text[], $16::bigint[])
      a(user_nid, room, type, content, pos)
    on conflict (user_nid, room, type) do update set content = excluded.content, pos = excluded.pos
  ) select 1 from owned`,
);

/**
 * Writes receipts and account data in one statement and one commit. Doing it twice changes nothing.
 *
 * @throws StaleEpochError when a shard has another owner by now; nothing is written then
 */
export const writeStreams = async (
  database: Database,
  guards: readonly ShardGuard[],
  writes: readonly StreamWrite[],
): Promise<void> => {
  const receipts = [
    ...new Map(
      writes
        .flatMap((write) => write.receipts ?? [])
        .map((row) => [`${row.room} ${row.user} ${row.kind} ${row.thread}`, row]),
    ).values(),
  ];
  const accountData = [
    ...new Map(
      writes.flatMap((write) => write.accountData ?? []).map((row) => [`${row.user} ${row.room} ${row.type}`, row]),
    ).values(),
  ];
  const rows = await database.query(WRITE_STREAMS, [
    guards.map((guard) => guard.shard),
    guards.map((guard) => guard.epoch),
    guards.map((guard) => guard.sequence),
    receipts.map((row) => row.room),
    receipts.map((row) => row.user),
    receipts.map((row) => row.kind),
    receipts.map((row) => row.thread),
    receipts.map((row) => row.eventId),
    receipts.map((row) => row.event),
    receipts.map((row) => row.ts),
    receipts.map((row) => row.pos),
    accountData.map((row) => row.user),
    accountData.map((row) => row.room),
    accountData.map((row) => row.type),
    accountData.map((row) => row.content),
    accountData.map((row) => row.pos),
  ]);
  if (rows.length === 0) throw new StaleEpochError();
};
