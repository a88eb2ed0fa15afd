import { Type } from 'typebox';
import {
  MAX_NOTE_LENGTH,
  REPORT_KINDS,
  REPORT_STATES,
  type ReportWithRoom,
} from '#src/services/admin/reports/report-review.ts';
import { actorOf } from '../actor.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';
import { OF_ADMINISTRATORS } from '../synapse-admin/parts/access.ts';
import { deletionOf, reportParams, type ReportServices } from '../synapse-admin/parts/reports.ts';
import { orNull } from '../synapse-admin/parts/users.ts';

const root = '/_tsudoi/admin/v1/reports';
const text = orNull(Type.String());
const wanted = Type.Optional(Type.String());
const shown = Type.Object({
  id: Type.Integer(),
  kind: Type.Enum([...REPORT_KINDS]),
  state: Type.Enum([...REPORT_STATES]),
  reporter: Type.String(),
  room_id: text,
  room_name: text,
  event_id: text,
  user_id: text,
  reason: text,
  score: orNull(Type.Integer()),
  received_ts: Type.Integer(),
  resolved_by: text,
  resolved_ts: orNull(Type.Integer()),
  note: text,
});

const bodyOf = (report: ReportWithRoom) => ({
  id: report.id,
  kind: report.kind,
  state: report.state,
  reporter: report.reporter,
  room_id: report.roomId,
  room_name: report.roomName,
  event_id: report.eventId,
  user_id: report.userId,
  reason: report.reason,
  score: report.score,
  received_ts: report.createdTs,
  resolved_by: report.resolvedBy,
  resolved_ts: report.resolvedTs,
  note: report.note,
});

/** Reports of events, rooms and users in one list, and who resolved them. */
export const reportEndpoints = [
  endpoint({
    operationId: 'adminListReports',
    summary: 'Lists reports of events, rooms and users, the newest first.',
    method: 'GET',
    path: root,
    ...OF_ADMINISTRATORS,
    query: Type.Object({
      kind: Type.Optional(Type.Enum([...REPORT_KINDS])),
      state: Type.Optional(Type.Enum([...REPORT_STATES])),
      /** Parts of the ids of the reporting user and of the room. */
      reporter: wanted,
      room_id: wanted,
      /** The full id of the reported user or sender. */
      user_id: wanted,
      from: wanted,
      limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000, default: 100 })),
    }),
    response: Type.Object({ reports: Type.Array(shown), next_batch: wanted }),
    errcodes: ['M_INVALID_PARAM'],
    async handler({ reportReview }: ReportServices, { query }) {
      const { from, kind, limit = 100, reporter, room_id: roomId, state, user_id: userId } = query;
      const { next, reports } = await reportReview.list({ kind, state, reporter, roomId, userId }, limit, from);
      return { reports: reports.map(bodyOf), next_batch: next };
    },
  }),
  endpoint({
    operationId: 'adminGetReport',
    summary: 'A report, and who resolved it.',
    method: 'GET',
    path: `${root}/{report_id}`,
    ...OF_ADMINISTRATORS,
    params: reportParams,
    response: shown,
    errcodes: ['M_INVALID_PARAM', 'M_NOT_FOUND'],
    handler: async ({ reportReview }: ReportServices, { params }) => bodyOf(await reportReview.get(params.report_id)),
  }),
  endpoint({
    operationId: 'adminSetReportState',
    summary: 'Marks a report as resolved, or opens it again.',
    method: 'PUT',
    path: `${root}/{report_id}`,
    ...OF_ADMINISTRATORS,
    params: reportParams,
    body: Type.Object({
      state: Type.Enum([...REPORT_STATES]),
      note: Type.Optional(Type.String({ maxLength: MAX_NOTE_LENGTH })),
    }),
    maxBodyBytes: BODY_BYTES.small,
    response: shown,
    errcodes: ['M_INVALID_PARAM', 'M_NOT_FOUND'],
    handler: async ({ reportReview }: ReportServices, { requester, info, params, body: { note, state } }) =>
      bodyOf(await reportReview.setState(actorOf(requester, info), params.report_id, state, note)),
  }),
  endpoint({
    operationId: 'adminDeleteReport',
    summary: 'Deletes a report.',
    path: `${root}/{report_id}`,
    ...deletionOf(),
  }),
];
