import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { once } from 'node:events';
import { expect } from 'chai';
import { outageLogger } from '#src/app/ground/outage-logger.ts';
import type { Logger } from '#src/kernel/logger.ts';
import { noMetrics } from '#src/kernel/metrics.ts';
import { Database, sql } from '#src/storage/database.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { ManualClock } from '#test/support/manual-clock.ts';
import { type Line, recordingLogger } from '#test/support/recording-logger.ts';
import { SeveringProxy } from '#test/support/stand-ins/severing-proxy.ts';

const SELECT_ONE = sql('test_outage_select', 'select 1 as one');
const errorOf = (doing: Promise<unknown>): Promise<unknown> =>
  doing.then(
    () => expect.fail('it did not fail'),
    (error: unknown) => error,
  );

describe('the log while the database is away', function () {
  this.timeout(60_000);
  let clone: TestDatabase;
  let database: Database;
  let proxy: SeveringProxy;
  let clock: ManualClock;
  let lines: Line[];
  let logger: Logger;
  /** Of transactions that were cut off, of a connection that is closed at once, and of one that is refused. */
  const outages: unknown[] = [];
  /** Of another connection that is refused, and of a file that is not there. */
  const others: unknown[] = [];

  before(async () => {
    clone = await cloneDatabase();
    proxy = await SeveringProxy.to(clone.url);
    const port = Number(new URL(proxy.url).port);
    database = await Database.open({ url: proxy.url, logger: recordingLogger([]), metrics: noMetrics });
    outages.push(
      await errorOf(
        database.write(async (tx) => {
          proxy.away();
          await tx.query(SELECT_ONE);
        }),
      ),
      await errorOf(database.query(SELECT_ONE)),
    );
    proxy.back();
    outages.push(
      await errorOf(
        database.write(async (tx) => {
          const { em, AccountEntity } = await tx.entities();
          proxy.away();
          await em.count(AccountEntity);
        }),
      ),
    );
    await proxy.close();
    outages.push(
      await errorOf(database.query(SELECT_ONE)),
      new Error('a task failed', { cause: await errorOf(database.query(SELECT_ONE)) }),
    );
    others.push(await errorOf(once(connect(port, '127.0.0.1'), 'connect')), await errorOf(readFile('/nowhere/at/all')));
  });
  after(async () => {
    await database.close();
    await clone.drop();
  });
  beforeEach(() => {
    lines = [];
    clock = new ManualClock();
    logger = outageLogger(recordingLogger(lines), clock);
  });

  it('has one line a minute for each kind of task, and how many more there were', async () => {
    expect(outages.map((error) => (error as { code?: unknown }).code)).to.include('ECONNREFUSED');
    for (const err of outages) logger.warn('a follower fails', { err });
    expect(lines).to.have.length(1);
    await clock.advance(60_000);
    expect(lines.map(({ level, fields }) => [level, fields['more']])).to.deep.equal([
      ['warn', undefined],
      ['warn', outages.length - 1],
    ]);
  });

  it('has every line of what failed for the sake of something else, whose codes are the same', () => {
    expect(others.map((error) => (error as { code?: unknown }).code)).to.deep.equal(['ECONNREFUSED', 'ENOENT']);
    for (const err of [...others, ...others]) logger.warn('a mail was not sent', { err });
    expect(lines).to.have.length(4);
  });

  it('names each job that fails, whatever other jobs do, and each that is given up', async () => {
    const err = outages.at(-1);
    for (const job of ['mail', 'purge', 'mail', 'purge']) logger.warn('a job failed', { job, id: '1', err });
    expect(lines.map(({ fields }) => fields['job'])).to.deep.equal(['mail', 'purge']);
    for (const id of ['1', '2', '3']) logger.error('a job failed', { job: 'mail', id, err, given_up: true });
    expect(lines.slice(2).map(({ level, fields }) => [level, fields['id']])).to.deep.equal([
      ['error', '1'],
      ['error', '2'],
      ['error', '3'],
    ]);
  });

  it('has errors that follow warnings of the same, and counts them as errors', async () => {
    const err = outages.at(-1);
    for (const level of ['warn', 'error', 'warn', 'error'] as const) logger[level]('a follower fails', { err });
    await clock.advance(60_000);
    expect(lines.map(({ level, fields }) => [level, fields['more']])).to.deep.equal([
      ['warn', undefined],
      ['error', undefined],
      ['warn', 1],
      ['error', 1],
    ]);
  });
});
