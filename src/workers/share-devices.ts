import { shareDevices } from '#src/jobs/definitions.ts';
import { type JobHandler, jobHandler } from '#src/jobs/job-definition.ts';
import type { DeviceListPublisher } from '#src/services/federation/edus/device-list-publisher.ts';

export const shareDevicesHandler = (deviceLists: Pick<DeviceListPublisher, 'shareWith'>): JobHandler =>
  jobHandler(shareDevices, async ({ room, userId }) => {
    await deviceLists.shareWith(room, userId);
    return undefined;
  });
