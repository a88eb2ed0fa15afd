import { createHmac, hkdfSync, type KeyObject, timingSafeEqual } from 'node:crypto';

const LENGTH = 32;

/**
 * Tokens of the links in mails. Each is derived from its purpose and a key that is not in the database: no token is
 * stored, and a mail that is sent again has the same link.
 */
export class LinkTokens {
  readonly #key: Buffer;

  /** @param secret the private key of the sessions; tokens are good for as long as it stays */
  constructor(secret: KeyObject) {
    const bytes = secret.export({ type: 'pkcs8', format: 'der' });
    this.#key = Buffer.from(hkdfSync('sha256', bytes, '', 'tsudoi links in mails', 32));
  }

  /** 32 characters of unpadded base64, in its URL-safe alphabet. */
  of(purpose: string, ...parts: readonly string[]): string {
    return createHmac('sha256', this.#key)
      .update(JSON.stringify([purpose, ...parts]))
      .digest('base64url')
      .slice(0, LENGTH);
  }

  matches(token: string, purpose: string, ...parts: readonly string[]): boolean {
    const given = Buffer.from(token);
    const wanted = Buffer.from(this.of(purpose, ...parts));
    return given.length === wanted.length && timingSafeEqual(given, wanted);
  }
}
