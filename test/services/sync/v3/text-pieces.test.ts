import { expect } from 'chai';
import fc from 'fast-check';
import { TextPieces } from '#src/services/sync/v3/text-pieces.ts';

const LONG = 64 * 1024;

describe('a text in pieces', () => {
  it('is what was added, whole or in pieces, and no piece holds more than one long text or a few short ones', () => {
    const text = fc.oneof(
      fc.string({ maxLength: 20 }),
      fc.nat(3 * LONG).map((length) => '会'.repeat(length)),
    );
    fc.assert(
      fc.property(fc.array(fc.array(text, { maxLength: 4 }), { maxLength: 6 }), (lists) => {
        const pieces = new TextPieces();
        for (const list of lists) pieces.add('[').addList(list).add(']');
        const expected = lists.map((list) => `[${list.join(',')}]`).join('');
        expect(pieces.whole() === expected).to.equal(true);
        const end = pieces.end();
        expect((typeof end === 'string' ? end : end.join('')) === expected).to.equal(true);
        const longest = Math.max(0, ...lists.flat().map(({ length }) => length));
        if (typeof end !== 'string')
          for (const { length } of end) expect(length).to.be.at.most(Math.max(longest, 2 * LONG));
        else expect(end.length).to.be.below(LONG);
      }),
      { numRuns: 50 },
    );
  });

  it('keeps long texts as they are, since to copy them would take long', () => {
    const long = 'x'.repeat(LONG);
    expect(new TextPieces().add('{').add(long).add('}').end()).to.deep.equal(['{', long, '}']);
  });
});
