import { setImmediate } from 'node:timers/promises';
import { expect } from 'chai';
import { ClientGone } from '#src/kernel/event-loop/client-gone.ts';
import { noMetrics } from '#src/kernel/metrics.ts';
import { Turns } from '#src/kernel/event-loop/turns.ts';
import { LargeSyncs } from '#src/services/sync/engine/large-syncs.ts';
import { ManualClock } from '#test/support/manual-clock.ts';

const SLICE_MS = 8;

describe('large syncs', () => {
  let clock: ManualClock;
  let syncs: LargeSyncs;
  beforeEach(() => {
    clock = new ManualClock();
    syncs = new LargeSyncs(new Turns({ clock, metrics: noMetrics, sliceMs: SLICE_MS }));
  });

  /** Does all of it, and returns the most milliseconds that were spent in one turn of the event loop. */
  const longestTurn = async (all: Promise<unknown>): Promise<number> => {
    let isOver = false;
    const end = all.finally(() => (isOver = true));
    let longest = 0;
    while (!isOver) {
      const before = clock.monotonic();
      await setImmediate();
      longest = Math.max(longest, clock.monotonic() - before);
    }
    await end;
    return longest;
  };

  /** As a request does: in a callback of its own, of the same turn as those of the others. */
  const begin = async (userId: string, compute: () => Promise<void>): Promise<void> => {
    await setImmediate();
    await syncs.run({ userId, signal: undefined }, compute);
  };

  it('start in slices of the event loop, also when nothing has to be read', async () => {
    let done = 0;
    const all = Array.from({ length: 60 }, (_, index) =>
      begin(`user ${index}`, () => {
        clock.spend(SLICE_MS);
        done += 1;
        return Promise.resolve();
      }),
    );
    // One of those in line, one that comes just then, and one that is over as the turn ends.
    expect(await longestTurn(Promise.all(all))).to.be.at.most(3 * SLICE_MS);
    expect(done).to.equal(60);
  });

  it('continue in slices after each pause', async () => {
    const all = Array.from({ length: 8 }, (_, index) =>
      begin(`user ${index}`, async () => {
        for (let piece = 0; piece < 10; piece += 1) {
          clock.spend(SLICE_MS);
          await syncs.pause({ userId: `user ${index}`, signal: undefined });
        }
      }),
    );
    expect(await longestTurn(Promise.all(all))).to.be.at.most(3 * SLICE_MS);
    expect(clock.monotonic()).to.be.at.least(80 * SLICE_MS);
  });

  it('are not computed, nor any further, for clients that are gone; a server that drains still answers', async () => {
    const computed: string[] = [];
    const outcomes = async (reason?: unknown): Promise<readonly string[]> => {
      const client = new AbortController();
      const of = { userId: 'user', signal: client.signal };
      const begun = syncs.run(of, async () => {
        client.abort(reason);
        await syncs.pause(of);
        computed.push('the rest');
      });
      const [first] = await Promise.allSettled([begun]);
      const [next] = await Promise.allSettled([syncs.run(of, async () => void computed.push('the next'))]);
      const ended = [first, next];
      return ended.map((outcome) => (outcome.status === 'rejected' ? outcome.reason.name : 'computed'));
    };
    expect(await outcomes(new ClientGone())).to.deep.equal(['ClientGone', 'ClientGone']);
    expect(computed).to.deep.equal([]);
    expect(await outcomes()).to.deep.equal(['computed', 'computed']);
  });
});
