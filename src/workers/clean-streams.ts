import { cleanStreams } from '#src/jobs/definitions.ts';
import { type JobHandler, jobHandler } from '#src/jobs/job-definition.ts';
import type { StreamCleaner } from '#src/services/retention/stream-cleaner.ts';

export const cleanStreamsHandler = (cleaner: StreamCleaner): JobHandler =>
  jobHandler(cleanStreams, async (_payload, signal) => {
    await cleaner.clean(signal);
    return signal.aborted ? 'interrupted' : undefined;
  });
