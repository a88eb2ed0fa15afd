import { expect } from 'chai';
import pg from 'pg';
import { ChildServer } from '#test/support/child-server.ts';
import { emptyDatabase } from '#test/support/database.ts';
import { ask, must } from '#test/support/http.ts';
import { until } from '#test/support/until.ts';

describe('a server with limits that starts again', function () {
  this.timeout(60_000);
  let server: ChildServer;
  let database: pg.Client;

  const register = async (name: string): Promise<string> => {
    const body = { username: name, password: 'a long password', auth: { type: 'm.login.dummy' } };
    return (await must(server.url, 'POST', '/register', { body })).access_token;
  };

  before(async () => {
    const url = await emptyDatabase();
    server = await ChildServer.start({
      database: url,
      env: { TSUDOI_RATE_LIMITS__ENABLED: 'true', TSUDOI_RATE_LIMITS__INVITE__BURST: '2' },
    });
    database = new pg.Client({ connectionString: url });
    await database.connect();
  });
  after(async () => {
    await database?.end();
    await server?.dispose();
  });

  it('lets nobody invite more users with a new room than the limit on invites allows at once', async () => {
    const token = await register('alice');
    const wish = (count: number): object => ({
      invite: Array.from({ length: count }, (_, index) => `@invited${index}:localhost`),
    });
    const { status, body } = await ask(server.url, 'POST', '/createRoom', { token, body: wish(3) });
    expect([status, body.errcode]).to.deep.equal([400, 'M_UNKNOWN']);
    await must(server.url, 'POST', '/createRoom', { token, body: wish(2) });
  });

  it('takes guests out of rooms that were closed to them before it stopped', async () => {
    const token = await register('bob');
    const guest = await register('guest');
    const room = await must(server.url, 'POST', '/createRoom', { token, body: { preset: 'public_chat' } });
    await must(server.url, 'POST', `/join/${room.room_id}`, { token: guest, body: {} });
    await server.stop();
    await database.query("update accounts set is_guest = true where user_id = '@guest:localhost'");
    await server.launch();
    const path = `/rooms/${room.room_id}/state/m.room.member/@guest:localhost`;
    await until(
      'the guest leaves',
      async () => (await must(server.url, 'GET', path, { token })).membership === 'leave',
    );
  });
});
