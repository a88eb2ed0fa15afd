import { sql, type Database, type Tx } from '../database.ts';

/** Where somebody is told of notifications. */
export interface PusherRecord {
  readonly userId: string;
  /** The device that set it: it ends with that. */
  readonly deviceId: string;
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
}

const SELECT = sql(
  'pushers_of_user',
  `select user_id as "userId", device_id as "deviceId", app_id as "appId", pushkey, kind, app_display_name as "appDisplayName",
     device_display_name as "deviceDisplayName", profile_tag as "profileTag", lang, data, created_ts as "createdTs"
   from pushers where user_id = $1 order by created_ts, app_id, pushkey`,
);
const UPSERT = sql(
  'pusher_upsert',
  `insert into pushers (user_id, device_id, app_id, pushkey, kind, app_display_name, device_display_name, profile_tag, lang, data, created_ts)
   values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
   on conflict (user_id, app_id, pushkey) do update set device_id = excluded.device_id, kind = excluded.kind,
     app_display_name = excluded.app_display_name, device_display_name = excluded.device_display_name,
     profile_tag = excluded.profile_tag, lang = excluded.lang, data = excluded.data`,
);
const DELETE = sql('pusher_delete', 'delete from pushers where user_id = $1 and app_id = $2 and pushkey = $3');
const DELETE_OTHERS = sql(
  'pusher_delete_others',
  'delete from pushers where user_id <> $1 and app_id = $2 and pushkey = $3',
);

const COUNT = sql('pushers_count', 'select count(*)::int as count from pushers where user_id = $1');

export const countPushers = async (tx: Tx, userId: string): Promise<number> =>
  (await tx.query<{ count: number }>(COUNT, [userId]))[0]?.count ?? 0;

/** A user's pushers, the oldest first. */
export const pushersOf = (database: Database, userId: string): Promise<PusherRecord[]> =>
  database.query<PusherRecord>(SELECT, [userId]);

export const putPusher = async (tx: Tx, pusher: PusherRecord): Promise<void> => {
  await tx.query(UPSERT, [
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
  ]);
};

export const deletePusher = async (tx: Tx, userId: string, appId: string, pushkey: string): Promise<void> => {
  await tx.query(DELETE, [userId, appId, pushkey]);
};

/** Takes the pushkey of an application from everybody but this user. */
export const deletePushersOfOthers = async (tx: Tx, userId: string, appId: string, pushkey: string): Promise<void> => {
  await tx.query(DELETE_OTHERS, [userId, appId, pushkey]);
};
