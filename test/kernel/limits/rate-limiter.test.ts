import { expect } from 'chai';
import fc from 'fast-check';
import type { Clock } from '#src/kernel/clock.ts';
import { TokenBucketLimiter } from '#src/kernel/limits/rate-limiter.ts';

/** Time that a property moves within one turn: nothing here waits on timers. */
class ManualClock implements Clock {
  #ms = 0;

  now(): number {
    return this.#ms;
  }

  monotonic(): number {
    return this.#ms;
  }

  advance(ms: number): void {
    this.#ms += ms;
  }
}

const limitArbitrary = fc.record({
  burst: fc.integer({ min: 1, max: 20 }),
  perSecond: fc.double({ min: 0.01, max: 50, noNaN: true }),
});

describe('rate limiter', () => {
  it('never lets through more than burst + elapsed * per_second', () => {
    fc.assert(
      fc.property(limitArbitrary, fc.array(fc.integer({ min: 0, max: 5_000 }), { maxLength: 200 }), (limit, pauses) => {
        const clock = new ManualClock();
        const limiter = new TokenBucketLimiter(clock, { enabled: true, buckets: { message: limit } });
        const taken: number[] = [];
        for (const pause of pauses) {
          clock.advance(pause);
          if (limiter.take('message', 'k').ok) taken.push(clock.monotonic());
        }
        for (const [first, from] of taken.entries()) {
          for (let last = first; last < taken.length; last += 1) {
            const seconds = ((taken[last] as number) - from) / 1000;
            expect(last - first + 1).to.be.at.most(Math.floor(limit.burst + seconds * limit.perSecond + 1e-4));
          }
        }
      }),
      { numRuns: 100 },
    );
  });

  it('lets through after exactly the time it named, and not a millisecond before', () => {
    fc.assert(
      fc.property(limitArbitrary, (limit) => {
        const clock = new ManualClock();
        const limiter = new TokenBucketLimiter(clock, { enabled: true, buckets: { message: limit } });
        for (let count = 0; count < limit.burst; count += 1) expect(limiter.take('message', 'k').ok).to.equal(true);
        const refused = limiter.take('message', 'k');
        if (refused.ok) throw new Error('The burst was exceeded.');
        expect(refused.retryAfterMs).to.be.greaterThan(0);
        clock.advance(refused.retryAfterMs - 1);
        if (refused.retryAfterMs > 1) expect(limiter.take('message', 'k').ok).to.equal(false);
        clock.advance(1);
        expect(limiter.take('message', 'k').ok).to.equal(true);
      }),
    );
  });

  it('keeps keys and buckets apart', () => {
    const limiter = new TokenBucketLimiter(new ManualClock(), {
      enabled: true,
      buckets: { login: { burst: 1, perSecond: 1 }, default: { burst: 1, perSecond: 1 } },
    });
    expect(limiter.take('login', 'a').ok).to.equal(true);
    expect(limiter.take('login', 'b').ok).to.equal(true);
    expect(limiter.take('default', 'a').ok).to.equal(true);
    expect(limiter.take('login', 'a').ok).to.equal(false);
  });

  it('serves a bucket without a group from the default group', () => {
    const limiter = new TokenBucketLimiter(new ManualClock(), {
      enabled: true,
      buckets: { default: { burst: 1, perSecond: 1 } },
    });
    expect(limiter.take('search', 'a').ok).to.equal(true);
    expect(limiter.take('join', 'a').ok).to.equal(false);
  });

  it('lets a request that costs more than the bucket holds through when the bucket is full, and only then', () => {
    const clock = new ManualClock();
    const limiter = new TokenBucketLimiter(clock, { enabled: true, buckets: { default: { burst: 5, perSecond: 1 } } });
    expect(limiter.take('default', 'a', 3).ok).to.equal(true);
    expect(limiter.take('default', 'a', 3)).to.deep.equal({ ok: false, retryAfterMs: 1_000 });
    expect(limiter.take('default', 'a', 20).ok).to.equal(false);
    clock.advance(3_000);
    expect(limiter.take('default', 'a', 20).ok).to.equal(true);
    expect(limiter.take('default', 'a')).to.deep.equal({ ok: false, retryAfterMs: 16_000 });
  });

  it('lets a key owe what it has spent, but never more than its bucket holds', () => {
    const clock = new ManualClock();
    const limiter = new TokenBucketLimiter(clock, { enabled: true, buckets: { default: { burst: 5, perSecond: 1 } } });
    limiter.charge('default', 'a', 7);
    expect(limiter.check('default', 'a')).to.deep.equal({ ok: false, retryAfterMs: 3_000 });
    limiter.charge('default', 'a', 1_000);
    expect(limiter.check('default', 'a')).to.deep.equal({ ok: false, retryAfterMs: 6_000 });
    clock.advance(6_000);
    expect(limiter.check('default', 'a').ok).to.equal(true);
    expect(limiter.take('default', 'a').ok).to.equal(true);
    expect(limiter.check('default', 'a').ok).to.equal(false);
  });

  it('gives tokens back, but nobody more than a bucket holds', () => {
    const limiter = new TokenBucketLimiter(new ManualClock(), {
      enabled: true,
      buckets: { default: { burst: 2, perSecond: 1 } },
    });
    for (let count = 0; count < 10; count += 1) {
      expect(limiter.take('default', 'a').ok).to.equal(true);
      limiter.refund('default', 'a');
    }
    limiter.refund('default', 'a', 10);
    limiter.refund('default', 'stranger', 10);
    for (let count = 0; count < 2; count += 1) expect(limiter.take('default', 'a').ok).to.equal(true);
    expect(limiter.take('default', 'a').ok).to.equal(false);
  });

  it('limits nothing when it is switched off', () => {
    const limiter = new TokenBucketLimiter(new ManualClock(), {
      enabled: false,
      buckets: { default: { burst: 1, perSecond: 0.01 } },
    });
    for (let count = 0; count < 50; count += 1) expect(limiter.take('default', 'a').ok).to.equal(true);
    expect(limiter.size).to.equal(0);
  });

  it('remembers no more keys than it may', () => {
    const limiter = new TokenBucketLimiter(new ManualClock(), {
      enabled: true,
      buckets: { default: { burst: 5, perSecond: 0.001 } },
      maxKeys: 100,
    });
    for (let count = 0; count < 1_000; count += 1) limiter.take('default', `k${count}`);
    expect(limiter.size).to.equal(100);
  });

  it('forgets keys that fell silent', () => {
    const clock = new ManualClock();
    const limiter = new TokenBucketLimiter(clock, { enabled: true, buckets: { default: { burst: 5, perSecond: 1 } } });
    for (let count = 0; count < 100; count += 1) limiter.take('default', `k${count}`);
    clock.advance(10_000);
    for (let count = 0; count < 60; count += 1) limiter.take('default', 'busy');
    expect(limiter.size).to.equal(1);
  });

  it('refuses a group that would let nothing through', () => {
    const make = (burst: number, perSecond: number) => () =>
      new TokenBucketLimiter(new ManualClock(), { enabled: true, buckets: { default: { burst, perSecond } } });
    expect(make(0, 1)).to.throw(RangeError);
    expect(make(1, 0)).to.throw(RangeError);
    expect(make(Number.NaN, 1)).to.throw(RangeError);
  });
  it('tells long keys apart, and does not keep them', () => {
    const limiter = new TokenBucketLimiter(new ManualClock(), {
      enabled: true,
      buckets: { message: { burst: 1, perSecond: 0.001 } },
      maxKeys: 10_000,
    });
    const user = 'x'.repeat(16_000);
    expect([limiter.take('message', `${user}a`).ok, limiter.take('message', `${user}b`).ok]).to.deep.equal([
      true,
      true,
    ]);
    expect([limiter.take('message', `${user}a`).ok, limiter.used('message', `${user}b`)]).to.deep.equal([false, 1]);
    limiter.refund('message', `${user}a`);
    expect(limiter.take('message', `${user}a`).ok).to.equal(true);
    const before = process.memoryUsage().heapUsed;
    for (let n = 0; n < 5_000; n += 1) limiter.take('message', `${user}${n}`);
    expect(process.memoryUsage().heapUsed - before).to.be.lessThan(40_000_000);
  });
});
