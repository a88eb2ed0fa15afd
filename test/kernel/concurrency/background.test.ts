import { expect } from 'chai';
import { Background, Ongoing } from '#src/kernel/concurrency/background.ts';
import { currentWork, doing, Work } from '#src/kernel/event-loop/work.ts';

/** Work that ends when it is told to. */
const gated = (): { readonly runs: () => number; readonly work: () => Promise<void>; readonly end: () => void } => {
  const ends: (() => void)[] = [];
  let runs = 0;
  return {
    runs: () => runs,
    work: () => {
      runs += 1;
      return new Promise((resolve) => ends.push(resolve));
    },
    end: () => ends.shift()?.(),
  };
};
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('work in the background', () => {
  it('runs once at a time, and once more for all who asked while it ran', async () => {
    const { runs, work, end } = gated();
    const background = new Background('test', work, () => {});
    background.wake();
    expect(runs()).to.equal(1);
    for (let i = 0; i < 5; i++) background.wake();
    expect(runs()).to.equal(1);
    end();
    await turn();
    expect(runs()).to.equal(2);
    expect(background.isRunning).to.equal(true);
    end();
    await background.idle();
    expect([runs(), background.isRunning]).to.deep.equal([2, false]);
    background.wake();
    expect(runs()).to.equal(3);
    end();
    await background.idle();
  });
  it('tells what went wrong, and runs again all the same', async () => {
    const failures: unknown[] = [];
    let runs = 0;
    const background = new Background(
      'test',
      async () => {
        runs += 1;
        if (runs === 1) throw new Error('the first one');
      },
      (err) => failures.push((err as Error).message),
    );
    background.wake();
    background.wake();
    await background.idle();
    expect([runs, failures]).to.deep.equal([2, ['the first one']]);
  });
  it('begins nothing once it is closed, and waits for what runs', async () => {
    const { runs, work, end } = gated();
    const background = new Background('test', work, () => {});
    background.wake();
    background.wake();
    let isClosed = false;
    const closing = background.close().then(() => (isClosed = true));
    await turn();
    expect([isClosed, background.isClosed]).to.deep.equal([false, true]);
    end();
    await closing;
    background.wake();
    await background.idle();
    expect(runs()).to.equal(1);
  });
  it('is idle when a run that was asked for at the very end of another is over, too', async () => {
    let left = 5;
    const background: Background = new Background(
      'test',
      async () => {
        await turn();
        if ((left -= 1) > 0) background.wake();
      },
      () => {},
    );
    background.wake();
    await background.idle();
    expect(left).to.equal(0);
  });
  it('counts for nobody whose request woke it', async () => {
    const request = new Work('request');
    const seen: (string | undefined)[] = [];
    const background = new Background(
      'test',
      async () => void seen.push(currentWork()?.name),
      () => {},
    );
    doing(request, () => background.wake());
    await background.idle();
    expect(seen).to.deep.equal(['test']);
  });
});

describe('what runs behind the requests', () => {
  it('can be waited for, by name and altogether', async () => {
    const ongoing = new Ongoing<string>();
    const [one, other, later] = [gated(), gated(), gated()];
    ongoing.add('one', one.work());
    ongoing.add(
      'other',
      other.work().then(() => ongoing.add('later', later.work())),
    );
    expect(ongoing.size).to.equal(2);
    one.end();
    await ongoing.done('one');
    await ongoing.done('nothing of this name');
    expect(ongoing.size).to.equal(1);
    let isIdle = false;
    const idle = ongoing.idle().then(() => (isIdle = true));
    other.end();
    await turn();
    expect([isIdle, ongoing.size]).to.deep.equal([false, 1]);
    later.end();
    await idle;
    expect(ongoing.size).to.equal(0);
  });
});
