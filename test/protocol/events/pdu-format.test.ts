import { expect } from 'chai';
import { checkPduFormat } from '#src/protocol/events/pdu-format.ts';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { ALL_VERSIONS, HASH, reference, rules, wirePdu } from './event-cases.ts';

const v1 = rules(1);

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
