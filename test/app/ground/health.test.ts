import { expect } from 'chai';
import { Health } from '#src/app/ground/health.ts';
import { sql } from '#src/storage/database.ts';
import { isDatabaseAway, markConnectionError, clientErrorOf } from '#src/storage/failures.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { ManualClock } from '#test/support/manual-clock.ts';
import { type Line, recordingLogger } from '#test/support/recording-logger.ts';

const failure = (code: string): Error => Object.assign(new Error(`failed with ${code}`), { code });
/** What a connection that PostgreSQL is not there for fails with. */
const refused = (): Error => {
  const error = failure('ECONNREFUSED');
  markConnectionError(error);
  return error;
};
const SELECT_TEXT = sql('test_select_text', 'select $1::text as text');

describe('the health of the database', function () {
  this.timeout(60_000);
  let clone: TestDatabase;
  let clock: ManualClock;
  let lines: Line[];
  let health: Health;
  beforeEach(async () => {
    clone = await cloneDatabase();
    clock = new ManualClock();
    lines = [];
    health = new Health({ database: clone.database, clock, timers: clock, logger: recordingLogger(lines) });
  });
  afterEach(() => clone.drop());

  it('is asked of the database once a second, however many ask', async () => {
    const before = clone.database.statements();
    const answers = await Promise.all(Array.from({ length: 50 }, () => health.isReady()));
    expect(new Set(answers)).to.deep.equal(new Set([true]));
    expect(clone.database.statements() - before).to.equal(1);
    await clock.advance(1_000);
    await health.isReady();
    expect(clone.database.statements() - before).to.equal(2);
  });
  it('is bad when nothing can be written, until something could be written again', async () => {
    expect(await health.isReady()).to.equal(true);
    expect(health.explain(failure('53100'))?.status).to.equal(503);
    const { database } = clone;
    const write = database.write;
    database.write = () => Promise.reject(failure('53100'));
    expect(await health.isReady()).to.equal(false);
    await clock.advance(1_000);
    expect(await health.isReady()).to.equal(false);
    database.write = write;
    await clock.advance(1_000);
    expect(await health.isReady()).to.equal(true);
  });
  it('tells clients of an outage to wait, and the log once for all of them', async () => {
    for (let count = 0; count < 20; count += 1) {
      const errors = [failure('53100'), failure('57P01'), refused(), failure('25006')];
      const told = health.explain(errors[count % 4]);
      expect(told?.toBody()).to.include({ errcode: 'M_UNKNOWN', retry_after_ms: 5_000 });
      expect(told?.status).to.equal(503);
    }
    expect(lines.map(({ message }) => message)).to.deep.equal([
      'the database cannot be used: requests are answered 503',
    ]);
    await clock.advance(10_000);
    expect(lines.at(-1)?.fields).to.include({ more: 19 });
  });
  it('is nothing that is said of an object store, a mail server or a file that cannot be reached', () => {
    for (const code of ['ECONNREFUSED', 'ECONNRESET', 'ETIMEDOUT', 'ENOTFOUND', 'EPIPE', 'ENOENT', 'EHOSTUNREACH']) {
      const leaked = new Error('the object store failed', { cause: failure(code) });
      for (const error of [failure(code), leaked]) {
        expect(health.explain(error), code).to.equal(undefined);
        expect(isDatabaseAway(error), code).to.equal(false);
      }
    }
    expect(isDatabaseAway(new Error('a query failed', { cause: refused() }))).to.equal(true);
    expect(lines).to.deep.equal([]);
  });
  it('says of a text that cannot be stored that it is the text, and nothing of other errors', async () => {
    let error: unknown;
    await clone.database.query(SELECT_TEXT, ['a\0b']).catch((caught: unknown) => (error = caught));
    expect(clientErrorOf(error)?.toBody()).to.include({ errcode: 'M_INVALID_PARAM' });
    expect(clientErrorOf(error)?.status).to.equal(400);
    expect(health.explain(new Error('a mistake'))).to.equal(undefined);
    expect(health.explain(failure('42P01'))).to.equal(undefined);
    expect(lines).to.deep.equal([]);
  });
});
