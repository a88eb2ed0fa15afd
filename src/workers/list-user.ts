import { listUser } from '#src/jobs/definitions.ts';
import { type JobHandler, jobHandler } from '#src/jobs/job-definition.ts';
import type { UserDirectory } from '#src/services/reading/user-directory/user-directory.ts';

export const listUserHandler = (directory: UserDirectory): JobHandler =>
  jobHandler(listUser, async ({ userId }) => {
    await directory.list(userId);
    return undefined;
  });
