import { expect } from 'chai';
import { LoopWatch } from '#src/kernel/loop-watch.ts';
import { noMetrics } from '#src/kernel/metrics.ts';
import { currentWork, databaseAnswered, doing, trail, Work } from '#src/kernel/work.ts';
import { type Line, recordingLogger } from '#test/support/recording-logger.ts';
import { ManualClock } from '#test/support/manual-clock.ts';

describe('work', () => {
  it('counts the statements and rows of what it waits for, and of nothing else', async () => {
    const [one, other] = [new Work('one'), new Work('other')];
    const answer = async (rows: number): Promise<void> => {
      await Promise.resolve();
      databaseAnswered(rows);
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
  it('costs more the more it reads, takes and gives', () => {
    const costs = (['statements', 'rows', 'bytesIn', 'jsonValues', 'bytesOut'] as const).map((what) => {
      const work = new Work(what);
      work[what] = 100_000;
      return work.cost;
    });
    for (const cost of costs) expect(cost).to.be.greaterThan(1);
    expect(new Work('nothing').cost).to.equal(0);
  });
});

describe('the watch on the event loop', () => {
  const watch = async (held: (clock: ManualClock) => void): Promise<Line[]> => {
    const clock = new ManualClock();
    const lines: Line[] = [];
    const loopWatch = new LoopWatch({
      clock,
      timers: clock,
      logger: recordingLogger(lines),
      metrics: noMetrics,
      tellFromMs: 100,
    });
    await clock.advance(1_000);
    held(clock);
    await clock.advance(200);
    loopWatch.close();
    expect(clock.pending).to.be.at.most(1);
    return lines;
  };

  it('says which operation held it longest, and for how long', async () => {
    const [line, ...more] = await watch((clock) => {
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
  it('says nothing of turns that are short', async () => {
    expect(
      await watch((clock) => {
        trail.mark('short', clock.monotonic());
        clock.spend(90);
      }),
    ).to.deep.equal([]);
  });
});
