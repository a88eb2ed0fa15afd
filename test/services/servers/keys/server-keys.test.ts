import { expect } from 'chai';
import { silentLogger } from '#src/kernel/logger.ts';
import { Signal } from '#src/kernel/signal.ts';
import { noMetrics } from '#src/kernel/metrics.ts';
import type { FederationResult } from '#src/remote/federation/federation-result.ts';
import type { OwnKeys } from '#src/services/servers/keys/own-keys.ts';
import { CONCURRENCY, CONCURRENCY_OF_ONE, MAX_WAITING, ServerKeys } from '#src/services/servers/keys/server-keys.ts';
import type { Database } from '#src/storage/database.ts';
import { ManualClock } from '#test/support/manual-clock.ts';

describe('keys of servers that do not answer', () => {
  const KEY = 'ed25519:1';
  const AWAY: FederationResult = {
    ok: false,
    kind: 'unreachable',
    status: undefined,
    error: 'nobody answers',
  } as never;

  /** Keys of servers all of which are silent until `end`. */
  const world = () => {
    const asked: string[] = [];
    const open: (() => void)[] = [];
    const keys = new ServerKeys({
      database: { query: () => Promise.resolve([]) } as unknown as Database,
      client: {
        request: ({ destination }) => {
          asked.push(destination);
          return new Promise((resolve) => open.push(() => resolve(AWAY)));
        },
      },
      own: { serverName: 'here.test' } as OwnKeys,
      contacts: new Signal<string>(),
      allows: () => true,
      notaries: [],
      clock: new ManualClock(),
      logger: silentLogger,
      metrics: noMetrics,
    });
    const want = (party: string, ...servers: string[]) =>
      keys.keysOf(
        servers.map((serverName) => ({ serverName, keyId: KEY, validAt: 0 })),
        { party, atOnce: servers.length },
      );
    const turn = (): Promise<void> => new Promise((resolve) => setImmediate(() => setImmediate(() => resolve())));
    const end = async (): Promise<void> => {
      while (open.length > 0) {
        for (const answer of open.splice(0)) answer();
        await turn();
      }
    };
    return { asked, end, turn, want };
  };

  it('are asked for by one party in part of the places, so that those that others name are asked, too', async () => {
    const { asked, end, turn, want } = world();
    const many = want('stranger', ...Array.from({ length: 500 }, (_, i) => `silent${i}.test`));
    await turn();
    expect(asked).to.have.length(CONCURRENCY_OF_ONE).and.length.below(CONCURRENCY);
    const other = want('another', 'honest.test');
    await turn();
    expect(asked).to.include('honest.test');
    await end();
    expect(await many).to.have.length(500);
    expect(await other).to.deep.equal([undefined]);
  });

  it('are asked for in turns: who waits for few is before most of those who wait for many', async () => {
    const { asked, end, turn, want } = world();
    const many = ['x', 'y', 'z'].map((party) =>
      want(party, ...Array.from({ length: 200 }, (_, i) => `${party}${i}.test`)),
    );
    await turn();
    expect(asked).to.have.length(CONCURRENCY);
    const other = want('another', 'honest.test');
    await turn();
    expect(asked).not.to.include('honest.test');
    await end();
    expect(asked.indexOf('honest.test')).to.be.at.most(CONCURRENCY + 4);
    await Promise.all([...many, other]);
  });

  it('are asked for though another party, who waits for many, waits for the same', async () => {
    const { asked, end, turn, want } = world();
    const many = want('stranger', ...Array.from({ length: 500 }, (_, i) => `silent${i}.test`), 'honest.test');
    await turn();
    expect(asked).not.to.include('honest.test');
    const other = want('another', 'honest.test');
    await turn();
    expect(asked).to.include('honest.test');
    await end();
    await Promise.all([many, other]);
    expect(asked.filter((name) => name === 'honest.test')).to.have.length(1);
  });

  it('count as none where too many wait for the same party already', async () => {
    const { asked, end, turn, want } = world();
    const most = CONCURRENCY_OF_ONE + MAX_WAITING;
    const many = want('stranger', ...Array.from({ length: most + 100 }, (_, i) => `silent${i}.test`));
    await turn();
    await end();
    expect(await many).to.have.length(most + 100);
    expect(asked).to.have.length(most);
  });
});
