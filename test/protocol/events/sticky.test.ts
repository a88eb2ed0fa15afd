import { expect } from 'chai';
import { systemRandom } from '#src/kernel/random.ts';
import { buildPdu } from '#src/protocol/events/build-pdu.ts';
import { eventId, hasRightContentHash, signedEventText } from '#src/protocol/events/event-hashes.ts';
import { redact } from '#src/protocol/events/redaction.ts';
import { MAX_STICKY_MS, stickyDurationOf, stickyUntil } from '#src/protocol/events/sticky.ts';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import type { JsonValue } from '#src/protocol/json/json-value.ts';
import { ROOM_VERSIONS } from '#src/protocol/room-versions/room-versions.ts';
import { verifyText } from '#src/protocol/signing/json-signatures.ts';
import { generateSigningKey, importVerifyKey } from '#src/protocol/signing/signing-key.ts';

const sticky = (value: JsonValue): { msc4354_sticky: JsonValue; origin_server_ts: number } => ({
  msc4354_sticky: value,
  origin_server_ts: 1_000,
});

describe('a sticky event', () => {
  it('says for how long it sticks, an hour at the most', () => {
    expect(stickyDurationOf(sticky({ duration_ms: 0 }))).to.equal(0);
    expect(stickyDurationOf(sticky({ duration_ms: 300_000, more: 1 }))).to.equal(300_000);
    expect(stickyDurationOf(sticky({ duration_ms: 3_600_001 }))).to.equal(MAX_STICKY_MS);
  });

  it('is an ordinary event when what it says makes no sense', () => {
    const nonsense = [null, 5, 'x', [], {}, { duration_ms: -1 }, { duration_ms: 1.5 }, { duration_ms: '5' }];
    for (const value of [...nonsense, { duration_ms: true }, { duration_ms: 2 ** 53 }, [{ duration_ms: 5 }]])
      expect(stickyDurationOf(sticky(value)), JSON.stringify(value)).to.equal(undefined);
    expect(stickyUntil({ origin_server_ts: 5 }, 5)).to.equal(undefined);
  });

  it('sticks from when it came, or from when it was sent where that is earlier', () => {
    expect(stickyUntil(sticky({ duration_ms: 500 }), 2_000)).to.equal(1_500);
    expect(stickyUntil(sticky({ duration_ms: 500 }), 700)).to.equal(1_200);
  });

  for (const version of ROOM_VERSIONS.values()) {
    it(`is hashed with what makes it sticky, and loses that by redaction (room version ${version.id})`, () => {
      const signingKey = generateSigningKey((count) => systemRandom.bytes(count));
      const template = {
        type: 'm.call',
        sender: '@a:example.org',
        roomId: '!r:example.org',
        content: {},
        originServerTs: 5,
        depth: 5,
        prevEvents: [],
        authEvents: [],
        ...(version.eventIdFormat === 'assigned' ? { eventId: '$e:example.org' } : {}),
      };
      const signer = { serverName: 'example.org', signingKey };
      const plain = buildPdu(version, template, signer);
      const { pdu, json, eventId: id } = buildPdu(version, { ...template, stickyDurationMs: 60_000 }, signer);
      expect(json).to.equal(canonicalJson(pdu, 'strict'));
      expect(JSON.parse(json)).to.deep.equal(pdu);
      expect(pdu['msc4354_sticky']).to.deep.equal({ duration_ms: 60_000 });
      expect(hasRightContentHash(version, pdu)).to.equal(true);
      expect(eventId(version, pdu)).to.equal(id);
      const signature = (pdu.signatures['example.org'] as Record<string, string>)[signingKey.keyId]!;
      const verifyKey = importVerifyKey(signingKey.publicKey)!;
      expect(verifyText(signedEventText(version, pdu), signature, verifyKey)).to.equal(true);
      expect(pdu.hashes).not.to.deep.equal(plain.pdu.hashes);
      expect(redact(version, pdu)).not.to.have.property('msc4354_sticky');
    });
  }
});
