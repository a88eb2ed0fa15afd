import { expect } from 'chai';
import fc from 'fast-check';
import { measureJson } from '#src/protocol/json/json-measure.ts';
import { type IndexedJson, indexJson, parseInPieces } from '#src/protocol/json/parse-in-pieces.ts';

const NO_BOUNDS = { values: Infinity, depth: Infinity };

/** What came of some work, and the units of each of its pieces. */
const done = <T>(work: Generator<number, T>): { readonly value: T; readonly pieces: readonly number[] } => {
  const pieces: number[] = [];
  for (;;) {
    const step = work.next();
    if (step.done === true) return { value: step.value, pieces };
    pieces.push(step.value);
  }
};

const indexed = (text: string, pieceBytes?: number): IndexedJson =>
  done(indexJson(Buffer.from(text), NO_BOUNDS, pieceBytes)).value;

const parsed = (text: string, pieceBytes?: number): unknown => done(parseInPieces(indexed(text, pieceBytes))).value;

const outcomeOf = (parse: () => unknown): string => {
  try {
    return JSON.stringify(parse());
  } catch (error) {
    return (error as Error).name;
  }
};

describe('parsing JSON in pieces', () => {
  it('returns what parsing it at once does, members in the same order, wherever the pieces end', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 6 }), fc.integer({ min: 1, max: 40 }), (text, pieceBytes) => {
        const whole = JSON.parse(text) as unknown;
        const value = parsed(text, pieceBytes);
        expect(value).to.deep.equal(whole);
        expect(JSON.stringify(value)).to.equal(JSON.stringify(whole));
      }),
      { numRuns: 2_000 },
    );
  });
  it('refuses what parsing it at once refuses, wherever a text was spoiled', () => {
    fc.assert(
      fc.property(
        fc.json({ maxDepth: 5 }),
        fc.integer({ min: 1, max: 20 }),
        fc.nat(),
        fc.constantFrom('', ',', ':', '"', '[', ']', '{', '}', '0', ' ', '\\', 'null', ',,', '[]'),
        (text, pieceBytes, place, spoil) => {
          const at = place % (text.length + 1);
          const spoiled = `${text.slice(0, at)}${spoil}${text.slice(at + (spoil === '' ? 1 : 0))}`;
          const whole = outcomeOf(() => JSON.parse(Buffer.from(spoiled).toString()));
          expect(outcomeOf(() => parsed(spoiled, pieceBytes))).to.equal(whole);
        },
      ),
      { numRuns: 5_000 },
    );
  });
  it('keeps what is told last under one name, and a member named __proto__ as any other', () => {
    const text = '{"a":[1,2,3,4],"__proto__":{"x":[1,2,3,4]},"a":5,"b":[[[1]]],"1":{"y":[1,2,3]},"b":[1,[2,3,4]]}';
    const value = parsed(text, 4);
    expect(JSON.stringify(value)).to.equal(JSON.stringify(JSON.parse(text)));
    expect(Object.getPrototypeOf(value)).to.equal(Object.prototype);
  });
  it('does no more at once than a piece and one value, however the text is nested', () => {
    const small = '{"a":[1,2,{"b":"text with ] and \\" in it"}]}';
    const many = Array.from({ length: 4_000 }, () => small).join(',');
    const texts = [`[${many}]`, `{"x":{"y":[[${many}],[${many}],"z"]},"last":[${many}]}`];
    texts.push(
      `${'['.repeat(200)}${many}${']'.repeat(200)}`,
      `{${Array.from({ length: 9_000 }, (_, i) => `"k${i}":${small}`).join(',')}}`,
    );
    for (const text of texts) {
      const index = done(indexJson(Buffer.from(text), NO_BOUNDS));
      const parsing = done(parseInPieces(index.value));
      const pieces = [...index.pieces, ...parsing.pieces];
      expect(parsing.value).to.deep.equal(JSON.parse(text));
      expect(Math.max(...pieces)).to.be.lessThan(256 * 1024 + 200);
      expect(pieces.length).to.be.greaterThan(text.length / (256 * 1024));
    }
  });
  it('refuses what is no UTF-8', () => {
    expect(() => done(indexJson(Buffer.from([0x22, 0xff, 0x22]), NO_BOUNDS))).to.throw(SyntaxError);
  });
  it('counts values and depth as those of small JSON are counted, and stops at the number that matters', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 8 }), (text) => {
        const { depth, values } = indexed(text);
        expect({ depth, values }).to.deep.equal(measureJson(Buffer.from(text)));
      }),
    );
    const wide = Buffer.from(`[${'[],'.repeat(1_000)}1]`);
    expect(done(indexJson(wide, { values: 100, depth: 10 })).value.values).to.equal(101);
    expect(done(indexJson(Buffer.from('['.repeat(1_000)), { values: Infinity, depth: 10 })).value.depth).to.equal(11);
  });
});
