import { Type } from 'typebox';
import type { ReportWithRoom } from '#src/services/admin/reports/report-review.ts';
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

const root = '/_synapse/admin/v1/user_reports';
const shown = Type.Object({
  id: Type.Integer(),
  received_ts: Type.Integer(),
  target_user_id: Type.String(),
  user_id: Type.String(),
  reason: Type.String(),
});

const bodyOf = (report: ReportWithRoom) => ({
  id: report.id,
  received_ts: report.createdTs,
  target_user_id: report.userId,
  user_id: report.reporter,
  reason: report.reason ?? '',
});

/** Reports of users. */
export const userReportEndpoints = [
  endpoint({
    operationId: 'adminListUserReports',
    summary: 'Lists reports of users, the newest first.',
    method: 'GET',
    path: root,
    ...OF_ADMINISTRATORS,
    query: Type.Object({
      ...reportsQuery,
      /** A part of the reported user's id. */
      target_user_id: Type.Optional(Type.String()),
    }),
    response: Type.Object({
      user_reports: Type.Array(shown),
      ...reportsTotal,
    }),
    errcodes: ['M_INVALID_PARAM'],
    async handler(services: ReportServices, { query }) {
      const filter = { kind: 'user', reporter: query.user_id, about: query.target_user_id } as const;
      const { reports, rest } = await reportsPage(services, filter, query);
      return { user_reports: reports.map(bodyOf), ...rest };
    },
  }),
  endpoint({
    operationId: 'adminGetUserReport',
    summary: 'A report of a user.',
    method: 'GET',
    path: `${root}/{report_id}`,
    ...OF_ADMINISTRATORS,
    params: reportParams,
    response: shown,
    errcodes: ['M_INVALID_PARAM', 'M_NOT_FOUND'],
    handler: async ({ reportReview }: ReportServices, { params }) =>
      bodyOf(await reportReview.get(params.report_id, 'user')),
  }),
  endpoint({
    operationId: 'adminDeleteUserReport',
    summary: 'Deletes a report of a user.',
    path: `${root}/{report_id}`,
    ...deletionOf('user'),
  }),
];
