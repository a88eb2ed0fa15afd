import {
  BatchStatements,
  BatchTable,
  bigint,
  boolean,
  double,
  insertStep,
  int,
  smallint,
  text,
} from '../batch-statement.ts';
import type { Database } from '../database.ts';
import type { PushCheckRow } from '../push/pushes.ts';
import type { RemovedThreadSubscription, ThreadSubscriptionRow } from '../push/thread-subscriptions.ts';
import type { ProfileChangeRow } from '../user-data/profile-changes.ts';
import { GUARD, type GuardedBatch, OWNED, type ShardGuard, writeGuarded } from './guarded-batch.ts';

/** Kinds of receipts as they are stored. */
export const RECEIPT_KINDS = { 'm.read': 1, 'm.read.private': 2 } as const;
export type ReceiptKind = keyof typeof RECEIPT_KINDS;
/** A row that is not a receipt: up to where a user has read the threads whose receipts are not stored any more. */
export const THREADS_FLOOR = 3;

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

/** A receipt that is deleted. */
export type RemovedReceipt = Pick<ReceiptRow, 'room' | 'user' | 'kind' | 'thread'>;

export interface AccountDataRow {
  readonly user: number;
  /** 0 for global account data. */
  readonly room: number;
  readonly type: string;
  /** JSON. */
  readonly content: string;
  readonly pos: number;
}

/** A tag of a room. */
export interface TagRow {
  readonly user: number;
  readonly room: number;
  readonly tag: string;
  /** JSON; null: the tag is removed. */
  readonly content: string | null;
}

/** A push rule of a user. */
export interface PushRuleWrite {
  readonly user: number;
  readonly kind: number;
  readonly ruleId: string;
  /** Undefined: there is none any more. */
  readonly row:
    | { readonly place: number | null; readonly enabled: boolean | null; readonly content: string }
    | undefined;
}

/** What has to be written together. */
export interface StreamWrite {
  readonly receipts?: readonly ReceiptRow[];
  readonly removedReceipts?: readonly RemovedReceipt[];
  readonly pushChecks?: readonly PushCheckRow[];
  readonly accountData?: readonly AccountDataRow[];
  readonly tags?: readonly TagRow[];
  readonly pushRules?: readonly PushRuleWrite[];
  readonly threadSubscriptions?: readonly ThreadSubscriptionRow[];
  readonly removedThreadSubscriptions?: readonly RemovedThreadSubscription[];
  /** Changes that their transactions have noted, with their positions. */
  readonly profileChanges?: readonly ProfileChangeRow[];
}

interface StreamBatch extends GuardedBatch {
  readonly writes: readonly StreamWrite[];
}

const RECEIPTS = BatchTable.declare<StreamBatch, ReceiptRow>({
  name: 'receipts',
  rows: ({ writes }) => writes.flatMap((write) => write.receipts ?? []),
  key: (receipt) => receiptKey(receipt),
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

const receiptKey = ({ room, user, kind, thread }: RemovedReceipt): string => `${room} ${user} ${kind} ${thread}`;

const REMOVED_RECEIPTS = BatchTable.declare<StreamBatch, RemovedReceipt>({
  name: 'receipts',
  // Those that were given again in the same batch stay.
  rows: ({ writes }) => {
    const given = new Set(writes.flatMap((write) => write.receipts ?? []).map(receiptKey));
    return writes.flatMap((write) => write.removedReceipts ?? []).filter((removed) => !given.has(receiptKey(removed)));
  },
  columns: {
    room: int((receipt) => receipt.room),
    user_nid: int((receipt) => receipt.user),
    kind: smallint((receipt) => receipt.kind),
    thread: text((receipt) => receipt.thread),
  },
});

const PUSH_CHECKS = BatchTable.declare<StreamBatch, PushCheckRow>({
  name: 'push_checks',
  rows: ({ writes }) => writes.flatMap((write) => write.pushChecks ?? []),
  key: ({ user }) => String(user),
  columns: {
    user_nid: int(({ user }) => user),
    mark: bigint(({ mark }) => mark),
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

/** The rows of a batch that are the last ones of their kind: no statement may touch a row twice. */
const lastOf = <Row>(rows: readonly Row[], key: (row: Row) => string): readonly Row[] => [
  ...new Map(rows.map((row) => [key(row), row] as const)).values(),
];

const tagsOf = ({ writes }: StreamBatch): readonly TagRow[] =>
  lastOf(
    writes.flatMap((write) => write.tags ?? []),
    (tag) => `${tag.user} ${tag.room} ${tag.tag}`,
  );

const TAGS = BatchTable.declare<StreamBatch, TagRow>({
  name: 'room_tags',
  rows: (batch) => tagsOf(batch).filter(({ content }) => content !== null),
  columns: {
    user_nid: int((tag) => tag.user),
    room: int((tag) => tag.room),
    tag: text((tag) => tag.tag),
    content: text((tag) => tag.content),
  },
});

const REMOVED_TAGS = BatchTable.declare<StreamBatch, TagRow>({
  name: 'room_tags',
  rows: (batch) => tagsOf(batch).filter(({ content }) => content === null),
  columns: {
    user_nid: int((tag) => tag.user),
    room: int((tag) => tag.room),
    tag: text((tag) => tag.tag),
  },
});

const pushRulesOf = ({ writes }: StreamBatch): readonly PushRuleWrite[] =>
  lastOf(
    writes.flatMap((write) => write.pushRules ?? []),
    (rule) => `${rule.user} ${rule.kind} ${rule.ruleId}`,
  );

const PUSH_RULES = BatchTable.declare<StreamBatch, PushRuleWrite>({
  name: 'push_rules',
  rows: (batch) => pushRulesOf(batch).filter(({ row }) => row !== undefined),
  columns: {
    user_nid: int((rule) => rule.user),
    kind: smallint((rule) => rule.kind),
    rule_id: text((rule) => rule.ruleId),
    place: double((rule) => rule.row?.place),
    enabled: boolean((rule) => rule.row?.enabled),
    content: text((rule) => rule.row?.content),
  },
});

const REMOVED_PUSH_RULES = BatchTable.declare<StreamBatch, PushRuleWrite>({
  name: 'push_rules',
  rows: (batch) => pushRulesOf(batch).filter(({ row }) => row === undefined),
  columns: {
    user_nid: int((rule) => rule.user),
    kind: smallint((rule) => rule.kind),
    rule_id: text((rule) => rule.ruleId),
  },
});

const subscriptionKey = ({ user, room, root }: RemovedThreadSubscription): string => `${user} ${room} ${root}`;

const THREAD_SUBSCRIPTIONS = BatchTable.declare<StreamBatch, ThreadSubscriptionRow>({
  name: 'thread_subscriptions',
  rows: ({ writes }) => writes.flatMap((write) => write.threadSubscriptions ?? []),
  key: subscriptionKey,
  columns: {
    user_nid: int((row) => row.user),
    room: int((row) => row.room),
    root: text((row) => row.root),
    root_nid: bigint((row) => row.rootNid),
    automatic: boolean((row) => row.automatic),
    at: bigint((row) => row.at),
    pos: bigint((row) => row.pos),
  },
});

const REMOVED_THREAD_SUBSCRIPTIONS = BatchTable.declare<StreamBatch, RemovedThreadSubscription>({
  name: 'thread_subscriptions',
  // Those that were decided anew in the same batch stay.
  rows: ({ writes }) => {
    const given = new Set(writes.flatMap((write) => write.threadSubscriptions ?? []).map(subscriptionKey));
    return writes
      .flatMap((write) => write.removedThreadSubscriptions ?? [])
      .filter((removed) => !given.has(subscriptionKey(removed)));
  },
  columns: {
    user_nid: int((row) => row.user),
    room: int((row) => row.room),
    root: text((row) => row.root),
  },
});

const PROFILE_CHANGES = BatchTable.declare<StreamBatch, ProfileChangeRow>({
  name: 'profile_changes',
  rows: ({ writes }) => writes.flatMap((write) => write.profileChanges ?? []),
  key: ({ userId, field }) => JSON.stringify([userId, field]),
  columns: {
    user_id: text((change) => change.userId),
    field: text((change) => change.field),
    pos: bigint((change) => change.pos),
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
        insertStep(PUSH_CHECKS, { from: OWNED, after: 'on conflict (user_nid) do update set mark = excluded.mark' }),
        insertStep(ACCOUNT_DATA, {
          from: OWNED,
          after: 'on conflict (user_nid, room, type) do update set content = excluded.content, pos = excluded.pos',
        }),
      ],
    },
    {
      name: 'write_streams_and_user_data',
      steps: [
        {
          name: 'removed_receipts',
          tables: [REMOVED_RECEIPTS],
          text: (rows) => `delete from receipts t using ${OWNED}, ${rows(REMOVED_RECEIPTS, 'r')}
where t.room = r.room and t.user_nid = r.user_nid and t.kind = r.kind and t.thread = r.thread`,
        },
        insertStep(TAGS, {
          from: OWNED,
          after: 'on conflict (user_nid, room, tag) do update set content = excluded.content',
        }),
        {
          name: 'removed_tags',
          tables: [REMOVED_TAGS],
          text: (rows) => `delete from room_tags t using ${OWNED}, ${rows(REMOVED_TAGS, 'r')}
where t.user_nid = r.user_nid and t.room = r.room and t.tag = r.tag`,
        },
        insertStep(PUSH_RULES, {
          from: OWNED,
          after: `on conflict (user_nid, kind, rule_id) do update set place = excluded.place, enabled = excluded.enabled,
content = excluded.content`,
        }),
        {
          name: 'removed_push_rules',
          tables: [REMOVED_PUSH_RULES],
          text: (rows) => `delete from push_rules p using ${OWNED}, ${rows(REMOVED_PUSH_RULES, 'r')}
where p.user_nid = r.user_nid and p.kind = r.kind and p.rule_id = r.rule_id`,
        },
        insertStep(THREAD_SUBSCRIPTIONS, {
          from: OWNED,
          after: `on conflict (user_nid, room, root) do update set automatic = excluded.automatic, at = excluded.at,
pos = excluded.pos`,
        }),
        {
          name: 'removed_thread_subscriptions',
          tables: [REMOVED_THREAD_SUBSCRIPTIONS],
          text: (rows) => `delete from thread_subscriptions t using ${OWNED}, ${rows(REMOVED_THREAD_SUBSCRIPTIONS, 'r')}
where t.user_nid = r.user_nid and t.room = r.room and t.root = r.root`,
        },
        {
          name: 'told_profile_changes',
          tables: [PROFILE_CHANGES],
          // Rows that were deleted with their user are not written again.
          text: (rows) => `update profile_changes p set pos = r.pos from ${OWNED}, ${rows(PROFILE_CHANGES, 'r')}
where p.user_id = r.user_id and p.field = r.field`,
        },
      ],
    },
  ],
  () => `select 1 from ${OWNED}`,
);

/**
 * Writes receipts, account data, tags, push rules and what users decided about threads in one statement and one commit. Doing it twice changes nothing.
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
