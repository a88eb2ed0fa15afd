import { expect } from 'chai';
import { noMetrics } from '#src/kernel/metrics.ts';
import { silentLogger } from '#src/kernel/logger.ts';
import { NotedChanges, type Positioned } from '#src/services/commit/noted-changes.ts';
import type { WriteRequest } from '#src/services/commit/operation.ts';
import { Writer, WriterOverloadedError } from '#src/services/commit/writer.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { ManualClock } from '#test/support/manual-clock.ts';

interface Change {
  readonly userId: string;
  readonly field: string;
}

/** A writer that has too much to do as long as somebody says so. */
class BusyWriter extends Writer {
  isBusy = false;
  /** What is appended waits for it first. */
  held: Promise<void> | undefined;

  override async append(request: WriteRequest): Promise<void> {
    await this.held;
    return super.append(request);
  }

  override assertAccepting(): void {
    if (this.isBusy) throw new WriterOverloadedError();
    super.assertAccepting();
  }
}

describe('a change that was noted', () => {
  let clone: TestDatabase;
  let clock: ManualClock;
  let writer: BusyWriter;
  let due: Change[];
  let changes: NotedChanges<Change>;
  const told: Change[] = [];
  let stored: Positioned<Change>[];
  /** How many were to be read each time. */
  const asked: number[] = [];

  before(async () => {
    clone = await cloneDatabase();
  });
  after(() => clone.drop());
  beforeEach(async () => {
    clock = new ManualClock();
    const options = { clock, timers: clock, logger: silentLogger };
    writer = new BusyWriter({ ...options, database: clone.database, metrics: noMetrics });
    await writer.start();
    due = [];
    stored = [];
    asked.length = 0;
    changes = new NotedChanges<Change>({
      ...options,
      name: 'changes',
      writer,
      kept: 10,
      keyOf: ({ field, userId }) => `${userId} ${field}`,
      due: async () => [...due],
      write: (change) => ({ streams: { profileChanges: [change] } }),
      read: async (_after, _upTo, most = Infinity) => {
        asked.push(most);
        return stored.slice(0, most);
      },
    });
    told.length = 0;
    changes.changed.subscribe(({ field, userId }) => {
      due = due.filter((change) => change.userId !== userId);
      told.push({ userId, field });
    });
  });
  afterEach(async () => {
    await changes.close();
    await writer.close();
  });

  const note = (userId: string): Change => {
    const change = { userId, field: 'm.tz' };
    due.push(change);
    return change;
  };

  it('is one of few that are told one by one, or there are too many to be looked at', async () => {
    await changes.start();
    const rowsOf = (count: number): Positioned<Change>[] =>
      Array.from({ length: count }, (_, n) => ({ userId: `@u${n}:test`, field: 'm.tz', pos: n }));
    const before = Array.from({ length: 16 }, () => 0);
    const now = writer.committed();
    stored = rowsOf(20_000);
    expect(await changes.fewBetween(before, now)).to.have.lengthOf(20_000);
    stored = rowsOf(40_000);
    expect(await changes.fewBetween(before, now)).to.equal(undefined);
    expect(asked).to.deep.equal([20_001, 20_001]);
    expect(await changes.between(before, now)).to.have.lengthOf(40_000);
  });

  it('is told after the commit', async () => {
    await changes.start();
    const change = note('@alice:test');
    changes.publish(change);
    await changes.published('@alice:test');
    expect(told).to.deep.equal([change]);
  });

  it('is told by the next process when this one ended before', async () => {
    const change = note('@alice:test');
    await changes.start();
    expect(told).to.deep.equal([change]);
  });

  it('is published later when the writer was overloaded, also without a further change', async () => {
    await changes.start();
    const [alice, bob] = [note('@alice:test'), note('@bob:test')];
    writer.isBusy = true;
    changes.publish(alice);
    changes.publish(bob);
    await changes.published('@alice:test');
    await clock.advance(2_000);
    await changes.idle();
    expect(told).to.deep.equal([]);
    writer.isBusy = false;
    await clock.advance(2_000);
    await changes.idle();
    expect(told).to.deep.equal([alice, bob]);
    await clock.advance(60_000);
    await changes.idle();
    expect(told).to.have.length(2);
  });

  /** Alice's change waits for its commit, while bob's, which the writer had no room for, is tried again. */
  const heldUp = async () => {
    await changes.start();
    const [alice, bob] = [note('@alice:test'), note('@bob:test')];
    writer.isBusy = true;
    changes.publish(bob);
    await changes.published('@bob:test');
    writer.isBusy = false;
    const commit = Promise.withResolvers<void>();
    writer.held = commit.promise;
    changes.publish(alice);
    await clock.advance(2_000);
    return { alice, bob, commit };
  };

  it('is told once, though others are tried again while it waits for its commit', async () => {
    const { alice, bob, commit } = await heldUp();
    commit.resolve();
    await changes.idle();
    expect(told).to.have.deep.members([alice, bob]);
  });

  it('is told a little later when its commit fails after it was tried again in vain', async () => {
    const { alice, bob, commit } = await heldUp();
    commit.reject(new Error('no commit'));
    await changes.idle();
    writer.held = undefined;
    await clock.advance(2_000);
    await changes.idle();
    expect(told).to.have.deep.members([alice, bob]);
  });

  it('is not tried again by a server that ended while it failed', async () => {
    await changes.start();
    const timers = clock.pending;
    const commit = Promise.withResolvers<void>();
    writer.held = commit.promise;
    changes.publish(note('@alice:test'));
    const closed = changes.close();
    commit.reject(new Error('no commit'));
    await closed;
    expect(clock.pending).to.equal(timers);
  });
});
