import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

/** A user's subscription or unsubscription of a thread. */
export interface ThreadSubscriptionRow {
  readonly user: number;
  /** 0 for the row that says that the user's clients use thread subscriptions at all. */
  readonly room: number;
  /** Id of the event that the thread begins with. */
  readonly root: string;
  readonly rootNid: number;
  /** Whether a client subscribed automatically; null after unsubscribing. */
  readonly automatic: boolean | null;
  /** Position of the room at that time. */
  readonly at: number;
  /** Position in the stream of the user's shard. */
  readonly pos: number;
}

/** The same as it is read. */
export interface ThreadSubscriptionRecord extends ThreadSubscriptionRow {
  /** Null for a room that does not exist (any more). */
  readonly roomId: string | null;
}

/** A row to be deleted. */
export type RemovedThreadSubscription = Pick<ThreadSubscriptionRow, 'user' | 'room' | 'root'>;

const OF_USERS = sql(
  'thread_subscriptions_of_users',
  `select t.user_nid as "user", t.room, r.room_id as "roomId", t.root, t.root_nid as "rootNid", t.automatic, t.at, t.pos
   from thread_subscriptions t left join rooms r on r.nid = t.room where t.user_nid = any($1::int[])`,
);

/** All thread subscriptions of these users. */
export const threadSubscriptionsOf = (
  database: Database,
  users: readonly number[],
): Promise<ThreadSubscriptionRecord[]> => database.query<ThreadSubscriptionRecord>(OF_USERS, [users]);
