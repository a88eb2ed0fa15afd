import type { Database, Tx } from '../database.ts';
import { sql } from '../statement.ts';

const BY_ID = sql(
  'quarantine_media',
  `update media set quarantined_by = $3 where origin = $1 and media_id = $2 and not protected returning nid`,
);
const LIFT = sql(
  'quarantine_lift',
  'update media set quarantined_by = null where origin = $1 and media_id = $2 returning blob',
);
const PROTECT = sql(
  'quarantine_protect',
  `update media set protected = $2, quarantined_by = case when $2 then null else quarantined_by end
   where origin = '' and media_id = $1 returning nid`,
);
const CONTENT = sql(
  'quarantine_content',
  `insert into quarantined_contents (digest, quarantined_by, created_ts) values ($1, $2, $3) on conflict do nothing`,
);
const CONTENT_OF = sql(
  'quarantine_content_of',
  `insert into quarantined_contents (digest, quarantined_by, created_ts)
   select b.digest, $3, $4 from media m join blobs b on b.name = m.blob
   where m.origin = $1 and m.media_id = $2 and not m.protected on conflict do nothing`,
);
const LIFT_CONTENT = sql(
  'quarantine_lift_content',
  'delete from quarantined_contents where digest = $1 returning digest',
);
const LIFT_CONTENT_OF = sql(
  'quarantine_lift_content_of',
  `delete from quarantined_contents q using media m, blobs b
   where m.origin = $1 and m.media_id = $2 and b.name = m.blob and q.digest = b.digest`,
);
const marking = (chosen: string): string => `with chosen as (${chosen}),
   marked as (
     update media m set quarantined_by = $4 from chosen c where m.nid = c.nid and m.quarantined_by is null and not m.protected returning m.nid
   )
   select (select max(nid) from chosen) as last, (select count(*)::int from chosen) as seen, (select count(*)::int from marked) as marked`;
const OF_USER = sql(
  'quarantine_of_user',
  marking(`select nid from media where user_id = $1 and origin = '' and nid > $2 order by nid limit $3`),
);
const OF_ROOM = sql(
  'quarantine_of_room',
  marking(`select distinct media as nid from media_references where room = $1 and media > $2 order by media limit $3`),
);

/** Quarantines a piece of media. Returns false when it is not there, or protected. */
export const quarantineMedia = async (tx: Tx, origin: string, mediaId: string, by: string): Promise<boolean> =>
  (await tx.query(BY_ID, [origin, mediaId, by])).length > 0;

/** Quarantines the content of a piece of media, for every uploader. */
export const quarantineContentOf = async (
  tx: Tx,
  origin: string,
  mediaId: string,
  by: string,
  now: number,
): Promise<void> => {
  await tx.query(CONTENT_OF, [origin, mediaId, by, now]);
};

/** Lifts the quarantine of a piece of media, and that of its content. Returns false when it is not there. */
export const liftQuarantine = async (tx: Tx, origin: string, mediaId: string): Promise<boolean> => {
  await tx.query(LIFT_CONTENT_OF, [origin, mediaId]);
  return (await tx.query(LIFT, [origin, mediaId])).length > 0;
};

/** Protects a piece of this server's media from quarantine, or no longer. Returns false when it is not there. */
export const protectMedia = async (database: Database, mediaId: string, isProtected: boolean): Promise<boolean> =>
  (await database.query(PROTECT, [mediaId, isProtected])).length > 0;

/** Quarantines a content, there or not. @param digest SHA-256 in hex */
export const quarantineContent = async (database: Database, digest: string, by: string, now: number): Promise<void> => {
  await database.query(CONTENT, [digest, by, now]);
};

/** Returns false when it was not quarantined. */
export const liftContentQuarantine = async (database: Database, digest: string): Promise<boolean> =>
  (await database.query(LIFT_CONTENT, [digest])).length > 0;

/** One batch of media that were to be quarantined. */
export interface QuarantineBatch {
  /** The number of the last one that was looked at; null when there was none. */
  readonly last: number | null;
  readonly seen: number;
  /** How many are quarantined from now on. */
  readonly marked: number;
}

const batchOf = ([row]: readonly QuarantineBatch[]): QuarantineBatch => row ?? { last: null, seen: 0, marked: 0 };

/** Quarantines media of a user after one, `limit` at most. */
export const quarantineMediaOfUser = async (
  database: Database,
  userId: string,
  after: number,
  limit: number,
  by: string,
): Promise<QuarantineBatch> => batchOf(await database.query<QuarantineBatch>(OF_USER, [userId, after, limit, by]));

/** Quarantines media of this server that events of a room name, after one, `limit` at most. */
export const quarantineMediaOfRoom = async (
  database: Database,
  room: number,
  after: number,
  limit: number,
  by: string,
): Promise<QuarantineBatch> => batchOf(await database.query<QuarantineBatch>(OF_ROOM, [room, after, limit, by]));
