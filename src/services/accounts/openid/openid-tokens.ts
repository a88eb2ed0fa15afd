import type { Clock } from '#src/kernel/clock.ts';
import type { Random } from '#src/kernel/random.ts';
import type { Database } from '#src/storage/database.ts';
import { insertOpenIdToken, userOfOpenIdToken } from '#src/storage/accounts/proof-tokens.ts';
import { hashOfSecret } from '#src/protocol/identifiers/opaque-secret.ts';

const LIFETIME_MS = 3_600_000;
export interface OpenIdToken {
  readonly token: string;
  /** Seconds. */
  readonly expiresIn: number;
}

/** OpenID tokens: a user proves to another service who they are, by a token that gives no access to the account. Client-Server API, "OpenID". */
export class OpenIdTokens {
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #random: Random;

  constructor(deps: { readonly database: Database; readonly clock: Clock; readonly random: Random }) {
    this.#database = deps.database;
    this.#clock = deps.clock;
    this.#random = deps.random;
  }

  /** Makes one that is good for an hour. Only its hash is stored. */
  async issue(userId: string): Promise<OpenIdToken> {
    const token = `tdo_${this.#random.string(43)}`;
    const now = this.#clock.now();
    const expiresTs = now + LIFETIME_MS;
    await this.#database.write((tx) => insertOpenIdToken(tx, { hash: hashOfSecret(token), userId, expiresTs }, now));
    return { token, expiresIn: LIFETIME_MS / 1000 };
  }

  /** The user of a token; undefined when it is invalid or expired, or the account cannot be used any more. */
  userOf(token: string): Promise<string | undefined> {
    return userOfOpenIdToken(this.#database, hashOfSecret(token), this.#clock.now());
  }
}
