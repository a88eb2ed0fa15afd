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
/** Quarantines contents, from rows of digest, user and time. */
const contentsOf = (rows: string): string =>
  `insert into quarantined_contents (digest, quarantined_by, created_ts) ${rows} on conflict do nothing`;
const CONTENT_OF = sql(
  'quarantine_content_of',
  contentsOf(`select b.digest, $3, $4 from media m join blobs b on b.name = m.blob
   where m.origin = $1 and m.media_id = $2 and not m.protected`),
);
const LIFT_CONTENT_OF = sql(
  'quarantine_lift_content_of',
  `delete from quarantined_contents q using media m, blobs b
   where m.origin = $1 and m.media_id = $2 and b.name = m.blob and q.digest = b.digest`,
);
// What is quarantined by its user or its room is quarantined for all who have uploaded the same.
const MARKED = `marked as (
     update media m set quarantined_by = $1 from chosen c
     where m.nid = c.nid and m.quarantined_by is null and not m.protected returning m.nid, m.origin, m.media_id, m.blob
   ), contents as (
     ${contentsOf('select distinct b.digest, $1, $2::bigint from marked m join blobs b on b.name = m.blob where b.digest is not null')}
   ), changes as (
     insert into quarantine_changes (origin, media_id, quarantined, ts)
     select origin, media_id, true, $2::bigint from marked order by nid
   )`;
const OF_USER = sql(
  'quarantine_of_user',
  `with chosen as (select nid from media where user_id = $3 and origin = '' and nid > $4 order by nid limit $5), ${MARKED}
   select (select max(nid) from chosen) as last, (select count(*)::int from chosen) as seen, (select count(*)::int from marked) as marked`,
);
const NAMED = sql(
  'quarantine_named',
  `with chosen as (
     select m.nid from unnest($3::text[], $4::text[]) u(origin, media_id) join media m on m.origin = u.origin and m.media_id = u.media_id
     order by m.nid for update of m
   ), ${MARKED}
   select count(*)::int as marked from marked`,
);
const CHANGED = sql(
  'quarantine_changed',
  'insert into quarantine_changes (origin, media_id, quarantined, ts) values ($1, $2, $3, $4)',
);
// Positions are given out in the order of commits, so that who has read up to one has missed none.
const LOCK_CHANGES = sql('quarantine_lock_changes', 'select pg_advisory_xact_lock(hashtextextended($1, 6))');
const CHANGES = sql(
  'quarantine_changes',
  `select pos, origin, media_id as "mediaId", quarantined from quarantine_changes where pos > $1 order by pos limit $2`,
);
const LATEST_CHANGE = sql(
  'quarantine_latest_change',
  'select coalesce(max(pos), 0)::bigint as pos from quarantine_changes',
);
const FORGET_CHANGES = sql(
  'quarantine_forget_changes',
  `with gone as (
     delete from quarantine_changes where pos in (
       select c.pos from quarantine_changes c where c.ts < $1 and exists (
         select 1 from quarantine_changes later where later.origin = c.origin and later.media_id = c.media_id and later.pos > c.pos
       ) order by c.pos limit $2
     ) returning 1
   ) select count(*)::int as count from gone`,
);
const NAME = sql(
  'quarantine_name',
  'insert into quarantined_names (origin, media_id, quarantined_by, created_ts) values ($1, $2, $3, $4) on conflict do nothing',
);
const LIFT_NAME = sql('quarantine_lift_name', 'delete from quarantined_names where origin = $1 and media_id = $2');

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
export const protectMedia = async (tx: Tx, mediaId: string, isProtected: boolean): Promise<boolean> =>
  (await tx.query(PROTECT, [mediaId, isProtected])).length > 0;

/** Who quarantines, and when. */
export interface Quarantining {
  readonly by: string;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** One batch of media that were to be quarantined. */
export interface QuarantineBatch {
  /** The number of the last one that was looked at; null when there was none. */
  readonly last: number | null;
  readonly seen: number;
  /** How many are quarantined from now on. */
  readonly marked: number;
}

/** Quarantines media of a user after one, `limit` at most, and their contents. */
export const quarantineMediaOfUser = async (
  tx: Tx,
  userId: string,
  after: number,
  limit: number,
  { by, now }: Quarantining,
): Promise<QuarantineBatch> => {
  await lockQuarantines(tx);
  const [batch] = await tx.query<QuarantineBatch>(OF_USER, [by, now, userId, after, limit]);
  return batch ?? { last: null, seen: 0, marked: 0 };
};

/** Quarantines those of these media that are here, and their contents. Returns how many are quarantined from now on. */
export const quarantineNamed = async (
  tx: Tx,
  media: readonly { readonly origin: string; readonly mediaId: string }[],
  { by, now }: Quarantining,
): Promise<number> => {
  if (media.length === 0) return 0;
  await lockQuarantines(tx);
  const names = [media.map(({ origin }) => origin), media.map(({ mediaId }) => mediaId)];
  const [row] = await tx.query<{ marked: number }>(NAMED, [by, now, ...names]);
  return row?.marked ?? 0;
};

/** Quarantines media of another server that are not here yet, for when they are fetched. */
export const quarantineName = async (
  tx: Tx,
  origin: string,
  mediaId: string,
  { by, now }: Quarantining,
): Promise<void> => {
  await tx.query(NAME, [origin, mediaId, by, now]);
};

export const liftName = async (tx: Tx, origin: string, mediaId: string): Promise<void> => {
  await tx.query(LIFT_NAME, [origin, mediaId]);
};

/** Serializes transactions that quarantine or free media. To be called before anything else is locked. */
export const lockQuarantines = async (tx: Tx): Promise<void> => {
  await tx.query(LOCK_CHANGES, ['quarantine_changes']);
};

/** That a piece of media was quarantined, or freed. */
export interface QuarantineChange {
  readonly pos: number;
  /** Empty for this server. */
  readonly origin: string;
  readonly mediaId: string;
  readonly quarantined: boolean;
}

/** Notes that a piece of media was quarantined or freed, where `lockQuarantines` was called before. */
export const noteChange = async (
  tx: Tx,
  { mediaId, origin, quarantined }: Omit<QuarantineChange, 'pos'>,
  now: number,
): Promise<void> => {
  await tx.query(CHANGED, [origin, mediaId, quarantined, now]);
};

/** Changes after a position, in order, `limit` at most. */
export const quarantineChangesAfter = (database: Database, after: number, limit: number): Promise<QuarantineChange[]> =>
  database.query<QuarantineChange>(CHANGES, [after, limit]);

export const latestQuarantineChange = async (database: Database): Promise<number> =>
  (await database.query<{ pos: number }>(LATEST_CHANGE))[0]?.pos ?? 0;

/** Forgets changes before a time that later ones of the same media have made void, `limit` at most. Returns how many. */
export const forgetQuarantineChanges = async (database: Database, before: number, limit: number): Promise<number> =>
  (await database.query<{ count: number }>(FORGET_CHANGES, [before, limit]))[0]?.count ?? 0;
