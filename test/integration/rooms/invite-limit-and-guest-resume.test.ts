import { expect } from 'chai';
import { ChildServer } from '#test/support/child-server.ts';
import { emptyDatabase } from '#test/support/database.ts';
import { ask, must } from '#test/support/http.ts';
import { until } from '#test/support/until.ts';

describe('a server with limits that starts again', function () {
  this.timeout(60_000);
  let server: ChildServer;

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
  });
  after(async () => {
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

  it('takes guests out of rooms that were closed to them right before it was killed', async () => {
    const token = await register('bob');
    const guest = await must(server.url, 'POST', '/register?kind=guest', { body: {} });
    const room = await must(server.url, 'POST', '/createRoom', { token, body: { preset: 'private_chat' } });
    const state = `/rooms/${room.room_id}/state`;
    await must(server.url, 'PUT', `${state}/m.room.join_rules`, { token, body: { join_rule: 'public' } });
    await must(server.url, 'POST', `/join/${room.room_id}`, { token: guest.access_token, body: {} });
    await must(server.url, 'PUT', `${state}/m.room.guest_access`, { token, body: { guest_access: 'forbidden' } });
    await server.restart('SIGKILL');
    const path = `${state}/m.room.member/${guest.user_id}`;
    await until(
      'the guest leaves',
      async () => (await must(server.url, 'GET', path, { token })).membership === 'leave',
    );
  });
});
