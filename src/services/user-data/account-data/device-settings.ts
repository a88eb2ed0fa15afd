import { JobElements } from '#src/services/commit/job-elements.ts';
import type { AccountDataService } from './account-data-service.ts';

/** Types of account data for the notification settings of a device, with its id as suffix. MSC3890, and the form that clients use today. */
const SETTINGS_OF_DEVICE = ['m.local_notification_settings', 'org.matrix.msc3890.local_notification_settings'];

/** Empties the account data of deleted devices, so that sync tells the user's clients. */
export const forgetSettingsOf = async (
  accountData: Pick<AccountDataService, 'update'>,
  userId: string,
  deviceIds: readonly string[],
): Promise<void> => {
  const types = deviceIds.flatMap((deviceId) => SETTINGS_OF_DEVICE.map((prefix) => `${prefix}.${deviceId}`));
  const elements = new JobElements();
  for (const type of types)
    await elements.all([type], () =>
      accountData.update(userId, 0, type, (stored) =>
        stored === undefined || Object.keys(stored).length === 0 ? undefined : {},
      ),
    );
  elements.end();
};
