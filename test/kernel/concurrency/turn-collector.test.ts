import { setImmediate } from 'node:timers/promises';
import { expect } from 'chai';
import { TurnCollector } from '#src/kernel/concurrency/turn-collector.ts';

describe('what one turn of the event loop brings', () => {
  it('is handed over once for each item, right after that turn', async () => {
    const handed: string[] = [];
    const collector = new TurnCollector<string>((item) => handed.push(item));
    for (const item of ['a', 'b', 'a']) collector.add(item);
    expect(handed).to.deep.equal([]);
    await Promise.resolve();
    expect(handed).to.deep.equal(['a', 'b']);
    collector.add('a');
    await Promise.resolve();
    expect(handed).to.deep.equal(['a', 'b', 'a']);
  });

  it('is handed over in slices, a turn each, and what comes meanwhile follows once', async () => {
    const handed: number[] = [];
    const collector = new TurnCollector<number>((item) => {
      handed.push(item);
      if (item === 0) for (const later of [0.5, 4, 0.5]) collector.add(later);
    }, 2);
    for (let item = 0; item < 5; item++) collector.add(item);
    await Promise.resolve();
    expect(handed).to.deep.equal([0, 1]);
    while (handed.length < 7) await setImmediate();
    expect(handed).to.deep.equal([0, 1, 2, 3, 4, 0.5, 4]);
    await setImmediate();
    expect(handed).to.have.lengthOf(7);
  });
});
