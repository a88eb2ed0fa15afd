/** Every entity: a new one is a line here. */
export { AccountEntity } from './account.ts';
export { AccountThreepidEntity } from './account-threepid.ts';
export { RegistrationTokenEntity } from './registration-token.ts';
