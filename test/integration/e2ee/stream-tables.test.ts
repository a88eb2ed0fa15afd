import { expect } from 'chai';
import { sql } from '#src/storage/statement.ts';
import { deviceKeysOf, EncryptionServer, keyOf, type TestDevice } from '#test/integration/e2ee/encryption-server.ts';

/** Tables that hold positions of streams, or what waits for a client: who takes rows away, and how many there are at most. */
const OWNERS: Readonly<Record<string, readonly [owner: string, bound: string]>> = {
  account_data: ['the user, and their erasure', 'quotas.account_data'],
  device_changes: ['every change takes the place of the one before', 'one for each user, and each whom they signed'],
  device_changes_due: ['the writer, or the next start', 'one for each user'],
  event_followers: ['the follower, which puts the place that it has come to', 'one for each follower and shard'],
  mention: ['StreamCleaner, behind what was read', 'what is unread'],
  profile_changes: ['every change takes the place of the one before', '200 for each user'],
  pushes: ['the queue, when they are delivered, read or refused', 'what notifies users with pushers'],
  quarantine_changes: [
    'MediaCleaner, when a later change of the same file is there',
    'two for each file that ever was in quarantine',
  ],
  receipts: ['every receipt takes the place of the one before', 'quotas.thread_receipts for each user and room'],
  sliding_connections: ['the connection, when it is saved again; the device', '5 000, for a day'],
  sticky_events: ['StreamCleaner, when they have expired', 'room.max_sticky_events for each user and room'],
  thread_subscriptions: ['the one that was left longest ago', 'quotas.thread_subscriptions'],
  to_device: ['the device that acknowledges, or goes; StreamCleaner', 'e2ee.max_inbox_messages for each device'],
};

describe('the tables of streams', function () {
  this.timeout(120_000);
  let server: EncryptionServer;
  let alice: TestDevice;
  let bob: TestDevice;

  before(async () => {
    server = await EncryptionServer.start();
    alice = await server.register();
    bob = await server.register();
  });
  after(() => server.stop());

  const TABLES = sql(
    'test_stream_tables',
    `select distinct table_name as name from information_schema.columns where table_schema = 'public' and column_name = 'pos'
     union select 'sliding_connections' union select 'device_changes_due' order by 1`,
  );
  const rowsIn = async (table: string): Promise<number> => {
    const [row] = await server.database.query<{ n: number }>(
      sql(`test_rows_${table}`, `select count(*)::int as n from ${table}`),
      [],
    );
    return row?.n ?? 0;
  };

  it('have owners, every one of them, and a bound', async () => {
    const tables = await server.database.query<{ name: string }>(TABLES, []);
    expect(tables.map(({ name }) => name)).to.deep.equal(Object.keys(OWNERS));
  });

  it('are empty again when what was in them was fetched, or its device is gone', async () => {
    const path = '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync';
    const wish = { extensions: { to_device: { enabled: true }, e2ee: { enabled: true } } };
    const other = await server.login(alice);
    await server.must(other, 'POST', '/keys/upload', {
      device_keys: deviceKeysOf(other, keyOf(1)),
      one_time_keys: { 'signed_curve25519:A': { key: 'k', signatures: { [alice.userId]: { 'ed25519:X': 's' } } } },
    });
    const send = (txn: string): Promise<unknown> =>
      server.must(bob, 'PUT', `/sendToDevice/m.test/${txn}`, { messages: { [alice.userId]: { '*': { n: 1 } } } });
    await send('1');
    expect(await rowsIn('to_device')).to.equal(2);
    const { next_batch: since } = await server.sync(alice);
    await server.sync(alice, since);
    const first = await server.must(other, 'POST', path, wish);
    expect(await rowsIn('to_device')).to.equal(1);
    await server.restart();
    expect(await rowsIn('sliding_connections')).to.equal(1);
    const { extensions } = await server.must(other, 'POST', `${path}?pos=${first.pos}`, {
      extensions: {
        ...wish.extensions,
        to_device: { enabled: true, since: first.extensions.to_device.next_batch },
      },
    });
    expect(extensions.to_device.events).to.deep.equal([]);
    expect(await rowsIn('to_device')).to.equal(0);
    await send('2');
    await server.must(other, 'POST', '/logout', {});
    await server.must(alice, 'POST', '/logout/all', {});
    await server.idle();
    for (const table of ['to_device', 'sliding_connections', 'device_changes_due'])
      expect([table, await rowsIn(table)]).to.deep.equal([table, 0]);
    for (const table of ['one_time_keys', 'device_keys'])
      expect([table, await rowsIn(table)]).to.deep.equal([table, 0]);
  });
});
