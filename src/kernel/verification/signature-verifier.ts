import { verifyText } from '#src/protocol/signing/json-signatures.ts';
import type { VerifyKey } from '#src/protocol/signing/signing-key.ts';

/** A signature, and the key that it should be by. */
export interface SignatureCheck {
  /** Its UTF-8 bytes were signed. */
  readonly text: string;
  /** Base64. */
  readonly signature: string;
  readonly verifyKey: VerifyKey;
}

/** Signatures of one text that has JSON in it, which is canonicalised for that. */
export interface LargeTextCheck {
  readonly before: string;
  /** UTF-8. */
  readonly json: Buffer;
  readonly after: string;
  readonly signatures: readonly Omit<SignatureCheck, 'text'>[];
}

/** Verifying as a port: one signature takes as long as reading an event, and other servers send them by the thousand. */
export interface SignatureVerifier {
  /** Whether each of the signatures is valid, in the same order. Never rejects. */
  verifyMany(checks: readonly SignatureCheck[]): Promise<boolean[]>;
}

/** Verifies at once, on the thread that asks. */
export const inlineVerifier: SignatureVerifier = {
  verifyMany: (checks) =>
    Promise.resolve(checks.map(({ text, signature, verifyKey }) => verifyText(text, signature, verifyKey))),
};
