import { AuditLog } from '#src/services/audit/audit-log.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';

/** The audit log of administrators' actions. */
export interface Auditing {
  readonly auditLog: AuditLog;
}

export const composeAudit = ({ clock, database }: Platform): Slice<Auditing> => ({
  name: 'audit',
  services: { auditLog: new AuditLog({ database, clock }) },
});
