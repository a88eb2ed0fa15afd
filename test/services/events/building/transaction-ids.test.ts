import { expect } from 'chai';
import { TransactionIds } from '#src/services/events/building/transaction-ids.ts';
import type { Database } from '#src/storage/database.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { ManualClock } from '#test/support/manual-clock.ts';

describe('transaction ids of before the start', () => {
  let clone: TestDatabase;
  before(async () => {
    clone = await cloneDatabase();
  });
  after(() => clone?.drop());

  it('are asked for again when the database could not answer the first time', async () => {
    let isAway = true;
    const database = new Proxy(clone.database, {
      get(target, name) {
        const member: unknown = Reflect.get(target, name, target);
        if (name === 'query' && isAway) return () => Promise.reject(new Error('the database is away'));
        return typeof member === 'function' ? (member.bind(target) as unknown) : member;
      },
    }) as Database;
    const transactions = new TransactionIds(database, new ManualClock());
    const asked = await transactions.answered('a key').then(
      () => 'answered',
      (error: unknown) => (error as Error).message,
    );
    expect(asked).to.equal('the database is away');
    isAway = false;
    expect(await transactions.answered('a key')).to.equal(undefined);
  });
});
