import { BatchStatements, BatchTable, bigint, insertStep, int, smallint, text } from '../batch-statement.ts';
import type { Database } from '../database.ts';
import { GUARD, type GuardedBatch, OWNED, type ShardGuard, writeGuarded } from './guarded-batch.ts';

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

interface StreamBatch extends GuardedBatch {
  readonly writes: readonly StreamWrite[];
}

const RECEIPTS = BatchTable.declare<StreamBatch, ReceiptRow>({
  name: 'receipts',
  rows: ({ writes }) => writes.flatMap((write) => write.receipts ?? []),
  key: (receipt) => `${receipt.room} ${receipt.user} ${receipt.kind} ${receipt.thread}`,
  columns: {
    room: int((receipt) => receipt.room),
    user_nid: int((receipt) => receipt.user),
    kind: smallint((receipt) => receipt.kind),
    thread: text((receipt) => receipt.thread),
    event_id: text((receipt) => receipt.eventId),
    event: bigint((receipt) => receipt.event),
    ts: bigint((receipt) => receipt.ts),
    pos: bigint((receipt) => receipt.pos),
  },
});

const ACCOUNT_DATA = BatchTable.declare<StreamBatch, AccountDataRow>({
  name: 'account_data',
  rows: ({ writes }) => writes.flatMap((write) => write.accountData ?? []),
  key: (piece) => `${piece.user} ${piece.room} ${piece.type}`,
  columns: {
    user_nid: int((piece) => piece.user),
    room: int((piece) => piece.room),
    type: text((piece) => piece.type),
    content: text((piece) => piece.content),
    pos: bigint((piece) => piece.pos),
  },
});

const WRITE_STREAMS = new BatchStatements<StreamBatch>(
  [
    {
      name: 'write_streams',
      steps: [
        ...GUARD,
        insertStep(RECEIPTS, {
          from: OWNED,
          after: `on conflict (room, user_nid, kind, thread) do update set event_id = excluded.event_id, event = excluded.event,
ts = excluded.ts, pos = excluded.pos`,
        }),
        insertStep(ACCOUNT_DATA, {
          from: OWNED,
          after: 'on conflict (user_nid, room, type) do update set content = excluded.content, pos = excluded.pos',
        }),
      ],
    },
  ],
  () => `select 1 from ${OWNED}`,
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
  await writeGuarded(database, WRITE_STREAMS, { guards, writes });
};
