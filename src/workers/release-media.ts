import { releaseMedia } from '#src/jobs/definitions.ts';
import { type JobHandler, jobHandler } from '#src/jobs/job-definition.ts';
import type { MediaReferences } from '#src/services/media/media-references.ts';

export const releaseMediaHandler = (references: MediaReferences): JobHandler =>
  jobHandler(releaseMedia, async ({ uris, sender }) => {
    await references.release(uris, sender);
    return undefined;
  });
