import { sendLeave } from '#src/jobs/definitions.ts';
import { type JobHandler, jobHandler } from '#src/jobs/job-definition.ts';
import type { RemoteLeaves } from '#src/services/federation/joins/remote-leaves.ts';

export const sendLeaveHandler = (leaves: RemoteLeaves): JobHandler =>
  jobHandler(sendLeave, async ({ room, userId }) => {
    await leaves.sendLeaveLater(room, userId);
    return undefined;
  });
