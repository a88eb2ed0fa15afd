import { shareDevices } from '#src/jobs/definitions.ts';
import { type JobHandler, jobHandler } from '#src/jobs/job-definition.ts';
import type { DeviceListEdus } from '#src/services/federation/edus/device-list-edus.ts';

export const shareDevicesHandler = (toldDevices: Pick<DeviceListEdus, 'shareWith'>): JobHandler =>
  jobHandler(shareDevices, async ({ room, userId }) => {
    await toldDevices.shareWith(room, userId);
    return undefined;
  });
