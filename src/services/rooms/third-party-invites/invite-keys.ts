import type { Random } from '#src/kernel/random.ts';
import { isJsonObject, type JsonObject } from '#src/protocol/json/json-value.ts';
import { decodeBase64 } from '#src/protocol/signing/base64.ts';
import { signJson } from '#src/protocol/signing/json-signatures.ts';
import { generateSigningKey, type SigningKey } from '#src/protocol/signing/signing-key.ts';
import type { Database } from '#src/storage/database.ts';
import { isEphemeralInviteKey } from '#src/storage/rooms/third-party-invites.ts';

const VALIDITY_PATH = '/_matrix/identity/v2/pubkey/isvalid';
const EPHEMERAL_VALIDITY_PATH = '/_matrix/identity/v2/pubkey/ephemeral/isvalid';

export interface InviteKeysOptions {
  readonly database: Database;
  readonly random: Random;
  readonly serverName: string;
  /** The server's own; the first one signs, with the others invitations are redeemed that were made when they did. */
  readonly signingKeys: readonly [SigningKey, ...SigningKey[]];
  readonly publicBaseUrl: () => string;
}

/** The keys in `m.room.third_party_invite` events of invitations that this server stores itself. Identity Service API, "Key management". */
export class InviteKeys {
  readonly #options: InviteKeysOptions;

  constructor(options: InviteKeysOptions) {
    this.#options = options;
  }

  /** A public key for one invitation. Its private half is discarded: this server signs with the long-term key. */
  newEphemeralKey(): string {
    return generateSigningKey((count) => this.#options.random.bytes(count)).publicKey;
  }

  /** Content of an `m.room.third_party_invite`. */
  contentOf(displayName: string, ephemeralKey: string): JsonObject {
    const base = this.#options.publicBaseUrl();
    const { publicKey } = this.#options.signingKeys[0];
    const longTerm = { public_key: publicKey, key_validity_url: `${base}${VALIDITY_PATH}` };
    const ephemeral = { public_key: ephemeralKey, key_validity_url: `${base}${EPHEMERAL_VALIDITY_PATH}` };
    return { display_name: displayName, ...longTerm, public_keys: [longTerm, ephemeral] };
  }

  /**
   * Signs that the user may redeem the invitation.
   *
   * @param content of its `m.room.third_party_invite`
   * @returns undefined when no key of ours stands in it: it was revoked, or is not ours
   */
  sign(content: JsonObject, signed: { mxid: string; sender: string; token: string }): JsonObject | undefined {
    const published = publicKeysOf(content);
    const key = this.#options.signingKeys.find(({ publicKey }) => published.includes(publicKey));
    return key === undefined ? undefined : signJson(signed, this.#options.serverName, key);
  }

  /** A long-term public key by its id, in unpadded base64. */
  publicKey(keyId: string): string | undefined {
    return this.#options.signingKeys.find((key) => key.keyId === keyId)?.publicKey;
  }

  /** Whether this is a long-term key of ours. */
  isValid(publicKey: string): boolean {
    const wanted = bytesOf(publicKey);
    return wanted !== undefined && this.#options.signingKeys.some((key) => bytesOf(key.publicKey)?.equals(wanted));
  }

  /** Whether this is the key of an invitation that still stands, as it is written there. */
  async isEphemeralKeyValid(publicKey: string): Promise<boolean> {
    if (bytesOf(publicKey) === undefined) return false;
    return isEphemeralInviteKey(this.#options.database, plus(publicKey));
  }
}

/** The keys with which an invitation can be redeemed; none when it was revoked. */
export const publicKeysOf = (content: JsonObject): readonly string[] => {
  const { public_key: single, public_keys: list } = content;
  const entries = Array.isArray(list)
    ? list.map((entry) => (isJsonObject(entry) ? entry['public_key'] : undefined))
    : [];
  return [single, ...entries].filter((key) => typeof key === 'string');
};

/** A client that put a `+` into a query as it stands has sent a space. */
const plus = (base64: string): string => base64.replaceAll(' ', '+');

/** Both alphabets of base64 are in use. */
const bytesOf = (base64: string): Buffer | undefined =>
  decodeBase64(plus(base64).replaceAll('-', '+').replaceAll('_', '/'));
