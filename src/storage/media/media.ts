import type { Database, Tx } from '../database.ts';
import { sql } from '../statement.ts';
import type { BlobPlace, BlobRecord, ScanVerdict } from './blobs.ts';
import { lockAccount } from '../accounts/account-lock.ts';

/** The origin of what was uploaded here. */
export const LOCAL = '';

/** A piece of media: uploaded, reserved for an upload, or cached from another server. */
export interface MediaRecord {
  readonly nid: number;
  /** Empty for this server's own, else the server that has it. */
  readonly origin: string;
  readonly mediaId: string;
  /** Its uploader; empty for media of other servers. */
  readonly userId: string;
  /** Milliseconds since the epoch. */
  readonly createdTs: number;
  /** Until when its content may be uploaded; null once it was. */
  readonly expiresTs: number | null;
  /** The day on which it was last requested; null for never. */
  readonly lastAccessTs: number | null;
  /** Its content; null until that is uploaded. */
  readonly blob: BlobRecord | null;
  readonly size: number;
  readonly contentType: string | null;
  readonly filename: string | null;
  /** Cannot be quarantined. */
  readonly protected: boolean;
  /** By itself, or by its content. */
  readonly quarantined: boolean;
  /** Who quarantined it, or its content; null where nobody did. */
  readonly quarantinedBy: string | null;
  /** When what named it went, or when something else was last found to; null when its uploader let it go never. */
  readonly releasedTs: number | null;
}

/** The metadata of an upload. */
export interface MediaDescription {
  readonly size: number;
  readonly contentType: string;
  readonly filename: string | undefined;
}

interface MediaRow extends Omit<MediaRecord, 'blob'> {
  readonly name: string | null;
  readonly place: BlobPlace;
  readonly digest: string;
  readonly blobSize: number;
  readonly scan: ScanVerdict | null;
}

const COLUMNS = `m.nid, m.origin, m.media_id as "mediaId", m.user_id as "userId", m.created_ts as "createdTs", m.expires_ts as "expiresTs",
  m.last_access_ts as "lastAccessTs", m.size, m.content_type as "contentType", m.filename, m.protected, m.released_ts as "releasedTs",
  b.name, b.place, b.digest, b.size as "blobSize", b.scan,
  m.quarantined_by is not null or (not m.protected and q.digest is not null) as quarantined,
  coalesce(m.quarantined_by, case when not m.protected then q.quarantined_by end) as "quarantinedBy"`;
const FROM = `from media m left join blobs b on b.name = m.blob left join quarantined_contents q on q.digest = b.digest`;
const INSERT = sql(
  'media_insert',
  `insert into media (origin, media_id, user_id, created_ts, expires_ts, blob, size, content_type, filename, quarantined_by)
   values ($1, $2, $3, $4, $5, $6, $7, $8, $9,
     (select quarantined_by from quarantined_names where origin = $1 and media_id = $2 and $1 <> ''))`,
);
const FIND = sql('media_find', `select ${COLUMNS} ${FROM} where m.origin = $1 and m.media_id = $2`);
/** By what a list of media can be ordered, and the column that says it. */
const ORDERS = {
  media_id: 'm.media_id',
  upload_name: 'm.filename',
  created_ts: 'm.created_ts',
  last_access_ts: 'm.last_access_ts',
  media_length: 'm.size',
  media_type: 'm.content_type',
  quarantined_by: 'm.quarantined_by',
  safe_from_quarantine: 'm.protected',
} as const;
export type MediaOrder = keyof typeof ORDERS;
export const MEDIA_ORDERS = Object.keys(ORDERS) as readonly MediaOrder[];

const pagesBy = (order: MediaOrder, direction: 'asc' | 'desc') =>
  sql(
    `media_of_user_by_${order}_${direction}`,
    `select ${COLUMNS} ${FROM} where m.user_id = $1 and m.origin = ''
     order by ${ORDERS[order]} ${direction}, m.media_id offset $2 limit $3`,
  );
const OF_USER = new Map(
  MEDIA_ORDERS.map((order) => [order, { f: pagesBy(order, 'asc'), b: pagesBy(order, 'desc') }] as const),
);
const COUNT_OF_USER = sql(
  'media_count_of_user',
  `select count(*)::int as count from media where user_id = $1 and origin = ''`,
);
const FILL = sql(
  'media_fill',
  `update media set blob = $3, size = $4, content_type = $5, filename = $6, expires_ts = null
   where origin = '' and media_id = $1 and user_id = $2 and blob is null returning 1`,
);
const PENDING = sql(
  'media_pending',
  'select count(*)::int as count from media where user_id = $1 and blob is null and expires_ts > $2',
);
const USE = sql(
  'media_use',
  `insert into media_usage as u (user_id, bytes, files) values ($1, $2, 1)
   on conflict (user_id) do update set bytes = u.bytes + $2, files = u.files + 1
   where ($3::bigint is null or u.bytes + $2 <= $3) and ($4::bigint is null or u.files < $4) returning bytes`,
);
const USAGE = sql('media_usage_of', 'select bytes, files from media_usage where user_id = $1');
const DELETE_EXPIRED = sql(
  'media_expired',
  `with gone as (
     delete from media where nid in (select nid from media where blob is null and expires_ts < $1 limit $2) returning 1
   ) select count(*)::int as count from gone`,
);
const ACCESSED = sql(
  'media_accessed',
  `update media set last_access_ts = $2 where nid = any($1::bigint[]) and coalesce(last_access_ts, 0) < $2`,
);

const recordOf = ({ name, place, digest, blobSize, scan, ...media }: MediaRow): MediaRecord => ({
  ...media,
  blob: name === null ? null : { name, place, digest, size: blobSize, scan },
});

/** Serializes uploads of one user. */
export const lockUploads = lockAccount;

/** Stores a piece of media, with its content or without. */
export const insertMedia = async (
  tx: Tx,
  media: Pick<MediaRecord, 'origin' | 'mediaId' | 'userId' | 'createdTs' | 'expiresTs'>,
  content?: MediaDescription & { readonly blob: string },
): Promise<void> => {
  await tx.query(INSERT, [
    media.origin,
    media.mediaId,
    media.userId,
    media.createdTs,
    media.expiresTs,
    content?.blob ?? null,
    content?.size ?? 0,
    content?.contentType ?? null,
    content?.filename ?? null,
  ]);
};

export const findMedia = async (
  reader: Database | Tx,
  origin: string,
  mediaId: string,
): Promise<MediaRecord | undefined> => {
  const [row] = await reader.query<MediaRow>(FIND, [origin, mediaId]);
  return row === undefined ? undefined : recordOf(row);
};

/** Which part of a list of media is wanted: so many, after the first so many. Equal ones are ordered by their ids. */
export interface MediaPage {
  readonly order: MediaOrder;
  /** Forwards or backwards. */
  readonly direction: 'f' | 'b';
  readonly from: number;
  readonly limit: number;
}

/** A page of what a user has uploaded or is about to. */
export const mediaOfUser = async (
  reader: Database | Tx,
  userId: string,
  { direction, from, limit, order }: MediaPage,
): Promise<MediaRecord[]> => {
  const statement = OF_USER.get(order)?.[direction];
  if (statement === undefined) throw new Error(`media cannot be ordered by ${order}`);
  return (await reader.query<MediaRow>(statement, [userId, from, limit])).map(recordOf);
};

/** How many pieces of media that list has. */
export const countMediaOfUser = async (database: Database, userId: string): Promise<number> =>
  (await database.query<{ count: number }>(COUNT_OF_USER, [userId]))[0]?.count ?? 0;

/** Gives a piece of media its content. Returns false when it has one, or is not the user's. */
export const fillMedia = async (
  tx: Tx,
  mediaId: string,
  userId: string,
  content: MediaDescription & { readonly blob: string },
): Promise<boolean> =>
  (await tx.query(FILL, [mediaId, userId, content.blob, content.size, content.contentType, content.filename ?? null]))
    .length > 0;

/** How many uploads of a user are awaited. */
export const countPending = async (tx: Tx, userId: string, now: number): Promise<number> =>
  (await tx.query<{ count: number }>(PENDING, [userId, now]))[0]?.count ?? 0;

/** What a user has uploaded. */
export const usageOfUser = async (
  reader: Database | Tx,
  userId: string,
): Promise<{ readonly bytes: number; readonly files: number }> =>
  (await reader.query<{ bytes: number; files: number }>(USAGE, [userId]))[0] ?? { bytes: 0, files: 0 };

/** Counts an upload for its user. Returns false, and counts nothing, where that is more than the user may have. */
export const useSpace = async (
  tx: Tx,
  userId: string,
  bytes: number,
  most: { readonly bytes: number | null; readonly files: number | null },
): Promise<boolean> => {
  if (most.bytes !== null && bytes > most.bytes) return false;
  return (await tx.query(USE, [userId, bytes, most.bytes, most.files])).length > 0;
};

/** Forgets ids whose content never came, `limit` at most. Returns how many. */
export const deleteExpiredMedia = async (database: Database, now: number, limit: number): Promise<number> =>
  (await database.query<{ count: number }>(DELETE_EXPIRED, [now, limit]))[0]?.count ?? 0;

/** Notes that media were requested. */
export const noteAccess = async (database: Database, media: readonly number[], now: number): Promise<void> => {
  await database.query(ACCESSED, [media, now]);
};
