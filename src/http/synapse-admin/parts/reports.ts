import { Type } from 'typebox';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import type { ReportFilter, ReportReview, ReportWithRoom } from '#src/services/admin/reports/report-review.ts';
import { actorOf } from '../../actor.ts';
import { empty } from '../../client-server/parts/room-schemas.ts';
import type { RequestInfo } from '../../endpoint.ts';
import { OF_ADMINISTRATORS } from './access.ts';
import { direction, nextOffset, offsetQuery, pageOf } from './pages.ts';

export interface ReportServices {
  readonly reportReview: ReportReview;
}

export const reportParams = Type.Object({
  report_id: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
});

/** The query of every list of reports. */
export const reportsQuery = {
  ...offsetQuery,
  dir: direction,
  /** A part of the reporting user's id. */
  user_id: Type.Optional(Type.String()),
};

/** What every list of reports has beside them. */
export const reportsTotal = { total: Type.Integer(), next_token: Type.Optional(Type.Integer()) };

/** A page of reports, and the members beside it in the answer. */
export const reportsPage = async (
  { reportReview }: ReportServices,
  filter: ReportFilter,
  query: Parameters<typeof pageOf>[0] & { readonly dir?: 'f' | 'b' | undefined },
): Promise<{
  readonly reports: readonly ReportWithRoom[];
  readonly rest: { readonly total: number; readonly next_token: number | undefined };
}> => {
  const page = pageOf(query);
  const { reports, total } = await reportReview.page(filter, { ...page, isDescending: query.dir !== 'f' });
  return { reports, rest: { total, next_token: nextOffset(page, reports.length, total) } };
};

/** The deletion of a report, but for its name and path. @param kind the only kind that it deletes; any when left out */
export const deletionOf = (kind?: 'event' | 'user') =>
  ({
    method: 'DELETE',
    ...OF_ADMINISTRATORS,
    params: reportParams,
    response: empty,
    errcodes: ['M_INVALID_PARAM', 'M_NOT_FOUND'],
    async handler(
      { reportReview }: ReportServices,
      context: { readonly requester: Requester; readonly info: RequestInfo; readonly params: { report_id: number } },
    ) {
      const { requester, info, params } = context;
      await reportReview.delete(actorOf(requester, info), params.report_id, kind);
      return {};
    },
  }) as const;
