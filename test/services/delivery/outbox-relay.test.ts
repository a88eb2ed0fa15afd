import { expect } from 'chai';
import { silentLogger } from '#src/kernel/logger.ts';
import { OutboxRelay } from '#src/services/delivery/outbox/outbox-relay.ts';
import { outboxSize } from '#src/storage/delivery/outbox.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { ManualClock } from '#test/support/manual-clock.ts';

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
    expect(await outboxSize(database)).to.equal(0);
    await relay.close();
  });
});
