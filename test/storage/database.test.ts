import { expect } from 'chai';
import pg from 'pg';
import { silentLogger } from '#src/kernel/logger.ts';
import { noMetrics } from '#src/kernel/metrics.ts';
import { Database, sql } from '#src/storage/database.ts';
import { cloneDatabase, cutConnections, type TestDatabase } from '#test/support/database.ts';
import { type Line, recordingLogger } from '#test/support/recording-logger.ts';
import { until } from '#test/support/until.ts';
import { SeveringProxy } from '#test/support/stand-ins/severing-proxy.ts';

const NUMBERS = sql(
  'test_numbers',
  `select 9007199254740991::int8 as big, '{1,NULL,3}'::int8[] as list, '{}'::int8[] as none`,
);
const PREPARED = sql('test_prepared', 'select name from pg_prepared_statements');
const OUTBOX = sql('test_outbox', 'select job, payload from outbox order by id');
const COUNT = sql('test_count', 'select count(*) as n from outbox');
const DIVIDE = sql('test_divide', 'select 1 / 0');
const BACKEND = sql('test_backend', 'select pg_backend_pid() as pid');

describe('Database', () => {
  let clone: TestDatabase;
  before(async function () {
    this.timeout(60_000);
    clone = await cloneDatabase();
  });
  after(() => clone.drop());

  it('returns bigint columns and arrays as numbers', async () => {
    const [row] = await clone.database.query(NUMBERS);
    expect(row).to.deep.equal({ big: Number.MAX_SAFE_INTEGER, list: [1, null, 3], none: [] });
  });

  it('is closed when PostgreSQL has closed its connections too, so that it can be stopped', async () => {
    const proxy = await SeveringProxy.to(clone.url, { goodbyeMs: 300 });
    const database = await Database.open({ url: proxy.url, logger: silentLogger, metrics: noMetrics });
    await Promise.all([1, 2, 3].map(() => database.write((tx) => tx.query(COUNT))));
    expect(proxy.connections()).to.equal(3);
    await database.close();
    expect(proxy.connections()).to.equal(0);
    await proxy.close();
  });

  it('prepares statements under their names, inside transactions too', async () => {
    const names = await clone.database.write(async (tx) => {
      await tx.query(NUMBERS);
      return (await tx.query<{ name: string }>(PREPARED)).map((row) => row.name);
    });
    expect(names).to.include('test_numbers');
  });

  it('counts one statement for a query, and BEGIN and COMMIT of a transaction', async () => {
    const before = clone.database.statements();
    await clone.database.query(COUNT);
    expect(clone.database.statements() - before).to.equal(1);
    await clone.database.write((tx) => tx.query(COUNT));
    expect(clone.database.statements() - before).to.equal(4);
  });

  it('commits what was enqueued, and only then calls the listeners', async () => {
    let called = 0;
    await clone.database.write(async (tx) => {
      tx.afterCommit(() => (called += 1));
      await tx.enqueue({ name: 'push' }, { event: '$1' });
      expect(called).to.equal(0);
    });
    expect(called).to.equal(1);
    expect(await clone.database.query(OUTBOX)).to.deep.equal([{ job: 'push', payload: { event: '$1' } }]);
  });

  it('rolls everything back when the use case throws, and calls no listener', async () => {
    const [before] = await clone.database.query<{ n: number }>(COUNT);
    let called = 0;
    let thrown: unknown;
    try {
      await clone.database.write(async (tx) => {
        tx.afterCommit(() => (called += 1));
        await tx.enqueue({ name: 'push' }, {});
        throw new Error('changed my mind');
      });
    } catch (error) {
      thrown = error;
    }
    expect(thrown).to.be.an('error').with.property('message', 'changed my mind');
    expect(called).to.equal(0);
    expect(await clone.database.query(COUNT)).to.deep.equal([before]);
  });

  it('commits nothing, and says so, when somebody swallowed the error of a statement', async () => {
    let message = 'it was committed';
    await clone.database
      .write(async (tx) => {
        await tx.enqueue({ name: 'swallowed' }, {});
        await tx.query(DIVIDE).catch(() => undefined);
      })
      .catch((error: Error) => (message = error.message));
    expect(message).to.include('rolled back');
    expect(await clone.database.query(OUTBOX)).to.not.deep.include({ job: 'swallowed', payload: {} });
  });

  it('lets nobody use a transaction that has ended: its connection may be in another one', async () => {
    const kept = await clone.database.write((tx) => Promise.resolve(tx));
    let message = 'it could';
    await kept.query(COUNT).catch((error: Error) => (message = error.message));
    expect(message).to.include('has ended');
  });

  it('gives entities the same transaction', async () => {
    await clone.database.write(async (tx) => {
      await tx.enqueue({ name: 'seen-by-em' }, {});
      const { em } = await tx.entities();
      const rows: unknown[] = await em.execute(`select job from outbox where job = 'seen-by-em'`);
      expect(rows).to.have.length(1);
      expect(await clone.database.query(OUTBOX)).to.not.deep.include({ job: 'seen-by-em', payload: {} });
    });
  });

  it('refuses to write in a read transaction', async () => {
    let code: unknown;
    await clone.database
      .read((tx) => tx.enqueue({ name: 'never' }, {}))
      .catch((error: { code: string }) => (code = error.code));
    expect(code).to.equal('25006');
  });

  it('survives its connections being killed: later queries connect anew', async () => {
    const lines: Line[] = [];
    const own = await cloneDatabase({ logger: recordingLogger(lines) });
    const [backend] = await own.database.query<{ pid: number }>(BACKEND);
    await cutConnections(own.url);
    await until('the pool has heard of it', () => lines.some(({ message }) => message.endsWith('connection was lost')));
    const [next] = await own.database.query<{ pid: number }>(BACKEND);
    expect(next?.pid).to.be.a('number').and.not.equal(backend?.pid);
    await own.drop();
  });

  it('loses no connection of its pool to transactions that the database cut off', async () => {
    const small = await cloneDatabase({ poolSize: 3 });
    const other = new pg.Client({ connectionString: small.url });
    await other.connect();
    const cutOff = (pid: number) => other.query('select pg_terminate_backend($1)', [pid]);
    try {
      for (let round = 0; round < 8; round += 1) {
        let failed = false;
        await small.database
          .write(async (tx) => {
            const [backend] = await tx.query<{ pid: number }>(BACKEND);
            await cutOff(backend!.pid);
            if (round % 2 === 0) await tx.query(COUNT);
          })
          .catch(() => (failed = true));
        expect(failed, `round ${round}`).to.equal(true);
        // An idle connection that dies unnoticed makes BEGIN itself fail.
        const [idle] = await small.database.query<{ pid: number }>(BACKEND);
        await cutOff(idle!.pid);
        await small.database.write((tx) => tx.query(COUNT)).catch(() => undefined);
      }
      const rows = await Promise.all([1, 2, 3, 4].map(() => small.database.write((tx) => tx.query(COUNT))));
      expect(rows).to.have.length(4);
    } finally {
      await other.end();
      await small.drop();
    }
  });

  it('belongs to one server_name for life', async () => {
    await clone.database.claim('one.example');
    await clone.database.claim('one.example');
    let message = '';
    await clone.database.claim('two.example').catch((error: Error) => (message = error.message));
    expect(message).to.include('two.example').and.to.include('one.example');
  });

  it('refuses two statements of the same name', () => {
    expect(() => sql('test_count', 'select 1')).to.throw('test_count');
  });
});
