import { expect } from 'chai';
import fc from 'fast-check';
import { globMatches, globMatchesWords, literalGlob, parseGlob } from '#src/protocol/matching/glob.ts';
import { StepBudget } from '#src/protocol/matching/step-budget.ts';
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

  it('agrees with regular expressions on pieces that are longer than a word of bits', () => {
    const letters = fc.constantFrom('a', 'a', 'b', '?', '🦊');
    const piece = fc.string({ unit: letters, minLength: 20, maxLength: 50 });
    // With more asterisks the oracle takes for ever.
    const pattern = fc.array(piece, { minLength: 1, maxLength: 3 }).map((pieces) => pieces.join('*'));
    const scene = pattern.chain((p) =>
      fc.record({
        pattern: fc.constant(p),
        // A text that the pattern matches, and one that it nearly matches.
        text: fc
          .array(fc.constantFrom('a', 'b', '🦊'), { minLength: p.length, maxLength: p.length })
          .map((fill) => Array.from(p, (c, i) => (c === '?' || c === '*' ? fill[i]! : c)).join('')),
        noise: fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 40 }),
        at: fc.nat(200),
      }),
    );
    fc.assert(
      fc.property(scene, ({ pattern: p, text, noise, at }) => {
        for (const t of [text, noise + text, text + noise, text.slice(0, at) + noise + text.slice(at)].map((one) =>
          one.toWellFormed(),
        )) {
          expect(whole(p, t)).to.equal(asRegExp(p).test(t));
          expect(whole(`*${p}*`, t)).to.equal(asRegExp(`*${p}*`).test(t));
        }
      }),
      { numRuns: 300 },
    );
  });

  it('takes a number of steps that is linear in the text, whatever the pattern', () => {
    const text = 'a'.repeat(60_000);
    const stepsOf = (pattern: string, matches: typeof globMatches): number => {
      const budget = new StepBudget(Number.MAX_SAFE_INTEGER);
      expect(matches(parseGlob(pattern), text, budget)).to.equal(false);
      return Number.MAX_SAFE_INTEGER - budget.left;
    };
    const long = (piece: string): string => piece.repeat(Math.floor(500 / piece.length));
    for (const hostile of [
      `${long('?')}\u0001`,
      `${long('*a?')}b`,
      `${long('a')}b`,
      `b${long('a')}`,
      `${long('a?')}b${long('a')}`,
      `*${long('ab')}`,
    ]) {
      const words = Math.ceil(hostile.length / 32);
      const most = 2 * words * (text.length + hostile.length);
      expect(stepsOf(hostile, globMatchesWords)).to.be.at.most(most);
      expect(stepsOf(`*${hostile}*`, globMatches)).to.be.at.most(most);
    }
  });

  it('stops, without a match, when the steps that it may take are used up', () => {
    const text = `${'a'.repeat(60_000)}b`;
    for (const pattern of ['*????????b*', `*${'a'.repeat(20)}b*`]) {
      expect(globMatches(parseGlob(pattern), text, new StepBudget(1e6))).to.equal(true);
      const budget = new StepBudget(1_000);
      expect(globMatches(parseGlob(pattern), text, budget)).to.equal(false);
      expect(budget.left).to.be.within(-2_000, 0);
    }
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
