import { MatrixError } from '#src/protocol/errors/matrix-error.ts';

/** What a new password must have (`password.*`). */
export interface PasswordPolicy {
  /** In characters; default 8. */
  readonly minimumLength?: number;
  readonly requireDigit?: boolean;
  /** A character that is neither letter nor digit. */
  readonly requireSymbol?: boolean;
  readonly requireUppercase?: boolean;
  readonly requireLowercase?: boolean;
}

export const MAXIMUM_LENGTH = 512;

/**
 * Refuses what cannot be a password at all. Administrators may give accounts any other: `/_synapse/admin` takes them, whatever the policy asks
 * of users.
 *
 * @throws MatrixError M_INVALID_PARAM for none, more than 512 characters, or a NUL
 */
export const checkGivenPassword = (password: string): void => {
  const length = [...password].length;
  if (length === 0 || length > MAXIMUM_LENGTH || password.includes('\0'))
    throw new MatrixError(
      'M_INVALID_PARAM',
      `The password must have 1 to ${MAXIMUM_LENGTH} characters, none of them NUL.`,
    );
};

/**
 * Refuses passwords that must not be set. Client-Server API, "Password management".
 *
 * @throws MatrixError M_WEAK_PASSWORD, or M_INVALID_PARAM for more than 512 characters
 */
export const checkNewPassword = (password: string, policy: PasswordPolicy): void => {
  const minimum = policy.minimumLength ?? 8;
  const length = [...password].length;
  if (length > MAXIMUM_LENGTH) {
    throw new MatrixError('M_INVALID_PARAM', `The password must have at most ${MAXIMUM_LENGTH} characters.`);
  }
  const refuse = (what: string): never => {
    throw new MatrixError('M_WEAK_PASSWORD', `The password must have ${what}.`);
  };
  if (length < minimum) refuse(`at least ${minimum} characters`);
  if (policy.requireDigit === true && !/\p{Nd}/u.test(password)) refuse('a digit');
  if (policy.requireSymbol === true && !/[^\p{L}\p{N}]/u.test(password))
    refuse('a character that is neither letter nor digit');
  if (policy.requireUppercase === true && !/\p{Lu}/u.test(password)) refuse('a capital');
  if (policy.requireLowercase === true && !/\p{Ll}/u.test(password)) refuse('a small letter');
};
