import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import { ClientGone } from '#src/kernel/event-loop/client-gone.ts';
import { doing, Work } from '#src/kernel/event-loop/work.ts';
import pg from 'pg';
import { silentLogger } from '#src/kernel/logger.ts';
import { noMetrics } from '#src/kernel/metrics.ts';
import { systemClock } from '#src/kernel/clock.ts';
import { systemTimers } from '#src/kernel/timers.ts';
import { limiterOf } from '#src/protocol/errors/limit-exceeded.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { sequenceOf, shardOfPosition } from '#src/protocol/wire/position.ts';
import type { WriteRequest } from '#src/services/commit/operation.ts';
import { BuiltOnFailedWriteError, Writer, type WriterOptions } from '#src/services/commit/writer.ts';
import { Database } from '#src/storage/database.ts';
import type { EventRow } from '#src/storage/events/event-rows.ts';
import { StaleEpochError } from '#src/storage/commit/guarded-batch.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { type Line, recordingLogger } from '#test/support/recording-logger.ts';
import { SeveringProxy } from '#test/support/stand-ins/severing-proxy.ts';
import { until } from '#test/support/until.ts';

const ROOM = 1;

describe('the writer', function () {
  this.timeout(60_000);
  let clone: TestDatabase;
  let admin: pg.Client;

  before(async () => {
    clone = await cloneDatabase();
    admin = new pg.Client({ connectionString: clone.url });
    admin.on('error', () => undefined);
    await admin.connect();
  });
  after(async () => {
    await admin.end();
    await clone.drop();
  });
  beforeEach(async () => {
    await admin.query('truncate events, txn, receipts, account_data, room_tail');
  });

  const start = async (options: Partial<WriterOptions> = {}): Promise<Writer> => {
    const writer = new Writer({
      database: clone.database,
      clock: systemClock,
      timers: systemTimers,
      logger: silentLogger,
      metrics: noMetrics,
      ...options,
    });
    await writer.start();
    return writer;
  };

  const eventRow = (nid: number): EventRow => ({
    room: ROOM,
    nid,
    topo: nid,
    eventId: randomBytes(32),
    pdu: { type: 'm.room.message', sender: '@a:b', content: {}, origin_server_ts: 0 } as EventRow['pdu'],
    type: 1,
    skey: undefined,
    sender: 1,
    state: 0,
    prev: [],
    auth: [],
    rel: undefined,
    relType: undefined,
    replaces: undefined,
    currentState: undefined,
    flags: 0,
    json: '{}',
  });

  /** A write of one event with a new position. */
  const eventWrite = (
    writer: Writer,
    shard: number,
    more: Partial<WriteRequest> = {},
    row: Partial<EventRow> = {},
  ): WriteRequest => {
    const nid = writer.allocate(shard);
    return {
      positions: [nid],
      events: { events: [{ ...eventRow(nid), ...row }], tails: [] },
      publish: () => {},
      ...more,
    };
  };

  /** What PostgreSQL refuses whenever it comes: text cannot hold a zero byte. */
  const poison = { json: 'a\0b' };

  const accountData = (
    writer: Writer,
    shard: number,
    content: string,
    more: Partial<WriteRequest> = {},
  ): WriteRequest => {
    const pos = writer.allocate(shard);
    return {
      positions: [pos],
      streams: { accountData: [{ user: 1, room: 0, type: `t${pos}`, content, pos }] },
      publish: () => {},
      ...more,
    };
  };

  const stored = async (): Promise<number[]> =>
    (await admin.query<{ nid: string }>('select nid from events order by nid')).rows.map((row) => Number(row.nid));

  it('publishes in the order of positions, and only what is committed by then', async () => {
    const writer = await start({ batchSize: 7 });
    const published: number[] = [];
    const missing: number[] = [];
    let checks = Promise.resolve();
    const writes: Promise<void>[] = [];
    for (let i = 0; i < 300; i++) {
      const request = eventWrite(writer, i % 3, {
        publish: () => {
          const nid = request.positions[0]!;
          published.push(nid);
          expect(writer.committedIn(shardOfPosition(nid))).to.be.below(nid);
          checks = checks.then(async () => {
            if ((await admin.query('select 1 from events where nid = $1', [nid])).rowCount !== 1) missing.push(nid);
          });
        },
      });
      writes.push(writer.append(request));
      if (i % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await Promise.all(writes);
    await checks;
    expect(missing).to.deep.equal([]);
    expect(published).to.have.length(300);
    for (const shard of [0, 1, 2]) {
      const own = published.filter((nid) => shardOfPosition(nid) === shard);
      expect(own).to.deep.equal([...own].sort((a, b) => a - b));
      expect(writer.committedIn(shard)).to.equal(own.at(-1));
    }
    expect(await stored()).to.deep.equal([...published].sort((a, b) => a - b));
  });

  it('writes everything that waits in one statement', async () => {
    const writer = await start();
    const before = clone.database.statements();
    await Promise.all(Array.from({ length: 200 }, () => writer.append(eventWrite(writer, 4))));
    expect(clone.database.statements() - before).to.be.at.most(2);
  });

  it('writes all but the poisonous operation, and takes that one back', async () => {
    const writer = await start();
    const reverted: number[] = [];
    const published: number[] = [];
    const requests = Array.from({ length: 9 }, (_, i) => {
      const request: WriteRequest = eventWrite(
        writer,
        5,
        { publish: () => published.push(i), revert: () => reverted.push(i) },
        i === 4 ? poison : {},
      );
      return request;
    });
    const results = await Promise.allSettled(requests.map((request) => writer.append(request)));
    expect(results.map((result) => result.status === 'fulfilled')).to.deep.equal(requests.map((_, i) => i !== 4));
    expect([reverted, published]).to.deep.equal([[4], [0, 1, 2, 3, 5, 6, 7, 8]]);
    expect(await stored()).to.deep.equal(requests.filter((_, i) => i !== 4).map((request) => request.positions[0]));
  });

  it('finds a poisonous operation among many in a few commits, and says so in one line', async () => {
    const lines: Line[] = [];
    const writer = await start({ logger: recordingLogger(lines) });
    const before = clone.database.statements();
    const results = await Promise.allSettled(
      Array.from({ length: 256 }, (_, i) =>
        writer.append(eventWrite(writer, 5, {}, i === 100 || i === 101 ? poison : {})),
      ),
    );
    expect(results.flatMap(({ status }, i) => (status === 'rejected' ? [i] : []))).to.deep.equal([100, 101]);
    expect(clone.database.statements() - before).to.be.within(1, 40);
    expect(lines.filter(({ level }) => level !== 'debug').map(({ message }) => message)).to.deep.equal([
      'The database refused a write; the others of its batch are written',
    ]);
    expect(await stored()).to.have.length(254);
  });

  it('drops what was built on a refused operation, and nothing else', async () => {
    const writer = await start();
    let generation = 0;
    const room = { isStale: () => generation > 0, revert: () => (generation += 1) };
    const results = await Promise.allSettled([
      writer.append(eventWrite(writer, 6, room)),
      writer.append(eventWrite(writer, 6, room, poison)),
      writer.append(eventWrite(writer, 6, room)),
      writer.append(eventWrite(writer, 6)),
    ]);
    expect(results.map((result) => result.status)).to.deep.equal(['fulfilled', 'rejected', 'rejected', 'fulfilled']);
    expect((results[2] as PromiseRejectedResult).reason).to.be.instanceOf(BuiltOnFailedWriteError);
    expect(await stored()).to.have.length(2);
  });

  it('does not write events twice when only the streams of their batch are refused', async () => {
    const writer = await start();
    const published: string[] = [];
    const event = eventWrite(writer, 7, { publish: () => published.push('event') });
    const good = accountData(writer, 7, '{}', { publish: () => published.push('good') });
    const bad = accountData(writer, 7, 'a\0b', { publish: () => published.push('bad') });
    const results = await Promise.allSettled([event, bad, good].map((request) => writer.append(request)));
    expect(results.map((result) => result.status)).to.deep.equal(['fulfilled', 'rejected', 'fulfilled']);
    expect(published).to.deep.equal(['event', 'good']);
    expect(await stored()).to.deep.equal(event.positions);
  });

  it('never tells of a position that a later process may give out again', async () => {
    const first = await start();
    await first.append(eventWrite(first, 8));
    await first.append(eventWrite(first, 8, {}, poison)).catch(() => undefined);
    // What a client of the first process was told, before that process was killed.
    const told = first.committedIn(8);
    const second = await start();
    expect(second.allocate(8)).to.be.above(told);
  });

  it('keeps the order of positions over a change of process', async () => {
    const first = await start();
    const before = eventWrite(first, 9);
    await first.append(before);
    const second = await start();
    expect(second.committed()).to.deep.equal(first.committed());
    const after = eventWrite(second, 9);
    await second.append(after);
    expect(sequenceOf(after.positions[0]!)).to.equal(sequenceOf(before.positions[0]!) + 1);
  });

  it('writes nothing under a stale epoch, says so once, and accepts nothing more', async () => {
    const first = await start();
    let lost = 0;
    let reverted = 0;
    first.lostOwnership.subscribe(() => {
      lost += 1;
    });
    const second = await start();
    const results = await Promise.allSettled(
      [1, 2, 3].map((shard) => first.append(eventWrite(first, shard, { revert: () => (reverted += 1) }))),
    );
    for (const result of results) expect((result as PromiseRejectedResult).reason).to.be.instanceOf(StaleEpochError);
    expect([lost, reverted]).to.deep.equal([1, 3]);
    expect(await stored()).to.deep.equal([]);
    expect(() => first.assertAccepting())
      .to.throw(MatrixError)
      .with.property('status', 503);
    await second.append(eventWrite(second, 1));
    expect(await stored()).to.have.length(1);
  });

  it('turns new writes away while too many wait', async () => {
    const writer = await start({ queueLimit: 5 });
    const writes = Array.from({ length: 5 }, () => {
      writer.assertAccepting();
      return writer.append(eventWrite(writer, 1));
    });
    expect(() => writer.assertAccepting())
      .to.throw(MatrixError)
      .with.property('errcode', 'M_LIMIT_EXCEEDED');
    await Promise.all(writes);
    writer.assertAccepting();
  });

  it('writes large pieces one by one, by turns of those whose they are, and what is small in between', async () => {
    const writer = await start();
    const order: string[] = [];
    let batches = 0;
    writer.published.subscribe(() => void (batches += 1));
    const large = 100 * 1024;
    const write = (name: string, bytes: number): Promise<void> =>
      writer.write(name[0] ?? '', bytes, () =>
        accountData(writer, 1, '"x"', { publish: () => void order.push(`${name}@${batches}`) }),
      );
    await Promise.all([
      write('a1', large),
      write('a2', large),
      write('a3', large),
      write('b1', large),
      write('c1', 10),
    ]);
    expect(order.map((name) => name.slice(0, 2)).filter((name) => name !== 'c1')).to.deep.equal([
      'a1',
      'a2',
      'b1',
      'a3',
    ]);
    expect(order.findIndex((name) => name.startsWith('c1'))).to.be.at.most(1);
    expect(new Set(order.map((name) => name.slice(3)))).to.have.property('size', 5);
  });

  it('gives up a large piece whose client is gone before its turn, and takes no position for it; a small one is written', async () => {
    const writer = await start();
    const work = new Work('request');
    const made: string[] = [];
    const write = (name: string, bytes: number): Promise<string> =>
      doing(work, () =>
        writer.write('a', bytes, () => {
          made.push(name);
          return accountData(writer, 1, '"x"');
        }),
      ).then(
        () => 'written',
        (error: unknown) => (error instanceof ClientGone ? 'given up' : String(error)),
      );
    const all = [write('first', 100 * 1024), write('second', 100 * 1024)];
    work.isUnwanted = () => true;
    all.push(write('small', 10));
    expect(await Promise.all(all)).to.deep.equal(['written', 'given up', 'written']);
    expect(made).to.have.members(['first', 'small']);
  });

  it('refuses a large piece when too many of its party wait, and nobody else', async () => {
    const writer = await start();
    const write = (party: string): Promise<unknown> =>
      writer
        .write(party, 100 * 1024, () => accountData(writer, 1, '"x"'))
        .then(
          () => 'written',
          (error: unknown) => limiterOf(error as MatrixError),
        );
    const all = Array.from({ length: 1_010 }, () => write('a'));
    const other = write('b');
    expect(await other).to.equal('written');
    const outcomes = await Promise.all(all);
    expect(outcomes.filter((outcome) => outcome === 'writer_large')).to.have.length(9);
    expect(outcomes.filter((outcome) => outcome === 'written')).to.have.length(1_001);
  });

  it('writes what waits before it closes', async () => {
    const writer = await start({ batchSize: 3 });
    const writes = Array.from({ length: 20 }, () => writer.append(eventWrite(writer, 1)));
    await writer.close();
    await Promise.all(writes);
    expect(await stored()).to.have.length(20);
    expect(() => writer.assertAccepting()).to.throw(MatrixError);
  });

  it('continues when a listener throws', async () => {
    const writer = await start();
    const stop = writer.published.subscribe(() => {
      throw new Error('a listener');
    });
    await writer.append(eventWrite(writer, 1, { publish: () => expect.fail('a publisher') }));
    await writer.append(eventWrite(writer, 1));
    stop();
    await writer.append(eventWrite(writer, 1));
    expect(await stored()).to.have.length(3);
  });

  describe('when the database connection breaks', () => {
    /** Keeps every batch from its commit until the lock is given back. */
    const lock = async (): Promise<() => Promise<void>> => {
      const holder = new pg.Client({ connectionString: clone.url });
      await holder.connect();
      await holder.query('begin');
      await holder.query('select * from shards where id = 2 for update');
      return () => holder.end();
    };

    const blockedWriters = async (): Promise<number[]> =>
      (
        await admin.query<{ pid: number }>(
          `select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%new_events%'`,
        )
      ).rows.map((row) => row.pid);

    it('writes a batch once that was cut off before its commit', async () => {
      const writer = await start();
      const unlock = await lock();
      const published: number[] = [];
      const requests = Array.from({ length: 5 }, (_, i) => eventWrite(writer, 2, { publish: () => published.push(i) }));
      const writes = requests.map((request) => writer.append(request));
      await until('the batch waits for a lock', async () => (await blockedWriters()).length === 1);
      expect(published).to.deep.equal([]);
      await admin.query('select pg_terminate_backend($1)', [(await blockedWriters())[0]]);
      await unlock();
      await Promise.all(writes);
      expect(published).to.deep.equal([0, 1, 2, 3, 4]);
      expect(await stored()).to.deep.equal(requests.flatMap((request) => request.positions));
    });

    /** Runs `use` with a writer whose path to the database can be cut. */
    const throughProxy = async (use: (writer: Writer, proxy: SeveringProxy) => Promise<void>): Promise<void> => {
      const proxy = await SeveringProxy.to(clone.url);
      const database = await Database.open({ url: proxy.url, logger: silentLogger, metrics: noMetrics });
      try {
        await use(await start({ database }), proxy);
      } finally {
        await database.close();
        await proxy.close();
      }
    };

    it('finds that a batch was committed although nobody could say so, and writes it once', () =>
      throughProxy(async (writer, proxy) => {
        proxy.swallowAnswers();
        let published = 0;
        const requests = Array.from({ length: 5 }, () => eventWrite(writer, 3, { publish: () => (published += 1) }));
        const writes = requests.map((request) => writer.append(request));
        await until('the batch is committed', async () => (await stored()).length === 5);
        expect(published).to.equal(0);
        proxy.sever();
        await Promise.all(writes);
        expect(published).to.equal(5);
        expect(await stored()).to.deep.equal(requests.flatMap((request) => request.positions));
        await writer.append(eventWrite(writer, 3));
        expect(await stored()).to.have.length(6);
      }));

    it('writes a batch once that is still under way in the database when the connection breaks', () =>
      throughProxy(async (writer, proxy) => {
        const unlock = await lock();
        let published = 0;
        let reverted = 0;
        const requests = Array.from({ length: 5 }, () =>
          eventWrite(writer, 2, { publish: () => (published += 1), revert: () => (reverted += 1) }),
        );
        const writes = requests.map((request) => writer.append(request));
        await until('the batch waits for a lock', async () => (await blockedWriters()).length === 1);
        proxy.sever();
        await until('it is written again', async () => (await blockedWriters()).length === 2);
        await unlock();
        await Promise.all(writes);
        expect([published, reverted]).to.deep.equal([5, 0]);
        expect(await stored()).to.deep.equal(requests.flatMap((request) => request.positions));
      }));
  });
});
