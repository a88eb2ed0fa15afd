import { MatrixError } from '#src/protocol/errors/matrix-error.ts';

export interface PasswordPolicy {
  /** Characters a new password must have; default 8. */
  readonly minimumLength?: number;
}

const MAXIMUM_LENGTH = 512;

/**
 * Refuses passwords that must not be set.
 *
 * @throws MatrixError M_WEAK_PASSWORD, or M_INVALID_PARAM for more than 512 characters
 */
export const checkNewPassword = (password: string, policy: PasswordPolicy): void => {
  const minimum = policy.minimumLength ?? 8;
  const length = [...password].length;
  if (length < minimum)
    throw new MatrixError('M_WEAK_PASSWORD', `The password must have at least ${minimum} characters.`);
  if (length > MAXIMUM_LENGTH)
    throw new MatrixError('M_INVALID_PARAM', `The password must have at most ${MAXIMUM_LENGTH} characters.`);
};
