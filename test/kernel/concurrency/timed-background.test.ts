import { expect } from 'chai';
import { EarliestTimer } from '#src/kernel/earliest-timer.ts';
import { TimedBackground } from '#src/kernel/concurrency/timed-background.ts';
import { ManualClock } from '#test/support/manual-clock.ts';

describe('work in the background that is woken later', () => {
  let clock: ManualClock;
  let runs: number;
  let background: TimedBackground;
  let work: () => Promise<void>;

  beforeEach(() => {
    clock = new ManualClock();
    runs = 0;
    work = () => Promise.resolve();
    background = new TimedBackground(
      'test',
      () => {
        runs += 1;
        return work();
      },
      () => background.wakeAfter(2_000),
      clock,
    );
  });

  it('runs once for all who asked, when the earliest of them is due', async () => {
    background.wakeAfter(2_000);
    background.wakeAfter(50);
    await clock.advance(10);
    background.wakeAfter(50);
    await clock.advance(39);
    expect(runs).to.equal(0);
    await clock.advance(1);
    expect(runs).to.equal(1);
    await clock.advance(10_000);
    expect(runs).to.equal(1);
  });

  it('does not run later for what a run did that was woken at once', async () => {
    background.wakeAfter(50);
    background.wake();
    await background.idle();
    await clock.advance(50);
    expect(runs).to.equal(1);
  });

  it('runs again for what came while it ran', async () => {
    work = () => {
      work = () => Promise.resolve();
      background.wakeAfter(50);
      return Promise.resolve();
    };
    background.wake();
    await background.idle();
    await clock.advance(50);
    expect(runs).to.equal(2);
  });

  it('is tried again after a failure', async () => {
    work = () => {
      work = () => Promise.resolve();
      return Promise.reject(new Error('the first one'));
    };
    background.wake();
    await background.idle();
    await clock.advance(2_000);
    expect(runs).to.equal(2);
  });

  it('does at once what was to be done later when it is flushed, and nothing when nothing was', async () => {
    await background.flush();
    expect(runs).to.equal(0);
    background.wakeAfter(50);
    await background.flush();
    await clock.advance(50);
    expect(runs).to.equal(1);
  });

  it('begins nothing later once it is closed', async () => {
    background.wakeAfter(50);
    await background.close();
    background.wakeAfter(10);
    await clock.advance(100);
    expect(runs).to.equal(0);
  });
});

describe('one timer for many who wait', () => {
  it('fires when the first of them is due, whatever the clock is set to, and for what comes afterwards', async () => {
    const clock = new ManualClock();
    const fired: number[] = [];
    const timer = new EarliestTimer(clock, clock, () => fired.push(clock.monotonic()));
    timer.within(100);
    timer.within(30);
    timer.within(70);
    clock.set(-3_600_000);
    await clock.advance(100);
    expect(fired).to.deep.equal([30]);
    timer.within(10);
    timer.cancel();
    timer.within(20);
    await clock.advance(100);
    expect(fired).to.deep.equal([30, 120]);
  });
});
