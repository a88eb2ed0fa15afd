import { expect } from 'chai';
import { silentLogger } from '#src/kernel/logger.ts';
import { AccountStream } from '#src/services/accounts/stream/account-stream.ts';
import { DeviceInboxes } from '#src/services/e2ee/to-device/device-inboxes.ts';
import { sql } from '#src/storage/database.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { whileReading } from '#test/support/while-reading.ts';

const COMMIT = sql(
  'test_inbox_commit',
  'insert into to_device (user_id, device_id, pos, content) values ($1, $2, $3, $4)',
);
const DELETE_ALL = sql('test_inbox_delete_all', 'delete from to_device where user_id = $1');
const ADD_ACCOUNT = sql(
  'test_inbox_account',
  'insert into accounts (user_id, localpart, created_ts) values ($1, $2, 0)',
);
const ADD_DEVICE = sql('test_inbox_device', 'insert into devices (user_id, device_id, created_ts) values ($1, $2, 0)');

const ALICE = '@alice:example.org';
const PHONE = 'PHONE';

describe('the inbox of a device', function () {
  this.timeout(60_000);
  let clone: TestDatabase;
  let inboxes: DeviceInboxes;
  let accounts: AccountStream;

  beforeEach(async () => {
    clone = await cloneDatabase();
    await clone.database.query(ADD_ACCOUNT, [ALICE, 'alice']);
    await clone.database.query(ADD_DEVICE, [ALICE, PHONE]);
    accounts = new AccountStream(silentLogger);
    inboxes = new DeviceInboxes(clone.database, accounts);
  });
  afterEach(() => clone.drop());

  const commit = (pos: number): Promise<unknown> =>
    clone.database.query(COMMIT, [ALICE, PHONE, pos, JSON.stringify({ pos })]);
  const publish = (pos: number): void => inboxes.add(ALICE, PHONE, { pos, content: JSON.stringify({ pos }) });
  const read = async (limit = 100): Promise<unknown[]> =>
    (await inboxes.oldest(ALICE, PHONE, 1_000_000, limit)).messages.map(
      (text) => (JSON.parse(text) as { pos: number }).pos,
    );

  it('has a message once that was read after its commit and before it was published', async () => {
    await commit(16);
    expect(await read()).to.deep.equal([16]);
    publish(16);
    expect(await read()).to.deep.equal([16]);
    await commit(32);
    publish(32);
    expect(await read()).to.deep.equal([16, 32]);
  });

  it('does not have a message again that was acknowledged before it was published', async () => {
    await commit(16);
    expect(await read()).to.deep.equal([16]);
    await inboxes.acknowledge(ALICE, PHONE, 16);
    publish(16);
    expect([await read(), inboxes.peek(ALICE, PHONE)]).to.deep.equal([[], false]);
  });

  it('has each of many messages once, of which some are published while they are read', async () => {
    for (let n = 1; n <= 198; n++) await commit(16 * n);
    const reading = read(1_000);
    for (let n = 199; n <= 205; n++) {
      await commit(16 * n);
      publish(16 * n);
    }
    await reading;
    publish(16 * 198);
    const found: unknown[] = [];
    for (let page = await read(50); page.length > 0; page = await read(50)) {
      found.push(...page);
      await inboxes.acknowledge(ALICE, PHONE, page.at(-1) as number);
    }
    expect(found).to.deep.equal(Array.from({ length: 205 }, (_, n) => 16 * (n + 1)));
  });

  it('has nothing of a device that was deleted while its messages were read', async () => {
    await commit(16);
    whileReading(clone.database, async () => {
      await clone.database.query(DELETE_ALL, [ALICE]);
      accounts.publish({ kind: 'device_changed', userId: ALICE, deviceId: PHONE, change: 'deleted' });
    });
    expect(await read()).to.deep.equal([]);
    expect(await read()).to.deep.equal([]);
  });

  it('has what was committed while its messages were read and nobody knew', async () => {
    whileReading(clone.database, async () => {
      await commit(16);
      inboxes.forget(ALICE, PHONE);
    });
    expect(await read()).to.deep.equal([16]);
  });

  it('does not have again what a device received by other means while its messages were read, and has what is behind', async () => {
    for (let n = 1; n <= 202; n++) await commit(16 * n);
    whileReading(clone.database, () =>
      inboxes.received(Array.from({ length: 200 }, (_, n) => ({ userId: ALICE, deviceId: PHONE, pos: 16 * (n + 1) }))),
    );
    expect(await read(1_000)).to.deep.equal([16 * 201, 16 * 202]);
  });
});
