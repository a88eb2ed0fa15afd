import { reviewStickyEvents } from '#src/jobs/definitions.ts';
import { type JobHandler, jobHandler } from '#src/jobs/job-definition.ts';
import type { StickyReview } from '#src/services/events/receiving/sticky-review.ts';

export const reviewStickyEventsHandler = (review: StickyReview): JobHandler =>
  jobHandler(reviewStickyEvents, async ({ room }) => {
    await review.review(room);
    return undefined;
  });
