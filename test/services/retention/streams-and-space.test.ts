import { expect } from 'chai';
import { silentLogger } from '#src/kernel/logger.ts';
import { systemClock } from '#src/kernel/clock.ts';
import { systemTimers } from '#src/kernel/timers.ts';
import { DiskSpaceReclaimer } from '#src/services/retention/disk-space-reclaimer.ts';
import { StreamCleaner } from '#src/services/retention/stream-cleaner.ts';
import { sql } from '#src/storage/database.ts';
import { tableSize } from '#src/storage/rooms/space.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';

const DAY = 86_400_000;
const signal = new AbortController().signal;

describe('what streams and purges leave behind', function () {
  this.timeout(60_000);
  let clone: TestDatabase;
  before(async () => (clone = await cloneDatabase()));
  after(() => clone.drop());
  let statements = 0;
  const run = <R extends object>(text: string): Promise<R[]> =>
    clone.database.query<R>(sql(`test_space_${statements++}`, text));

  it('transaction ids go after some days, and exceptions from notifications when they are read', async () => {
    const root = Buffer.alloc(32, 0xfb);
    const today = Math.floor(Date.now() / DAY);
    await run(`insert into txn select gen_random_uuid(), 'e', ${today} - n / 100 from generate_series(0, 999) n`);
    await run(
      `insert into member (room, user_nid, membership, event, since, local) values (1, 1, 1, 1, 1, true), (1, 2, 4, 1, 1, true)`,
    );
    await run(`insert into mention (user_nid, room, pos, thread, kind)
      values (1, 1, 10, null, 2), (1, 1, 20, null, 2), (1, 1, 12, 5, 2), (1, 1, 13, 6, 2), (1, 1, 30, null, 2), (2, 1, 30, null, 2),
      (1, 1, 16, null, 2)`);
    await run(`insert into receipts (room, user_nid, kind, thread, event_id, event, ts, pos) values
      (1, 1, 1, '', 'x', 11, 0, 1), (1, 1, 1, 'main', 'y', 20, 0, 2), (1, 1, 1, '$${root.toString('base64url')}', 'z', 14, 0, 3)`);
    await run(`insert into events (room, nid, topo, event_id, type, sender, ts, state, prev, auth, flags, json)
      values (1, 6, 6, '\\x${root.toString('hex')}', 1, 1, 0, 0, '{}', '{}', 0, '{}')`);
    // What relates to something in a thread is in it.
    await run(`insert into events (room, nid, topo, event_id, type, sender, ts, state, prev, auth, rel, rel_type, flags, json) values
      (1, 15, 15, '\\x15', 1, 1, 0, 0, '{}', '{}', 6, 1, 64, '{}'), (1, 16, 16, '\\x16', 1, 1, 0, 0, '{}', '{}', 15, 1, 0, '{}')`);
    const options = { database: clone.database, clock: systemClock, timers: systemTimers, pauseMs: 0 };
    const cleaner = new StreamCleaner({
      ...options,
      transactionDays: 3,
      inboxLimits: { messages: 1_000, bytes: 1_000_000, userBytes: 8_000_000 },
      pushRetryMs: 1_000,
      auditDays: 365,
      batchSize: 2,
    });
    const rows = { stickyEvents: 0, invitations: 0, validations: 0, mailsSent: 0 };
    const none = { ...rows, toDevice: 0, toDeviceAway: 0, announcedMedia: 0, pushes: 0 };
    expect(await cleaner.clean(signal)).to.deep.equal({ transactions: 600, mentions: 4, ...none });
    const left = await run<{ user_nid: number; pos: number }>('select user_nid, pos from mention order by pos');
    expect(left.map(({ user_nid: user, pos }) => [user, pos])).to.deep.equal([
      [1, 12],
      [1, 16],
      [1, 30],
    ]);
    expect(await run('select 1 from txn')).to.have.length(400);
  });

  it('addresses that were invited are forgotten after a year, unless somebody has claimed them', async () => {
    await run(`insert into third_party_invites (token, medium, address, room_id, inviter, ephemeral_key, sent, claimed_by, created_ts)
      select 't' || n, 'email', n || '@mail.test', '!r', '@a:test', 'k' || n, true, case when n = 1 then '@b:test' end,
        extract(epoch from now() - make_interval(days => n * 100)) * 1000 from generate_series(1, 8) n
      union all select 'old', 'email', 'x@mail.test', '!r', '@a:test', 'k', true, '@b:test', 0`);
    const options = { database: clone.database, clock: systemClock, timers: systemTimers, pauseMs: 0 };
    const cleaner = new StreamCleaner({
      ...options,
      transactionDays: 3,
      inboxLimits: { messages: 1_000, bytes: 1_000_000, userBytes: 8_000_000 },
      pushRetryMs: 1_000,
      auditDays: 365,
      batchSize: 2,
    });
    expect((await cleaner.clean(signal)).invitations).to.equal(5);
    const left = await run<{ token: string }>('select token from third_party_invites order by token');
    expect(left.map(({ token }) => token)).to.deep.equal(['old', 't1', 't2', 't3']);
  });

  it('the space of purged rows is given back, and the rows at the end stay what they were', async () => {
    await run(`insert into events (room, nid, topo, event_id, type, sender, ts, state, prev, auth, flags, json)
      select 7 + n / 20000, n, n, decode(md5(n::text), 'hex'), 1, 1, 0, 0, '{}', '{}', 0, repeat(md5(n::text), 20)
      from generate_series(1, 30000) n`);
    const before = await tableSize(clone.database, 'events');
    const sum =
      'select count(*)::int as count, sum(nid)::bigint as nids, md5(string_agg(md5(json), $$$$ order by nid)) as texts from events';
    await run('delete from events where nid <= 20000 and nid % 10 <> 0');
    const kept = await run(sum);
    const reclaimer = new DiskSpaceReclaimer({
      database: clone.database,
      clock: systemClock,
      timers: systemTimers,
      logger: silentLogger,
      pauseMs: 0,
    });
    expect(await reclaimer.reclaimDiskSpace(signal)).to.equal(true);
    let after = await tableSize(clone.database, 'events');
    // PostgreSQL leaves the end of a table to the next time while anything else of its own looks at the table.
    for (let times = 0; times < 5 && after.bytes >= 0.5 * before.bytes; times++) {
      await reclaimer.reclaimDiskSpace(signal);
      after = await tableSize(clone.database, 'events');
    }
    expect(after.bytes).to.be.below(0.5 * before.bytes);
    expect(after.indexes).to.be.below(0.7 * before.indexes);
    expect(await run(sum)).to.deep.equal(kept);
  });
});
