import { expect } from 'chai';
import { ChildServer } from '#test/support/child-server.ts';
import { ask, must } from '#test/support/http.ts';
import type { Json } from '#test/support/in-process-server.ts';

const DELAYED = '/_matrix/client/unstable/org.matrix.msc4140/delayed_events';

/** Alice keeps things to herself; bob, who is in a room with her, asks for them. */
describe('what a user keeps on the server', function () {
  this.timeout(60_000);
  let server: ChildServer;
  let roomId = '';
  let event = '';
  const tokens: Record<string, string> = {};
  const by = (who: string, method: string, path: string, body?: object): Promise<Json> =>
    must(server.url, method, path, { token: tokens[who], ...(body === undefined ? {} : { body }) });
  const bob = (method: string, path: string, body?: object): Promise<{ status: number; body: Json }> =>
    ask(server.url, method, path, { token: tokens['bob'], ...(body === undefined ? {} : { body }) });

  before(async () => {
    server = await ChildServer.start({ database: 'shared', env: { TSUDOI_REGISTRATION__ENABLED: 'true' } });
    for (const username of ['alice', 'bob']) {
      const body = { username, password: 'a password', auth: { type: 'm.login.dummy' } };
      tokens[username] = (await must(server.url, 'POST', '/register', { body })).access_token;
    }
    roomId = (await by('alice', 'POST', '/createRoom', { preset: 'public_chat' })).room_id;
    await by('bob', 'POST', `/rooms/${roomId}/join`, {});
    const message = { msgtype: 'm.text', body: 'something to read' };
    event = (await by('bob', 'PUT', `/rooms/${roomId}/send/m.room.message/1`, message)).event_id;
    await by('alice', 'PUT', '/user/@alice:localhost/account_data/org.example.diary', { text: 'kept-to-herself' });
    const ignored = { ignored_users: { '@kept-to-herself:localhost': {} } };
    await by('alice', 'PUT', '/user/@alice:localhost/account_data/m.ignored_user_list', ignored);
    const path = `/user/@alice:localhost/rooms/${roomId}`;
    await by('alice', 'PUT', `${path}/account_data/org.example.diary`, { text: 'kept-to-herself' });
    await by('alice', 'PUT', `${path}/tags/u.kept-to-herself`, { order: 0.5 });
    await by('alice', 'POST', `/rooms/${roomId}/report/${event}`, { reason: 'kept-to-herself' });
  });
  after(() => server.dispose());

  for (const [what, method, path, body] of [
    ['account data', 'GET', '/user/@alice:localhost/account_data/org.example.diary'],
    ['account data', 'PUT', '/user/@alice:localhost/account_data/org.example.diary', { text: 'x' }],
    ['the list of the ignored', 'GET', '/user/@alice:localhost/account_data/m.ignored_user_list'],
    ['account data of a room', 'GET', '/user/@alice:localhost/rooms/ROOM/account_data/org.example.diary'],
    ['account data of a room', 'PUT', '/user/@alice:localhost/rooms/ROOM/account_data/org.example.diary', {}],
    ['tags', 'GET', '/user/@alice:localhost/rooms/ROOM/tags'],
    ['tags', 'PUT', '/user/@alice:localhost/rooms/ROOM/tags/u.x', {}],
    ['tags', 'DELETE', '/user/@alice:localhost/rooms/ROOM/tags/u.kept-to-herself'],
    ['filters', 'POST', '/user/@alice:localhost/filter', {}],
    ['filters', 'GET', '/user/@alice:localhost/filter/0'],
    ['a token for others', 'POST', '/user/@alice:localhost/openid/request_token', {}],
    ['a profile', 'PUT', '/profile/@alice:localhost/displayname', { displayname: 'x' }],
    ['a profile', 'DELETE', '/profile/@alice:localhost/displayname'],
    ['presence', 'PUT', '/presence/@alice:localhost/status', { presence: 'online' }],
    ['typing', 'PUT', '/rooms/ROOM/typing/@alice:localhost', { typing: true }],
    ['where somebody is logged in', 'GET', '/admin/whois/@alice:localhost'],
    ['addresses', 'GET', '/_synapse/admin/v2/users/@alice:localhost'],
    ['addresses', 'PUT', '/_synapse/admin/v2/users/@alice:localhost', { threepids: [] }],
    ['where somebody is logged in', 'GET', '/_synapse/admin/v1/whois/@alice:localhost'],
    ['a lock', 'PUT', '/_matrix/client/v1/admin/lock/@alice:localhost', { locked: true }],
    ['a suspension', 'GET', '/_matrix/client/v1/admin/suspend/@alice:localhost'],
  ] as const)
    it(`is theirs: ${method} of ${what} by somebody else is refused`, async () => {
      const answer = await bob(method, path.replace('ROOM', roomId), body);
      expect([answer.status, answer.body.errcode]).to.deep.equal([403, 'M_FORBIDDEN']);
    });

  it('is in nothing that others are told', async () => {
    const requests = [
      '/sync',
      '/sync?full_state=true',
      '/initialSync',
      `/rooms/${roomId}/initialSync`,
      '/events?timeout=0',
      '/notifications',
      `/rooms/${roomId}/messages?dir=b`,
      '/devices',
      '/pushrules/',
    ];
    for (const path of requests) {
      const { status, body } = await bob('GET', path);
      expect(status, path).to.equal(200);
      expect(JSON.stringify(body), path).not.to.include('kept-to-herself');
    }
  });

  it('is not told to others when it is a private read receipt, in a thread or not', async () => {
    const { next_batch: since } = (await bob('GET', '/sync')).body;
    for (const body of [{}, { thread_id: 'main' }])
      await by('alice', 'POST', `/rooms/${roomId}/receipt/m.read.private/${event}`, body);
    await by('alice', 'POST', `/rooms/${roomId}/read_markers`, {
      'm.fully_read': event,
      'm.read.private': event,
    });
    const told = async (who: string): Promise<string[]> => {
      const found: string[] = [];
      const paths = ['/sync', `/sync?since=${since}`, '/initialSync', `/events?from=${since}&timeout=0`];
      for (const path of [...paths, `/rooms/${roomId}/initialSync`]) {
        const text = JSON.stringify(await by(who, 'GET', path));
        if (text.includes('m.read.private') || text.includes('m.fully_read')) found.push(path);
      }
      return found;
    };
    expect(await told('bob')).to.deep.equal([]);
    expect(await told('alice')).to.include('/sync');
  });

  it('is not told to others when it waits to be sent', async () => {
    const body = { msgtype: 'm.text', body: 'kept-to-herself' };
    const path = `/rooms/${roomId}/send/m.room.message/later?org.matrix.msc4140.delay=1000000`;
    const { delay_id: id } = await by('alice', 'PUT', path, body);
    expect(JSON.stringify(await by('alice', 'GET', DELAYED))).to.include('kept-to-herself');
    for (const query of ['', '?status=scheduled', `?delay_id=${id}`, `?from=0`])
      expect(JSON.stringify((await bob('GET', `${DELAYED}${query}`)).body), query).not.to.include('kept-to-herself');
    const one = await bob('GET', `${DELAYED}/${id}`);
    expect([one.status, one.body.errcode]).to.deep.equal([404, 'M_NOT_FOUND']);
  });
});
