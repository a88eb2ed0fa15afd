import type { Tx } from '../database.ts';
import { sql } from '../statement.ts';
import { doomUnusedBlobs } from './blobs.ts';

/** A piece of media that may have to go. */
export interface DeletableMedia {
  readonly nid: number;
  readonly origin: string;
  readonly mediaId: string;
  readonly userId: string;
  readonly blob: string | null;
}

const COLUMNS = 'm.nid, m.origin, m.media_id as "mediaId", m.user_id as "userId", m.blob';
// What is quarantined is looked at by others yet: its uploader does not get it off the disk.
const IS_NOT_QUARANTINED = `m.quarantined_by is null
     and not exists (select 1 from blobs b join quarantined_contents q on q.digest = b.digest where b.name = m.blob)`;
const RELEASED = sql(
  'media_released',
  `select ${COLUMNS} from media m where m.released_ts <= $1 and not m.protected and ${IS_NOT_QUARANTINED}
   order by m.released_ts, m.nid limit $2 for update skip locked`,
);
const UNUSED = sql(
  'media_unused',
  `select ${COLUMNS} from media m
   where coalesce(m.last_access_ts, m.created_ts) < $1 and m.nid > $4 and (m.origin = '') = $2 and m.blob is not null
     and not m.protected and ${IS_NOT_QUARANTINED}
   order by m.nid limit $3 for update skip locked`,
);
const OLD = sql(
  'media_old',
  `select ${COLUMNS} from media m
   where coalesce(m.last_access_ts, m.created_ts) < $1 and m.size > $2 and m.nid > $3 and m.origin = '' and m.blob is not null
     and not m.protected and ${IS_NOT_QUARANTINED}
   order by m.nid limit $4 for update skip locked`,
);
const LOCK = sql('media_lock', `select ${COLUMNS} from media m where m.origin = $1 and m.media_id = $2 for update`);
const LOCK_SOME = sql(
  'media_lock_some',
  `select ${COLUMNS} from media m where m.origin = '' and m.media_id = any($1::text[]) order by m.nid for update`,
);
const LOCK_USERS = sql(
  'media_lock_of_user',
  `select ${COLUMNS} from media m where m.user_id = $1 and m.origin = '' and m.nid > $2 order by m.nid limit $3 for update`,
);
const DELETE = sql('media_delete', 'delete from media where nid = any($1::bigint[]) returning user_id, size, blob');
const GIVE_BACK = sql(
  'media_give_back',
  `update media_usage u set bytes = u.bytes - g.bytes, files = u.files - g.files
   from (select * from unnest($1::text[], $2::bigint[], $3::bigint[]) g(user_id, bytes, files) order by user_id) g
   where u.user_id = g.user_id`,
);

/** Media that were released before a time, `limit` at most, and that are neither protected nor quarantined. */
export const lockReleased = (tx: Tx, before: number, limit: number): Promise<DeletableMedia[]> =>
  tx.query<DeletableMedia>(RELEASED, [before, limit]);

/** Media after one that were not requested since a time, and that are neither protected nor quarantined. */
export const lockUnused = (
  tx: Tx,
  query: { readonly before: number; readonly isLocal: boolean; readonly after: number; readonly limit: number },
): Promise<DeletableMedia[]> =>
  tx.query<DeletableMedia>(UNUSED, [query.before, query.isLocal, query.limit, query.after]);

/** Media of this server after one that were not requested since a time, larger than a size, and neither protected nor quarantined. */
export const lockOld = (
  tx: Tx,
  query: { readonly before: number; readonly size: number; readonly after: number; readonly limit: number },
): Promise<DeletableMedia[]> => tx.query<DeletableMedia>(OLD, [query.before, query.size, query.after, query.limit]);

export const lockMedia = async (tx: Tx, origin: string, mediaId: string): Promise<DeletableMedia | undefined> =>
  (await tx.query<DeletableMedia>(LOCK, [origin, mediaId]))[0];

/** Those of these media of this server that are there. */
export const lockSome = (tx: Tx, mediaIds: readonly string[]): Promise<DeletableMedia[]> =>
  tx.query<DeletableMedia>(LOCK_SOME, [mediaIds]);

/** What a user has uploaded, after the one with this number. */
export const lockMediaOfUser = (tx: Tx, userId: string, after: number, limit: number): Promise<DeletableMedia[]> =>
  tx.query<DeletableMedia>(LOCK_USERS, [userId, after, limit]);

/**
 * Deletes media with what names them, dooms what they consisted of unless it is used otherwise, and gives their users the space back: in the
 * order in which an upload locks the same rows.
 */
export const deleteMedia = async (tx: Tx, media: readonly number[]): Promise<void> => {
  if (media.length === 0) return;
  const gone = await tx.query<{ user_id: string; size: number; blob: string | null }>(DELETE, [media]);
  await doomUnusedBlobs(tx, [...new Set(gone.flatMap(({ blob }) => blob ?? []))]);
  const byUser = Map.groupBy(
    gone.filter(({ blob, user_id: userId }) => blob !== null && userId !== ''),
    ({ user_id: userId }) => userId,
  );
  if (byUser.size === 0) return;
  const users = [...byUser.keys()].toSorted();
  const bytes = users.map((user) => (byUser.get(user) ?? []).reduce((sum, { size }) => sum + size, 0));
  await tx.query(GIVE_BACK, [users, bytes, users.map((user) => byUser.get(user)?.length ?? 0)]);
};
