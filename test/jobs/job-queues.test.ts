import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { Type } from 'typebox';
import { defineJob, type JobDefinition, jobHandler, type JobHandler } from '#src/jobs/job-definition.ts';
import { JobQueues } from '#src/jobs/job-queues.ts';
import type { QueueStore } from '#src/jobs/bull-store.ts';
import { silentLogger } from '#src/kernel/logger.ts';
import { systemTimers } from '#src/kernel/timers.ts';
import { OutboxRelay } from '#src/services/delivery/outbox/outbox-relay.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { redisProgram, startRedis } from './redis.ts';
import { until } from '#test/support/until.ts';
import { waitingJobs } from '#test/support/jobs.ts';

const note = defineJob({
  name: 'test.note',
  queue: 'maintenance',
  payload: Type.Object({ n: Type.Integer() }),
  attempts: 3,
  backoffMs: 20,
});
const once1 = defineJob({ ...note, name: 'test.unique', uniqueBy: ({ n }) => String(n) });
/** It is tried again long after a test is over. */
const hopeless = defineJob({ ...note, name: 'test.hopeless', attempts: 100, backoffMs: 3_600_000 });
const definitions = [note, once1, hopeless] as unknown as JobDefinition[];

interface Backend {
  readonly store: () => QueueStore;
  /** For another process. */
  readonly where: () => string;
  readonly clone: () => TestDatabase;
}

/** What holds for queues, wherever they are kept. */
function promises(backend: Backend): void {
  const opened: JobQueues[] = [];
  const open = async (handlers?: readonly JobHandler[], lockMs = 15_000): Promise<JobQueues> => {
    const queues = new JobQueues({
      store: backend.store(),
      definitions,
      logger: silentLogger,
      timers: systemTimers,
      lockMs,
    });
    opened.push(queues);
    await queues.open();
    if (handlers !== undefined) await queues.work(handlers);
    return queues;
  };
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((queues) => queues.close()));
  });

  it('does a job once, however often it is handed over under the same id', async () => {
    const seen: number[] = [];
    const queues = await open([jobHandler(note, async ({ n }) => void seen.push(n))]);
    await Promise.all([queues.add('test.note', { n: 1 }, 'same-1'), queues.add('test.note', { n: 1 }, 'same-1')]);
    await queues.add('test.note', { n: 2 }, 'other-1');
    await until('both are done', () => seen.length >= 2);
    await queues.idle();
    expect(seen.toSorted()).to.deep.equal([1, 2]);
  });

  it('refuses unknown jobs and payloads that are not as defined', async () => {
    const queues = await open();
    for (const attempt of [queues.add('test.none', {}, 'x'), queues.add('test.note', { n: 'one' }, 'y')]) {
      expect(
        await attempt.then(
          () => 'taken',
          () => 'refused',
        ),
      ).to.equal('refused');
    }
  });

  it('tries a job that failed again, as often as its definition says', async () => {
    let tries = 0;
    const queues = await open([
      jobHandler(note, async () => {
        tries += 1;
        throw new Error('not yet');
      }),
    ]);
    await queues.add('test.note', { n: 1 }, 'failing-1');
    await until('it has failed', async () => ((await queues.counts('maintenance'))['failed'] ?? 0) >= 1);
    expect(tries).to.equal(3);
  });

  it('does the others of its queue though one fails every time, and tries that again after a pause', async () => {
    const runs: number[] = [];
    const queues = await open([
      jobHandler(hopeless, async ({ n }) => {
        runs.push(n);
        throw new Error('never');
      }),
      jobHandler(note, async ({ n }) => void runs.push(n)),
    ]);
    await queues.add('test.hopeless', { n: 0 }, 'hopeless-0');
    await until('it has failed', async () => ((await queues.counts('maintenance'))['delayed'] ?? 0) === 1);
    for (const n of [1, 2, 3]) await queues.add('test.note', { n }, `beside-${n}`);
    await queues.idle();
    expect(runs).to.deep.equal([0, 1, 2, 3]);
    expect((await queues.counts('maintenance'))['delayed']).to.equal(1);
  });

  it('takes jobs with the same key for one, but does it once more where it was begun: it may have come too early', async () => {
    let runs = 0;
    const gate = Promise.withResolvers<void>();
    const queues = await open([
      jobHandler(once1, async () => {
        runs += 1;
        await gate.promise;
        return undefined;
      }),
    ]);
    await queues.add('test.unique', { n: 7 }, 'unique-0');
    await until('it runs', () => runs === 1);
    for (let i = 1; i < 4; i++) await queues.add('test.unique', { n: 7 }, `unique-${i}`);
    gate.resolve();
    await until('it runs once more', () => runs === 2);
    await queues.idle();
    expect(runs).to.equal(2);
    for (let i = 4; i < 7; i++) await queues.add('test.unique', { n: 7 }, `unique-${i}`);
    await until('it runs again', () => runs >= 3);
  });

  it('repeats what is to be repeated', async () => {
    let runs = 0;
    const empty = defineJob({
      name: 'test.repeat',
      queue: 'maintenance',
      payload: Type.Object({}),
      attempts: 1,
      backoffMs: 1,
    });
    const queues = new JobQueues({
      store: backend.store(),
      definitions: [empty] as unknown as JobDefinition[],
      logger: silentLogger,
      timers: systemTimers,
    });
    opened.push(queues);
    await queues.open();
    await queues.work([jobHandler(empty, async () => void (runs += 1))]);
    await queues.repeat(empty as unknown as JobDefinition, 100);
    await until('it comes back', () => runs >= 3);
    await queues.forget(empty as unknown as JobDefinition);
  });

  it('interrupts jobs when it closes, and does them after the next start', async () => {
    let begun = 0;
    const queues = await open([
      jobHandler(note, async (_payload, signal) => {
        begun += 1;
        await once(signal, 'abort');
        return 'interrupted';
      }),
    ]);
    await queues.add('test.note', { n: 1 }, 'interrupted-1');
    await until('it has begun', () => begun === 1);
    await queues.close();
    const seen: number[] = [];
    await open([jobHandler(note, async ({ n }) => void seen.push(n))]);
    await until('it is done', () => seen.length === 1);
  });

  it('does what a process left behind that was killed while it did it', async () => {
    const child = spawn(
      process.execPath,
      [fileURLToPath(new URL('job-process.ts', import.meta.url)), backend.where()],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    await once(child.stdout, 'data');
    const exit = once(child, 'exit');
    child.kill('SIGKILL');
    await exit;
    const seen: number[] = [];
    await open([jobHandler(note, async ({ n }) => void seen.push(n))], 1_000);
    await until('the last one is done', () => seen.includes(99));
  });

  it('hands over what was committed with a transaction, and nothing of one that was not', async () => {
    const { database } = backend.clone();
    const seen: number[] = [];
    const queues = await open([jobHandler(note, async ({ n }) => void seen.push(n))]);
    const relay = new OutboxRelay({ database, queues, timers: systemTimers, logger: silentLogger });
    relay.start();
    try {
      await database.write(async (tx) => {
        await tx.enqueue(note, { n: 11 });
        await tx.enqueue(note, { n: 12 });
        await tx.enqueue({ name: 'test.gone' }, {});
      });
      await database
        .write(async (tx) => {
          await tx.enqueue(note, { n: 13 });
          throw new Error('rolled back');
        })
        .catch(() => undefined);
      await until('both are done', () => seen.length === 2);
      await relay.idle();
      await queues.idle();
      expect(seen).to.deep.equal([11, 12]);
      expect(await waitingJobs(database)).to.have.length(0);
    } finally {
      await relay.close();
    }
  });
}

describe('job queues in PostgreSQL', function () {
  this.timeout(60_000);
  let clone: TestDatabase;
  before(async () => (clone = await cloneDatabase()));
  after(() => clone.drop());
  promises({
    store: () => ({ kind: 'postgres', pool: clone.database.queueConnections(4) }),
    where: () => clone.url,
    clone: () => clone,
  });
});

describe('job queues in Redis', function () {
  this.timeout(60_000);
  let redis: Awaited<ReturnType<typeof startRedis>>;
  let clone: TestDatabase;
  before(async function () {
    if (redisProgram === undefined) this.skip();
    redis = await startRedis();
    clone = await cloneDatabase();
  });
  after(async () => {
    await clone?.drop();
    await redis?.stop();
  });
  promises({
    store: () => ({ kind: 'redis', url: redis.url, prefix: 'tsudoi-test' }),
    where: () => redis.url,
    clone: () => clone,
  });
});
