import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

/** An event that a follower failed to process. */
export interface EventSetAside {
  readonly event: number;
  readonly room: number;
  readonly tries: number;
}

const SET_ASIDE = sql(
  'events_set_aside',
  `insert into events_set_aside (follower, event, room, tries, retry_at) values ($1, $2, $3, $4, $5)
   on conflict (follower, event) do update set tries = excluded.tries, retry_at = excluded.retry_at`,
);
const DUE = sql(
  'events_set_aside_due',
  `select event, room, tries from events_set_aside where follower = $1 and retry_at <= $2 order by retry_at, event limit $3`,
);
const NEXT = sql('events_set_aside_next', 'select min(retry_at) as at from events_set_aside where follower = $1');
const ALL_DUE = sql('events_set_aside_all_due', 'update events_set_aside set retry_at = $2 where follower = $1');
const TAKEN = sql('events_set_aside_taken', 'delete from events_set_aside where follower = $1 and event = $2');

/** Notes that an event could not be processed. @param retryAt when to try again, in milliseconds; null for not before the next start */
export const setAside = async (
  database: Database,
  follower: string,
  { event, room, tries }: EventSetAside,
  retryAt: number | null,
): Promise<void> => {
  await database.query(SET_ASIDE, [follower, event, room, tries, retryAt]);
};

/** Due events, oldest first. */
export const dueEventsSetAside = (
  database: Database,
  follower: string,
  now: number,
  limit: number,
): Promise<EventSetAside[]> => database.query<EventSetAside>(DUE, [follower, now, limit]);

/** When the next one is due, in milliseconds. */
export const nextEventSetAside = async (database: Database, follower: string): Promise<number | undefined> =>
  (await database.query<{ at: number | null }>(NEXT, [follower]))[0]?.at ?? undefined;

/** Makes all of them due. */
export const retryEventsSetAside = async (database: Database, follower: string, now: number): Promise<void> => {
  await database.query(ALL_DUE, [follower, now]);
};

/** Forgets one that is processed, or no more. */
export const forgetEventSetAside = async (database: Database, follower: string, event: number): Promise<void> => {
  await database.query(TAKEN, [follower, event]);
};
