import { Type } from 'typebox';
import type { AuditLog, AuditRecord } from '#src/services/audit/audit-log.ts';
import { endpoint } from '../endpoint.ts';
import { OF_ADMINISTRATORS } from '../synapse-admin/parts/access.ts';

const text = Type.Optional(Type.String());
const timestamp = Type.Optional(Type.Integer({ minimum: 0 }));

interface Services {
  readonly auditLog: AuditLog;
}

const bodyOf = ({ actor, entry, id, ts }: AuditRecord) => ({
  id,
  ts,
  actor: actor.userId,
  device_id: actor.deviceId,
  ip: actor.ip,
  via: actor.via,
  action: entry.action,
  target: entry.target,
  room_id: entry.roomId,
  task_id: entry.taskId,
  before: entry.before,
  after: entry.after,
  reason: entry.reason,
});

/** The audit log of what administrators did. Times are milliseconds since the epoch. */
export const auditLogEndpoints = [
  endpoint({
    operationId: 'adminListAuditLog',
    summary: 'Lists what administrators did, the newest first.',
    method: 'GET',
    path: '/_tsudoi/admin/v1/audit_log',
    ...OF_ADMINISTRATORS,
    query: Type.Object({
      /** A user id. */
      actor: text,
      /** Only what was done at the command line. */
      by_operator: Type.Optional(Type.Boolean()),
      /** A noun (`user`), or the beginning of an action (`user.sus`). */
      action: text,
      target: text,
      room_id: text,
      from_ts: timestamp,
      until_ts: timestamp,
      from: text,
      limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000, default: 100 })),
    }),
    response: Type.Object({
      entries: Type.Array(
        Type.Object({
          id: Type.Integer(),
          ts: Type.Integer(),
          actor: Type.Union([Type.String(), Type.Null()]),
          device_id: text,
          ip: text,
          via: Type.String(),
          action: Type.String(),
          target: text,
          room_id: text,
          task_id: text,
          before: Type.Optional(Type.Unknown()),
          after: Type.Optional(Type.Unknown()),
          reason: text,
        }),
      ),
      next_batch: text,
    }),
    errcodes: ['M_INVALID_PARAM'],
    async handler({ auditLog }: Services, { query }) {
      const { records, next } = await auditLog.list(
        {
          actor: query.actor,
          byOperator: query.by_operator,
          action: query.action,
          target: query.target,
          roomId: query.room_id,
          from: query.from_ts,
          until: query.until_ts,
        },
        { limit: query.limit ?? 100, from: query.from },
      );
      return { entries: records.map(bodyOf), next_batch: next };
    },
  }),
];
