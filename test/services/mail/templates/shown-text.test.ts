import { expect } from 'chai';
import { shownName } from '#src/services/mail/templates/shown-text.ts';

describe('a name that others chose, in a mail', () => {
  it('is shown as it is, on one line', () => {
    for (const name of ['Alice', 'Dr. Who', 'J. R. R.', '日本語の部屋。ようこそ', 'v1.2'])
      expect(shownName(name, '@a:test')).to.equal(name);
    expect(shownName('two\r\nBcc: lines', '@a:test')).to.equal('two Bcc: lines');
  });

  it('is not shown where it is a link', () => {
    for (const name of ['https://evil.test', 'www.evil', 'buy at evil.example', 'evil.example/now', '', '\u202e'])
      expect(shownName(name, '@a:test'), name).to.equal('@a:test');
  });

  it('gives mail programs no domain to make a link of, wherever it stands in it', () => {
    const domain = /[\p{L}\p{N}-]\.\p{L}{2,}/u;
    for (const name of [
      'evil.example now',
      '(evil.example)',
      'a@evil.example!',
      'evil.example?x=1',
      'bücher.例え です',
    ])
      expect(shownName(name, '@a:test'), name).not.to.match(domain);
  });
});
