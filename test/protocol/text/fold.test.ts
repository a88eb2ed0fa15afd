import { expect } from 'chai';
import fc from 'fast-check';
import { foldText, runsOf } from '#src/protocol/text/fold.ts';
import { gramHash, gramHashesOf, wantedGrams } from '#src/protocol/text/grams.ts';
import { parseSearchQuery, rankOf } from '#src/protocol/text/search-query.ts';
import { gramsOf } from './grams-model.ts';

const finds = (typed: string, text: string): boolean => rankOf(foldText(text), parseSearchQuery(typed)) > 0;

describe('folding texts for search', () => {
  it('makes width, case, kind of kana and accents equal', () => {
    expect(foldText('ﾄｳｷｮｳ ﾀﾜｰ')).to.equal(foldText('トウキョウ タワー'));
    expect(foldText('すし')).to.equal(foldText('スシ'));
    expect(foldText('ｶﾞｷﾞｸﾞ')).to.equal(foldText('がぎぐ'));
    expect(foldText('Ｈｅｌｌｏ　Ｗｏｒｌｄ')).to.equal('hello world');
    expect(foldText('Café Ångström')).to.equal('cafe angstrom');
    expect(foldText('ΌΣΟΣ')).to.equal(foldText('όσος'));
  });

  it('keeps what makes another word: voiced kana, Cyrillic letters with marks, Hangul', () => {
    expect(foldText('かき')).not.to.equal(foldText('がき'));
    expect(foldText('й')).not.to.equal(foldText('и'));
    expect(foldText('한국어'.normalize('NFD'))).to.equal('한국어');
  });

  it('makes one space of what is between words, and nothing of what cannot be seen', () => {
    expect(foldText('  「東京」、大阪!!\n京都 ')).to.equal('東京 大阪 京都');
    expect(foldText('zero\u200bwidth so\u00adft')).to.equal('zerowidth soft');
  });

  it('folds twice as it folds once', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 40 }), (text) => {
        expect(foldText(foldText(text))).to.equal(foldText(text));
      }),
    );
  });

  it('separates words from text without spaces', () => {
    const runs = runsOf(foldText('東京towerへ行く go!'));
    expect(runs.map((run) => [run.isUnspaced, run.characters.join('')])).to.deep.equal([
      [true, '東京'],
      [false, 'tower'],
      [true, 'へ行く'],
      [false, 'go'],
    ]);
  });
});

describe('what a search finds', () => {
  it('finds parts of Japanese, Chinese and Korean texts', () => {
    expect(finds('京都', '東京都庁へ行きます')).to.equal(true);
    expect(finds('都東', '東京都庁')).to.equal(false);
    expect(finds('学习', '我在学习中文')).to.equal(true);
    expect(finds('공부', '한국어를 공부합니다')).to.equal(true);
    expect(finds('ﾀﾜｰ', '東京たわー')).to.equal(true);
  });

  it('finds words by their beginnings, never by their middles', () => {
    expect(finds('mart', 'Martians and men')).to.equal(true);
    expect(finds('men MARTIANS', 'Martians and men')).to.equal(true);
    expect(finds('arti', 'Martians and men')).to.equal(false);
    expect(finds('martians women', 'Martians and men')).to.equal(false);
    expect(finds('tower', '東京Tower')).to.equal(true);
  });

  it('takes what is in double quotes as one phrase', () => {
    expect(finds('"and men"', 'Martians and men')).to.equal(true);
    expect(finds('"men and"', 'Martians and men')).to.equal(false);
    expect(parseSearchQuery('a "b c" d').terms.map((term) => term.source)).to.deep.equal(['a', 'b c', 'd']);
  });

  it('ranks higher what says it more often and in fewer words', () => {
    const query = parseSearchQuery('寿司');
    expect(rankOf(foldText('寿司、寿司'), query)).to.be.above(rankOf(foldText('寿司'), query));
    expect(rankOf(foldText('寿司'), query)).to.be.above(rankOf(foldText(`寿司${'あ'.repeat(400)}`), query));
  });

  it('wants of a text only grams that it has, for whatever part of it is searched', () => {
    const alphabet = [...'あいアイがガｶﾞー々東京都大阪中文한국어조กขab cD1、。「」 \n🎉'];
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(...alphabet), { maxLength: 40 }),
        fc.nat(),
        fc.nat(),
        (units, from, length) => {
          const text = units.join('');
          const graphemes = Array.from(new Intl.Segmenter().segment(text), ({ segment }) => segment);
          const at = from % (graphemes.length + 1);
          const part = graphemes.slice(at, at + (length % 12) + 2).join('');
          const query = parseSearchQuery(part);
          const before = foldText(`${graphemes.slice(0, at).join('')}の`);
          const startsInsideWord = /[a-z0-9]の$/.test(before) && /^[a-z0-9]/.test(foldText(part));
          if (startsInsideWord || query.terms.length === 0) return;
          const folded = foldText(text);
          const grams = gramsOf(folded);
          expect(rankOf(folded, query), JSON.stringify({ text, part })).to.be.above(0);
          for (const gram of query.grams) expect(grams.has(gram), JSON.stringify({ text, part, gram })).to.equal(true);
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('knows no gram for a single character, and hashes the same gram otherwise in every room', () => {
    expect(wantedGrams('の')).to.deep.equal([]);
    expect(wantedGrams('東京都')).to.deep.equal(['東京', '京都']);
    expect(gramHash(1, '東京')).not.to.equal(gramHash(2, '東京'));
    expect(gramHash(1, '東京'))
      .to.equal(gramHash(1, '東京'))
      .and.to.equal(gramHash(1, '東京') | 0);
  });

  it('hashes the grams of a text where they stand as it hashes each of them', () => {
    const mixed = [...'あいアー々東京都中文한국어ขab cdefghi10\n🎉👍🏽é', '\ud83c', '\udf89'];
    const texts = fc.oneof(
      fc.array(fc.constantFrom(...mixed), { maxLength: 60 }).map((units) => units.join('')),
      fc.string({ unit: 'binary', maxLength: 40 }),
    );
    fc.assert(
      fc.property(texts, fc.nat(), (text, space) => {
        for (const folded of [text, foldText(text)]) {
          const each = new Set(Array.from(gramsOf(folded), (gram) => gramHash(space, gram)));
          const hashes = gramHashesOf(space, folded);
          expect(hashes, 'each once').to.have.lengthOf(each.size);
          expect(new Set(hashes)).to.deep.equal(each);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
