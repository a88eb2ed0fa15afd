import { expect } from 'chai';
import fc from 'fast-check';
import { globMatchesWords, literalGlob } from '#src/protocol/matching/glob.ts';
import { StepBudget } from '#src/protocol/matching/step-budget.ts';
import { NameIndex } from '#src/protocol/push/name-index.ts';
import { foldCase, PushSubject } from '#src/protocol/push/push-event.ts';

const subject = new PushSubject({ type: 'm.room.message', sender: '@x:test', content: {} });
const named = (index: NameIndex, text: string, steps = 1e6): string[] =>
  [...index.namedIn(subject, text, new StepBudget(steps))].toSorted();

describe('names in texts', () => {
  it('are found as words, whatever their case and script', () => {
    const index = new NameIndex();
    index.set('@alice:test', ['alice', 'Alice Liddell']);
    index.set('@tanaka:test', ['tanaka', '田中']);
    index.set('@odd:test', ['o.dd', '🦊 fox', '']);
    expect(named(index, 'hello ALICE!')).to.deep.equal(['@alice:test']);
    expect(named(index, 'malice and alices')).to.deep.equal([]);
    expect(named(index, '田中さん、alice')).to.deep.equal(['@alice:test', '@tanaka:test']);
    expect(named(index, 'a 🦊 FOX is here')).to.deep.equal(['@odd:test']);
    expect(named(index, 'o.dd')).to.deep.equal(['@odd:test']);
    index.set('@tanaka:test', ['tanaka']);
    index.delete('@alice:test');
    expect(named(index, '田中さん、alice')).to.deep.equal([]);
    expect(index.size).to.equal(2);
  });

  it('are those that the rules find, whatever names and texts are', () => {
    const characters = fc.constantFrom('a', 'B', '_', '1', ' ', '.', '-', 'é', '中', '文', '🦊');
    const name = fc.string({ unit: characters, maxLength: 4 });
    const text = fc.string({ unit: characters, maxLength: 14 });
    fc.assert(
      fc.property(fc.array(fc.array(name, { maxLength: 2 }), { maxLength: 6 }), text, (all, body) => {
        const index = new NameIndex();
        for (const [i, names] of all.entries()) index.set(`@u${i}:test`, names);
        const expected = all.flatMap((names, i) =>
          names.some((one) => one !== '' && globMatchesWords(literalGlob(foldCase(one)), foldCase(body)))
            ? [`@u${i}:test`]
            : [],
        );
        expect(named(index, body)).to.deep.equal(expected.toSorted());
      }),
      { numRuns: 2_000 },
    );
  });

  it('cost what the text is long, not how many there are, and never more than the budget', () => {
    const index = new NameIndex();
    for (let i = 0; i < 5_000; i++) index.set(`@user${i}:test`, [`user${i}`, `Person number ${i}`]);
    const budget = new StepBudget(1e6);
    expect([...index.namedIn(subject, 'have you seen user4711 today?', budget)]).to.deep.equal(['@user4711:test']);
    expect(1e6 - budget.left).to.be.below(50);
    // All of them begin like the text, and none stands in it.
    const few = new StepBudget(10_000);
    expect([...index.namedIn(subject, `person ${'number '.repeat(5_000)}`, few)]).to.deep.equal([]);
    expect(few.left).to.be.within(-40_000, 0);
  });
});
