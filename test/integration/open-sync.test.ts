import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { createApplication } from '#src/app/application.ts';
import { loadConfig } from '#src/app/config/load.ts';
import type { Application } from '#src/app/lifecycle.ts';
import { PrometheusMetrics } from '#src/app/ground/metrics.ts';
import { systemClock } from '#src/kernel/clock.ts';
import { silentLogger } from '#src/kernel/logger.ts';
import { systemRandom } from '#src/kernel/random.ts';
import { Signal } from '#src/kernel/signal.ts';
import { systemTimers } from '#src/kernel/timers.ts';
import { shardOfName } from '#src/protocol/wire/position.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import type { Section, SectionRequest, SectionView, Waker } from '#src/services/sync/engine/section.ts';
import { WEBSOCKET_PATH } from '#src/ws/web-socket-api.ts';
import { StreamClient } from '#test/ws/stream-client.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { ask, must } from '#test/support/http.ts';
import { until } from '#test/support/until.ts';

/** How many waves a response has. */
const AT_ONCE = 2;

interface Wave {
  readonly from: string;
  readonly pos: number;
}

/** A stream of its own: who waved at whom, kept until a client has it. */
class Waves {
  readonly waved = new Signal<{ readonly userId: string }>();
  readonly #writer: Writer;
  readonly #kept = new Map<string, Wave[]>();

  constructor(writer: Writer) {
    this.#writer = writer;
  }

  wave(from: string, userId: string): Promise<void> {
    const pos = this.#writer.allocate(shardOfName(userId));
    const publish = (): void => {
      this.#kept.set(userId, [...this.keptFor(userId), { from, pos }]);
      this.waved.emit({ userId });
    };
    return this.#writer.append({ positions: [pos], publish });
  }

  keptFor(userId: string): readonly Wave[] {
    return this.#kept.get(userId) ?? [];
  }

  received(userId: string, upTo: number): void {
    this.#kept.set(
      userId,
      this.keptFor(userId).filter(({ pos }) => pos > upTo),
    );
  }
}

/** The worked example of docs/adding.md. */
class WavesSection implements Section {
  readonly name = 'waves';
  readonly cursor = 'w';
  readonly #waves: Waves;

  constructor(waves: Waves) {
    this.#waves = waves;
  }

  listen(waker: Waker): void {
    this.#waves.waved.subscribe(({ userId }) => waker.user(userId));
  }

  open({ userId, since }: SectionRequest): SectionView {
    const shard = shardOfName(userId);
    const after = since[shard] ?? 0;
    this.#waves.received(userId, after);
    return {
      general: ({ vector }) => {
        const end = vector[shard] ?? 0;
        const waves = this.#waves.keptFor(userId).filter(({ pos }) => pos > after && pos <= end);
        if (waves.length === 0) return undefined;
        const told = waves.slice(0, AT_ONCE);
        return {
          list: 'org.example.waves',
          events: told.map(({ from }) => JSON.stringify({ type: 'org.example.wave', sender: from, content: {} })),
          isNews: true,
          ...(told.length < waves.length ? { until: told.at(-1)!.pos } : {}),
        };
      },
    };
  }
}

describe('a stream that is added to sync as a section', function () {
  this.timeout(60_000);
  let clone: TestDatabase;
  let folder: string;
  let metrics: PrometheusMetrics;
  let application: Application;
  let address: string;
  let waves!: Waves;
  let token: string;
  let userId: string;
  let since: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tsudoi-test-open-sync-'));
    clone = await cloneDatabase();
    metrics = new PrometheusMetrics();
    const config = loadConfig([], {
      TSUDOI_DATA_DIR: folder,
      TSUDOI_DATABASE__URL: clone.url,
      TSUDOI_HTTP__PORT: '0',
      TSUDOI_PASSWORD__COST: 'low',
    });
    const ports = { logger: silentLogger, metrics, clock: systemClock, timers: systemTimers, random: systemRandom };
    application = await createApplication(
      { config, ...ports, database: clone.database },
      {
        sections: ({ writer }) => {
          waves = new Waves(writer);
          return [new WavesSection(waves)];
        },
      },
    );
    ({ address } = await application.start());
    const account = { username: 'alice', password: 'correct horse battery', auth: { type: 'm.login.dummy' } };
    ({ access_token: token, user_id: userId } = await must(address, 'POST', '/register', { body: account }));
  });
  after(async () => {
    await application.drain();
    metrics.close();
    await clone.drop();
    await rm(folder, { recursive: true, force: true });
  });
  beforeEach(async () => {
    ({ next_batch: since } = await must(address, 'GET', '/sync', { token }));
  });

  // What a test expects in a body it says itself.
  // oxlint-disable-next-line typescript/no-explicit-any
  const sync = async (timeout = 0): Promise<any> => {
    const { body } = await ask(address, 'GET', `/sync?since=${since}&timeout=${timeout}`, { token });
    since = body.next_batch;
    return body;
  };
  const senders = (body: Awaited<ReturnType<typeof sync>>): string[] =>
    (body['org.example.waves']?.events ?? []).map((event: { readonly sender: string }) => event.sender);

  it('arrives over /sync, and ends a long-poll', async () => {
    const waiting = sync(25_000);
    await waves.wave('@bob:localhost', userId);
    expect(senders(await waiting)).to.deep.equal(['@bob:localhost']);
    expect(senders(await sync())).to.deep.equal([]);
  });

  it('arrives over the WebSocket', async () => {
    const client = await StreamClient.open(`${address.replace(/^http/, 'ws')}${WEBSOCKET_PATH}`, {
      token,
      query: `since=${since}`,
    });
    await client.sync();
    await waves.wave('@carol:localhost', userId);
    expect(senders(await client.sync())).to.deep.equal(['@carol:localhost']);
    await client.end();
  });

  it('that tells only so much at once resumes where it ended, and learns what was received', async () => {
    for (const name of ['a', 'b', 'c', 'd', 'e']) await waves.wave(`@${name}:localhost`, userId);
    const first = await sync();
    expect(senders(first)).to.deep.equal(['@a:localhost', '@b:localhost']);
    expect(waves.keptFor(userId)).to.have.length(5);
    const second = await sync(25_000);
    expect(senders(second)).to.deep.equal(['@c:localhost', '@d:localhost']);
    expect(waves.keptFor(userId)).to.have.length(3);
    expect(senders(await sync(25_000))).to.deep.equal(['@e:localhost']);
    expect(senders(await sync())).to.deep.equal([]);
    await until('everything is received', () => waves.keptFor(userId).length === 0);
  });
});
