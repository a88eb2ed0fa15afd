import type { RemoteUserKeys } from '#src/remote/federation/user-keys-api.ts';
import type { ClaimedKeys, KeyClaims, WantedKeys } from '#src/services/e2ee/device-keys/key-claims.ts';
import { assertFewKeys, type KeyQuery } from '#src/services/e2ee/device-keys/key-query.ts';

export interface KeyAnswersOptions {
  readonly keyQuery: KeyQuery;
  readonly keyClaims: KeyClaims;
  readonly isLocal: (userId: string) => boolean;
}

/**
 * Answers other servers' queries and claims of local users' keys, with what every user may see. "Requested users must be local to the receiving homeserver":
 * others are left out. Server-Server API, "End-to-End Encryption".
 */
export class KeyAnswers {
  readonly #options: KeyAnswersOptions;

  constructor(options: KeyAnswersOptions) {
    this.#options = options;
  }

  /**
   * Identity keys. Every user of this server who was asked for has an entry, also without any keys.
   *
   * @param wanted user -> device ids; none for all devices
   * @throws MatrixError M_TOO_LARGE; M_LIMIT_EXCEEDED when too many of this origin's queries wait
   */
  query(origin: string, wanted: Readonly<Record<string, readonly string[]>>): Promise<RemoteUserKeys> {
    assertFewKeys(Object.entries(wanted));
    return this.#options.keyQuery.local(this.#ownOf(wanted), undefined, origin);
  }

  /** One-time keys, each of them once. @throws MatrixError M_TOO_LARGE */
  claim(wanted: WantedKeys): Promise<ClaimedKeys> {
    return this.#options.keyClaims.local(this.#ownOf(wanted));
  }

  #ownOf<T>(wanted: Readonly<Record<string, T>>): Record<string, T> {
    return Object.fromEntries(Object.entries(wanted).filter(([userId]) => this.#options.isLocal(userId)));
  }
}
