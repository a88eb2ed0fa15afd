import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type {
  AddressValidation,
  ThreepidCredentials,
  ValidationPurpose,
} from '#src/services/accounts/validation/address-validation.ts';
import { type AuthData, type Stage, type StageContext, StageFailed } from './stages.ts';

export const EMAIL_STAGE = 'm.login.email.identity';

/** The operations for which an address authenticates a user, and what it is validated for then. */
const PURPOSES: Readonly<Record<string, ValidationPurpose>> = { register: 'register', changePassword: 'reset' };

/** What an address has to be validated for to authenticate an operation; undefined for operations without this stage. */
export const purposeOf = (operation: string): ValidationPurpose | undefined =>
  Object.hasOwn(PURPOSES, operation) ? PURPOSES[operation] : undefined;

/** `m.login.email.identity`: a mail address that was validated here. `id_server` is not looked at. Proves the session id. */
export class EmailStage implements Stage {
  readonly type = EMAIL_STAGE;
  readonly #validation: AddressValidation;

  constructor(validation: AddressValidation) {
    this.#validation = validation;
  }

  async attempt(auth: AuthData, { operation }: StageContext): Promise<string> {
    const credentials = credentialsOf(auth);
    const purpose = purposeOf(operation);
    const validated = purpose === undefined ? undefined : await this.#validation.validated(purpose, credentials);
    if (validated !== undefined) return validated.sid;
    throw new StageFailed(
      'M_UNAUTHORIZED',
      'The address has not been validated: follow the link in the mail, and try again.',
    );
  }
}

/** Clients write the member as the specification does, or as its first versions did. */
const credentialsOf = (auth: AuthData): ThreepidCredentials => {
  const given = (auth['threepid_creds'] ?? auth['threepidCreds']) as { sid?: unknown; client_secret?: unknown } | null;
  const { sid, client_secret: clientSecret } = given ?? {};
  if (typeof sid !== 'string' || typeof clientSecret !== 'string')
    throw new MatrixError('M_MISSING_PARAM', 'auth needs threepid_creds with sid and client_secret.');
  return { sid, clientSecret };
};
