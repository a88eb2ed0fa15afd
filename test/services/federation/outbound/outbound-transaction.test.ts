import { expect } from 'chai';
import fc from 'fast-check';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { bodyOf } from '#src/services/federation/outbound/outbound-transaction.ts';

const NOW = 1_767_225_600_000;
const objects = fc.array(fc.dictionary(fc.string(), fc.jsonValue()) as fc.Arbitrary<JsonObject>, { maxLength: 5 });

describe('the body of a transaction', () => {
  it('is Canonical JSON of what was put into it, made of the text of its events', () => {
    fc.assert(
      fc.property(objects, objects, (pdus, contents) => {
        const edus = contents.map((content) => ({ edu_type: 'm.test', content }));
        const texts = pdus.map((pdu) => canonicalJson(pdu, 'lenient'));
        const content = {
          origin: 'a.test:8448',
          origin_server_ts: NOW,
          pdus,
          ...(edus.length === 0 ? {} : { edus }),
        };
        expect(bodyOf('a.test:8448', NOW, texts, edus)).to.equal(canonicalJson(content, 'lenient'));
      }),
    );
  });
});
