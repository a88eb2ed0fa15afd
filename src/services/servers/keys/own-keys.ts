import type { Clock } from '#src/kernel/clock.ts';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { signJson } from '#src/protocol/signing/json-signatures.ts';
import {
  importVerifyKey,
  type RetiredKey,
  type SigningKey,
  type VerifyKey,
} from '#src/protocol/signing/signing-key.ts';
import { DAY_MS } from '#src/kernel/dates.ts';

export interface OwnKeysOptions {
  readonly serverName: string;
  /** The first one signs. */
  readonly signingKeys: readonly [SigningKey, ...SigningKey[]];
  readonly retiredKeys: readonly RetiredKey[];
  readonly clock: Clock;
}

/** `valid_until_ts` of the answer, in milliseconds from now. */
const VALIDITY_MS = DAY_MS;
/** The answer is made again after so many milliseconds. */
const RENEW_MS = 3_600_000;

/** The signing keys of this server, and how they are published. */
export class OwnKeys {
  readonly #options: OwnKeysOptions;
  #published: { readonly text: string; readonly at: number } | undefined;

  constructor(options: OwnKeysOptions) {
    this.#options = options;
  }

  get serverName(): string {
    return this.#options.serverName;
  }

  /** Canonical JSON of what `GET /_matrix/key/v2/server` answers, signed by each of the keys of today. */
  published(): string {
    const now = this.#options.clock.now();
    const known = this.#published;
    if (known !== undefined && now >= known.at && now - known.at < RENEW_MS) return known.text;
    const text = canonicalJson(this.#answer(now));
    this.#published = { text, at: now };
    return text;
  }

  /** A copy of the object with the signature of this server beside those it has. */
  sign(object: JsonObject): JsonObject {
    const { serverName, signingKeys } = this.#options;
    return signJson(object, serverName, signingKeys[0], 'lenient');
  }

  /** The key of this id, if signatures by it were good at that time. */
  verifyKey(keyId: string, validAt: number): VerifyKey | undefined {
    const { retiredKeys, signingKeys } = this.#options;
    const current = signingKeys.find((key) => key.keyId === keyId);
    if (current !== undefined) return importVerifyKey(current.publicKey);
    const retired = retiredKeys.find((key) => key.keyId === keyId && validAt <= key.expiredAt);
    return retired === undefined ? undefined : importVerifyKey(retired.publicKey);
  }

  #answer(now: number): JsonObject {
    const { retiredKeys, serverName, signingKeys } = this.#options;
    const verifyKeys = Object.fromEntries(signingKeys.map(({ keyId, publicKey }) => [keyId, { key: publicKey }]));
    const answer: JsonObject = {
      server_name: serverName,
      valid_until_ts: now + VALIDITY_MS,
      verify_keys: verifyKeys,
      old_verify_keys: Object.fromEntries(
        retiredKeys
          .filter(({ keyId }) => !Object.hasOwn(verifyKeys, keyId))
          .map(({ expiredAt, keyId, publicKey }) => [keyId, { expired_ts: expiredAt, key: publicKey }]),
      ),
    };
    let signed = answer;
    for (const key of signingKeys) signed = signJson(signed, serverName, key);
    return signed;
  }
}
