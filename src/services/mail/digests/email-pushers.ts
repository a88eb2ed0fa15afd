import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { thirdPartyId } from '#src/protocol/identifiers/third-party-id.ts';
import { ownerOfAddress } from '#src/storage/accounts/account-threepids.ts';
import type { Database } from '#src/storage/database.ts';

const APP_ID = 'm.email';

/**
 * Checks pushers of the kind `email`: "If the kind is "email", this is the email address to send notifications to"; it has to be one of
 * the user's own.
 */
export class EmailPushers {
  readonly name = 'email';
  readonly outlivesDevice = true;
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** @throws MatrixError M_INVALID_PARAM, M_THREEPID_NOT_FOUND */
  async check(
    { userId }: { readonly userId: string },
    { appId, pushkey }: { readonly appId: string; readonly pushkey: string },
  ): Promise<void> {
    if (appId !== APP_ID)
      throw new MatrixError('M_INVALID_PARAM', `app_id is ${APP_ID} for pushers of the kind email.`);
    const id = thirdPartyId('email', pushkey);
    if (id === undefined)
      throw new MatrixError('M_INVALID_PARAM', 'pushkey is the mail address for pushers of the kind email.');
    if ((await ownerOfAddress(this.#database, id)) !== userId)
      throw new MatrixError('M_THREEPID_NOT_FOUND', 'The address does not belong to your account: add it first.');
  }
}
