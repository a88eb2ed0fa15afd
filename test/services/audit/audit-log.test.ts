import { expect } from 'chai';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { OPERATOR, type Actor } from '#src/services/audit/actor.ts';
import { AuditLog, type AuditEntry, type AuditFilter } from '#src/services/audit/audit-log.ts';
import { forgetAuditRows } from '#src/storage/audit/audit-log.ts';
import { sql } from '#src/storage/statement.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { ManualClock } from '#test/support/manual-clock.ts';

const UPDATE = sql('test_audit_update', `update audit_log set reason = 'other'`);
const DELETE = sql('test_audit_delete', 'delete from audit_log');
const TRUNCATE = sql('test_audit_truncate', 'truncate audit_log');

describe('the audit log', function () {
  this.timeout(60_000);
  const alice: Actor = { userId: '@alice:test', deviceId: 'PHONE', ip: '192.0.2.1', via: 'http' };
  let clone: TestDatabase;
  let clock: ManualClock;
  let log: AuditLog;
  before(async () => {
    clone = await cloneDatabase();
  });
  after(() => clone?.drop());
  beforeEach(async () => {
    clock = new ManualClock(2_000_000_000_000);
    log = new AuditLog({ database: clone.database, clock });
    await forgetAuditRows(clone.database, Number.MAX_SAFE_INTEGER, 10_000);
  });

  const record = (entry: AuditEntry, actor = alice): Promise<void> =>
    clone.database.write((tx) => log.record(tx, actor, entry));
  const targets = async (filter: AuditFilter): Promise<readonly (string | undefined)[]> =>
    (await log.list(filter, { limit: 100 })).records.map(({ entry }) => entry.target);

  it('says who did what to whom, when, from where, with the old and the new value', async () => {
    const entry = {
      action: 'user.suspend',
      target: '@bob:test',
      roomId: '!room:test',
      taskId: 'task',
      before: { suspended: false },
      after: { suspended: true },
      reason: 'spam',
    };
    await record(entry);
    const { records } = await log.list({}, { limit: 10 });
    expect(records).to.have.length(1);
    expect(records[0]).to.deep.include({ ts: clock.now(), actor: alice, entry });
  });

  it('has no entry of a change that was not committed', async () => {
    const failed = clone.database.write(async (tx) => {
      await log.record(tx, alice, { action: 'user.suspend', target: '@bob:test' });
      throw new Error('the change failed');
    });
    await failed.catch(() => undefined);
    expect(await targets({})).to.deep.equal([]);
  });

  for (const statement of [UPDATE, DELETE, TRUNCATE])
    it(`keeps its entries when somebody tries to ${statement.text.split(' ')[0]} them`, async () => {
      await record({ action: 'user.suspend', target: '@bob:test' });
      const refusal = await clone.database.query(statement).catch((error: unknown) => error);
      expect(refusal).to.be.an('error').with.property('message').that.includes('audit log is only ever added to');
      expect(await targets({})).to.deep.equal(['@bob:test']);
    });

  it('deletes entries that are older than its retention, and no others', async () => {
    await record({ action: 'user.suspend', target: 'old' });
    await clock.advance(1_000);
    await record({ action: 'user.suspend', target: 'new' });
    expect(await forgetAuditRows(clone.database, clock.now(), 10)).to.equal(1);
    expect(await targets({})).to.deep.equal(['new']);
  });

  it('is filtered by actor, noun or beginning of the action, target, room and time', async () => {
    await record({ action: 'user.suspend', target: 'a', roomId: '!one:test' });
    await clock.advance(1_000);
    await record({ action: 'user.unsuspend', target: 'b' }, { userId: '@carol:test', via: 'http' });
    await clock.advance(1_000);
    await record({ action: 'users_of_room.remove', target: 'c', roomId: '!one:test' }, OPERATOR);
    expect(await targets({ actor: '@alice:test' })).to.deep.equal(['a']);
    expect(await targets({ byOperator: true })).to.deep.equal(['c']);
    expect(await targets({ action: 'user' })).to.deep.equal(['b', 'a']);
    expect(await targets({ action: 'user.sus' })).to.deep.equal(['a']);
    expect(await targets({ target: 'b' })).to.deep.equal(['b']);
    expect(await targets({ target: 'b', action: 'user.suspend' })).to.deep.equal([]);
    expect(await targets({ roomId: '!one:test' })).to.deep.equal(['c', 'a']);
    expect(await targets({ from: clock.now() - 1_000, until: clock.now() })).to.deep.equal(['b']);
  });

  it('is read page by page, with every entry once, also where many were made in the same millisecond', async () => {
    for (let index = 0; index < 25; index++) {
      await record({ action: 'user.suspend', target: String(index) });
      if (index % 10 === 9) await clock.advance(1);
    }
    const seen: (string | undefined)[] = [];
    for (let from: string | undefined, isEnd = false; !isEnd;) {
      const page = await log.list({ actor: '@alice:test' }, { limit: 4, from });
      expect(page.records.length).to.be.within(1, 4);
      seen.push(...page.records.map(({ entry }) => entry.target));
      from = page.next;
      isEnd = from === undefined;
    }
    expect(seen).to.deep.equal(Array.from({ length: 25 }, (_, index) => String(24 - index)));
    const refusal = await log.list({}, { limit: 4, from: 'x' }).catch((error: unknown) => error);
    expect(refusal).to.be.instanceOf(MatrixError).with.property('errcode', 'M_INVALID_PARAM');
  });

  it('keeps entries of a bounded size, whatever names and values are', async () => {
    const long = 'あ\0'.repeat(100_000);
    await record({ action: 'user.suspend', target: long, roomId: long, before: long, after: [long], reason: long });
    const { records } = await log.list({}, { limit: 10 });
    expect(Buffer.byteLength(JSON.stringify(records))).to.be.below(16_384);
    expect(records[0]?.entry.before).to.deep.equal({ too_large: Buffer.byteLength(JSON.stringify(long)) });
  });
});
