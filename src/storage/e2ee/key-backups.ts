import type { Database, Tx } from '../database.ts';
import { sql } from '../statement.ts';
import { lockAccount } from '../accounts/account-lock.ts';

/** A version of a user's key backup. */
export interface KeyBackupRecord {
  readonly version: number;
  readonly algorithm: string;
  /** JSON. */
  readonly authData: string;
  readonly etag: number;
  /** Number of sessions in it. */
  readonly sessions: number;
  /** Characters of all their data. */
  readonly bytes: number;
}

/** The key of a room's session in a backup. */
export interface BackedUpSession {
  readonly roomId: string;
  readonly sessionId: string;
  readonly firstMessageIndex: number;
  readonly forwardedCount: number;
  readonly isVerified: boolean;
  /** JSON. */
  readonly sessionData: string;
}

/** Which sessions of a backup: all, those of a room, or one. */
export interface SessionSelection {
  readonly roomId?: string | undefined;
  readonly sessionId?: string | undefined;
}

const COLUMNS = 'version, algorithm, auth_data as "authData", etag, sessions, bytes';

const CURRENT = sql(
  'key_backup_current',
  `select ${COLUMNS} from key_backups where user_id = $1 and not deleted order by version desc limit 1`,
);
const FIND = sql(
  'key_backup_find',
  `select ${COLUMNS} from key_backups where user_id = $1 and version = $2 and not deleted`,
);
const LOCK_CURRENT = sql(
  'key_backup_lock',
  `select ${COLUMNS} from key_backups where user_id = $1 and not deleted order by version desc limit 1 for update`,
);
const LOCK_VERSION = sql(
  'key_backup_lock_version',
  `select ${COLUMNS} from key_backups where user_id = $1 and version = $2 and not deleted for update`,
);
// Of versions that were deleted only the newest is remembered: it says which numbers were given out.
const CREATE = sql(
  'key_backup_create',
  `with newest as (
     select coalesce(max(version), 0) as version from key_backups where user_id = $1
   ), forgotten as (
     delete from key_backups where user_id = $1 and deleted
   )
   insert into key_backups (user_id, version, algorithm, auth_data) select $1, newest.version + 1, $2, $3 from newest returning version`,
);
const UPDATE = sql(
  'key_backup_update',
  'update key_backups set auth_data = $3 where user_id = $1 and version = $2 and not deleted returning 1',
);
const DELETE = sql(
  'key_backup_delete',
  `with emptied as (
     delete from backed_up_sessions where user_id = $1 and version = $2
   ) update key_backups set deleted = true, auth_data = '{}', sessions = 0, bytes = 0 where user_id = $1 and version = $2`,
);
const COUNT_VERSIONS = sql('key_backup_versions', 'select count(*)::int as count from key_backups where user_id = $1');
const NEWEST = sql(
  'key_backup_newest',
  'select coalesce(max(version), 0) as version from key_backups where user_id = $1',
);
// "if the keys have different values for is_verified, then it will keep the key that has is_verified set to true; if they have the same
// values for is_verified, then it will keep the key with a lower first_message_index; and finally, is is_verified and
// first_message_index are equal, then it will keep the key with a lower forwarded_count."
const STORE = sql(
  'key_backup_store',
  `with given as (
     select * from unnest($3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::boolean[], $8::text[])
       s(room_id, session_id, first_message_index, forwarded_count, is_verified, session_data)
   ), before as (
     select count(*)::int as sessions, coalesce(sum(length(b.session_data)), 0)::bigint as bytes
     from given g join backed_up_sessions b
       on b.user_id = $1 and b.version = $2 and b.room_id = g.room_id and b.session_id = g.session_id
     where (g.is_verified, -g.first_message_index, -g.forwarded_count) > (b.is_verified, -b.first_message_index, -b.forwarded_count)
   ), stored as (
     insert into backed_up_sessions as b
       (user_id, version, room_id, session_id, first_message_index, forwarded_count, is_verified, session_data)
     select $1, $2, g.* from given g
     on conflict (user_id, version, room_id, session_id) do update set first_message_index = excluded.first_message_index,
       forwarded_count = excluded.forwarded_count, is_verified = excluded.is_verified, session_data = excluded.session_data
     where (excluded.is_verified, -excluded.first_message_index, -excluded.forwarded_count)
       > (b.is_verified, -b.first_message_index, -b.forwarded_count)
     returning session_data
   ), after as (
     select count(*)::int as sessions, coalesce(sum(length(session_data)), 0)::bigint as bytes from stored
   )
   update key_backups k set sessions = k.sessions + after.sessions - before.sessions, bytes = k.bytes + after.bytes - before.bytes,
     etag = k.etag + least(after.sessions, 1)
   from before, after where k.user_id = $1 and k.version = $2
   returning k.etag, k.sessions, k.bytes,
     (select coalesce(sum(o.sessions), 0)::int from key_backups o where o.user_id = $1 and o.version <> $2) as "otherSessions",
     (select coalesce(sum(o.bytes), 0)::bigint from key_backups o where o.user_id = $1 and o.version <> $2) as "otherBytes"`,
);
const SELECTED = `user_id = $1 and version = $2 and ($3::text is null or room_id = $3) and ($4::text is null or session_id = $4)`;
// How large the ones before are is told without reading them.
const READ = sql(
  'key_backup_read',
  `select room_id as "roomId", session_id as "sessionId", first_message_index as "firstMessageIndex",
     forwarded_count as "forwardedCount", is_verified as "isVerified", session_data as "sessionData", (until)::int as until
   from (
     select s.*, sum(octet_length(room_id) + octet_length(session_id) + octet_length(session_data))
       over (order by room_id, session_id) as until
     from (
       select * from backed_up_sessions
       where ${SELECTED} and (room_id, session_id) > ($5, $6) order by room_id, session_id limit $7
     ) s
   ) sized
   where until - octet_length(room_id) - octet_length(session_id) - octet_length(session_data) < $8
   order by room_id, session_id`,
);
const REMOVE = sql(
  'key_backup_remove',
  `with removed as (
     delete from backed_up_sessions where ${SELECTED} returning session_data
   ), gone as (
     select count(*)::int as sessions, coalesce(sum(length(session_data)), 0)::bigint as bytes from removed
   )
   update key_backups k set sessions = k.sessions - gone.sessions, bytes = k.bytes - gone.bytes, etag = k.etag + least(gone.sessions, 1)
   from gone where k.user_id = $1 and k.version = $2 returning k.etag, k.sessions, k.bytes`,
);

/** Count and etag of a backup after a change. */
export type BackupTotals = Pick<KeyBackupRecord, 'etag' | 'sessions' | 'bytes'>;

/** The same, and what is in all other versions of the user. */
export interface StoredTotals extends BackupTotals {
  readonly otherSessions: number;
  readonly otherBytes: number;
}

/** Sessions that were read. */
export interface SessionPage {
  readonly sessions: readonly BackedUpSession[];
  /** Whether there are no more. */
  readonly isLast: boolean;
}

const only = <R>(rows: readonly R[]): R => {
  const [row] = rows;
  if (row === undefined) throw new Error('a backup that was locked is not there');
  return row;
};

/** The newest backup of a user. */
export const currentKeyBackup = async (reader: Database | Tx, userId: string): Promise<KeyBackupRecord | undefined> =>
  (await reader.query<KeyBackupRecord>(CURRENT, [userId]))[0];

/** One version of a user's backup. */
export const findKeyBackup = async (
  reader: Database | Tx,
  userId: string,
  version: number,
): Promise<KeyBackupRecord | undefined> => (await reader.query<KeyBackupRecord>(FIND, [userId, version]))[0];

/** The newest backup, for a transaction that is about to change it: others wait. */
export const lockKeyBackup = async (tx: Tx, userId: string): Promise<KeyBackupRecord | undefined> =>
  (await tx.query<KeyBackupRecord>(LOCK_CURRENT, [userId]))[0];

/** One version, for a transaction that is about to change it: others wait. */
export const lockKeyBackupVersion = async (
  tx: Tx,
  userId: string,
  version: number,
): Promise<KeyBackupRecord | undefined> => (await tx.query<KeyBackupRecord>(LOCK_VERSION, [userId, version]))[0];

/** Serializes changes of a user's versions. */
export const lockKeyBackups = lockAccount;

/** How many versions a user has. */
export const countKeyBackups = async (tx: Tx, userId: string): Promise<number> =>
  only(await tx.query<{ count: number }>(COUNT_VERSIONS, [userId])).count;

/** Begins a new version; returns its number. */
export const createKeyBackup = async (tx: Tx, userId: string, algorithm: string, authData: string): Promise<number> =>
  only(await tx.query<{ version: number }>(CREATE, [userId, algorithm, authData])).version;

/** Changes the `auth_data` of a version. */
export const updateKeyBackup = async (tx: Tx, userId: string, version: number, authData: string): Promise<void> => {
  await tx.query(UPDATE, [userId, version, authData]);
};

/** Deletes a version with all that is in it. */
export const deleteKeyBackup = async (tx: Tx, userId: string, version: number): Promise<void> => {
  await tx.query(DELETE, [userId, version]);
};

/** The greatest number that a version of this user's backup ever had; 0 when there was none. */
export const newestKeyBackupVersion = async (reader: Database | Tx, userId: string): Promise<number> =>
  only(await reader.query<{ version: number }>(NEWEST, [userId])).version;

/** Puts sessions into a version that is locked, where they are better than what is there. No session twice. */
export const storeSessions = async (
  tx: Tx,
  userId: string,
  version: number,
  sessions: readonly BackedUpSession[],
): Promise<StoredTotals> =>
  only(
    await tx.query<StoredTotals>(STORE, [
      userId,
      version,
      sessions.map(({ roomId }) => roomId),
      sessions.map(({ sessionId }) => sessionId),
      sessions.map(({ firstMessageIndex }) => firstMessageIndex),
      sessions.map(({ forwardedCount }) => forwardedCount),
      sessions.map(({ isVerified }) => isVerified),
      sessions.map(({ sessionData }) => sessionData),
    ]),
  );

/**
 * Sessions of a version in the order of their names, after one of them: so many, and no more than begin within so many bytes of names and data.
 */
export const readSessions = async (
  database: Database,
  { userId, version }: { readonly userId: string; readonly version: number },
  { roomId, sessionId }: SessionSelection,
  after: Pick<BackedUpSession, 'roomId' | 'sessionId'> | undefined,
  most: { readonly sessions: number; readonly bytes: number },
): Promise<SessionPage> => {
  const sessions = await database.query<BackedUpSession & { readonly until: number }>(READ, [
    userId,
    version,
    roomId ?? null,
    sessionId ?? null,
    after?.roomId ?? '',
    after?.sessionId ?? '',
    most.sessions,
    most.bytes,
  ]);
  return { sessions, isLast: sessions.length < most.sessions && (sessions.at(-1)?.until ?? 0) < most.bytes };
};

/** Deletes sessions of a version that is locked. */
export const removeSessions = async (
  tx: Tx,
  userId: string,
  version: number,
  { roomId, sessionId }: SessionSelection,
): Promise<BackupTotals> =>
  only(await tx.query<BackupTotals>(REMOVE, [userId, version, roomId ?? null, sessionId ?? null]));
