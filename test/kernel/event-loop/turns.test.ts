import { expect } from 'chai';
import { noMetrics } from '#src/kernel/metrics.ts';
import { LAST_RANK, Turns, type TurnsOptions } from '#src/kernel/event-loop/turns.ts';
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
    turns = make({ maxWaiting: 100 });
  });
  /** Those that rest do so for one turn. */
  const make = (options: Partial<TurnsOptions> = {}): Turns =>
    new Turns({
      clock,
      metrics: noMetrics,
      sliceMs: 8,
      onNextTurn: loop.onNextTurn,
      onceRested: loop.onNextTurn,
      ...options,
    });
  /** Something that takes so long once it has begun, without giving way. */
  const ask = async (party: string, ms: number, rank = LAST_RANK): Promise<void> => {
    const waiting = turns.enter({ party, rank }, full);
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
    void ask('light', 10, 0);
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
    void ask('light', 1, 0);
    expect(began.slice(before)).to.include('light');
    while (turns.waiting > 0) await loop.turn();
  });
  it('let nothing of a party overtake what waits of the same party', async () => {
    void ask('first', 10);
    void ask('a', 1);
    await loop.turn();
    void ask('a', 1, 0);
    while (turns.waiting > 0) await loop.turn();
    expect(began).to.deep.equal(['first', 'a', 'a']);
  });
  it('are for what resumes as well, so that a hundred answers of the database in one turn of the loop are not one turn', async () => {
    const resume = async (party: string): Promise<void> => {
      const waiting = turns.resume({ party, rank: 1 });
      if (waiting !== undefined) await waiting;
      began.push(party);
      clock.spend(4);
    };
    const all = Array.from({ length: 100 }, (_, index) => resume(`user ${index % 10}`));
    expect(began).to.have.length(2);
    for (let before = began.length; turns.waiting > 0; before = began.length) {
      await loop.turn();
      expect(began.length - before).to.be.within(1, 2);
    }
    await Promise.all(all);
    expect(began).to.have.length(100);
  });
  it('go to those who asked for least of late, rank by rank, without keeping the others out', async () => {
    void ask('first', 10);
    for (const rank of [3, 2, 1, 0]) for (let n = 0; n < 5; n += 1) void ask(`${rank}-${n}`, 10, rank);
    while (turns.waiting > 0) await loop.turn();
    const ranks = began.slice(1).map((name) => Number(name[0]));
    expect(ranks.slice(0, 8)).to.deep.equal([0, 0, 0, 1, 0, 0, 1, 1]);
    expect(ranks).to.have.length(20);
    expect(ranks.indexOf(3)).to.be.within(8, 19);
  });
  it('are not begun by whoever comes first in one, while others wait who asked for less', async () => {
    void ask('first', 10);
    for (const name of ['light 1', 'light 2', 'light 3']) void ask(name, 10, 1);
    await loop.turn();
    void ask('heavy', 1);
    expect(turns.resume({ party: 'another', rank: LAST_RANK })).not.to.equal(undefined);
    expect(began).to.deep.equal(['first', 'light 1']);
    while (turns.waiting > 0) await loop.turn();
    expect(began).to.deep.equal(['first', 'light 1', 'light 2', 'light 3', 'heavy']);
  });
  it('go to what resumes before what begins of the same rank, since what was begun is to end', async () => {
    void ask('first', 10);
    void ask('begins', 10, 2);
    const resumed = turns.resume({ party: 'resumes', rank: 2 })?.then(() => began.push('resumes'));
    while (turns.waiting > 0) await loop.turn();
    await resumed;
    expect(began).to.deep.equal(['first', 'resumes', 'begins']);
  });
  it('leave time between the pieces of those who asked for much, as long as others are served', async () => {
    const rests: number[] = [];
    let resume: (() => void) | undefined;
    const onceRested = (callback: () => void, ms: number): void => {
      rests.push(ms);
      resume = callback;
    };
    turns = make({ onceRested });
    void ask('light', 10, 0);
    for (const user of ['a', 'b', 'c']) void ask(user, 6);
    await loop.turn();
    expect([began, rests]).to.deep.equal([['light', 'a'], [12]]);
    expect(loop.isIdle).to.equal(true);
    clock.spend(12);
    resume?.();
    await loop.turn();
    expect(began).to.deep.equal(['light', 'a', 'b']);
    // Nobody else has asked for anything for a while.
    clock.spend(1_000);
    resume?.();
    await loop.turn();
    expect(began).to.deep.equal(['light', 'a', 'b', 'c']);
    expect(rests).to.have.length(2);
  });
  it('are there at once for those who asked for little while the others rest, who rest on afterwards', async () => {
    const rests: number[] = [];
    turns = make({ onceRested: (_, ms) => void rests.push(ms) });
    void ask('light', 10, 0);
    for (const user of ['a', 'b']) void ask(user, 6);
    while (!loop.isIdle) await loop.turn();
    expect([began, rests]).to.deep.equal([['light', 'a'], [12]]);
    void ask('first', 10, 0);
    void ask('quick', 1, 0);
    while (!loop.isIdle) await loop.turn();
    expect(began).to.deep.equal(['light', 'a', 'first', 'quick']);
    expect(rests).to.deep.equal([12, 1]);
  });
  it('go first to those who took little time of late, whatever it was estimated that they took', async () => {
    for (let n = 0; n < 6; n += 1) {
      void ask('slow', 10, 0);
      void ask('quick', 0.1, 0);
      while (turns.waiting > 0 || !loop.isIdle) await loop.turn();
    }
    began = [];
    void ask('first', 10, 0);
    void ask('slow', 1, 0);
    void ask('quick', 1, 0);
    while (turns.waiting > 0) await loop.turn();
    expect(began).to.deep.equal(['first', 'quick', 'slow']);
    // What they took is forgotten after a few seconds, however much it was.
    for (let n = 0; n < 100; n += 1) {
      void ask('slow', 100, 0);
      while (turns.waiting > 0 || !loop.isIdle) await loop.turn();
    }
    clock.spend(6_000);
    began = [];
    void ask('first', 10, 0);
    void ask('slow', 1, 0);
    void ask('quick', 1, 0);
    while (turns.waiting > 0) await loop.turn();
    expect(began).to.deep.equal(['first', 'slow', 'quick']);
  });
  it('count the time of each of those who resume in the same moment for the one who took it', async () => {
    let open = (): void => {};
    const load = new Promise<void>((resolve) => (open = resolve));
    const loaded = async (party: string, ms: number): Promise<void> => {
      await load;
      const waiting = turns.resume({ party, rank: 0 });
      if (waiting !== undefined) await waiting;
      clock.spend(ms);
    };
    const all = [loaded('quick', 0.1), loaded('slow', 5), loaded('other', 0.1)];
    open();
    await Promise.all(all);
    while (!loop.isIdle) await loop.turn();
    void ask('first', 10, 0);
    for (const party of ['slow', 'other', 'quick']) void ask(party, 0.1, 0);
    while (turns.waiting > 0) await loop.turn();
    expect(began).to.deep.equal(['first', 'other', 'quick', 'slow']);
  });
  it('are refused to a client with too many waiting requests', async () => {
    turns = make({ maxWaiting: 10 });
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
