import { expect } from 'chai';
import { doing, Work } from '#src/kernel/event-loop/work.ts';
import { WellKnownServers } from '#src/remote/federation/well-known-servers.ts';
import { failure, type OutboundFailure } from '#src/remote/outbound-result.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { until } from '../../support/until.ts';

describe('hosts that are asked where servers are', () => {
  /** A world of hosts that say nothing until they are given up. */
  const silence = (concurrency: number, maxWaiting = 5_000) => {
    const asked = new Map<string, (answer: OutboundFailure) => void>();
    const servers = new WellKnownServers({
      http: {
        request: ({ url }) =>
          new Promise((resolve) => {
            asked.set(new URL(url).hostname, resolve);
          }),
      },
      clock: new ManualClock(),
      resolve: () => Promise.resolve([{ address: '127.0.0.1', family: 4 }]),
      concurrency,
      maxWaiting,
    });
    const find = (party: string, host: string): Promise<unknown> => {
      const work = new Work('find');
      work.party = () => party;
      return doing(work, () => servers.delegatedName(host));
    };
    const giveUp = (host: string): void => {
      asked.get(host)?.(failure('timeout', 'silent'));
      asked.delete(host);
    };
    return { asked, find, giveUp };
  };
  const settle = async (): Promise<void> => {
    for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  };

  /** Another user asks and is answered; then the silent ones are given up, and those that asked for them are done. */
  const asksAndEnds = async (
    { asked, find, giveUp }: ReturnType<typeof silence>,
    found: readonly Promise<unknown>[],
  ): Promise<void> => {
    const other = find('@alice:a.test', 'there.test');
    await until('another user asks', () => asked.has('there.test'));
    giveUp('there.test');
    await other;
    while (asked.size > 0) {
      for (const host of [...asked.keys()]) giveUp(host);
      await settle();
    }
    await Promise.all(found);
  };

  it('and say nothing hold up the user who asked for them, and nobody else', async () => {
    const silent = silence(128);
    const { asked, find } = silent;
    const found = Array.from({ length: 100 }, (_, index) => find('@mallory:a.test', `silent${index}.test`));
    await settle();
    expect(asked.size).to.equal(16);
    await asksAndEnds(silent, found);
  });

  it('are not asked where too many wait for one user already, and are for another user', async () => {
    const silent = silence(128, 20);
    const { asked, find } = silent;
    let refused = 0;
    const found = Array.from({ length: 16 + 20 }, (_, index) => find('@mallory:a.test', `silent${index}.test`));
    await settle();
    const more = Array.from({ length: 5 }, (_, index) =>
      find('@mallory:a.test', `more${index}.test`).then(() => (refused += 1)),
    );
    await Promise.all(more);
    expect([refused, asked.size]).to.deep.equal([5, 16]);
    await asksAndEnds(silent, found);
  });

  it('are asked for many users in turn: whoever comes when all places are taken gets the next one', async () => {
    const { asked, find, giveUp } = silence(32);
    const found = ['a', 'b', 'c', 'd'].flatMap((user) =>
      Array.from({ length: 40 }, (_, index) => find(user, `${user}${index}.test`)),
    );
    await settle();
    expect(asked.size).to.equal(32);
    found.push(find('late', 'late.test'));
    await settle();
    expect(asked.has('late.test')).to.equal(false);
    for (let given = 0; given < 5 && !asked.has('late.test'); given += 1) {
      giveUp([...asked.keys()][0] ?? '');
      await settle();
    }
    expect(asked.has('late.test')).to.equal(true);
    while (asked.size > 0) {
      for (const host of [...asked.keys()]) giveUp(host);
      await settle();
    }
    await Promise.all(found);
  });
});
