import type { Database, Tx } from '../database.ts';
import { sql } from '../statement.ts';

/** A piece of media, uploaded or awaited. */
export interface MediaRecord {
  readonly mediaId: string;
  readonly userId: string;
  /** Milliseconds since the epoch. */
  readonly createdTs: number;
  /** Until when the content may come; null once it has. */
  readonly expiresTs: number | null;
  /** SHA-256 of the content; null as long as it has not come. */
  readonly digest: string | null;
  readonly size: number;
  readonly contentType: string | null;
  readonly filename: string | null;
  readonly quarantined: boolean;
}

/** What comes with an upload. */
export interface MediaContent {
  readonly digest: string;
  readonly size: number;
  readonly contentType: string;
  readonly filename: string | undefined;
}

const COLUMNS = `media_id as "mediaId", user_id as "userId", created_ts as "createdTs", expires_ts as "expiresTs", digest, size,
  content_type as "contentType", filename, quarantined`;
const INSERT = sql(
  'media_insert',
  `insert into media (media_id, user_id, created_ts, expires_ts, digest, size, content_type, filename)
   values ($1, $2, $3, $4, $5, $6, $7, $8)`,
);
const FIND = sql('media_find', `select ${COLUMNS} from media where media_id = $1`);
const FILL = sql(
  'media_fill',
  `update media set digest = $3, size = $4, content_type = $5, filename = $6, expires_ts = null
   where media_id = $1 and user_id = $2 and digest is null returning 1`,
);
const PENDING = sql(
  'media_pending',
  'select count(*)::int as count from media where user_id = $1 and digest is null and expires_ts > $2',
);
const USED = sql('media_used', 'select coalesce(sum(size), 0)::bigint as bytes from media where user_id = $1');
const LOCK_USER = sql('media_lock_user', 'select 1 from accounts where user_id = $1 for no key update');
const DELETE_EXPIRED = sql(
  'media_expired',
  `with gone as (
     delete from media where media_id in (select media_id from media where digest is null and expires_ts < $1 limit $2) returning 1
   ) select count(*)::int as count from gone`,
);

/** Makes uploads of one user wait for each other. */
export const lockUploads = async (tx: Tx, userId: string): Promise<void> => {
  await tx.query(LOCK_USER, [userId]);
};

/** Stores a piece of media, with its content or without. */
export const insertMedia = async (
  tx: Tx,
  media: Pick<MediaRecord, 'mediaId' | 'userId' | 'createdTs' | 'expiresTs'>,
  content?: MediaContent,
): Promise<void> => {
  await tx.query(INSERT, [
    media.mediaId,
    media.userId,
    media.createdTs,
    media.expiresTs,
    content?.digest ?? null,
    content?.size ?? 0,
    content?.contentType ?? null,
    content?.filename ?? null,
  ]);
};

export const findMedia = async (reader: Database | Tx, mediaId: string): Promise<MediaRecord | undefined> =>
  (await reader.query<MediaRecord>(FIND, [mediaId]))[0];

/** Gives a piece of media its content. Returns false when it has one, or is not the user's. */
export const fillMedia = async (tx: Tx, mediaId: string, userId: string, content: MediaContent): Promise<boolean> =>
  (await tx.query(FILL, [mediaId, userId, content.digest, content.size, content.contentType, content.filename ?? null]))
    .length > 0;

/** How many uploads of a user are awaited. */
export const countPending = async (tx: Tx, userId: string, now: number): Promise<number> =>
  (await tx.query<{ count: number }>(PENDING, [userId, now]))[0]?.count ?? 0;

/** Bytes that a user has uploaded. */
export const bytesOfUser = async (reader: Database | Tx, userId: string): Promise<number> =>
  (await reader.query<{ bytes: number }>(USED, [userId]))[0]?.bytes ?? 0;

/** Forgets ids whose content never came, `limit` at most. Returns how many. */
export const deleteExpiredMedia = async (database: Database, now: number, limit: number): Promise<number> =>
  (await database.query<{ count: number }>(DELETE_EXPIRED, [now, limit]))[0]?.count ?? 0;
