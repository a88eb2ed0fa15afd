import { expect } from 'chai';
import { silentLogger } from '#src/kernel/logger.ts';
import { OutboxRelay } from '#src/services/delivery/outbox/outbox-relay.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { ManualClock } from '#test/support/manual-clock.ts';
import { waitingJobs } from '#test/support/jobs.ts';

describe('the relay of the outbox', () => {
  let clone: TestDatabase;
  before(async () => (clone = await cloneDatabase()));
  after(() => clone.drop());

  it('hands over at once what is enqueued while it hands others over', async () => {
    const { database } = clone;
    const enqueue = (n: number): Promise<void> => database.write((tx) => tx.enqueue({ name: 'test.job' }, { n }));
    const added: unknown[] = [];
    const queues = {
      knows: () => true,
      async add(_name: string, payload: unknown): Promise<boolean> {
        added.push(payload);
        if (added.length === 1) await enqueue(2);
        return true;
      },
    };
    // Time stands still: it is not found by looking now and then.
    const relay = new OutboxRelay({ database, queues, timers: new ManualClock(), logger: silentLogger });
    relay.start();
    await enqueue(1);
    await relay.idle();
    expect(added).to.deep.equal([{ n: 1 }, { n: 2 }]);
    expect(await waitingJobs(database)).to.have.length(0);
    await relay.close();
  });

  it('tries again soon what the queues could not take, and otherwise looks once a minute', async () => {
    const { database } = clone;
    const clock = new ManualClock();
    const answers = [new Error('the queue is out of reach'), false, true];
    let asked = 0;
    const queues = {
      knows: () => true,
      async add(): Promise<boolean> {
        const answer = answers[asked] ?? true;
        asked += 1;
        if (typeof answer === 'boolean') return answer;
        throw answer;
      },
    };
    const relay = new OutboxRelay({ database, queues, timers: clock, logger: silentLogger });
    relay.start();
    await relay.idle();
    expect(clock.dueIn).to.deep.equal([60_000]);
    await database.write((tx) => tx.enqueue({ name: 'test.job' }, { n: 1 }));
    await relay.idle();
    for (const tried of [1, 2]) {
      expect(asked).to.equal(tried);
      expect(await waitingJobs(database)).to.have.length(1);
      await clock.advance(5_000);
      await relay.idle();
    }
    expect(asked).to.equal(3);
    expect(await waitingJobs(database)).to.have.length(0);
    expect(clock.dueIn).to.deep.equal([50_000]);
    await relay.close();
    expect(clock.pending).to.equal(0);
  });
});
