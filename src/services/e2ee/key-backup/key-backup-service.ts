import { LoopYield } from '#src/kernel/event-loop/loop-yield.ts';
import { GateByKey } from '#src/kernel/limits/gate.ts';
import { currentWork, doing } from '#src/kernel/event-loop/work.ts';
import { MatrixError, badJson } from '#src/protocol/errors/matrix-error.ts';
import { quotaFull } from '#src/protocol/errors/quota-full.ts';
import { isJsonObject, type JsonObject } from '#src/protocol/json/json-value.ts';
import type { Database, Tx } from '#src/storage/database.ts';
import {
  type BackedUpSession,
  countKeyBackups,
  createKeyBackup,
  currentKeyBackup,
  deleteKeyBackup,
  findKeyBackup,
  type KeyBackupRecord,
  lockKeyBackup,
  lockKeyBackupVersion,
  lockKeyBackups,
  newestKeyBackupVersion,
  readSessions,
  removeSessions,
  type SessionPage,
  type SessionSelection,
  storeSessions,
  updateKeyBackup,
} from '#src/storage/e2ee/key-backups.ts';

/** Versions that one user may keep at once. */
export const MAX_VERSIONS = 20;
/** Characters of a version's `auth_data` as JSON. */
export const MAX_AUTH_DATA_LENGTH = 65_536;
/** Characters of the `session_data` of one session as JSON. It usually has some 700. */
export const MAX_SESSION_LENGTH = 65_536;
/** What a session takes beside its data. */
const SESSION_OVERHEAD = 128;
/** Characters of sessions that are looked at in one turn of the event loop. */
const CHARACTERS_IN_A_TURN = 512 * 1024;
/** Sessions that are read at once: so many, with so many bytes (beside what the last one has). */
const PAGE = { sessions: 256, bytes: 128 * 1024 };
/** Requests of one user that read at the same time: each may be a whole backup, and a client needs one. */
export const READS_AT_ONCE = 4;
/** Characters of a room's or session's name. */
const MAX_NAME_LENGTH = 255;
const VERSION = /^[1-9][0-9]{0,14}$/;

/** A version as clients see it. Client-Server API, `GET /room_keys/version`. */
export interface BackupVersion {
  readonly algorithm: string;
  readonly auth_data: JsonObject;
  readonly count: number;
  readonly etag: string;
  readonly version: string;
}

/** How a version stands after a change. */
export interface BackupState {
  readonly count: number;
  readonly etag: string;
}

export interface KeyBackupServiceOptions {
  readonly database: Database;
  /** Characters of session data that one user may keep in all versions together; each session counts as 128 more. */
  readonly maxBytes: number;
}

/** A session as clients read it. */
export interface SessionText {
  readonly roomId: string;
  readonly sessionId: string;
  /** `KeyBackupData`, as JSON. */
  readonly json: string;
}

const noBackup = (): MatrixError => new MatrixError('M_NOT_FOUND', 'There is no such backup version.');

/** Stores encrypted backups of users' room keys. Client-Server API, "Server-side key backups". */
export class KeyBackupService {
  readonly #options: KeyBackupServiceOptions;
  readonly #reading = new GateByKey<string>(READS_AT_ONCE);

  constructor(options: KeyBackupServiceOptions) {
    this.#options = options;
  }

  /** Begins a new version, which is the current one from then on. @throws MatrixError M_TOO_LARGE, M_LIMIT_EXCEEDED */
  async create(userId: string, algorithm: string, authData: JsonObject): Promise<string> {
    const text = checkAuthData(authData);
    if (algorithm.length > MAX_NAME_LENGTH)
      throw new MatrixError('M_INVALID_PARAM', `The name of an algorithm has ${MAX_NAME_LENGTH} characters at most.`);
    return this.#options.database.write(async (tx) => {
      await lockKeyBackups(tx, userId);
      if ((await countKeyBackups(tx, userId)) >= MAX_VERSIONS)
        throw quotaFull(
          'key_backup_versions',
          `You have ${MAX_VERSIONS} versions of your backup: delete one of them first.`,
        );
      return String(await createKeyBackup(tx, userId, algorithm, text));
    });
  }

  /** The current version. @throws MatrixError M_NOT_FOUND */
  async current(userId: string): Promise<BackupVersion> {
    const backup = await currentKeyBackup(this.#options.database, userId);
    if (backup === undefined) throw new MatrixError('M_NOT_FOUND', 'You have no backup.');
    return versionOf(backup);
  }

  /** One version. @throws MatrixError M_NOT_FOUND */
  async version(userId: string, version: string): Promise<BackupVersion> {
    return versionOf(await this.#find(this.#options.database, userId, version));
  }

  /** Changes the `auth_data` of a version. @throws MatrixError M_NOT_FOUND, M_INVALID_PARAM, M_TOO_LARGE */
  async update(
    userId: string,
    version: string,
    change: { readonly algorithm: string; readonly auth_data: JsonObject; readonly version?: string | undefined },
  ): Promise<void> {
    const text = checkAuthData(change.auth_data);
    if (change.version !== undefined && change.version !== version)
      throw new MatrixError('M_INVALID_PARAM', 'The version in the body is not the one in the path.');
    await this.#options.database.write(async (tx) => {
      const backup = await this.#find(tx, userId, version);
      if (backup.algorithm !== change.algorithm)
        throw new MatrixError('M_INVALID_PARAM', `The algorithm of this version is ${backup.algorithm}.`);
      await updateKeyBackup(tx, userId, backup.version, text);
    });
  }

  /** Deletes a version with all that is in it. One that was deleted before is no error. @throws MatrixError M_NOT_FOUND */
  async delete(userId: string, version: string): Promise<void> {
    await this.#options.database.write(async (tx) => {
      await lockKeyBackups(tx, userId);
      if (!VERSION.test(version) || Number(version) > (await newestKeyBackupVersion(tx, userId))) throw noBackup();
      await deleteKeyBackup(tx, userId, Number(version));
    });
  }

  /**
   * Puts sessions into the current version; of two for the same session the better one stays.
   *
   * @param rooms room -> `{ sessions: { session: KeyBackupData } }`
   * @throws MatrixError M_NOT_FOUND, M_WRONG_ROOM_KEYS_VERSION with `current_version`, M_BAD_JSON, M_TOO_LARGE
   */
  async store(userId: string, version: string, rooms: JsonObject): Promise<BackupState> {
    const sessions = await sessionsIn(rooms);
    return this.#options.database.write(async (tx) => {
      const backup = await lockKeyBackup(tx, userId);
      if (backup === undefined) throw noBackup();
      if (String(backup.version) !== version) {
        await this.#find(tx, userId, version);
        throw new MatrixError('M_WRONG_ROOM_KEYS_VERSION', 'Keys can only go into the current version of the backup.', {
          current_version: String(backup.version),
        });
      }
      const stored = await storeSessions(tx, userId, backup.version, sessions);
      const { bytes, etag, otherBytes, otherSessions, sessions: count } = stored;
      const all = bytes + otherBytes + (count + otherSessions) * SESSION_OVERHEAD;
      if (all > this.#options.maxBytes && bytes > backup.bytes)
        throw quotaFull(
          'e2ee.max_backup_bytes',
          'The versions of your backup are full: they cannot take any more keys. Delete those that you do not need.',
        );
      return { etag: String(etag), count };
    });
  }

  /** Removes sessions from a version, which need not be the current one. @throws MatrixError M_NOT_FOUND */
  remove(userId: string, version: string, selection: SessionSelection): Promise<BackupState> {
    return this.#options.database.write(async (tx) => {
      const backup = VERSION.test(version) ? await lockKeyBackupVersion(tx, userId, Number(version)) : undefined;
      if (backup === undefined) throw noBackup();
      const { etag, sessions } = await removeSessions(tx, userId, backup.version, selection);
      return { etag: String(etag), count: sessions };
    });
  }

  /**
   * Sessions of a version in the order of their rooms, a page at a time: what has been written is not held any more.
   *
   * Of many that a user reads at the same time some wait until others have come to their ends, or are given up.
   *
   * @throws MatrixError M_NOT_FOUND before the first page, when there is no such version
   */
  async *read(
    userId: string,
    version: string,
    selection: SessionSelection,
  ): AsyncGenerator<readonly SessionText[], void, undefined> {
    const { database } = this.#options;
    const leave = await this.#reading.enter(userId);
    try {
      // Later pages are asked for when the client has taken the ones before: that is part of the same work, and waits for its turns.
      const work = currentWork();
      const backup = await this.#find(database, userId, version);
      const of = { userId, version: backup.version };
      let after: BackedUpSession | undefined;
      for (;;) {
        const next = (): Promise<SessionPage> => readSessions(database, of, selection, after, PAGE);
        const { isLast, sessions } = await (work === undefined ? next() : doing(work, next));
        yield sessions.map((session) => ({
          roomId: session.roomId,
          sessionId: session.sessionId,
          json: textOf(session),
        }));
        if (isLast) return;
        after = sessions.at(-1);
      }
    } finally {
      leave();
    }
  }

  async #find(reader: Database | Tx, userId: string, version: string): Promise<KeyBackupRecord> {
    const found = VERSION.test(version) ? await findKeyBackup(reader, userId, Number(version)) : undefined;
    if (found === undefined) throw noBackup();
    return found;
  }
}

const versionOf = ({ algorithm, authData, sessions, etag, version }: KeyBackupRecord): BackupVersion => ({
  algorithm,
  auth_data: JSON.parse(authData) as JsonObject,
  count: sessions,
  etag: String(etag),
  version: String(version),
});

const checkAuthData = (authData: JsonObject): string => {
  const text = JSON.stringify(authData);
  if (text.length > MAX_AUTH_DATA_LENGTH)
    throw new MatrixError('M_TOO_LARGE', `auth_data can have ${MAX_AUTH_DATA_LENGTH} characters at most.`);
  return text;
};

const textOf = ({ firstMessageIndex, forwardedCount, isVerified, sessionData }: BackedUpSession): string =>
  `{"first_message_index":${firstMessageIndex},"forwarded_count":${forwardedCount},"is_verified":${isVerified},"session_data":${sessionData}}`;

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

/** The sessions of a request, room by room. @throws MatrixError M_BAD_JSON, M_TOO_LARGE */
const sessionsIn = async (rooms: JsonObject): Promise<BackedUpSession[]> => {
  const loopYield = new LoopYield(CHARACTERS_IN_A_TURN);
  const found: BackedUpSession[] = [];
  for (const [roomId, room] of Object.entries(rooms)) {
    const sessions = isJsonObject(room) ? room['sessions'] : undefined;
    if (!isJsonObject(sessions)) throw badJson('Each room must have sessions, an object.');
    for (const [sessionId, session] of Object.entries(sessions)) {
      const one = sessionOf(roomId, sessionId, session);
      found.push(one);
      const waiting = loopYield.after(SESSION_OVERHEAD + one.sessionData.length);
      if (waiting !== undefined) await waiting;
    }
  }
  return found;
};

const sessionOf = (roomId: string, sessionId: string, session: unknown): BackedUpSession => {
  if (roomId.length > MAX_NAME_LENGTH || sessionId.length > MAX_NAME_LENGTH)
    throw badJson(`The names of rooms and sessions have ${MAX_NAME_LENGTH} characters at most.`);
  if (!isJsonObject(session)) throw badJson('Each session must be an object.');
  const { first_message_index: first, forwarded_count: forwarded, is_verified: verified, session_data: data } = session;
  if (!isCount(first)) throw badJson('Each session must have a first_message_index, an integer that is not negative.');
  if (!isCount(forwarded)) throw badJson('Each session must have a forwarded_count, an integer that is not negative.');
  if (typeof verified !== 'boolean') throw badJson('Each session must have is_verified, true or false.');
  if (!isJsonObject(data)) throw badJson('Each session must have session_data, an object.');
  const sessionData = JSON.stringify(data);
  if (sessionData.length > MAX_SESSION_LENGTH)
    throw new MatrixError('M_TOO_LARGE', `session_data can have ${MAX_SESSION_LENGTH} characters at most.`);
  return { roomId, sessionId, firstMessageIndex: first, forwardedCount: forwarded, isVerified: verified, sessionData };
};
