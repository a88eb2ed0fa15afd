/** The flows of operations for which users have to enter their password again. Client-Server API, "Password-based". */
export const PASSWORD_FLOWS = [['m.login.password']];

/** Completes by itself. Client-Server API, "Dummy Auth". */
export const DUMMY_STAGE = 'm.login.dummy';
