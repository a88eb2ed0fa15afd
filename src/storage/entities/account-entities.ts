import { AccountEntity } from './account.ts';
import { AccountThreepidEntity } from './account-threepid.ts';
import { DeviceEntity } from './device.ts';
import { RegistrationTokenEntity } from './registration-token.ts';

/** What `Database.open` must know for the accounts' repositories to work. */
export const accountEntities = [AccountEntity, AccountThreepidEntity, DeviceEntity, RegistrationTokenEntity];
