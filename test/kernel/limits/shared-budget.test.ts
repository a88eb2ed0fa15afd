import { expect } from 'chai';
import fc from 'fast-check';
import { Share, SharedBudget, Shares } from '#src/kernel/limits/shared-budget.ts';

describe('a shared budget', () => {
  it('gives nobody more than half of what the others leave, or than their limit', () => {
    const budget = new SharedBudget(100);
    const [greedy, limited] = [new Share(1_000), new Share(10)];
    expect(budget.take(51, greedy)).to.equal(false);
    expect(budget.take(50, greedy)).to.equal(true);
    expect(budget.take(1, greedy)).to.equal(false);
    expect(budget.take(11, limited)).to.equal(false);
    expect(budget.take(10, limited)).to.equal(true);
    expect(budget.take(1, limited)).to.equal(false);
  });
  it('gives another part than half where that is said', () => {
    const budget = new SharedBudget(90, 2 / 3);
    const [office, guest] = [new Share(1_000), new Share(1_000)];
    expect(budget.take(61, office)).to.equal(false);
    expect(budget.take(60, office)).to.equal(true);
    expect(budget.take(21, guest)).to.equal(false);
    expect(budget.take(20, guest)).to.equal(true);
  });
  it('takes for all parties of a request, or for none of them', () => {
    const budget = new SharedBudget(100);
    const [user, address] = [new Share(40), new Share(20)];
    expect(budget.take(30, user, address)).to.equal(false);
    expect([budget.used, user.held, address.held]).to.deep.equal([0, 0, 0]);
    expect(budget.take(20, user, address)).to.equal(true);
    expect([budget.used, user.held, address.held]).to.deep.equal([20, 20, 20]);
    budget.give(20, user, address);
    expect([budget.used, user.held, address.held]).to.deep.equal([0, 0, 0]);
  });
  it('has something left for one more, however many take all that they can', () => {
    const budget = new SharedBudget(1_000_000);
    const shares = new Shares(1_000_000);
    for (let party = 0; party < 100; party += 1) {
      for (let units = 524_288; units >= 1; units /= 2) {
        while (budget.take(units, shares.of(`party ${party}`))) {
          // Takes as long as there is anything.
        }
      }
    }
    const left = budget.total - budget.used;
    expect(left).to.be.greaterThan(0);
    expect(budget.take(Math.floor(left / 2), shares.of('one more'))).to.equal(true);
  });
  it('shares evenly between those who take by turns', () => {
    const budget = new SharedBudget(1_200_000);
    const shares = Array.from({ length: 10 }, () => new Share(1_200_000));
    for (let moved = true; moved;) {
      moved = false;
      for (const share of shares) moved = budget.take(1_000, share) || moved;
    }
    // Each has half of what the nine others leave: a twelfth more or less of the whole.
    for (const { held } of shares) expect(held).to.be.within(90_000, 110_000);
  });
  it('holds at most its total, and remembers nobody when all was given back', () => {
    const step = fc.record({ party: fc.nat(5), connection: fc.nat(8), units: fc.integer({ min: 1, max: 400 }) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), fc.integer({ min: 1, max: 1_000 }), (steps, total) => {
        const budget = new SharedBudget(total);
        const [parties, connections] = [new Shares(300), new Shares(200)];
        const taken: { party: string; connection: string; units: number }[] = [];
        for (const { party, connection, units } of steps) {
          const names = { party: String(party), connection: String(connection), units };
          if (budget.take(units, parties.of(names.party), connections.of(names.connection))) taken.push(names);
          else if (taken.length > 0 && units % 2 === 0) {
            const back = taken.splice(units % taken.length, 1)[0]!;
            budget.give(back.units, parties.of(back.party), connections.of(back.connection));
          }
          expect(budget.used).to.equal(taken.reduce((sum, one) => sum + one.units, 0));
          expect(budget.used).to.be.at.most(total);
          expect(parties.size).to.equal(new Set(taken.map((one) => one.party)).size);
        }
        for (const one of taken) budget.give(one.units, parties.of(one.party), connections.of(one.connection));
        expect([budget.used, parties.size, connections.size]).to.deep.equal([0, 0, 0]);
      }),
    );
  });
});
