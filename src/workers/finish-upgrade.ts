import { finishUpgrade } from '#src/jobs/definitions.ts';
import { type JobHandler, jobHandler } from '#src/jobs/job-definition.ts';
import type { RoomUpgrade } from '#src/services/rooms/upgrade/room-upgrade.ts';

export const finishUpgradeHandler = (upgrade: RoomUpgrade): JobHandler =>
  jobHandler(finishUpgrade, async ({ room, successor, userId }) => {
    await upgrade.finish(room, successor, userId);
    return undefined;
  });
