import { expect } from 'chai';
import { acceptedLanguage, languageOf } from '#src/kernel/text/language.ts';

describe('the language of a person', () => {
  it('is the one that the browser likes best of those that the server speaks', () => {
    for (const [header, language] of [
      ['ja', 'ja'],
      ['ja-JP,ja;q=0.9,en;q=0.8', 'ja'],
      ['en;q=0.8, ja;q=0.9', 'ja'],
      ['fr, de;q=0.9, en-GB;q=0.1', 'en'],
      ['EN_us', 'en'],
      ['ja;q=0, en;q=0.001', 'en'],
      ['ja ; q = 0.5 , en;q=0.4', 'ja'],
      ['ja;q=0', undefined],
      ['ja;q=..', undefined],
      ['ja;q=2', undefined],
      ['ja;q=-1', undefined],
      ['fr', undefined],
      ['*', undefined],
      ['', undefined],
      [undefined, undefined],
      [`${'x,'.repeat(100_000)}ja`, undefined],
    ] as const)
      expect(acceptedLanguage(header), header?.slice(0, 50)).to.equal(language);
  });
  it('is found by tags however they are written, and by nothing else', () => {
    for (const [tag, language] of [
      ['ja', 'ja'],
      ['JA-jp', 'ja'],
      [' en_GB ', 'en'],
      ['jam', undefined],
      ['x'.repeat(100_000), undefined],
      [null, undefined],
    ] as const)
      expect(languageOf(tag)).to.equal(language);
  });
});
