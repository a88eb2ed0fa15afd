import { expect } from 'chai';
import fc from 'fast-check';
import { foldText } from '#src/protocol/text/fold.ts';
import { parseSearchQuery, rankOf } from '#src/protocol/text/search-query.ts';
import { gramsOf } from './grams-model.ts';

const WORDS = [
  '東京',
  'タワー',
  'たわー',
  'ﾀﾜｰ',
  'が',
  'か\u3099',
  '서울',
  '上海',
  'go',
  'Gopher',
  'ｇｏ',
  'café',
  'cafe\u0301',
  'Straße',
  '2024年',
  '①',
  '👍',
  '👍🏽',
  '👨‍👩‍👧',
  '☃️',
  'नमस्ते',
  'ไทย',
  'İstanbul',
  'ﬁn',
  'x',
  ' ',
  '、',
  '-',
  '_',
  '\u200d',
  '\ufe0f',
  '"',
  'ΟΔΟΣ',
  'й',
  'ー',
  '々',
  '㌔',
];
const text = fc
  .array(fc.oneof(fc.constantFrom(...WORDS), fc.string({ unit: 'grapheme', maxLength: 3 })), { maxLength: 12 })
  .map((parts) => parts.join(''));

describe('what is typed into a search', () => {
  it('is looked up by grams that every text has which answers it', () => {
    fc.assert(
      fc.property(text, text, (said, typed) => {
        const query = parseSearchQuery(typed);
        const folded = foldText(said);
        if (rankOf(folded, query) === 0) return;
        const grams = gramsOf(folded);
        for (const gram of query.grams) expect(grams.has(gram), `${gram} of ${typed} in ${said}`).to.equal(true);
      }),
      { numRuns: 2000 },
    );
  });
  it('finds the text that it was copied from, whole or any of its words', () => {
    fc.assert(
      fc.property(text, (said) => {
        const folded = foldText(said);
        if (folded === '') return;
        expect(rankOf(folded, parseSearchQuery(said)), said).to.be.above(0);
        for (const word of said.split(/\s+/u)) {
          const query = parseSearchQuery(word);
          if (query.terms.length > 0) expect(rankOf(folded, query), `${word} in ${said}`).to.be.above(0);
        }
      }),
      { numRuns: 2000 },
    );
  });
  it('is folded once and for all', () => {
    fc.assert(
      fc.property(text, (said) => {
        expect(foldText(foldText(said))).to.equal(foldText(said));
      }),
      { numRuns: 2000 },
    );
  });
});
