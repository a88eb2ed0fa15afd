import type { Logger } from '#src/kernel/logger.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { localpartOf } from '#src/protocol/identifiers/server-name.ts';
import type { UserService } from '#src/services/accounts/users/user-service.ts';
import type { Database } from '#src/storage/database.ts';
import type { ApplicationService } from './application-service.ts';
import type { Appservices } from './appservices.ts';

/** The accounts of application services' senders (`sender_localpart`), which exist without being registered. */
export class AppserviceSenders {
  readonly #database: Database;
  readonly #logger: Logger;
  readonly #appservices: Appservices;
  readonly #users: UserService;

  constructor(deps: {
    readonly database: Database;
    readonly logger: Logger;
    readonly appservices: Appservices;
    readonly users: UserService;
  }) {
    this.#database = deps.database;
    this.#logger = deps.logger;
    this.#appservices = deps.appservices;
    this.#users = deps.users;
  }

  /** Creates those that are missing. */
  async ensure(): Promise<void> {
    for (const service of this.#appservices.all()) await this.#ensure(service);
  }

  async #ensure({ id, sender }: ApplicationService): Promise<void> {
    const account = await this.#users.account(sender);
    if (account?.deactivated === true)
      this.#logger.warn('the sender of an application service is deactivated', {
        appservice: id,
        user_id: sender,
      });
    if (account !== undefined) return;
    const made = { userId: sender, localpart: localpartOf(sender), passwordHash: null, appserviceId: id };
    try {
      await this.#database.write((tx) => this.#users.create(tx, made));
    } catch (error) {
      // Created concurrently by another process.
      if (!(error instanceof MatrixError) || error.errcode !== 'M_USER_IN_USE') throw error;
    }
  }
}
