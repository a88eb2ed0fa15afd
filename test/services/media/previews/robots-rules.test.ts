import { expect } from 'chai';
import { linesOf, MAX_NAMES } from '#src/services/media/previews/robots-rules.ts';

describe('the robots.txt of a site', () => {
  const names = (lines: readonly string[]): readonly string[] => lines.filter((line) => /^user-agent/i.test(line));

  it('is read with each name of a group once, since each rule is kept for each name', () => {
    const rules = Array.from({ length: 3_000 }, () => 'allow: /a');
    const same = linesOf([...Array.from({ length: 2_500 }, () => 'User-agent: *'), ...rules].join('\n'));
    expect(names(same)).to.deep.equal(['User-agent: *']);
    expect(same).to.have.length(3_001);
    const many = linesOf([...Array.from({ length: 2_500 }, (_, i) => `user-agent:${i}`), ...rules].join('\r\n'));
    expect(names(many)).to.have.length(MAX_NAMES);
  });

  it('is read as it stands where people wrote it', () => {
    const text =
      'User-agent: a\nUser-agent: b\nDisallow: /x\n\nUser-agent: a\nDisallow: /y\n# no\nSitemap: https://example.org/';
    expect(linesOf(text)).to.deep.equal(text.split('\n').filter((line) => line !== '' && line !== '# no'));
  });
});
