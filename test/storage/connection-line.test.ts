import { expect } from 'chai';
import { doing, Work } from '#src/kernel/event-loop/work.ts';
import { ManualClock } from '#test/support/manual-clock.ts';
import { ConnectionLine } from '#src/storage/connection-line.ts';

const workOf = (party: string, name = 'request'): Work => {
  const work = new Work(name);
  work.party = () => party;
  return work;
};

describe('the line for connections to the database', () => {
  it('gives those who ask for much and those who ask for little their turns, and the writer goes first', async () => {
    const line = new ConnectionLine(2, 60_000);
    expect([line.take(), line.take()]).to.deep.equal([undefined, undefined]);
    const order: string[] = [];
    const wait = async (party: string, work = workOf(party)): Promise<void> => {
      await doing(work, () => line.take());
      order.push(party);
    };
    const all = Array.from({ length: 50 }, () => wait('many'));
    all.push(wait('few'), wait('writer', new Work('writer')));
    expect(line.waiting).to.equal(52);
    for (let count = 0; count < 52; count += 1) {
      line.give();
      await new Promise((resolve) => setImmediate(resolve));
    }
    await Promise.all(all);
    expect(order.slice(0, 3)).to.deep.equal(['writer', 'many', 'few']);
    expect(order).to.have.length(52);
    line.give();
    line.give();
    expect([line.take(), line.take()]).to.deep.equal([undefined, undefined]);
  });

  it('says that there was none in time, and gives it to nobody who has gone', async () => {
    const clock = new ManualClock();
    const line = new ConnectionLine(1, 10_000, clock);
    expect(line.take()).to.equal(undefined);
    const late = line.take()?.then(
      () => '',
      (error: Error) => error.message,
    );
    expect(line.waiting).to.equal(1);
    await clock.advance(10_000);
    expect(await late).to.match(/^timeout exceeded when trying to connect/);
    expect(line.waiting).to.equal(0);
    line.give();
    expect([line.take(), line.waiting]).to.deep.equal([undefined, 0]);
  });
});
