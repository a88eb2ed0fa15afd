import { Type } from 'typebox';
import type { ReportWithRoom } from '#src/services/admin/reports/report-review.ts';
import { anyObject } from '../client-server/parts/room-schemas.ts';
import { endpoint } from '../endpoint.ts';
import { OF_ADMINISTRATORS } from './parts/access.ts';
import {
  deletionOf,
  reportParams,
  type ReportServices,
  reportsPage,
  reportsQuery,
  reportsTotal,
} from './parts/reports.ts';
import { orNull } from './parts/users.ts';

const root = '/_synapse/admin/v1/event_reports';
const shown = {
  id: Type.Integer(),
  received_ts: Type.Integer(),
  room_id: Type.String(),
  event_id: Type.String(),
  user_id: Type.String(),
  score: orNull(Type.Integer()),
  reason: orNull(Type.String()),
  sender: orNull(Type.String()),
  canonical_alias: orNull(Type.String()),
  name: orNull(Type.String()),
};

const bodyOf = (report: ReportWithRoom) => ({
  id: report.id,
  received_ts: report.createdTs,
  room_id: report.roomId,
  event_id: report.eventId,
  user_id: report.reporter,
  score: report.score,
  reason: report.reason,
  sender: report.userId,
  canonical_alias: report.canonicalAlias,
  name: report.roomName,
});

/** Events that users reported. */
export const eventReportEndpoints = [
  endpoint({
    operationId: 'adminListEventReports',
    summary: 'Lists reports of events, the newest first.',
    method: 'GET',
    path: root,
    ...OF_ADMINISTRATORS,
    query: Type.Object({
      ...reportsQuery,
      /** A part of the id. */
      room_id: Type.Optional(Type.String()),
      /** The whole id. */
      event_sender_user_id: Type.Optional(Type.String()),
    }),
    response: Type.Object({
      event_reports: Type.Array(Type.Object(shown)),
      ...reportsTotal,
    }),
    errcodes: ['M_INVALID_PARAM'],
    async handler(services: ReportServices, { query }) {
      const { event_sender_user_id: userId, room_id: roomId, user_id: reporter } = query;
      const { reports, rest } = await reportsPage(services, { kind: 'event', reporter, roomId, userId }, query);
      return { event_reports: reports.map(bodyOf), ...rest };
    },
  }),
  endpoint({
    operationId: 'adminGetEventReport',
    summary: 'A report of an event, with the event.',
    method: 'GET',
    path: `${root}/{report_id}`,
    ...OF_ADMINISTRATORS,
    params: reportParams,
    response: Type.Object({ ...shown, event_json: anyObject }),
    errcodes: ['M_INVALID_PARAM', 'M_NOT_FOUND'],
    async handler({ reportReview }: ReportServices, { params }) {
      const { event, report } = await reportReview.ofEvent(params.report_id);
      return { ...bodyOf(report), event_json: event };
    },
  }),
  endpoint({
    operationId: 'adminDeleteEventReport',
    summary: 'Deletes a report of an event.',
    path: `${root}/{report_id}`,
    ...deletionOf('event'),
  }),
];
