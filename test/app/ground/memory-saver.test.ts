import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { expect } from 'chai';
import { MemorySaver } from '#src/app/ground/memory-saver.ts';
import { Trail } from '#src/kernel/event-loop/work.ts';
import { ManualClock } from '#test/support/manual-clock.ts';

describe('memory while there is little to do', () => {
  /** One that is busy for a share of the time that a test sets, and what it preferred so far. */
  const saving = () => {
    const clock = new ManualClock();
    const preferred: boolean[] = [];
    const load = { share: 0 };
    const saver = new MemorySaver({
      timers: clock,
      busy: () => load.share,
      onActivity: () => ({ cancel: () => undefined }),
      release: () => undefined,
      prefer: (littleMemory) => void preferred.push(littleMemory),
    });
    return { clock, load, preferred, saver };
  };

  it('is preferred soon after the start and after some quiet, and speed with each load', async () => {
    const clock = new ManualClock();
    const preferred: boolean[] = [];
    let released = 0;
    const shares = [0.01, 0.9, 0.9, 0, 0.02, 0.5, 0.8, 0.05, 0, 0.09, 0, 0, 0.1];
    const saver = new MemorySaver({
      timers: clock,
      busy: () => shares.shift() ?? 0,
      onActivity: () => ({ cancel: () => undefined }),
      release: () => void (released += 1),
      prefer: (littleMemory) => void preferred.push(littleMemory),
    });
    await clock.advance(shares.length * 2_000);
    expect(released, 'what can be made again').to.equal(2);
    expect(shares).to.deep.equal([]);
    expect(preferred).to.deep.equal([false, true, false, true, false]);
    saver.close();
    expect(clock.pending).to.equal(0);
  });

  it('is preferred for as long as giving it back takes, and again when enough was done since', async () => {
    const { clock, load, preferred, saver } = saving();
    await clock.advance(2_000);
    expect(preferred, 'what the start has left').to.deep.equal([false, true]);
    await clock.advance(3_600_000);
    expect(preferred, 'a quiet hour').to.deep.equal([false, true, false]);
    load.share = 0.05;
    await clock.advance(18_000);
    expect(preferred, '900 ms of work').to.deep.equal([false, true, false]);
    await clock.advance(2_000);
    expect(preferred, '1,000 ms of work').to.deep.equal([false, true, false, true]);
    saver.close();
  });

  it('is preferred after a short burst too, when nothing is done any more', async () => {
    const { clock, load, preferred, saver } = saving();
    await clock.advance(60_000);
    expect(preferred, 'what the start has left').to.deep.equal([false, true, false]);
    load.share = 0.2;
    await clock.advance(2_000);
    load.share = 0.05;
    await clock.advance(8_000);
    expect(preferred, 'little is done').to.deep.equal([false, true, false]);
    load.share = 0.01;
    await clock.advance(4_000);
    expect(preferred, 'nothing is done for 4 s').to.deep.equal([false, true, false]);
    await clock.advance(2_000);
    expect(preferred, 'nothing is done for 6 s').to.deep.equal([false, true, false, true]);
    await clock.advance(3_600_000);
    expect(preferred, 'an hour of pings').to.deep.equal([false, true, false, true, false]);
    saver.close();
  });

  it('is preferred again soon when a burst cut it short', async () => {
    const { clock, load, preferred, saver } = saving();
    await clock.advance(4_000);
    load.share = 0.3;
    await clock.advance(2_000);
    expect(preferred, 'cut short').to.deep.equal([false, true, false]);
    load.share = 0;
    await clock.advance(6_000);
    expect(preferred, 'quiet again').to.deep.equal([false, true, false, true]);
    await clock.advance(3_600_000);
    expect(preferred, 'given back').to.deep.equal([false, true, false, true, false]);
    saver.close();
  });

  it('gives way to speed a moment after much begins to be done, and to nothing less', async () => {
    const clock = new ManualClock();
    const preferred: boolean[] = [];
    let share = 0;
    const trail = new Trail();
    const begin = (): void => trail.mark('request');
    const saver = new MemorySaver({
      timers: clock,
      busy: () => share,
      onActivity: (callback) => trail.rest(callback),
      release: () => undefined,
      prefer: (littleMemory) => void preferred.push(littleMemory),
    });
    await clock.advance(2_000);
    share = 0.05;
    begin();
    await clock.advance(100);
    expect(preferred, 'a little').to.deep.equal([false, true]);
    share = 0.6;
    begin();
    await clock.advance(100);
    expect(preferred, 'much').to.deep.equal([false, true, false]);
    await clock.advance(2_000);
    share = 0;
    await clock.advance(10_000);
    expect(preferred, 'quiet').to.deep.equal([false, true, false, true]);
    share = 0.6;
    begin();
    await clock.advance(100);
    expect(preferred, 'much again').to.deep.equal([false, true, false, true, false]);
    await clock.advance(2_000);
    share = 0;
    await clock.advance(10_000);
    expect(trail.resting, 'waits for work').to.equal(1);
    saver.close();
    expect(trail.resting, 'closed').to.equal(0);
    begin();
    expect(clock.pending).to.equal(0);
  });

  it('is asked for in words that the installed Node.js knows', () => {
    const known = execFileSync(process.execPath, ['--v8-options'], { encoding: 'utf8', maxBuffer: 2 ** 24 });
    const start = readFileSync(new URL('../../../bin/tsudoi', import.meta.url), 'utf8');
    const asked = [...start.matchAll(/--([a-z]+(?:-[a-z]+)+)/g)].map(([, name]) => name);
    expect(asked).to.have.members(['max-semi-space-size']);
    for (const name of [...asked, 'heap-growing-percent', 'memory-saver-mode'])
      expect(known).to.include(`  --${name} (`);
    // It may be changed while the process runs.
    setFlagsFromString('--memory-saver-mode');
    setFlagsFromString('--no-memory-saver-mode');
    setFlagsFromString('--heap-growing-percent=70');
    setFlagsFromString('--heap-growing-percent=0');
  });
});
