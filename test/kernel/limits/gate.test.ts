import { expect } from 'chai';
import fc from 'fast-check';
import { Gate } from '#src/kernel/limits/gate.ts';

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
  it('gives the event loop its turns, however long the line of those who need not wait for anything inside', async () => {
    const gate = new Gate(2);
    let done = 0;
    const all = Array.from({ length: 100 }, () => gate.run(async () => void (done += 1)));
    const seen: number[] = [];
    for (let turn = 0; turn < 20; turn += 1) {
      await new Promise((resolve) => setImmediate(resolve));
      seen.push(done);
    }
    expect(seen.every((count, turn) => count <= 2 + 2 * (turn + 1))).to.equal(true);
    await Promise.all(all);
  });
});
