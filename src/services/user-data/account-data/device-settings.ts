import type { AccountDataService } from './account-data-service.ts';

/** Types of account data for the notification settings of a device, with its id as suffix. MSC3890, and the form that clients use today. */
const SETTINGS_OF_DEVICE = ['m.local_notification_settings', 'org.matrix.msc3890.local_notification_settings'];

/** Empties the account data of deleted devices, so that sync tells the user's clients. */
export const forgetSettingsOf = async (
  accountData: Pick<AccountDataService, 'update'>,
  userId: string,
  deviceIds: readonly string[],
): Promise<void> => {
  for (const deviceId of deviceIds)
    for (const prefix of SETTINGS_OF_DEVICE)
      await accountData.update(userId, 0, `${prefix}.${deviceId}`, (stored) =>
        stored === undefined || Object.keys(stored).length === 0 ? undefined : {},
      );
};
