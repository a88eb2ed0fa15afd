import { expect } from 'chai';
import fc from 'fast-check';
import nacl from 'tweetnacl';
import { silentLogger } from '#src/kernel/logger.ts';
import type { SignatureCheck } from '#src/kernel/verification/signature-verifier.ts';
import { ThreadedVerifier } from '#src/kernel/verification/threaded-verifier.ts';
import { signText } from '#src/protocol/signing/json-signatures.ts';
import { importVerifyKey, signingKeyFromSeed } from '#src/protocol/signing/signing-key.ts';
import { ManualClock } from '#test/support/manual-clock.ts';
import { until } from '#test/support/until.ts';

const KEYS = [1, 2, 3].map((fill) => signingKeyFromSeed('k', new Uint8Array(32).fill(fill)));

/** A check, and whether it is good by another implementation. */
const claim = (text: string, by: number, checkedWith: number, spoiled: boolean): [SignatureCheck, boolean] => {
  const signature = spoiled ? 'bm90IGEgc2lnbmF0dXJl' : signText(text, KEYS[by]!);
  const publicKey = KEYS[checkedWith]!.publicKey;
  const bytes = new Uint8Array(Buffer.from(signature, 'base64'));
  const isGood =
    bytes.length === 64 &&
    nacl.sign.detached.verify(
      new Uint8Array(Buffer.from(text)),
      bytes,
      new Uint8Array(Buffer.from(publicKey, 'base64')),
    );
  return [{ text, signature, verifyKey: importVerifyKey(publicKey)! }, isGood];
};

describe('verifying many signatures on threads', function () {
  this.timeout(60_000);
  let clock: ManualClock;
  let verifier: ThreadedVerifier;
  beforeEach(() => {
    clock = new ManualClock();
    verifier = new ThreadedVerifier({ timers: clock, logger: silentLogger, threads: 2 });
  });
  afterEach(() => verifier.close());

  it('says of each whether it is good, in order, as another implementation does', async () => {
    const claims = fc.array(
      fc.tuple(fc.string({ unit: 'binary' }), fc.nat(2), fc.nat(2), fc.boolean()).map((parts) => claim(...parts)),
      { maxLength: 12 },
    );
    await fc.assert(
      fc.asyncProperty(claims, async (made) => {
        const verdicts = await verifier.verifyMany(made.map(([check]) => check));
        expect(verdicts).to.deep.equal(made.map(([, isGood]) => isGood));
      }),
      { numRuns: 15 },
    );
  });

  it('shares a large batch among the threads, and starts none for a few', async () => {
    const [check] = claim('text', 0, 0, false);
    expect(await verifier.verifyMany([check, check])).to.deep.equal([true, true]);
    expect(verifier.threads).to.equal(0);
    const verdicts = await verifier.verifyMany(Array.from({ length: 500 }, () => check));
    expect(verdicts).to.deep.equal(Array.from({ length: 500 }, () => true));
    expect(verifier.threads).to.equal(2);
  });

  it('ends threads that are asked nothing for a minute, and starts them again', async () => {
    const many = Array.from({ length: 10 }, () => claim('text', 0, 0, false)[0]);
    await verifier.verifyMany(many);
    await clock.advance(59_000);
    await verifier.verifyMany(many);
    await clock.advance(59_000);
    expect(verifier.threads).to.equal(1);
    await clock.advance(1_000);
    await until('they end', () => verifier.threads === 0);
    expect(await verifier.verifyMany(many)).to.not.include(false);
  });

  it('answers what a thread that ended was asked', async () => {
    const many = Array.from({ length: 200 }, (_, index) => claim(`text ${index}`, 0, index % 2, false)[0]);
    const asked = verifier.verifyMany(many);
    await verifier.close();
    expect(await asked).to.deep.equal(many.map((_, index) => index % 2 === 0));
  });
});
