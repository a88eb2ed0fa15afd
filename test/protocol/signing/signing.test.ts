import { expect } from 'chai';
import fc from 'fast-check';
import nacl from 'tweetnacl';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { decodeBase64, encodeBase64, encodeUrlSafeBase64 } from '#src/protocol/signing/base64.ts';
import { nodeEd25519, sodiumEd25519 } from '#src/protocol/signing/ed25519.ts';
import { signaturesOf, signJson, signText, verifyJson, verifyText } from '#src/protocol/signing/json-signatures.ts';
import {
  formatSigningKey,
  generateSigningKey,
  importVerifyKey,
  parseSigningKeys,
  signingKeyFromSeed,
} from '#src/protocol/signing/signing-key.ts';

/** Appendices, "Cryptographic Test Vectors". */
const SEED = decodeBase64('YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1') as Buffer;
const KEY = signingKeyFromSeed('1', SEED);
const seeds = fc.uint8Array({ minLength: 32, maxLength: 32 });

describe('base64', () => {
  const vectors = { '': '', f: 'Zg', fo: 'Zm8', foo: 'Zm9v', foob: 'Zm9vYg', fooba: 'Zm9vYmE', foobar: 'Zm9vYmFy' };
  for (const [plain, encoded] of Object.entries(vectors)) {
    it(`encodes "${plain}" as "${encoded}" and back`, () => {
      expect(encodeBase64(Buffer.from(plain))).to.equal(encoded);
      expect(decodeBase64(encoded)?.toString()).to.equal(plain);
      expect(decodeBase64(Buffer.from(plain).toString('base64'))?.toString()).to.equal(plain);
    });
  }

  it('round-trips any bytes in both alphabets', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        expect([...(decodeBase64(encodeBase64(bytes)) ?? [])]).to.deep.equal([...bytes]);
        expect([...Buffer.from(encodeUrlSafeBase64(bytes), 'base64url')]).to.deep.equal([...bytes]);
      }),
    );
  });

  it('refuses the other alphabet, blanks and impossible lengths', () => {
    for (const text of ['_w', '-w', 'Z', 'Zm9vY', 'Zg Zg', 'Zg==Zg', 'Zg===', 'é'])
      expect(decodeBase64(text), text).to.equal(undefined);
  });
});

describe('signing keys', () => {
  it('reads and writes the lines of a Synapse key file', () => {
    const file =
      'ed25519 a_AbCd YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA0\n\ned25519 old AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n';
    const [first, second] = parseSigningKeys(file);
    expect(first.keyId).to.equal('ed25519:a_AbCd');
    expect(second?.version).to.equal('old');
    expect(formatSigningKey(first)).to.equal(file.split('\n')[0]);
  });

  it('names the line that is not a key', () => {
    expect(() => parseSigningKeys('')).to.throw(TypeError, /no key/);
    for (const line of ['rsa a AAAA', 'ed25519 a', 'ed25519 a AAAA', `${formatSigningKey(KEY)} more`]) {
      expect(() => parseSigningKeys(`${formatSigningKey(KEY)}\n${line}`), line).to.throw(TypeError, /Line 2/);
    }
  });

  it('derives the public key that tweetnacl derives', () => {
    fc.assert(
      fc.property(
        seeds,
        (seed) => signingKeyFromSeed('k', seed).publicKey === encodeBase64(nacl.sign.keyPair.fromSeed(seed).publicKey),
      ),
      { numRuns: 10 },
    );
  });

  it('generates a key of the given random bytes', () => {
    let calls = 0;
    const key = generateSigningKey((count) => new Uint8Array(count).fill(calls++));
    expect(key.keyId).to.equal('ed25519:a_aaaa');
    expect([...key.seed]).to.deep.equal(Array.from({ length: 32 }, () => 1));
  });

  it('refuses verification keys that are not 32 bytes', () => {
    expect(importVerifyKey('AAAA')).to.equal(undefined);
    expect(importVerifyKey('!')).to.equal(undefined);
  });
});

describe('Ed25519', () => {
  const schemes = { 'of libsodium': sodiumEd25519(), 'of OpenSSL': nodeEd25519() };

  for (const [name, scheme] of Object.entries(schemes)) {
    it(`${name} has the keys, signatures and verdicts of tweetnacl`, () => {
      fc.assert(
        fc.property(seeds, fc.uint8Array(), fc.nat(63), fc.nat(7), (seed, message, byte, bit) => {
          const pair = nacl.sign.keyPair.fromSeed(seed);
          const { publicKey, secretKey } = scheme.keyPairOf(seed);
          expect([...publicKey]).to.deep.equal([...pair.publicKey]);
          expect([...secretKey]).to.deep.equal([...pair.secretKey]);
          const signature = scheme.sign(message, secretKey);
          expect([...signature]).to.deep.equal([...nacl.sign.detached(message, pair.secretKey)]);
          expect(scheme.verify(message, signature, publicKey)).to.equal(true);
          const wrong = Buffer.from(signature);
          wrong[byte]! ^= 1 << bit;
          expect(nacl.sign.detached.verify(message, new Uint8Array(wrong), pair.publicKey)).to.equal(false);
          expect(scheme.verify(message, wrong, publicKey)).to.equal(false);
          expect(scheme.verify(Buffer.concat([message, Buffer.from('x')]), signature, publicKey)).to.equal(false);
        }),
        { numRuns: 12 },
      );
    });

    it(`${name} says no, and throws nothing, for keys that are no point of the curve`, () => {
      for (const fill of [0x02, 0xff]) {
        const key = new Uint8Array(32).fill(fill);
        expect(scheme.verify(Buffer.from('text'), new Uint8Array(64).fill(1), key)).to.equal(false);
      }
    });
  }

  it('refuses keys for which one signature fits every text, as the servers do that use libsodium', () => {
    // The neutral element as key and as R, and 0 as S: the equation holds whatever was signed.
    const neutral = new Uint8Array(32);
    neutral[0] = 1;
    const signature = Buffer.concat([neutral, new Uint8Array(32)]);
    expect(nacl.sign.detached.verify(Buffer.from('anything'), new Uint8Array(signature), neutral)).to.equal(true);
    expect(sodiumEd25519().verify(Buffer.from('anything'), signature, neutral)).to.equal(false);
    const verifyKey = importVerifyKey(encodeBase64(neutral));
    expect(verifyKey && verifyText('anything', encodeBase64(signature), verifyKey)).to.equal(false);
  });
});

describe('signed JSON', () => {
  it('signs an empty object as the specification does', () => {
    expect(signJson({}, 'domain', KEY)).to.deep.equal({
      signatures: {
        domain: {
          'ed25519:1': 'K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ',
        },
      },
    });
  });

  it('signs an object with data as the specification does', () => {
    expect(signJson({ one: 1, two: 'Two' }, 'domain', KEY)).to.deep.equal({
      one: 1,
      signatures: {
        domain: {
          'ed25519:1': 'KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw',
        },
      },
      two: 'Two',
    });
  });

  it('keeps unsigned and the signatures of others, and covers neither', () => {
    const object = {
      a: 1,
      unsigned: { age: 5 },
      signatures: { other: { 'ed25519:x': 'sig' }, domain: { 'ed25519:0': 'old' } },
    };
    const signed = signJson(object, 'domain', KEY);
    expect(signed['unsigned']).to.deep.equal({ age: 5 });
    expect(signaturesOf(signed, 'other').get('ed25519:x')).to.equal('sig');
    expect(signaturesOf(signed, 'domain').get('ed25519:1')).to.equal(
      signaturesOf(signJson({ a: 1 }, 'domain', KEY), 'domain').get('ed25519:1'),
    );
    expect(signaturesOf(signed, 'domain').get('ed25519:0')).to.equal('old');
  });

  it('makes signatures that tweetnacl accepts, and accepts those that tweetnacl makes', () => {
    fc.assert(
      fc.property(seeds, fc.dictionary(fc.string(), fc.oneof(fc.string(), fc.integer())), (seed, object) => {
        const key = signingKeyFromSeed('k', seed);
        const pair = nacl.sign.keyPair.fromSeed(seed);
        const bytes = new Uint8Array(Buffer.from(canonicalJson(object)));
        const ours = decodeBase64(signText(canonicalJson(object), key)) as Buffer;
        expect(nacl.sign.detached.verify(bytes, new Uint8Array(ours), pair.publicKey)).to.equal(true);
        const verifyKey = importVerifyKey(encodeBase64(pair.publicKey));
        expect(
          verifyKey &&
            verifyText(canonicalJson(object), encodeBase64(nacl.sign.detached(bytes, pair.secretKey)), verifyKey),
        ).to.equal(true);
      }),
      { numRuns: 8 },
    );
  });

  it('verifies what it signed and nothing that was changed since', () => {
    const verifyKey = importVerifyKey(KEY.publicKey);
    if (verifyKey === undefined) throw new Error('no key');
    const signed: JsonObject = signJson({ a: 1 }, 'domain', KEY);
    expect(verifyJson(signed, 'domain', 'ed25519:1', verifyKey)).to.equal(true);
    expect(verifyJson({ ...signed, unsigned: { b: 1 } }, 'domain', 'ed25519:1', verifyKey)).to.equal(true);
    expect(verifyJson({ ...signed, a: 2 }, 'domain', 'ed25519:1', verifyKey)).to.equal(false);
    expect(verifyJson(signed, 'other', 'ed25519:1', verifyKey)).to.equal(false);
    expect(verifyJson(signed, 'domain', 'ed25519:2', verifyKey)).to.equal(false);
    expect(
      verifyJson({ a: 1, signatures: { domain: { 'ed25519:1': 'not base64!' } } }, 'domain', 'ed25519:1', verifyKey),
    ).to.equal(false);
    expect(
      verifyJson({ a: 1, signatures: { domain: { 'ed25519:1': 'AAAA' } } }, 'domain', 'ed25519:1', verifyKey),
    ).to.equal(false);
  });

  it('leaves out algorithms it does not know', () => {
    expect([
      ...signaturesOf({ signatures: { d: { 'rsa:1': 'x', 'ed25519:1': 'y', 'ed25519:2': 3 } } }, 'd').keys(),
    ]).to.deep.equal(['ed25519:1']);
    expect(signaturesOf({ signatures: [] }, 'd').size).to.equal(0);
    expect(signaturesOf({ signatures: {} }, '__proto__').size).to.equal(0);
  });
});
