import { expect } from 'chai';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { TaskKind, TaskRecord } from '#src/services/admin/tasks/task.ts';
import { orAborted } from '#src/kernel/concurrency/or-aborted.ts';
import { OPERATOR, type Actor } from '#src/services/audit/actor.ts';
import { beginTask, endTask, insertTask, lockTask, type TaskRow } from '#src/storage/admin/admin-tasks.ts';
import type { Tx } from '#src/storage/database.ts';
import { sql } from '#src/storage/statement.ts';
import { InProcessServer } from '#test/support/in-process-server.ts';
import { until } from '#test/support/until.ts';
import { MortalServer } from '#test/support/mortal/mortal-server.ts';

const ADMIN: Actor = { userId: '@admin-root:test', via: 'http' };
type CountParams = { readonly to: number };
type CountResult = { readonly counted: number };

const WAITING = sql(
  'test_task_waiting',
  `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%admin_tasks%'`,
);
const STEPS = sql(
  'test_task_steps',
  `select count(*)::int as steps from audit_log where action = 'test.step' and target = $1`,
);

describe('a task of administrators', function () {
  this.timeout(120_000);
  let server: InProcessServer;
  /** What is waited for at each step; and who was told of it. */
  let reached = Promise.withResolvers<number>();
  let goOn: Promise<unknown> = Promise.resolve();
  let running = 0;
  const order: string[] = [];

  /** Counts, a step for each number, and lets the test look on. */
  const count: TaskKind<CountParams, CountResult> = {
    action: 'count_numbers',
    async run({ id, params: { to }, result }, { note, signal }) {
      order.push(id);
      expect((running += 1), 'of one resource at once').to.equal(1);
      try {
        for (let counted = result.counted ?? 0; counted < to;) {
          reached.resolve(counted);
          await orAborted(goOn, signal).catch(() => undefined);
          if (signal.aborted) return 'interrupted';
          counted += 1;
          await note(undefined, { counted });
        }
        return { counted: to };
      } finally {
        running -= 1;
      }
    },
  };
  const fail: TaskKind<{ readonly told: boolean }> = {
    action: 'fail_it',
    run: async ({ params: { told } }) => {
      throw told ? new MatrixError('M_NOT_FOUND', 'There is no such room.') : new Error('secret detail');
    },
  };

  before(async () => {
    server = await InProcessServer.start({ extensions: { taskKinds: [count, fail] } });
  });
  after(() => server?.stop());
  beforeEach(() => {
    reached = Promise.withResolvers();
    goOn = Promise.resolve();
    order.length = 0;
  });

  const start = (to: number, resource?: string): Promise<string> =>
    server.services.database.write((tx) =>
      server.services.adminTasks.start(tx, ADMIN, count, {
        resource,
        params: { to },
        entry: { action: 'number.count', target: resource },
      }),
    );
  const task = async (id: string): Promise<TaskRecord> => (await server.services.adminTasks.get(id))!;

  it('is done, says what came of it, and has an entry in the audit log that names it', async () => {
    const id = await start(3, '!room:test');
    await server.idle();
    expect(await task(id)).to.include({ action: 'count_numbers', resource: '!room:test', status: 'complete' });
    expect(await task(id)).to.deep.include({
      params: { to: 3 },
      result: { counted: 3 },
      requestedBy: '@admin-root:test',
    });
    const { records } = await server.services.auditLog.list({ action: 'number' }, { limit: 1 });
    expect(records[0]?.entry).to.deep.include({ action: 'number.count', target: '!room:test', taskId: id });
  });

  it('is not there when the transaction that starts it fails', async () => {
    const { adminTasks, database } = server.services;
    let id = '';
    const failed = database.write(async (tx) => {
      id = await adminTasks.start(tx, ADMIN, count, { params: { to: 1 }, entry: { action: 'number.count' } });
      throw new Error('the rest failed');
    });
    await failed.catch(() => undefined);
    await server.idle();
    expect(await adminTasks.get(id)).to.equal(undefined);
  });

  it('waits for those before it that are about the same', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    goOn = promise;
    const ids = [await start(2, '!same:test'), await start(1, '!same:test'), await start(1, '!same:test')];
    await reached.promise;
    expect((await Promise.all(ids.map(task))).map(({ status }) => status)).to.deep.equal([
      'active',
      'scheduled',
      'scheduled',
    ]);
    resolve();
    await server.idle();
    expect((await Promise.all(ids.map(task))).map(({ status }) => status)).to.deep.equal([
      'complete',
      'complete',
      'complete',
    ]);
    expect(order).to.deep.equal(ids);
  });

  it('is never begun when it is cancelled while it waits, and ends at its next step when it is being done', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    goOn = promise;
    const [active, waiting] = [await start(5, '!stop:test'), await start(5, '!stop:test')];
    await reached.promise;
    const { adminTasks, auditLog } = server.services;
    expect(await adminTasks.cancel(ADMIN, waiting)).to.include({ status: 'cancelled' });
    // It may have ended by now.
    expect(await adminTasks.cancel(ADMIN, active)).to.include({ isCancelled: true });
    resolve();
    await server.idle();
    expect(await task(active)).to.include({ status: 'cancelled' });
    expect(await task(waiting)).to.deep.include({ status: 'cancelled', result: {} });
    expect(order).to.deep.equal([active]);
    const { records } = await auditLog.list({ action: 'task.cancel' }, { limit: 2 });
    expect(records.map(({ entry }) => entry.taskId)).to.deep.equal([active, waiting]);
  });

  it('stays as it is when it is cancelled after its end, which the audit log does not tell of', async () => {
    const id = await start(1);
    await server.idle();
    expect(await server.services.adminTasks.cancel(OPERATOR, id)).to.include({
      status: 'complete',
      isCancelled: false,
    });
    const { records } = await server.services.auditLog.list({ byOperator: true }, { limit: 10 });
    expect(records).to.deep.equal([]);
  });

  it('shows the message of a MatrixError, and no details of other errors', async () => {
    const { adminTasks, database } = server.services;
    const failed = async (told: boolean): Promise<TaskRecord> => {
      const id = await database.write((tx) =>
        adminTasks.start(tx, ADMIN, fail, { params: { told }, entry: { action: 'it.fail' } }),
      );
      await server.idle();
      return task(id);
    };
    expect(await failed(true)).to.include({ status: 'failed', error: 'There is no such room.' });
    expect((await failed(false)).error)
      .to.be.a('string')
      .that.does.not.include('secret');
  });

  it('is resumed where it was when the process ends in the middle of it', async () => {
    goOn = new Promise(() => undefined);
    const id = await start(3);
    await reached.promise;
    const restarted = server.restart();
    goOn = Promise.resolve(); // for the next process
    await restarted;
    await server.idle();
    expect(await task(id)).to.deep.include({ status: 'complete', result: { counted: 3 } });
    expect(new Set(order)).to.deep.equal(new Set([id]));
    expect(order.length).to.be.above(1);
  });

  it('is passed over when it is cancelled in the moment in which it would begin, and the next one begins', async () => {
    const { adminTasks, database } = server.services;
    const lane = '!race:test';
    const insert = (tx: Tx, id: string): Promise<void> =>
      insertTask(tx, {
        id,
        action: 'wait',
        resource: lane,
        lane,
        params: '{}',
        requestedBy: null,
        via: 'cli',
        createdTs: server.clock.now(),
      });
    await database.write(async (tx) => {
      await insert(tx, 'race-first');
      await insert(tx, 'race-second');
    });
    let begun: Promise<TaskRow | undefined> | undefined;
    await database.write(async (tx) => {
      await lockTask(tx, 'race-first');
      await endTask(tx, 'race-first', { status: 'cancelled' }, server.clock.now());
      begun = beginTask(database, lane, server.clock.now());
      await until('the other one waits', async () => (await database.query(WAITING)).length > 0);
    });
    expect((await begun)?.id).to.equal('race-second');
    expect(await adminTasks.get('race-first')).to.include({ status: 'cancelled' });
    await endTask(database, 'race-second', { status: 'cancelled' }, server.clock.now());
  });

  it('is kept for seven days after its end', async () => {
    const id = await start(1);
    await server.idle();
    const signal = new AbortController().signal;
    await server.clock.advance(6 * 86_400_000);
    await server.services.streamCleaner.clean(signal);
    expect(await task(id)).to.include({ id });
    await server.clock.advance(2 * 86_400_000);
    await server.services.streamCleaner.clean(signal);
    expect(await server.services.adminTasks.get(id)).to.equal(undefined);
  });

  it('is refused when a thousand wait already', async () => {
    const { adminTasks, database } = server.services;
    const refusal = await database
      .write(async (tx) => {
        for (let made = 0; made <= 1_000; made++)
          await adminTasks.start(tx, ADMIN, count, { params: { to: 0 }, entry: { action: 'number.count' } });
      })
      .catch((error: unknown) => error);
    expect(refusal).to.be.instanceOf(MatrixError).with.property('errcode', 'M_LIMIT_EXCEEDED');
  });
});

describe('a task of administrators whose process is killed', function () {
  this.timeout(180_000);
  /** Each step leaves a trace in the transaction that notes it. */
  const kind: TaskKind<CountParams, CountResult> = {
    action: 'count_traces',
    async run({ id, params: { to }, result }, { note, signal }) {
      for (let counted = result.counted ?? 0; counted < to; counted++) {
        if (signal.aborted) return 'interrupted';
        const life = lives.current!;
        await life.services.database.write(async (tx) => {
          await life.services.auditLog.record(tx, OPERATOR, { action: 'test.step', target: id });
          await note(tx, { counted: counted + 1 });
        });
      }
      return { counted: to };
    },
  };
  const lives: { current?: Awaited<ReturnType<MortalServer['begin']>> } = {};
  let mortal: MortalServer;
  before(async () => {
    mortal = await MortalServer.open({}, [kind]);
  });
  after(() => mortal?.close());

  it('is resumed, and does each step that it notes in its transaction exactly once, wherever it is killed', async () => {
    const begin = async () => (lives.current = await mortal.begin());
    let halfSteps = 1;
    for (let kill = 0; kill <= halfSteps; kill++) {
      const doomed = await begin();
      const id = await doomed.services.database.write((tx) =>
        doomed.services.adminTasks.start(tx, ADMIN, kind, { params: { to: 3 }, entry: { action: 'number.count' } }),
      );
      doomed.mortal.killAt(kill === 0 ? Infinity : kill - 1);
      await doomed.mortal.survives(() => doomed.doJobs());
      if (kill === 0) halfSteps = 2 * doomed.mortal.steps;
      const after = await begin();
      await after.doJobs();
      const told = `killed at half step ${kill - 1} of ${halfSteps}`;
      expect(await after.services.adminTasks.get(id), told).to.deep.include({
        status: 'complete',
        result: { counted: 3 },
      });
      const [traces] = await mortal.database.query<{ steps: number }>(STEPS, [id]);
      expect(traces?.steps, told).to.equal(3);
      await after.end();
    }
    expect(halfSteps).to.be.above(10);
  });
});
