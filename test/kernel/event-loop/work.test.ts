import { expect } from 'chai';
import { LoopWatch } from '#src/kernel/event-loop/loop-watch.ts';
import { systemTimers } from '#src/kernel/timers.ts';
import { type Metrics, noMetrics } from '#src/kernel/metrics.ts';
import { currentWork, databaseAnswered, doing, Trail, Work } from '#src/kernel/event-loop/work.ts';
import { type Line, recordingLogger } from '#test/support/recording-logger.ts';
import { ManualClock } from '#test/support/manual-clock.ts';

describe('work', () => {
  it('counts the statements and rows of what it waits for, and of nothing else', async () => {
    const [one, other] = [new Work('one'), new Work('other')];
    const answer = async (rows: number): Promise<void> => {
      await Promise.resolve();
      await databaseAnswered(rows);
    };
    await Promise.all([
      doing(one, async () => {
        await answer(3);
        await Promise.all([answer(1), answer(1)]);
      }),
      doing(other, () => answer(7)),
      answer(100),
    ]);
    expect([one.statements, one.rows, other.statements, other.rows]).to.deep.equal([3, 5, 1, 7]);
    expect(currentWork()).to.equal(undefined);
  });
  it('is let go of with the watch on the event loop, since a server hangs on it', () => {
    const [clock, trail] = [new ManualClock(), new Trail()];
    const watch = new LoopWatch({
      clock,
      timers: clock,
      logger: recordingLogger([]),
      metrics: noMetrics,
      reportFromMs: 50,
      processorMs: () => 0,
      trail,
    });
    watch.start();
    trail.mark('GET /sync', 1, new Work('GET /sync'));
    expect(trail.longest(0, 2)?.work?.name).to.equal('GET /sync');
    watch.close();
    expect(trail.longest(0, 2)).to.deep.include({ name: 'GET /sync', work: undefined });
  });
  it('is not what happens again and again since then: that would be kept, and paid for, as long as it goes on', async () => {
    const beat = Promise.withResolvers<Work | undefined>();
    const timer = doing(new Work('request'), () => systemTimers.every(1, () => beat.resolve(currentWork())));
    const rest = Promise.withResolvers<Work | undefined>();
    const pause = doing(new Work('request'), () => systemTimers.after(1, () => rest.resolve(currentWork())));
    expect(await beat.promise).to.equal(undefined);
    expect((await rest.promise)?.name).to.equal('request');
    timer.cancel();
    pause.cancel();
  });
  it('costs more the more it reads, takes and gives', () => {
    const parts = [
      'statements',
      'rows',
      'rowsWritten',
      'bytesIn',
      'jsonValues',
      'bytesWritten',
      'bytesOut',
      'bytesStreamed',
    ] as const;
    const costs = parts.map((what) => {
      const work = new Work(what);
      work[what] = 1_000_000;
      return work.cost;
    });
    for (const cost of costs) expect(cost).to.be.greaterThan(1);
    expect(new Work('nothing').cost).to.equal(0);
  });
});

describe('the watch on the event loop', () => {
  /** @param share of the time in which this thread has the processor */
  const watch = async (held: (clock: ManualClock, trail: Trail) => void, share = 1): Promise<Line[]> => {
    const clock = new ManualClock();
    const trail = new Trail();
    const lines: Line[] = [];
    const loopWatch = new LoopWatch({
      clock,
      timers: clock,
      logger: recordingLogger(lines),
      metrics: noMetrics,
      reportFromMs: 100,
      processorMs: () => share * clock.monotonic(),
      trail,
    });
    loopWatch.start();
    await clock.advance(1_000);
    held(clock, trail);
    await clock.advance(200);
    loopWatch.close();
    expect(clock.pending).to.be.at.most(1);
    expect(trail.resting).to.equal(0);
    return lines;
  };

  it('says which operation held it longest, and for how long', async () => {
    const [line, ...more] = await watch((clock, trail) => {
      for (const [name, ms] of [
        ['short', 40],
        ['long', 300],
        ['after it', 20],
      ] as const) {
        trail.mark(name, clock.monotonic());
        clock.spend(ms);
      }
    });
    expect(more).to.have.length(0);
    expect([line?.level, line?.message]).to.deep.equal(['warn', 'the event loop was held']);
    expect(line?.fields['operation']).to.equal('long');
    // What it took before the watch was due to look is not known to have held anybody up.
    expect(line?.fields['longest_ms']).to.be.within(250, 300);
    expect(line?.fields['ms']).to.be.within(300, 360);
  });
  it('says how much of the time this thread had the processor, and so whether it was work that held it or the machine', async () => {
    const held = (clock: ManualClock, trail: Trail): void => {
      trail.mark('request', clock.monotonic());
      clock.spend(300);
    };
    const [[busy], [starved]] = await Promise.all([watch(held, 1), watch(held, 0.1)]);
    expect(busy?.fields['processor_ms']).to.be.within(300, 320);
    expect(starved?.fields['processor_ms']).to.be.within(30, 32);
  });
  it('charges who held it longest for the time in which this thread had the processor, also in turns of which it says nothing', async () => {
    const charged = (ms: number, share: number): Promise<number[]> => {
      const debts: number[] = [];
      const work = new Work('request');
      work.charge = (owed) => debts.push(Math.round(owed));
      return watch((clock, trail) => {
        trail.mark('other', clock.monotonic(), new Work('other'));
        clock.spend(15);
        trail.mark('request', clock.monotonic(), work);
        clock.spend(ms);
        trail.mark('other', clock.monotonic(), new Work('other'));
        clock.spend(15);
      }, share).then(() => debts);
    };
    const [[long], [short], starved, none] = await Promise.all([
      charged(300, 1),
      charged(60, 1),
      charged(300, 0.05),
      charged(10, 1),
    ]);
    expect([(long ?? 0) > 250, (short ?? 0) > 20]).to.deep.equal([true, true]);
    expect([starved, none]).to.deep.equal([[], []]);
  });
  it('says nothing of turns that are short', async () => {
    expect(
      await watch((clock, trail) => {
        trail.mark('short', clock.monotonic());
        clock.spend(90);
      }),
    ).to.deep.equal([]);
  });

  it('does not wake a server that has nothing to do: it rests until the next thing is done', async () => {
    const clock = new ManualClock();
    const trail = new Trail();
    let delay = (): number => Number.NaN;
    const metrics: Metrics = { ...noMetrics, gaugeOf: (_name, _help, read) => void (delay = read) };
    const logger = recordingLogger([]);
    const options = { clock, timers: clock, logger, metrics, reportFromMs: 1_000, processorMs: () => 0, trail };
    const loopWatch = new LoopWatch(options);
    loopWatch.start();
    const resting: number[] = [];
    for (let i = 0; i < 3; i += 1) {
      trail.mark('request', clock.monotonic());
      expect(clock.pending).to.equal(1);
      clock.spend(70);
      await clock.advance(10_000);
      resting.push(clock.pending);
      // It should have looked after 20 ms.
      expect(delay()).to.be.closeTo(0.05, 0.001);
    }
    expect(resting).to.deep.equal([0, 0, 0]);
    expect(delay()).to.equal(0);
    expect(trail.resting).to.equal(1);
    loopWatch.close();
    expect(trail.resting).to.equal(0);
    trail.mark('request', clock.monotonic());
    expect(clock.pending).to.equal(0);
  });
});
