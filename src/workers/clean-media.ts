import { cleanMedia } from '#src/jobs/definitions.ts';
import { type JobHandler, jobHandler } from '#src/jobs/job-definition.ts';
import type { MediaCleaner } from '#src/services/media/media-cleaner.ts';

export const cleanMediaHandler = (cleaner: MediaCleaner): JobHandler =>
  jobHandler(cleanMedia, async (_payload, signal) =>
    (await cleaner.clean(signal)).isDone ? undefined : 'interrupted',
  );
