import type { InboxLimits } from '#src/storage/e2ee/to-device.ts';
import type { Config } from './config.ts';

/** What may wait to be fetched by devices. */
export const inboxLimits = ({ e2ee }: Pick<Config, 'e2ee'>): InboxLimits => ({
  messages: e2ee.maxInboxMessages,
  bytes: e2ee.maxInboxBytes,
  userBytes: e2ee.maxUserInboxBytes,
});
