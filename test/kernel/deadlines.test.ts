import { expect } from 'chai';
import fc from 'fast-check';
import { Deadlines } from '#src/kernel/deadlines.ts';
import type { Timer, Timers } from '#src/kernel/timers.ts';

/** One repeating timer at most, turned by hand. */
class Crank implements Timers {
  ms = 0;
  turning: (() => void) | undefined;

  after(): never {
    throw new Error('a wheel needs no timer of its own for each deadline');
  }
  every(_ms: number, callback: () => void): Timer {
    this.turning = callback;
    return { cancel: () => (this.turning = undefined) };
  }
  sleep(): never {
    throw new Error('a wheel does not sleep');
  }
  turn(): void {
    this.ms += 100;
    this.turning?.();
  }
}

describe('deadlines', () => {
  it('come once, never early and at most two ticks late, however far away they are', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 30_000 }), { minLength: 1, maxLength: 30 }), (delays) => {
        const crank = new Crank();
        const deadlines = new Deadlines(crank, 100);
        const came: number[] = [];
        const wanted: number[] = [];
        for (const [index, ms] of delays.entries()) {
          const due = crank.ms + ms;
          wanted.push(due);
          deadlines.in(ms, () => (came[index] = (came[index] ?? 0) + crank.ms));
          crank.turn();
        }
        while (crank.turning !== undefined) crank.turn();
        for (const [index, at] of came.entries()) expect(at - wanted[index]!).to.be.within(0, 200);
        expect(came.filter((at) => at !== undefined)).to.have.length(delays.length);
      }),
    );
  });
  it('do not come when they were called off, and let the timer rest when none is left', () => {
    const crank = new Crank();
    const deadlines = new Deadlines(crank, 100);
    const deadline = deadlines.in(1_000, () => {
      throw new Error('it was called off');
    });
    expect(crank.turning).not.to.equal(undefined);
    deadline.cancel();
    for (let turn = 0; turn < 200; turn += 1) crank.turn();
    expect(crank.turning).to.equal(undefined);
    deadline.cancel();
  });
  it('hold nothing of what they were for once they were called off or have come', () => {
    const crank = new Crank();
    const deadlines = new Deadlines(crank, 100);
    const calledOff = deadlines.in(1_000, () => {});
    const due = deadlines.in(100, () => {});
    calledOff.cancel();
    for (let turn = 0; turn < 5; turn += 1) crank.turn();
    expect([calledOff.onLate, due.onLate]).to.deep.equal([undefined, undefined]);
  });
});
