import { expect } from 'chai';
import fc from 'fast-check';
import { measureJson } from '#src/protocol/json/json-measure.ts';

/** Values, members' names not counted, and depth of what was parsed. */
const counted = (value: unknown): { readonly values: number; readonly depth: number } => {
  if (typeof value !== 'object' || value === null) return { values: 1, depth: 0 };
  const inner = Object.values(value).map(counted);
  return {
    values: inner.reduce((sum, { values }) => sum + values, 1),
    depth: 1 + Math.max(0, ...inner.map(({ depth }) => depth)),
  };
};

describe('measuring JSON', () => {
  it('finds its depth, and at least as many values as there are but not many more, whatever stands in its strings', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 8 }), (text) => {
        const { values, depth } = counted(JSON.parse(text));
        const measured = measureJson(Buffer.from(text));
        expect(measured.depth).to.equal(depth);
        expect(measured.values).to.be.within(values, 3 * values);
      }),
      { numRuns: 500 },
    );
  });
  it('is not misled by quotes, escapes and brackets in strings', () => {
    for (const text of [String.raw`"[[[{{,,::\"[["`, String.raw`"\\"`, String.raw`"\\\"[,"`, '"集[い{"'])
      expect(measureJson(Buffer.from(text)), text).to.deep.equal({ values: 1, depth: 0 });
  });
  it('stops at the number that matters', () => {
    expect(measureJson(Buffer.from(`[${'[],'.repeat(1_000)}1]`), 100).values).to.equal(101);
  });
  it('ends with what is no JSON, too', () => {
    for (const text of ['', '"', '"\\', '[[[', ']]]', '"abc\\"']) measureJson(Buffer.from(text));
  });
});
