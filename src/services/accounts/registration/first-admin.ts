import { timingSafeEqual } from 'node:crypto';
import type { Random } from '#src/kernel/random.ts';
import { SerialByKey } from '#src/kernel/concurrency/serial.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { AccountStream } from '#src/services/accounts/stream/account-stream.ts';
import type { UserService } from '#src/services/accounts/users/user-service.ts';
import type { Registration } from './new-accounts.ts';
import type { RegistrationService } from './registration-service.ts';

/** Registers the first administrator of a new server, by a link that is shown when the server starts. */
export class FirstAdmin {
  readonly #users: UserService;
  readonly #registration: RegistrationService;
  readonly #random: Random;
  #token: string | undefined;
  #isOver = false;
  readonly #registrations = new SerialByKey<null>();

  constructor(deps: {
    readonly users: UserService;
    readonly registration: RegistrationService;
    readonly random: Random;
    readonly stream: AccountStream;
  }) {
    this.#users = deps.users;
    this.#registration = deps.registration;
    this.#random = deps.random;
    // The link is in the log: it does not become valid again when the administrator is deactivated.
    deps.stream.on('registered', ({ account }) => {
      if (account.admin) this.#end();
    });
    deps.stream.on('changed', ({ changes }) => {
      if (changes.admin === true) this.#end();
    });
  }

  /**
   * The token for the link; undefined when there is an administrator, or was one since the server started. It is good until there is one
   * or the server stops.
   */
  async token(): Promise<string | undefined> {
    if (await this.#isMade()) return undefined;
    this.#token ??= this.#random.string(32);
    return this.#token;
  }

  /** Whether there is an administrator, or was one since the server started: an operator may have made one in the database. */
  async #isMade(): Promise<boolean> {
    if (!this.#isOver && (await this.#users.adminExists())) this.#end();
    return this.#isOver;
  }

  #end(): void {
    this.#isOver = true;
    this.#token = undefined;
  }

  /** @throws MatrixError M_FORBIDDEN when the token is not the one, or there is an administrator already */
  async check(token: string): Promise<void> {
    const wanted = Buffer.from(this.#token ?? '');
    const given = Buffer.from(token);
    const matches = wanted.length > 0 && given.length === wanted.length && timingSafeEqual(given, wanted);
    if (!matches || (await this.#isMade())) {
      throw new MatrixError(
        'M_FORBIDDEN',
        'This link is not, or no longer, valid. The server shows a new one when it starts without an administrator.',
      );
    }
  }

  /** Makes the administrator. @throws MatrixError M_FORBIDDEN, and what `registerByAdmin` throws */
  register(token: string, username: string, password: string, ip: string): Promise<Registration> {
    // One after the other: of two requests with the link only the first creates the administrator.
    return this.#registrations.run(null, async () => {
      await this.check(token);
      const actor = { userId: null, ip, via: 'http' } as const;
      const wanted = { username, password, ownPassword: true, admin: true };
      return this.#registration.registerByAdmin(actor, wanted, { inhibitLogin: true });
    });
  }
}
