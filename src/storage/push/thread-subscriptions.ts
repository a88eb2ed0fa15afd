import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

/** What a user decided about a thread. */
export interface ThreadSubscriptionRow {
  readonly user: number;
  /** 0 for the row that says that the user follows threads at all. */
  readonly room: number;
  /** Id of the event that the thread begins with. */
  readonly root: string;
  readonly rootNid: number;
  /** Whether a client decided so by itself; null: the thread is not followed any more. */
  readonly automatic: boolean | null;
  /** Position of the room at which it was decided. */
  readonly at: number;
  /** Position in the stream of the user's shard. */
  readonly pos: number;
}

/** The same as it is read. */
export interface ThreadSubscriptionRecord extends ThreadSubscriptionRow {
  /** Null for a room that is not there (any more). */
  readonly roomId: string | null;
}

/** A decision that is not kept any longer. */
export type RemovedThreadSubscription = Pick<ThreadSubscriptionRow, 'user' | 'room' | 'root'>;

const OF_USERS = sql(
  'thread_subscriptions_of_users',
  `select t.user_nid as "user", t.room, r.room_id as "roomId", t.root, t.root_nid as "rootNid", t.automatic, t.at, t.pos
   from thread_subscriptions t left join rooms r on r.nid = t.room where t.user_nid = any($1::int[])`,
);

/** All that these users decided about threads. */
export const threadSubscriptionsOf = (
  database: Database,
  users: readonly number[],
): Promise<ThreadSubscriptionRecord[]> => database.query<ThreadSubscriptionRecord>(OF_USERS, [users]);
