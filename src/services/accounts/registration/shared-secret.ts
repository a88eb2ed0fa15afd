import { createHmac, timingSafeEqual } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { atMost } from '#src/kernel/caches/at-most.ts';
import type { Clock } from '#src/kernel/clock.ts';
import type { Random } from '#src/kernel/random.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { USER_TYPES } from '#src/services/accounts/users/user-types.ts';
import type { Registration } from './new-accounts.ts';
import type { RegistrationService } from './registration-service.ts';

export interface SharedSecretRequest {
  readonly nonce: string;
  readonly username: string;
  readonly password: string;
  readonly admin: boolean;
  readonly userType: string | undefined;
  readonly displayName: string | undefined;
  /** Hexadecimal HMAC-SHA1 over the request under the shared secret. */
  readonly mac: string;
  readonly inhibitLogin: boolean;
  readonly refreshable: boolean;
  /** The client's address. */
  readonly ip: string;
}

export interface SharedSecretDependencies {
  readonly registration: RegistrationService;
  readonly clock: Clock;
  readonly random: Random;
  /** `registration.shared_secret`; undefined switches this off. */
  readonly secret: string | undefined;
}

const NONCE_LIFETIME_MS = 60_000;

/** What a client signs: the members with NUL between them, the user type only when there is one. */
const sharedSecretMac = (
  secret: string,
  request: Pick<SharedSecretRequest, 'nonce' | 'username' | 'password' | 'admin' | 'userType'>,
): string => {
  const parts = [request.nonce, request.username, request.password, request.admin ? 'admin' : 'notadmin'];
  if (request.userType !== undefined) parts.push(request.userType);
  return createHmac('sha1', secret).update(parts.join('\0')).digest('hex');
};

/** Registration by clients that know a secret of the operator's, as tools for Synapse do it (`/_synapse/admin/v1/register`). */
export class SharedSecretRegistration {
  readonly #deps: SharedSecretDependencies;
  readonly #nonces = new LRUCache<string, number>(atMost(10_000));

  constructor(deps: SharedSecretDependencies) {
    this.#deps = deps;
  }

  /** A nonce that is good for one registration within a minute. @throws MatrixError M_UNKNOWN when this is switched off */
  nonce(): string {
    this.#secret();
    const nonce = this.#deps.random.bytes(64).toString('hex');
    this.#nonces.set(nonce, this.#deps.clock.monotonic() + NONCE_LIFETIME_MS);
    return nonce;
  }

  /**
   * Makes the account.
   *
   * @throws MatrixError M_UNKNOWN for an unknown nonce (400) or a wrong HMAC (403), and what `registerByAdmin` throws
   */
  async register(request: SharedSecretRequest): Promise<Registration> {
    const secret = this.#secret();
    const expires = this.#nonces.get(request.nonce);
    if (expires === undefined || expires <= this.#deps.clock.monotonic())
      throw new MatrixError('M_UNKNOWN', 'unrecognised nonce');
    this.#nonces.delete(request.nonce);
    const given = Buffer.from(request.mac.toLowerCase());
    const wanted = Buffer.from(sharedSecretMac(secret, request));
    if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) {
      throw new MatrixError('M_UNKNOWN', 'HMAC incorrect', {}, 403);
    }
    const { username, password, admin, displayName, inhibitLogin, refreshable, userType } = request;
    if (userType !== undefined && !USER_TYPES.includes(userType))
      throw new MatrixError('M_UNKNOWN', 'Invalid user type');
    return this.#deps.registration.registerByAdmin(
      { userId: null, ip: request.ip, via: 'http' },
      { username, password, admin, displayName, userType: userType ?? null },
      { inhibitLogin, refreshable },
    );
  }

  #secret(): string {
    const { secret } = this.#deps;
    if (secret === undefined || secret === '')
      throw new MatrixError('M_UNKNOWN', 'Shared secret registration is not enabled');
    return secret;
  }
}
