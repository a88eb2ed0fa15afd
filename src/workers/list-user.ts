import { listUser } from '#src/jobs/definitions.ts';
import { type JobHandler, jobHandler } from '#src/jobs/job-definition.ts';
import type { DirectoryEntries } from '#src/services/reading/user-directory/directory-entries.ts';

export const listUserHandler = (directory: DirectoryEntries): JobHandler =>
  jobHandler(listUser, async ({ userId }) => {
    await directory.list(userId);
    return undefined;
  });
