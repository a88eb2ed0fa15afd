import { parentPort } from 'node:worker_threads';
import { ed25519, PUBLIC_KEY_BYTES, SIGNATURE_BYTES } from '#src/protocol/signing/ed25519.ts';
import type { VerifierReply, VerifierRequest } from './verifier-messages.ts';

/** What a thread of `ThreadedVerifier` does. */
parentPort?.on('message', ({ id, texts, signatures, keys }: VerifierRequest) => {
  const verdicts = Uint8Array.from(texts, (text, index) => {
    const signature = signatures.subarray(index * SIGNATURE_BYTES, (index + 1) * SIGNATURE_BYTES);
    const key = keys.subarray(index * PUBLIC_KEY_BYTES, (index + 1) * PUBLIC_KEY_BYTES);
    return ed25519().verify(Buffer.from(text), signature, key) ? 1 : 0;
  });
  const reply: VerifierReply = { id, verdicts };
  parentPort?.postMessage(reply);
});
