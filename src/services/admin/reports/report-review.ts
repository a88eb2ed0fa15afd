import type { Clock } from '#src/kernel/clock.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { Actor } from '#src/services/audit/actor.ts';
import type { AuditLog } from '#src/services/audit/audit-log.ts';
import type { Database } from '#src/storage/database.ts';
import {
  changeReport,
  countReports,
  deleteReport,
  findReport,
  lockReport,
  type ReportFilter,
  type ReportKind,
  type ReportRecord,
  reportsBefore,
  reportsPage,
  type ReportState,
  type ReportWithRoom,
} from '#src/storage/rooms/reports.ts';

export { REPORT_KINDS, REPORT_STATES } from '#src/storage/rooms/reports.ts';
export type { ReportFilter, ReportWithRoom } from '#src/storage/rooms/reports.ts';

/** Characters of a note at most; longer ones are refused. */
export const MAX_NOTE_LENGTH = 2_000;

export interface ReportReviewOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly auditLog: AuditLog;
  /** Tells events as they are stored. */
  readonly events: { fetch(eventId: string): Promise<JsonObject> };
}

/** Lists and resolves reports of users, for administrators. */
export class ReportReview {
  readonly #options: ReportReviewOptions;

  constructor(options: ReportReviewOptions) {
    this.#options = options;
  }

  /** Reports that match in the order in which they came, and how many there are in all. */
  page(
    filter: ReportFilter,
    page: { readonly isDescending: boolean; readonly limit: number; readonly offset: number },
  ): Promise<{ readonly reports: readonly ReportWithRoom[]; readonly total: number }> {
    return this.#options.database.read(async (tx) => ({
      reports: await reportsPage(tx, filter, page),
      total: await countReports(tx, filter),
    }));
  }

  /** Reports that match, the newest first. @param from the `next` of the page before. @throws MatrixError M_INVALID_PARAM */
  async list(
    filter: ReportFilter,
    limit: number,
    from?: string,
  ): Promise<{ readonly reports: readonly ReportWithRoom[]; readonly next?: string }> {
    if (from !== undefined && !/^\d{1,15}$/.test(from))
      throw new MatrixError('M_INVALID_PARAM', 'from is not the token of a page of reports.');
    const found = await reportsBefore(
      this.#options.database,
      filter,
      limit + 1,
      from === undefined ? undefined : Number(from),
    );
    const reports = found.slice(0, limit);
    const last = reports.at(-1);
    return found.length > limit && last !== undefined ? { reports, next: String(last.id) } : { reports };
  }

  /** @param kind of which it has to be. @throws MatrixError M_NOT_FOUND */
  async get(id: number, kind?: ReportKind): Promise<ReportWithRoom> {
    return known(await findReport(this.#options.database, id), kind);
  }

  /** A report of an event, with the event as it is stored; empty when it is not there any more. @throws MatrixError M_NOT_FOUND */
  async ofEvent(id: number): Promise<{ readonly report: ReportWithRoom; readonly event: JsonObject }> {
    const report = await this.get(id, 'event');
    const event = await this.#options.events.fetch(report.eventId ?? '').catch((error: unknown) => {
      if (error instanceof MatrixError && error.errcode === 'M_NOT_FOUND') return {};
      throw error;
    });
    return { report, event };
  }

  /** Marks a report as resolved, or opens it again. @param note stays as it is when undefined. @throws MatrixError M_NOT_FOUND */
  async setState(actor: Actor, id: number, state: ReportState, note?: string): Promise<ReportWithRoom> {
    const { auditLog, clock, database } = this.#options;
    await database.write(async (tx) => {
      const before = known(await lockReport(tx, id));
      const isChanged = state !== before.state;
      const after = {
        state,
        resolvedBy: isChanged ? (state === 'open' ? null : actor.userId) : before.resolvedBy,
        resolvedTs: isChanged ? (state === 'open' ? null : clock.now()) : before.resolvedTs,
        note: note ?? before.note,
      };
      if (!isChanged && after.note === before.note) return;
      await changeReport(tx, id, after);
      await auditLog.record(tx, actor, {
        action: !isChanged ? 'report.note' : state === 'open' ? 'report.reopen' : 'report.resolve',
        target: before.userId ?? undefined,
        roomId: before.roomId ?? undefined,
        before: { report: id, state: before.state, note: before.note },
        after: { report: id, state, note: after.note },
      });
    });
    return this.get(id);
  }

  /** @throws MatrixError M_NOT_FOUND */
  async delete(actor: Actor, id: number, kind?: ReportKind): Promise<void> {
    const { auditLog, database } = this.#options;
    await database.write(async (tx) => {
      const report = known(await lockReport(tx, id), kind);
      await deleteReport(tx, id);
      await auditLog.record(tx, actor, {
        action: 'report.delete',
        target: report.userId ?? undefined,
        roomId: report.roomId ?? undefined,
        before: {
          report: id,
          kind: report.kind,
          reporter: report.reporter,
          event_id: report.eventId,
          state: report.state,
        },
      });
    });
  }
}

const known = <Report extends ReportRecord>(report: Report | undefined, kind?: ReportKind): Report => {
  if (report === undefined || (kind !== undefined && report.kind !== kind))
    throw new MatrixError('M_NOT_FOUND', 'There is no such report.');
  return report;
};
