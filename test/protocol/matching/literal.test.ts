import { expect } from 'chai';
import fc from 'fast-check';
import { literalTest } from '#src/protocol/matching/literal.ts';
import { StepBudget } from '#src/protocol/matching/step-budget.ts';

describe('a literal that is looked for in texts', () => {
  it('is found where it stands in one', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', '\n', 'ä') });
    fc.assert(fc.property(text, text, (one, other) => literalTest(one)(other) === other.includes(one)));
  });

  it('takes a number of steps that is linear in the text, though both are made so that comparing takes long', () => {
    const half = 'a'.repeat(15_000);
    const budget = new StepBudget(1_000_000);
    expect(literalTest(`${half}b${half}`)('a'.repeat(60_000), budget)).to.equal(false);
    expect(1_000_000 - budget.left).to.be.at.most(4 * 60_000);
  });
});
