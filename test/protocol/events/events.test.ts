import { expect } from 'chai';
import fc from 'fast-check';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { buildPdu } from '#src/protocol/events/build-pdu.ts';
import type { PduTemplate } from '#src/protocol/events/build-pdu.ts';
import {
  contentHash,
  eventId,
  eventReference,
  hasRightContentHash,
  referenceHash,
  signedEventText,
} from '#src/protocol/events/event-hashes.ts';
import { createdRoomId, redactionTarget, referencedIds, roomIdOf } from '#src/protocol/events/pdu.ts';
import type { Pdu } from '#src/protocol/events/pdu.ts';
import { checkPduFormat } from '#src/protocol/events/pdu-format.ts';
import { strippedState } from '#src/protocol/events/stripped-state.ts';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { signJson, signText, verifyText } from '#src/protocol/signing/json-signatures.ts';
import { importVerifyKey } from '#src/protocol/signing/signing-key.ts';
import { ALL_VERSIONS, HASH, KEY, reference, rules, SIGNER, wirePdu } from './event-cases.ts';

const v1 = rules(1);

describe('event hashes and signatures', () => {
  /** Appendices, "Event Signing". */
  const minimal: JsonObject = {
    room_id: '!x:domain',
    sender: '@a:domain',
    origin: 'domain',
    origin_server_ts: 1000000,
    signatures: {},
    hashes: {},
    type: 'X',
    content: {},
    prev_events: [],
    auth_events: [],
    depth: 3,
    unsigned: { age_ts: 1000000 },
  };
  const redactable: JsonObject = {
    content: { body: 'Here is the message content' },
    event_id: '$0:domain',
    origin: 'domain',
    origin_server_ts: 1000000,
    type: 'm.room.message',
    room_id: '!r:domain',
    sender: '@u:domain',
    signatures: {},
    unsigned: { age_ts: 1000000 },
  };

  it('hashes and signs the minimal event as the specification does', () => {
    expect(contentHash(v1, minimal)).to.equal('5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos');
    const hashed = { ...minimal, hashes: { sha256: contentHash(v1, minimal) } };
    expect(signText(signedEventText(v1, hashed), KEY)).to.equal(
      'KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg',
    );
    expect(hasRightContentHash(v1, hashed)).to.equal(true);
    expect(hasRightContentHash(v1, { ...hashed, content: { a: 1 } })).to.equal(false);
  });

  it('hashes and signs the redactable event as the specification does', () => {
    expect(contentHash(v1, redactable)).to.equal('onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g');
    const hashed = { ...redactable, hashes: { sha256: contentHash(v1, redactable) } };
    expect(signText(signedEventText(v1, hashed), KEY)).to.equal(
      'Wm+VzmOUOz08Ds+0NTWb1d4CZrVsJSikkeRxh6aCcUwu6pNC78FunoD7KNWzqFn241eYHYMGCA5McEiVPdhzBA',
    );
  });

  it('compares content hashes as bytes, with or without padding', () => {
    const hash = contentHash(v1, minimal);
    expect(hasRightContentHash(v1, { ...minimal, hashes: { sha256: `${hash}=` } })).to.equal(true);
    for (const wrong of ['', 'AAAA', hash.slice(1), `${hash}AAAA`, 5, null]) {
      expect(hasRightContentHash(v1, { ...minimal, hashes: { sha256: wrong } }), String(wrong)).to.equal(false);
    }
    expect(hasRightContentHash(v1, { ...minimal, hashes: [] })).to.equal(false);
  });

  for (const version of ALL_VERSIONS) {
    it(`computes an event id that unsigned and signatures do not change in v${version.id}`, () => {
      fc.assert(
        fc.property(
          fc.dictionary(fc.string(), fc.string()),
          fc.dictionary(fc.string(), fc.string()),
          (unsigned, content) => {
            const pdu = wirePdu(version, { content }) as Pdu;
            const id = eventId(version, pdu);
            expect(eventId(version, { ...pdu, unsigned, signatures: { other: { 'ed25519:x': 'y' } } })).to.equal(id);
          },
        ),
        { numRuns: 20 },
      );
    });
  }

  it('writes event ids in the format of the room version', () => {
    expect(eventId(v1, wirePdu(v1) as Pdu)).to.equal('$e:domain');
    // Enough events that one of the hashes holds a character on which the alphabets differ.
    const ids = (version: number): string =>
      Array.from({ length: 30 }, (_, depth) => eventId(rules(version), wirePdu(rules(version), { depth }) as Pdu)).join(
        ' ',
      );
    expect(ids(3))
      .to.match(/^[$A-Za-z0-9+/ ]+$/)
      .and.to.match(/[+/]/);
    expect(ids(4))
      .to.match(/^[$A-Za-z0-9_ -]+$/)
      .and.to.match(/[_-]/);
    expect(ids(4)).to.equal(ids(3).replaceAll('+', '-').replaceAll('/', '_'));
  });

  it('references events with their hash in v1 and v2 only', () => {
    const pdu = wirePdu(v1) as Pdu;
    expect(eventReference(v1, '$e:domain', pdu)).to.deep.equal(['$e:domain', { sha256: referenceHash(v1, pdu) }]);
    expect(eventReference(rules(3), '$e', pdu)).to.equal('$e');
    expect(referencedIds([['$a:b', { sha256: 'x' }], '$c'])).to.deep.equal(['$a:b', '$c']);
  });
});

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

describe('checkPduFormat', () => {
  for (const version of ALL_VERSIONS) {
    it(`accepts a well-formed event of v${version.id}`, () => {
      expect(checkPduFormat(version, wirePdu(version))).to.have.property('ok', true);
      expect(
        checkPduFormat(version, wirePdu(version, { state_key: '', unsigned: { age: 1 }, unknown: [1] })),
      ).to.have.property('ok', true);
    });

    const broken: Record<string, JsonObject> = {
      'a type that is a number': { type: 1 },
      'a sender that is no user id': { sender: 'u' },
      'a sender whose domain is no server name': { sender: '@u:do main' },
      'a state key that is null': { state_key: null },
      'content that is a list': { content: [] },
      'content that is text': { content: 'x' },
      'a time that is text': { origin_server_ts: '1' },
      'a time that is a float': { origin_server_ts: 1.5 },
      'a negative depth': { depth: -1 },
      'a depth that is text': { depth: '3' },
      'no hash': { hashes: {} },
      'a list of hashes': { hashes: [] },
      'a signature that is a number': { signatures: { domain: { 'ed25519:1': 1 } } },
      'signatures that are null': { signatures: null },
      'unsigned that is a list': { unsigned: [] },
      'a room id that is none': { room_id: 'r' },
      'prev_events that are an object': { prev_events: {} },
      'prev_events with a number': { prev_events: [1] },
      'auth_events that are null': { auth_events: null },
      '21 prev_events': { prev_events: Array.from({ length: 21 }, (_, index) => reference(version, `$${index}:d`)) },
      '11 auth_events': { auth_events: Array.from({ length: 11 }, (_, index) => reference(version, `$${index}:d`)) },
    };
    for (const [what, changes] of Object.entries(broken)) {
      it(`refuses ${what} in v${version.id}`, () =>
        expect(checkPduFormat(version, wirePdu(version, changes))).to.have.property('ok', false));
    }

    for (const key of [
      'type',
      'sender',
      'room_id',
      'content',
      'depth',
      'hashes',
      'signatures',
      'prev_events',
      'auth_events',
      'origin_server_ts',
    ]) {
      it(`refuses an event without ${key} in v${version.id}`, () => {
        const { [key]: _left, ...rest } = wirePdu(version);
        expect(checkPduFormat(version, rest)).to.have.property('ok', false);
      });
    }

    it(`accepts 20 prev_events and 10 auth_events in v${version.id}`, () => {
      const many = (count: number): JsonObject[string] =>
        Array.from({ length: count }, (_, index) => reference(version, `$${index}:d`));
      expect(
        checkPduFormat(version, wirePdu(version, { prev_events: many(20), auth_events: many(10) })),
      ).to.have.property('ok', true);
    });

    it(`refuses more than 65536 bytes in v${version.id}`, () => {
      const empty = canonicalJson(wirePdu(version, { content: { body: '' } })).length;
      const sized = (bytes: number): JsonObject => wirePdu(version, { content: { body: 'x'.repeat(bytes - empty) } });
      expect(checkPduFormat(version, sized(65536))).to.have.property('ok', true);
      expect(checkPduFormat(version, sized(65537))).to.include({ ok: false, tooLarge: true });
    });

    it(`limits keys to 255 ${version.keyLimitsInBytes ? 'bytes' : 'code points'} in v${version.id}`, () => {
      const fits = (key: string, value: string): boolean =>
        checkPduFormat(version, wirePdu(version, { [key]: value })).ok;
      for (const key of ['type', 'state_key']) {
        expect(fits(key, 'x'.repeat(255))).to.equal(true);
        expect(fits(key, 'x'.repeat(256))).to.equal(false);
        expect(fits(key, '😀'.repeat(255))).to.equal(!version.keyLimitsInBytes);
        expect(fits(key, '😀'.repeat(256))).to.equal(false);
      }
      expect(fits('sender', `@${'x'.repeat(247)}:domain`)).to.equal(true);
      expect(fits('sender', `@${'x'.repeat(248)}:domain`)).to.equal(false);
    });
  }

  it('refuses floats and large integers since v6 only', () => {
    for (const version of ALL_VERSIONS) {
      for (const value of [1.5, 2 ** 53]) {
        expect(checkPduFormat(version, wirePdu(version, { content: { a: [value] } })).ok, version.id).to.equal(
          !version.strictCanonicalJson,
        );
      }
      expect(checkPduFormat(version, wirePdu(version, { depth: 2 ** 53 })).ok, version.id).to.equal(
        !version.strictCanonicalJson,
      );
      expect(checkPduFormat(version, wirePdu(version, { depth: 2 ** 63 * 2 })).ok, version.id).to.equal(false);
      expect(checkPduFormat(version, wirePdu(version, { depth: Number.MAX_SAFE_INTEGER })).ok, version.id).to.equal(
        true,
      );
    }
  });

  it('wants event ids with a domain in v1 and v2, and references of the right shape', () => {
    expect(checkPduFormat(v1, wirePdu(v1, { event_id: '$hash' })).ok).to.equal(false);
    expect(checkPduFormat(v1, wirePdu(v1, { prev_events: ['$a:b'] })).ok).to.equal(false);
    expect(checkPduFormat(rules(3), wirePdu(rules(3), { prev_events: [['$a:b', {}]] })).ok).to.equal(false);
  });

  it('wants the room id that the room version makes', () => {
    expect(checkPduFormat(rules(11), wirePdu(rules(11), { room_id: `!${HASH}` })).ok).to.equal(false);
    expect(checkPduFormat(rules(12), wirePdu(rules(12), { room_id: '!r:domain' })).ok).to.equal(false);
  });

  for (const value of [null, [], 'x', 1]) {
    it(`refuses ${JSON.stringify(value)}`, () =>
      expect(checkPduFormat(rules(12), value)).to.have.property('ok', false));
  }

  it('refuses numbers that are no double in every room version', () => {
    const huge = JSON.parse('{"ban":1e999}') as JsonObject;
    for (const version of ALL_VERSIONS)
      expect(checkPduFormat(version, wirePdu(version, { content: huge })).ok).to.equal(false);
  });

  it('refuses an event nested deeper than anyone can walk', () => {
    const tower = JSON.parse('['.repeat(5000) + ']'.repeat(5000)) as JsonObject[string];
    for (const version of ALL_VERSIONS)
      expect(checkPduFormat(version, wirePdu(version, { content: { tower } })).ok).to.equal(false);
  });
});

describe('strippedState', () => {
  it('leaves sender, type, state_key and content', () => {
    const pdu = wirePdu(rules(12), {
      type: 'm.room.name',
      state_key: '',
      content: { name: 'x' },
      unsigned: { age: 1 },
    }) as Pdu;
    expect(strippedState(pdu)).to.deep.equal({
      type: 'm.room.name',
      state_key: '',
      sender: '@u:domain',
      content: { name: 'x' },
    });
  });
});
