import type { Tx } from '../database.ts';

export type ReportKind = 'event' | 'room' | 'user';

export interface NewReport {
  readonly kind: ReportKind;
  readonly reporter: string;
  readonly roomId: string | null;
  readonly eventId: string | null;
  /** Whom it is about: the reported user, or the sender of the reported event. */
  readonly userId: string | null;
  readonly reason: string | null;
  /** -100 (most offensive) to 0; null when the reporter gave none. */
  readonly score: number | null;
  readonly createdTs: number;
}

export interface ReportRecord extends NewReport {
  readonly id: number;
}

export const insertReport = async (tx: Tx, report: NewReport): Promise<void> => {
  const { em, ReportEntity } = await tx.entities();
  await em.insert(ReportEntity, report);
};

/** Reports, the newest first; those before the report `before` when that is given. */
export const listReports = async (tx: Tx, limit: number, before?: number): Promise<ReportRecord[]> => {
  const where = before === undefined ? {} : { id: { $lt: before } };
  const { em, ReportEntity } = await tx.entities();
  const found = await em.find(ReportEntity, where, { orderBy: { id: 'desc' }, limit });
  return found.map((report) => ({
    id: report.id,
    kind: report.kind as ReportKind,
    reporter: report.reporter,
    roomId: report.roomId ?? null,
    eventId: report.eventId ?? null,
    userId: report.userId ?? null,
    reason: report.reason ?? null,
    score: report.score ?? null,
    createdTs: report.createdTs,
  }));
};

/** @returns whether there was such a report */
export const deleteReport = async (tx: Tx, id: number): Promise<boolean> => {
  const { em, ReportEntity } = await tx.entities();
  return (await em.nativeDelete(ReportEntity, { id })) > 0;
};
