import { forgetDeviceSettings } from '#src/jobs/definitions.ts';
import { type JobHandler, jobHandler } from '#src/jobs/job-definition.ts';
import type { AccountDataService } from '#src/services/user-data/account-data/account-data-service.ts';
import { forgetSettingsOf } from '#src/services/user-data/account-data/device-settings.ts';

export const forgetDeviceSettingsHandler = (accountData: AccountDataService): JobHandler =>
  jobHandler(forgetDeviceSettings, async ({ userId, deviceIds }) => {
    await forgetSettingsOf(accountData, userId, deviceIds);
    return undefined;
  });
