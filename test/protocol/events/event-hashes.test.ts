import { expect } from 'chai';
import fc from 'fast-check';
import {
  contentHash,
  eventId,
  eventReference,
  hasRightContentHash,
  referenceHash,
  signedEventText,
} from '#src/protocol/events/event-hashes.ts';
import { referencedIds } from '#src/protocol/events/pdu.ts';
import type { Pdu } from '#src/protocol/events/pdu.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { signText } from '#src/protocol/signing/json-signatures.ts';
import { ALL_VERSIONS, KEY, rules, wirePdu } from './event-cases.ts';

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
