import { expect } from 'chai';
import fc from 'fast-check';
import { Gate } from '#src/kernel/gate.ts';

describe('a gate', () => {
  it('never has more inside than it may, lets everybody through in order, and is free afterwards', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 5 }),
        fc.array(fc.boolean(), { maxLength: 40 }),
        async (limit, fails) => {
          const gate = new Gate(limit);
          const entered: number[] = [];
          let inside = 0;
          let most = 0;
          const results = await Promise.allSettled(
            fails.map((fail, index) =>
              gate.run(async () => {
                entered.push(index);
                most = Math.max(most, ++inside);
                await new Promise((resolve) => setImmediate(resolve));
                inside--;
                if (fail) throw new Error('refused');
                return index;
              }),
            ),
          );
          expect(most).to.be.at.most(limit);
          expect(entered).to.deep.equal(fails.map((_, index) => index));
          expect(results.map((result) => result.status === 'rejected')).to.deep.equal(fails);
          expect(gate.waiting).to.equal(0);
          expect(await gate.run(async () => 'free')).to.equal('free');
        },
      ),
    );
  });
});
