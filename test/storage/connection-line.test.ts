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
    const line = new ConnectionLine({ connections: 3, reserved: 1 }, 60_000);
    expect([line.take(), line.take()]).to.deep.equal([undefined, undefined]);
    const order: string[] = [];
    const wait = async (party: string, work = workOf(party)): Promise<void> => {
      await doing(work, () => line.take());
      order.push(party);
    };
    const all = Array.from({ length: 50 }, () => wait('many'));
    all.push(wait('few'), wait('writer', new Work('writer')));
    expect(line.waiting).to.equal(51);
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

  it('has one for the writer, whatever others hold, and again when the writer is done', async () => {
    const line = new ConnectionLine({ connections: 2, reserved: 1 }, 60_000);
    const writer = new Work('writer');
    let begun = 0;
    const others = Array.from({ length: 3 }, async () => {
      await line.take();
      begun += 1;
    });
    await new Promise((resolve) => setImmediate(resolve));
    for (let batch = 0; batch < 3; batch += 1) {
      expect([begun, line.waiting]).to.deep.equal([1, 2]);
      expect(doing(writer, () => line.take())).to.equal(undefined);
      line.give();
    }
    for (let count = 0; count < 2; count += 1) line.give();
    await Promise.all(others);
    expect(doing(writer, () => line.take())).to.equal(undefined);
  });

  it('says that there was none in time, and gives it to nobody who has gone', async () => {
    const clock = new ManualClock();
    const line = new ConnectionLine({ connections: 1 }, 10_000, clock);
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
