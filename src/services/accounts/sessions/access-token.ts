import { sign, verify, type KeyObject } from 'node:crypto';

/** What an access token says. */
export interface AccessTokenClaims {
  readonly userId: string;
  /** Undefined for a session in which an administrator acts as the user. */
  readonly deviceId: string | undefined;
  readonly sessionId: string;
  /** Which pair of tokens of the session it belongs to; always 0 without refresh tokens. */
  readonly generation: number;
  /** Milliseconds since the epoch; undefined for never. */
  readonly expiresTs: number | undefined;
}

/** One header is all we sign and all we accept: the sender of a token has no choice of algorithm. */
const HEADER = Buffer.from('{"alg":"EdDSA","typ":"JWT"}').toString('base64url');

const SIGNATURE_BYTES = 64;

/**
 * Access tokens as JSON Web Tokens (RFC 7519) signed with EdDSA (RFC 8037). They are opaque to clients. A good signature is not
 * enough: the session must still exist.
 */
export class AccessTokens {
  readonly #privateKey: KeyObject;
  readonly #publicKey: KeyObject;
  readonly #issuer: string;

  /** @param issuer the server name: tokens of another server's, even under the same key, are not ours */
  constructor(key: { readonly privateKey: KeyObject; readonly publicKey: KeyObject }, issuer: string) {
    if (key.privateKey.asymmetricKeyType !== 'ed25519')
      throw new TypeError('Access tokens are signed with an Ed25519 key.');
    this.#privateKey = key.privateKey;
    this.#publicKey = key.publicKey;
    this.#issuer = issuer;
  }

  sign(claims: AccessTokenClaims): string {
    const payload = {
      iss: this.#issuer,
      sub: claims.userId,
      ...(claims.deviceId === undefined ? {} : { did: claims.deviceId }),
      jti: claims.sessionId,
      gen: claims.generation,
      // Whole seconds, rounded up: a token must not expire before the client was told it would.
      ...(claims.expiresTs === undefined ? {} : { exp: Math.ceil(claims.expiresTs / 1000) }),
    };
    const signed = `${HEADER}.${Buffer.from(JSON.stringify(payload)).toString('base64url')}`;
    return `${signed}.${sign(null, Buffer.from(signed), this.#privateKey).toString('base64url')}`;
  }

  /** The claims of a token that we signed, expired or not; undefined for anything else. */
  read(token: string): AccessTokenClaims | undefined {
    const end = token.lastIndexOf('.');
    if (end < 0 || token.length > 4096 || !token.startsWith(`${HEADER}.`)) return undefined;
    const written = token.slice(end + 1);
    const signature = Buffer.from(written, 'base64url');
    // Decoding ignores characters outside the alphabet, and unused bits: a token is valid in one spelling only.
    if (signature.length !== SIGNATURE_BYTES || signature.toString('base64url') !== written) return undefined;
    if (!verify(null, Buffer.from(token.slice(0, end)), this.#publicKey, signature)) return undefined;
    const payload = JSON.parse(Buffer.from(token.slice(HEADER.length + 1, end), 'base64url').toString()) as Record<
      string,
      unknown
    >;
    if (payload['iss'] !== this.#issuer) return undefined;
    return {
      userId: payload['sub'] as string,
      deviceId: payload['did'] as string | undefined,
      sessionId: payload['jti'] as string,
      generation: payload['gen'] as number,
      expiresTs: payload['exp'] === undefined ? undefined : (payload['exp'] as number) * 1000,
    };
  }
}
