import { sql, type Database, type Tx } from '../database.ts';

/** A pusher. Client-Server API, "Push Notifications". */
export interface PusherRecord {
  /** Unique on this server, never used again. */
  readonly id: number;
  readonly userId: string;
  /** The device that made it, and with which it is deleted. Null for one that stays. */
  readonly deviceId: string | null;
  readonly appId: string;
  readonly pushkey: string;
  readonly kind: string;
  readonly appDisplayName: string;
  readonly deviceDisplayName: string;
  readonly profileTag: string | null;
  readonly lang: string;
  /** JSON text. */
  readonly data: string;
  /** Milliseconds since the epoch. */
  readonly createdTs: number;
  /** When it was last set, in milliseconds since the epoch. */
  readonly updatedTs: number;
  /** Whether it is enabled (MSC3881). */
  readonly enabled: boolean;
  /** Its place in the push log: earlier pushes do not concern it. */
  readonly since: number;
  /** The unread count that it was last sent. */
  readonly told: number;
}

/** A pusher as it is read for sending. */
export interface KnownPusher extends PusherRecord {
  /** Whether the account of its user is locked: it is sent nothing. */
  readonly isLocked: boolean;
}

/** A pusher as a client sets it. */
export type NewPusher = Omit<PusherRecord, 'id' | 'since' | 'told' | 'updatedTs'>;

const COLUMNS = `id, user_id as "userId", device_id as "deviceId", app_id as "appId", pushkey, kind, app_display_name as "appDisplayName",
  device_display_name as "deviceDisplayName", profile_tag as "profileTag", lang, data, created_ts as "createdTs", updated_ts as "updatedTs",
  enabled, since, told`;

const OF_USER = sql(
  'pushers_of_user',
  `select ${COLUMNS} from pushers where user_id = $1 order by created_ts, app_id, pushkey`,
);
const BY_ID = sql(
  'pusher',
  `select ${COLUMNS}, exists(select 1 from accounts a where a.user_id = pushers.user_id and a.locked) as "isLocked"
   from pushers where id = $1`,
);
const PAGE = sql('pushers_page', `select ${COLUMNS} from pushers where id > $1 order by id limit $2`);
// The device of one that is there stays: it ends with the device that shows what it pushes, whichever device turns it off and on (MSC3881).
// A device that has it push to somewhere else is the one that it ends with: it must not outlive the session that did so.
const UPSERT = sql(
  'pusher_upsert',
  `insert into pushers (user_id, device_id, app_id, pushkey, kind, app_display_name, device_display_name, profile_tag, lang, data,
     created_ts, updated_ts, enabled, since)
   values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11, $12, (select coalesce(max(pos), 0) from pushes))
   on conflict (user_id, app_id, pushkey) do update set kind = excluded.kind,
     device_id = case when pushers.kind = excluded.kind and pushers.data = excluded.data then pushers.device_id
       else excluded.device_id end,
     app_display_name = excluded.app_display_name, device_display_name = excluded.device_display_name,
     profile_tag = excluded.profile_tag, lang = excluded.lang, data = excluded.data, updated_ts = excluded.updated_ts,
     enabled = excluded.enabled,
     since = case when excluded.enabled and not pushers.enabled then excluded.since else pushers.since end
   returning ${COLUMNS}`,
);
const DELETE = sql(
  'pusher_delete',
  'delete from pushers where user_id = $1 and app_id = $2 and pushkey = $3 returning id',
);
const DELETE_BY_ID = sql('pusher_delete_by_id', 'delete from pushers where id = $1');
// A mail address has one owner: no other user takes it over, whatever their `app_id`.
const DELETE_OTHERS = sql(
  'pusher_delete_others',
  `delete from pushers where user_id <> $1 and app_id = $2 and pushkey = $3 and kind <> 'email' returning id`,
);
const LOCK = sql('pushkey_lock', 'select pg_advisory_xact_lock(hashtextextended($1, 4))');

const DELETE_MAIL = sql(
  'pushers_delete_mail',
  `delete from pushers where user_id = $1 and kind = 'email' and lower(pushkey) = $2`,
);

const TOLD = sql(
  'pushers_told',
  'update pushers p set told = t.told from unnest($1::bigint[], $2::int[]) t(id, told) where p.id = t.id',
);
const DELETE_ALL_MAIL = sql('pushers_delete_all_mail', `delete from pushers where user_id = $1 and kind = 'email'`);
const COUNT = sql('pushers_count', 'select count(*)::int as count from pushers where user_id = $1');

export const countPushers = async (tx: Tx, userId: string): Promise<number> =>
  (await tx.query<{ count: number }>(COUNT, [userId]))[0]?.count ?? 0;

/** A user's pushers, the oldest first. */
export const pushersOf = (database: Database, userId: string): Promise<PusherRecord[]> =>
  database.query<PusherRecord>(OF_USER, [userId]);

export const pusherById = async (database: Database, id: number): Promise<KnownPusher | undefined> =>
  (await database.query<KnownPusher>(BY_ID, [id]))[0];

/** The pushers of all users with ids after this one, in order. */
export const pushersPage = (database: Database, after: number, limit: number): Promise<PusherRecord[]> =>
  database.query<PusherRecord>(PAGE, [after, limit]);

/** Makes a pusher, or changes the one that the user has of this application and pushkey. @returns it as it is now */
export const putPusher = async (tx: Tx, pusher: NewPusher): Promise<PusherRecord> => {
  const [record] = await tx.query<PusherRecord>(UPSERT, [
    pusher.userId,
    pusher.deviceId,
    pusher.appId,
    pusher.pushkey,
    pusher.kind,
    pusher.appDisplayName,
    pusher.deviceDisplayName,
    pusher.profileTag,
    pusher.lang,
    pusher.data,
    pusher.createdTs,
    pusher.enabled,
  ]);
  if (record === undefined) throw new Error('a pusher was set and is not there');
  return record;
};

/** Stores the unread counts that pushers were sent. */
export const saveSentCounts = async (database: Database, told: ReadonlyMap<number, number>): Promise<void> => {
  await database.query(TOLD, [[...told.keys()], [...told.values()]]);
};

const idsOf = (rows: readonly { readonly id: number }[]): number[] => rows.map(({ id }) => id);

/** @returns the ids of those that are gone */
export const deletePusher = async (tx: Tx, userId: string, appId: string, pushkey: string): Promise<number[]> =>
  idsOf(await tx.query<{ id: number }>(DELETE, [userId, appId, pushkey]));

export const deletePusherById = async (tx: Tx, id: number): Promise<void> => {
  await tx.query(DELETE_BY_ID, [id]);
};

/** Deletes all e-mail pushers of a user. */
export const deleteAllMailPushers = async (tx: Tx, userId: string): Promise<void> => {
  await tx.query(DELETE_ALL_MAIL, [userId]);
};

/** Deletes a user's pushers to a mail address. */
export const deleteMailPushers = async (tx: Tx, userId: string, address: string): Promise<void> => {
  await tx.query(DELETE_MAIL, [userId, address]);
};

/**
 * Takes the pushkey of an application from everybody but this user, until the end of the transaction: of two users who want it at once, the
 * later one gets it.
 *
 * @returns the ids of those that are gone
 */
export const deletePushersOfOthers = async (
  tx: Tx,
  userId: string,
  appId: string,
  pushkey: string,
): Promise<number[]> => {
  await tx.query(LOCK, [JSON.stringify([appId, pushkey])]);
  return idsOf(await tx.query<{ id: number }>(DELETE_OTHERS, [userId, appId, pushkey]));
};
