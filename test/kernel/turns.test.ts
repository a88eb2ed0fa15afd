import { expect } from 'chai';
import { noMetrics } from '#src/kernel/metrics.ts';
import { Turns } from '#src/kernel/turns.ts';
import { ManualClock } from '#test/support/manual-clock.ts';

const full = (): Error => new Error('full');

/** An event loop turned by hand: what is called for its next turn is called then, and what each callback starts is done before the next. */
class Loop {
  #callbacks: (() => void)[] = [];

  readonly onNextTurn = (callback: () => void): void => void this.#callbacks.push(callback);

  get isIdle(): boolean {
    return this.#callbacks.length === 0;
  }

  async turn(): Promise<void> {
    for (const callback of this.#callbacks.splice(0)) {
      callback();
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

describe('turns of the event loop', () => {
  let clock: ManualClock;
  let loop: Loop;
  let turns: Turns;
  let began: string[];
  beforeEach(() => {
    clock = new ManualClock();
    loop = new Loop();
    began = [];
    turns = new Turns({ clock, metrics: noMetrics, sliceMs: 8, maxWaiting: 100, onNextTurn: loop.onNextTurn });
  });
  /** Something that takes so long once it has begun, without giving way. */
  const ask = async (party: string, ms: number, isPreferred = false): Promise<void> => {
    const waiting = turns.enter({ party, isPreferred }, full);
    if (waiting !== undefined) await waiting;
    began.push(party);
    clock.spend(ms);
  };

  it('let everything begin at once as long as there is time, and need nothing for it', async () => {
    for (let count = 0; count < 7; count += 1) void ask(`user ${count}`, 1);
    expect(began).to.have.length(7);
    expect(turns.waiting).to.equal(0);
    await loop.turn();
    expect(loop.isIdle).to.equal(true);
  });
  it('are bounded: what does not fit into a slice waits for the next ones', async () => {
    const all = Array.from({ length: 40 }, (_, index) => ask(`user ${index}`, 2));
    expect(began).to.have.length(4);
    const perTurn: number[] = [];
    for (let before = began.length; turns.waiting > 0; before = began.length) {
      await loop.turn();
      perTurn.push(began.length - before);
    }
    await Promise.all(all);
    expect(began).to.have.length(40);
    for (const count of perTurn) expect(count).to.be.within(1, 4);
    while (!loop.isIdle) await loop.turn();
  });
  it('belong to users by turns, and first to those who asked for little of late', async () => {
    void ask('first', 10);
    for (const user of ['a', 'a', 'a', 'b', 'b']) void ask(user, 10);
    void ask('light', 10, true);
    while (turns.waiting > 0) await loop.turn();
    expect(began).to.deep.equal(['first', 'light', 'a', 'b', 'a', 'b', 'a']);
  });
  it('let a light request begin at once although others wait, if there is time left in this turn', async () => {
    void ask('heavy', 5);
    void ask('other', 5);
    void ask('heavy', 5);
    expect(began).to.deep.equal(['heavy', 'other']);
    await loop.turn();
    void ask('heavy', 1);
    const before = began.length;
    void ask('light', 1, true);
    expect(began.slice(before)).to.include('light');
    while (turns.waiting > 0) await loop.turn();
  });
  it('let nothing of a party overtake what waits of the same party', async () => {
    void ask('first', 10);
    void ask('a', 1);
    await loop.turn();
    void ask('a', 1, true);
    while (turns.waiting > 0) await loop.turn();
    expect(began).to.deep.equal(['first', 'a', 'a']);
  });
  it('are refused to whoever has too many waiting already', async () => {
    turns = new Turns({ clock, metrics: noMetrics, maxWaiting: 10, onNextTurn: loop.onNextTurn });
    void ask('first', 10);
    const outcomes = Array.from({ length: 15 }, () =>
      ask('a', 0).then(
        () => 'began',
        (error: Error) => error.message,
      ),
    );
    void ask('b', 0);
    while (turns.waiting > 0) await loop.turn();
    expect((await Promise.all(outcomes)).filter((outcome) => outcome === 'full')).to.have.length(5);
    expect(began).to.include('b');
  });
});
