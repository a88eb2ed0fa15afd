import { Type } from 'typebox';
import type { ReportReview, ReportWithRoom } from '#src/services/admin/reports/report-review.ts';
import { actorOf } from '../actor.ts';
import { empty } from '../client-server/parts/room-schemas.ts';
import { endpoint } from '../endpoint.ts';
import { OF_ADMINISTRATORS } from './parts/access.ts';
import { direction, nextOffset, offsetQuery, pageOf } from './parts/pages.ts';
import { reportParams } from './parts/reports.ts';

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

interface Services {
  readonly reportReview: ReportReview;
}

/** Reports of users. */
export const userReportEndpoints = [
  endpoint({
    operationId: 'adminListUserReports',
    summary: 'Lists reports of users, the newest first.',
    method: 'GET',
    path: root,
    ...OF_ADMINISTRATORS,
    query: Type.Object({
      ...offsetQuery,
      dir: direction,
      /** Parts of the ids of the reporting and of the reported user. */
      user_id: Type.Optional(Type.String()),
      target_user_id: Type.Optional(Type.String()),
    }),
    response: Type.Object({
      user_reports: Type.Array(shown),
      total: Type.Integer(),
      next_token: Type.Optional(Type.Integer()),
    }),
    errcodes: ['M_INVALID_PARAM'],
    async handler({ reportReview }: Services, { query }) {
      const page = pageOf(query);
      const { reports, total } = await reportReview.page(
        { kind: 'user', reporter: query.user_id, about: query.target_user_id },
        { ...page, isDescending: query.dir !== 'f' },
      );
      return { user_reports: reports.map(bodyOf), total, next_token: nextOffset(page, reports.length, total) };
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
    handler: async ({ reportReview }: Services, { params }) => bodyOf(await reportReview.get(params.report_id, 'user')),
  }),
  endpoint({
    operationId: 'adminDeleteUserReport',
    summary: 'Deletes a report of a user.',
    method: 'DELETE',
    path: `${root}/{report_id}`,
    ...OF_ADMINISTRATORS,
    params: reportParams,
    response: empty,
    errcodes: ['M_INVALID_PARAM', 'M_NOT_FOUND'],
    async handler({ reportReview }: Services, { requester, info, params }) {
      await reportReview.delete(actorOf(requester, info), params.report_id, 'user');
      return {};
    },
  }),
];
