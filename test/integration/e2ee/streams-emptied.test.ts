import { Readable } from 'node:stream';
import { expect } from 'chai';
import { sql } from '#src/storage/statement.ts';
import { GRACE_MS, PushServer } from '#test/integration/push/push-server.ts';

const DAY_MS = 86_400_000;
const ADMIN = 'admin-root';
const SLIDING = '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync';

/** Streams of which one row stays for good, and why. */
const STAYING: Readonly<Record<string, string>> = {
  device_changes: 'others have to learn that the devices are gone: one row for each user',
  event_followers: 'one row for each follower and shard',
  quarantine_changes: 'administrators may ask for them: two rows for each file that ever was in quarantine',
};

describe('everything that streams hold', function () {
  this.timeout(120_000);
  let server: PushServer;
  before(async () => {
    server = await PushServer.start();
  });
  after(() => server?.stop());

  const TABLES = sql(
    'test_all_stream_tables',
    `select distinct table_name as name from information_schema.columns where table_schema = 'public' and column_name = 'pos'
     union select 'sliding_connections' order by 1`,
  );
  /** The tables that hold something. */
  const filled = async (): Promise<string[]> => {
    const { database } = server.app.services;
    const found: string[] = [];
    for (const { name } of await database.query<{ name: string }>(TABLES, [])) {
      const [row] = await database.query(sql(`test_first_of_${name}`, `select 1 from ${name} limit 1`), []);
      if (row !== undefined) found.push(name);
    }
    return found;
  };

  it('is gone when its users are erased, its rooms and files deleted, and its time has passed', async () => {
    const { app, gateway } = server;
    const tables = (await app.services.database.query<{ name: string }>(TABLES, [])).map(({ name }) => name);
    gateway.mood = () => [503, {}];
    const roomId = await server.room('alice', 'bob', 'carol');
    const { userId: bob } = await app.session('bob');
    await server.push('bob');
    const root = await app.say('alice', roomId, 'root');
    await app.must('alice', 'PUT', `/rooms/${roomId}/send/m.room.message/mention`, {
      msgtype: 'm.text',
      body: 'bob',
      'm.mentions': { user_ids: [bob] },
    });
    await app.must(
      'alice',
      'PUT',
      `/rooms/${roomId}/send/m.test/sticky?org.matrix.msc4354.sticky_duration_ms=600000`,
      {},
    );
    await app.must('alice', 'PUT', `/rooms/${roomId}/send/m.room.message/thread`, {
      msgtype: 'm.text',
      body: 'reply',
      'm.relates_to': { rel_type: 'm.thread', event_id: root },
    });
    const following = `/_matrix/client/unstable/io.element.msc4306/rooms/${roomId}/thread/${root}/subscription`;
    await app.must('bob', 'PUT', following, {});
    await server.read('bob', roomId, root);
    await app.must('bob', 'PUT', `/user/${bob}/account_data/org.test`, { a: 1 });
    await app.setProfile('bob', { displayname: 'Bob' });
    await app.must('alice', 'PUT', '/sendToDevice/m.test/1', {
      messages: { [bob]: { '*': { n: 1 } } },
    });
    await app.must('bob', 'POST', SLIDING, {
      lists: { all: { ranges: [[0, 9]], timeline_limit: 1, required_state: [] } },
    });
    const { userId: alice } = await app.session('alice');
    const file = { content: Readable.from([Buffer.from('file')]), contentType: undefined, filename: undefined };
    const uri = (await app.services.media.upload(alice, file)).slice('mxc://'.length);
    await app.must(ADMIN, 'POST', `/_synapse/admin/v1/media/quarantine/${uri}`, {});
    await app.idle();
    await app.clock.advance(GRACE_MS);
    await app.restart();
    expect(await filled()).to.deep.equal(tables);

    gateway.mood = () => [200, { rejected: [] }];
    for (const name of ['alice', 'bob', 'carol'])
      await app.services.accounts.deactivate((await app.session(name)).userId, true);
    await app.idle();
    await app.must(ADMIN, 'DELETE', `/_synapse/admin/v2/rooms/${encodeURIComponent(roomId)}`, {
      purge: true,
    });
    await app.must(ADMIN, 'DELETE', `/_synapse/admin/v1/media/${uri}`);
    await app.idle();
    await app.clock.advance(DAY_MS);
    await app.services.streamCleaner.clean(new AbortController().signal);
    await app.idle();
    expect((await filled()).filter((name) => STAYING[name] === undefined)).to.deep.equal([]);
  });
});
