import type { Clock } from '#src/kernel/clock.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { JsonValue } from '#src/protocol/json/json-value.ts';
import {
  type AuditPlace,
  type AuditRow,
  type AuditRowFilter,
  insertAuditRow,
  listAuditRows,
} from '#src/storage/audit/audit-log.ts';
import type { Database, Tx } from '#src/storage/database.ts';
import type { Actor } from './actor.ts';

/** What an administrator did. Never a secret: no password, token or hash. */
export interface AuditEntry {
  /** `noun.verb`, as in `user.suspend`. */
  readonly action: string;
  /** What it was done to: a user id, `mxc://` URI, the name of a server ... */
  readonly target?: string | undefined;
  readonly roomId?: string | undefined;
  /** The task that will do it. */
  readonly taskId?: string | undefined;
  /** What was there, and what is there now, where it is a value that changes. */
  readonly before?: JsonValue | undefined;
  readonly after?: JsonValue | undefined;
  /** What the administrator gave as a reason. */
  readonly reason?: string | undefined;
}

/** An entry as it is read. */
export interface AuditRecord {
  readonly id: number;
  /** Milliseconds since the epoch. */
  readonly ts: number;
  readonly actor: Actor;
  readonly entry: AuditEntry;
}

export type AuditFilter = AuditRowFilter;

export interface AuditPage {
  readonly records: readonly AuditRecord[];
  /** For the page after this one; undefined at the end. */
  readonly next?: string | undefined;
}

/** Bounds on what one entry keeps, in characters and bytes. Longer texts are cut, larger values are named by their size. */
const MAX_NAME_LENGTH = 512;
const MAX_REASON_LENGTH = 2_000;
const MAX_VALUE_SIZE = 4_096;
const ACTION = /^[a-z][a-z_]*\.[a-z][a-z_]*$/;

/**
 * The log of administrative actions. Entries are added in the transaction of the change itself, so that there is neither a change
 * without its entry nor an entry without its change; the database refuses to change them, and they are deleted only when their retention ends.
 */
export class AuditLog {
  readonly #database: Database;
  readonly #clock: Clock;
  /** Entries that this process has added. */
  added = 0;

  constructor(deps: { readonly database: Database; readonly clock: Clock }) {
    this.#database = deps.database;
    this.#clock = deps.clock;
  }

  /** Adds an entry, in the transaction of the action. */
  async record(tx: Tx, actor: Actor, entry: AuditEntry): Promise<void> {
    if (!ACTION.test(entry.action)) throw new Error(`${entry.action} is not noun.verb`);
    tx.afterCommit(() => (this.added += 1));
    await insertAuditRow(tx, {
      ts: this.#clock.now(),
      actor: cut(actor.userId ?? undefined, MAX_NAME_LENGTH),
      deviceId: cut(actor.deviceId, MAX_NAME_LENGTH),
      ip: cut(actor.ip, MAX_NAME_LENGTH),
      via: actor.via,
      action: entry.action,
      target: cut(entry.target, MAX_NAME_LENGTH),
      roomId: cut(entry.roomId, MAX_NAME_LENGTH),
      taskId: cut(entry.taskId, MAX_NAME_LENGTH),
      before: valueText(entry.before),
      after: valueText(entry.after),
      reason: cut(entry.reason, MAX_REASON_LENGTH),
    });
  }

  /**
   * Entries that match, the newest first.
   *
   * @param page how many, and the `next` of the page before
   * @throws MatrixError M_INVALID_PARAM for a token that is none
   */
  async list(
    filter: AuditFilter,
    page: { readonly limit: number; readonly from?: string | undefined },
  ): Promise<AuditPage> {
    const after = page.from === undefined ? undefined : placeOf(page.from);
    const rows = await listAuditRows(this.#database, filter, page.limit + 1, after);
    const records = rows.slice(0, page.limit).map(recordOf);
    const last = records.at(-1);
    return rows.length > page.limit && last !== undefined ? { records, next: `${last.ts}_${last.id}` } : { records };
  }
}

const cut = (text: string | undefined, length: number): string | null =>
  // PostgreSQL's text holds no NUL.
  text?.replaceAll('\0', '').slice(0, length).toWellFormed() ?? null;

const valueText = (value: JsonValue | undefined): string | null => {
  if (value === undefined) return null;
  const text = JSON.stringify(value);
  const bytes = Buffer.byteLength(text);
  return bytes <= MAX_VALUE_SIZE ? text : JSON.stringify({ too_large: bytes });
};

const placeOf = (token: string): AuditPlace => {
  const [, ts, id] = /^(\d{1,15})_(\d{1,15})$/.exec(token) ?? [];
  if (ts === undefined || id === undefined)
    throw new MatrixError('M_INVALID_PARAM', 'from is not the token of a page of the audit log.');
  return { ts: Number(ts), id: Number(id) };
};

const recordOf = (row: AuditRow): AuditRecord => ({
  id: row.id,
  ts: row.ts,
  actor: {
    userId: row.actor,
    via: row.via as Actor['via'],
    deviceId: row.deviceId ?? undefined,
    ip: row.ip ?? undefined,
  },
  entry: {
    action: row.action,
    target: row.target ?? undefined,
    roomId: row.roomId ?? undefined,
    taskId: row.taskId ?? undefined,
    before: parsed(row.before),
    after: parsed(row.after),
    reason: row.reason ?? undefined,
  },
});

const parsed = (text: string | null): JsonValue | undefined => (text === null ? undefined : JSON.parse(text));
