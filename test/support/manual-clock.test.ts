import { expect } from 'chai';
import { ManualClock } from './manual-clock.ts';

describe('ManualClock', () => {
  it('runs timers in the order in which they fall due, each at its own time', async () => {
    const clock = new ManualClock(1_000);
    const seen: [string, number][] = [];
    clock.after(20, () => seen.push(['b', clock.now()]));
    clock.after(10, () => seen.push(['a', clock.now()]));
    const every = clock.every(15, () => seen.push(['every', clock.now()]));
    await clock.advance(30);
    every.cancel();
    await clock.advance(100);
    expect(seen).to.deep.equal([
      ['a', 1_010],
      ['every', 1_015],
      ['b', 1_020],
      ['every', 1_030],
    ]);
    expect(clock.now()).to.equal(1_130);
    expect(clock.pending).to.equal(0);
  });

  it('lets what a sleeper does next see the time at which it woke', async () => {
    const clock = new ManualClock(0);
    let woke = 0;
    const sleeper = (async () => {
      await clock.sleep(5);
      await clock.sleep(5);
      woke = clock.now();
    })();
    await clock.advance(60);
    await sleeper;
    expect(woke).to.equal(10);
  });

  it('wakes a sleeper whose signal is aborted', async () => {
    const clock = new ManualClock();
    const aborter = new AbortController();
    const sleeper = clock.sleep(1_000, aborter.signal);
    aborter.abort();
    await sleeper;
    expect(clock.pending).to.equal(0);
  });

  it('runs pauses of no length while something is waited for, and no longer ones', async () => {
    const clock = new ManualClock();
    let isLate = false;
    clock.after(1, () => (isLate = true));
    const work = async (): Promise<void> => {
      for (let i = 0; i < 3; i++) await clock.sleep(0);
    };
    await clock.runDueUntil(work());
    expect(clock.monotonic()).to.equal(0);
    expect(isLate).to.equal(false);
  });
});
