import { expect } from 'chai';
import fc from 'fast-check';
import { globMatches, globMatchesWords, literalGlob, parseGlob } from '#src/protocol/matching/glob.ts';
import { parsePropertyPath, valueAtPath } from '#src/protocol/matching/property-path.ts';

const whole = (pattern: string, text: string): boolean => globMatches(parseGlob(pattern), text);
const words = (pattern: string, text: string): boolean => globMatchesWords(parseGlob(pattern), text);

/** The obvious, slow way, as an oracle. */
function asRegExp(pattern: string): RegExp {
  const source = [...pattern]
    .map((char) => (char === '*' ? '[^]*' : char === '?' ? '[^]' : char.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')))
    .join('');
  return new RegExp(`^${source}$`, 'u');
}

describe('glob-style matching', () => {
  it('matches the whole text', () => {
    expect(whole('lunc?*', 'lunch plans')).to.equal(true);
    expect(whole('lunc?*', 'lunc')).to.equal(false);
    expect(whole('lunc?*', ' lunch')).to.equal(false);
    expect(whole('*', '')).to.equal(true);
    expect(whole('', '')).to.equal(true);
    expect(whole('', 'a')).to.equal(false);
    expect(whole('a*b*c', 'aXbYbZc')).to.equal(true);
    expect(whole('a*b', 'ab c')).to.equal(false);
    expect(whole('*ab', 'aab')).to.equal(true);
  });

  it('takes a question mark for one character, also outside the basic plane', () => {
    expect(whole('?', '🦊')).to.equal(true);
    expect(whole('??', '🦊')).to.equal(false);
    expect(whole('*?', '🦊')).to.equal(true);
    expect(whole('a?c', 'a集c')).to.equal(true);
  });

  it('agrees with regular expressions on any pattern', () => {
    const pattern = fc.string({ unit: fc.constantFrom('a', 'b', '*', '?', '.', '🦊'), maxLength: 6 });
    const text = fc.string({ unit: fc.constantFrom('a', 'b', '.', '🦊'), maxLength: 8 });
    fc.assert(
      fc.property(pattern, text, (p, t) => whole(p, t) === asRegExp(p).test(t)),
      { numRuns: 2000 },
    );
  });

  it('finds words as the obvious way finds them', () => {
    const pattern = fc.string({ unit: fc.constantFrom('a', 'b', '*', '?', ' '), maxLength: 5 });
    const text = fc.string({ unit: fc.constantFrom('a', 'b', ' ', '_', '-'), maxLength: 8 });
    const isWord = (char: string | undefined): boolean => char !== undefined && /[A-Za-z0-9_]/.test(char);
    const boundary = (t: string, at: number): boolean =>
      at === 0 || at === t.length || !isWord(t[at - 1]) || !isWord(t[at]);
    const slow = (p: string, t: string): boolean => {
      for (let from = 0; from <= t.length; from++)
        for (let to = from; to <= t.length; to++)
          if (boundary(t, from) && boundary(t, to) && asRegExp(p).test(t.slice(from, to))) return true;
      return false;
    };
    fc.assert(
      fc.property(pattern, text, (p, t) => words(p, t) === slow(p, t)),
      { numRuns: 3000 },
    );
  });

  it("finds the specification's examples in words", () => {
    expect(words('ex*ple', 'an example event.')).to.equal(true);
    expect(words('ex*ple', 'exple')).to.equal(true);
    expect(words('ex*ple', 'an exciting triple-whammy')).to.equal(true);
    expect(words('cat', 'concatenate')).to.equal(false);
    expect(words('cat', 'concatenate the cat')).to.equal(true);
    expect(words('田中', '田中さん')).to.equal(true);
  });

  it('takes no wildcard in a literal', () => {
    expect(globMatchesWords(literalGlob('a*'), 'abc')).to.equal(false);
    expect(globMatchesWords(literalGlob('a*'), 'x a* y')).to.equal(true);
  });

  it('is not slowed down by hostile patterns', () => {
    const started = process.hrtime.bigint();
    expect(words(`${'*a?'.repeat(30)}b`, 'a'.repeat(60_000))).to.equal(false);
    expect(Number(process.hrtime.bigint() - started) / 1e6).to.be.lessThan(1000);
  });
});

describe('dot-separated property paths', () => {
  it('unescapes dots and backslashes and nothing else', () => {
    expect(parsePropertyPath('content.body')).to.deep.equal(['content', 'body']);
    expect(parsePropertyPath('content.m\\.relates_to.rel_type')).to.deep.equal(['content', 'm.relates_to', 'rel_type']);
    expect(parsePropertyPath('content.m\\\\foo')).to.deep.equal(['content', 'm\\foo']);
    expect(parsePropertyPath('a\\x.b')).to.deep.equal(['a\\x', 'b']);
  });

  it('finds own properties of objects only', () => {
    expect(valueAtPath({ a: { 'b.c': 1 } }, ['a', 'b.c'])).to.equal(1);
    expect(valueAtPath({ a: ['x'] }, ['a', '0'])).to.equal(undefined);
    expect(valueAtPath({ a: 'x' }, ['a', 'length'])).to.equal(undefined);
    expect(valueAtPath({}, ['constructor', 'name'])).to.equal(undefined);
  });
});
