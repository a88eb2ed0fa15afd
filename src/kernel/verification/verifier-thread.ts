import { parentPort } from 'node:worker_threads';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import type { JsonValue } from '#src/protocol/json/json-value.ts';
import { ed25519, PUBLIC_KEY_BYTES, SIGNATURE_BYTES } from '#src/protocol/signing/ed25519.ts';
import type { LargeTextRequest, VerifierReply, VerifierRequest } from './verifier-messages.ts';

/** A worker thread of `ThreadedVerifier`: checks Ed25519 signatures off the event loop. */
type Signed = Pick<VerifierRequest, 'signatures' | 'keys'>;

const isSigned = (bytes: Buffer, { keys, signatures }: Signed, index: number): boolean =>
  ed25519().verify(
    bytes,
    signatures.subarray(index * SIGNATURE_BYTES, (index + 1) * SIGNATURE_BYTES),
    keys.subarray(index * PUBLIC_KEY_BYTES, (index + 1) * PUBLIC_KEY_BYTES),
  );

/** Of a text with JSON in it. Most servers send it in its canonical form, and need not have it parsed for that. */
const verdictsOnLarge = (request: LargeTextRequest): Uint8Array => {
  const { after, before, json, signatures } = request;
  const count = signatures.length / SIGNATURE_BYTES;
  const verdictsOn = (content: Uint8Array | Buffer): Uint8Array => {
    const text = Buffer.concat([Buffer.from(before), content, Buffer.from(after)]);
    return Uint8Array.from({ length: count }, (_, index) => (isSigned(text, request, index) ? 1 : 0));
  };
  const asSent = verdictsOn(json);
  if (asSent.every((verdict) => verdict === 1)) return asSent;
  try {
    const value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(json)) as JsonValue;
    return verdictsOn(Buffer.from(canonicalJson(value, 'lenient')));
  } catch {
    // It has no canonical form that could be signed.
    return asSent;
  }
};

parentPort?.on('message', (request: VerifierRequest | LargeTextRequest) => {
  const verdicts =
    'json' in request
      ? verdictsOnLarge(request)
      : Uint8Array.from(request.texts, (text, index) => (isSigned(Buffer.from(text), request, index) ? 1 : 0));
  const reply: VerifierReply = { id: request.id, verdicts };
  parentPort?.postMessage(reply);
});
