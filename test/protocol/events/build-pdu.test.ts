import { expect } from 'chai';
import fc from 'fast-check';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { buildPdu } from '#src/protocol/events/build-pdu.ts';
import type { PduTemplate } from '#src/protocol/events/build-pdu.ts';
import { eventId, hasRightContentHash, signedEventText } from '#src/protocol/events/event-hashes.ts';
import { createdRoomId, redactionTarget, roomIdOf } from '#src/protocol/events/pdu.ts';
import { checkPduFormat } from '#src/protocol/events/pdu-format.ts';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { signJson, verifyText } from '#src/protocol/signing/json-signatures.ts';
import { importVerifyKey } from '#src/protocol/signing/signing-key.ts';
import { ALL_VERSIONS, HASH, KEY, reference, rules, SIGNER } from './event-cases.ts';

describe('buildPdu', () => {
  const names = fc.oneof(
    fc.string({ maxLength: 30 }),
    fc.constantFrom('m.room.message', 'm.room.member', 'm.room.power_levels', 'm.room.create', 'm.room.redaction'),
  );
  const optional = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
    fc.option(arbitrary, { nil: undefined });
  const contents = fc.dictionary(
    fc.oneof(fc.string(), fc.constantFrom('membership', 'users', 'creator', 'third_party_invite', 'redacts', 'invite')),
    fc.oneof(fc.string({ unit: 'grapheme' }), fc.maxSafeInteger(), fc.dictionary(fc.string(), fc.integer())),
  );

  for (const version of ALL_VERSIONS) {
    it(`makes what the separate steps make, in v${version.id}`, () => {
      const verifyKey = importVerifyKey(KEY.publicKey);
      fc.assert(
        fc.property(
          names,
          optional(fc.string({ maxLength: 30 })),
          contents,
          optional(fc.constant('$x:domain')),
          (type, stateKey, content, redacts) => {
            const template: PduTemplate = {
              type,
              sender: '@u:domain',
              content: content as JsonObject,
              originServerTs: 1_700_000_000_000,
              depth: 7,
              prevEvents: [reference(version, '$p:domain')],
              authEvents: [reference(version, '$a:domain'), reference(version, '$b:domain')],
              roomId: version.roomIdIsCreateHash ? `!${HASH}` : '!r:domain',
              ...(stateKey === undefined ? {} : { stateKey }),
              ...(redacts === undefined ? {} : { redacts }),
              ...(version.eventIdFormat === 'assigned' ? { eventId: '$new:domain' } : {}),
            };
            const built = buildPdu(version, template, SIGNER);
            expect(built.json).to.equal(canonicalJson(built.pdu));
            expect(checkPduFormat(version, JSON.parse(built.json))).to.have.property('ok', true);
            expect(built.eventId).to.equal(eventId(version, built.pdu));
            expect(hasRightContentHash(version, built.pdu)).to.equal(true);
            expect(redacts === undefined || redactionTarget(version, built.pdu) === redacts).to.equal(true);
            const signature = (built.pdu.signatures['domain'] as JsonObject)['ed25519:1'] as string;
            expect(verifyKey && verifyText(signedEventText(version, built.pdu), signature, verifyKey)).to.equal(true);
          },
        ),
        { numRuns: 30 },
      );
    });
  }

  const template: PduTemplate = {
    type: 'X',
    sender: '@u:domain',
    content: {},
    originServerTs: 1,
    depth: 1,
    prevEvents: [],
    authEvents: [],
    roomId: '!r:domain',
  };

  it('signs like signJson over the redacted event', () => {
    const v10 = rules(10);
    const { pdu } = buildPdu(v10, { ...template, content: { body: 'x' } }, SIGNER);
    const { signatures: _signatures, ...unsigned } = pdu;
    expect(signJson({ ...unsigned, content: {} }, 'domain', KEY)['signatures']).to.deep.equal(pdu.signatures);
  });

  it('makes the create event of v12 without a room id, and the room id from it', () => {
    const v12 = rules(12);
    const { roomId: _roomId, ...withoutRoom } = template;
    const { pdu, eventId: id } = buildPdu(
      v12,
      { ...withoutRoom, type: 'm.room.create', stateKey: '', content: { room_version: '12' } },
      SIGNER,
    );
    expect(pdu).not.to.have.property('room_id');
    expect(createdRoomId(id)).to.equal(`!${id.slice(1)}`);
    expect(roomIdOf(v12, { eventId: id, pdu })).to.equal(createdRoomId(id));
    expect(checkPduFormat(v12, pdu)).to.have.property('ok', true);
  });

  it('answers M_TOO_LARGE for an event over 64 KiB and for a state key over 255', () => {
    const tooLarge = (changes: Partial<PduTemplate>): void => {
      expect(() => buildPdu(rules(11), { ...template, ...changes }, SIGNER))
        .to.throw(MatrixError)
        .with.property('errcode', 'M_TOO_LARGE');
    };
    tooLarge({ content: { body: 'x'.repeat(65536) } });
    tooLarge({ content: { body: 'é'.repeat(33000) } });
    tooLarge({ stateKey: 'x'.repeat(256) });
    tooLarge({ type: 'é'.repeat(128) });
    expect(() => buildPdu(rules(11), { ...template, content: { body: 'x'.repeat(65000) } }, SIGNER)).not.to.throw();
  });

  it('counts code points until v10 and bytes since v11', () => {
    const stateKey = 'é'.repeat(255);
    expect(() => buildPdu(rules(10), { ...template, stateKey }, SIGNER)).not.to.throw();
    expect(() => buildPdu(rules(11), { ...template, stateKey }, SIGNER)).to.throw(MatrixError);
  });

  it('answers M_BAD_JSON for a float since v6 and signs it before', () => {
    expect(() => buildPdu(rules(6), { ...template, content: { a: 1.5 } }, SIGNER))
      .to.throw(MatrixError)
      .with.property('errcode', 'M_BAD_JSON');
    expect(buildPdu(rules(5), { ...template, content: { a: 1.5 } }, SIGNER).json).to.contain('"a":1.5');
  });
});
