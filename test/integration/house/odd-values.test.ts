import { expect } from 'chai';
import { ENDPOINTS } from '#src/app/endpoints.ts';
import { StreamServer } from '#test/ws/stream-server.ts';

/** Longer than what an index of PostgreSQL takes, and not to be compressed to less. */
const LONG = Array.from({ length: 4_000 }, (_, n) => ((n * 7_919) % 36).toString(36)).join('');
const ODD_IDS = [`@${LONG}:localhost`, `!${LONG}:localhost`, `$${LONG}`, `#${LONG}:localhost`, LONG];

/** What reads by ids that the path names. */
const READING = ENDPOINTS.filter(
  ({ method, path, auth }) =>
    method === 'GET' && path.includes('{') && ['none', 'optionalToken', 'accessToken', 'admin'].includes(auth),
);
const pathOf = (path: string, value: string): string => path.replaceAll(/\{\w+\}/g, encodeURIComponent(value));

describe('odd values', function () {
  this.timeout(120_000);
  let server: StreamServer;
  before(async () => {
    server = await StreamServer.start();
  });
  after(() => server.stop());

  const rows = async (): Promise<Record<string, number>> => {
    const text = `select (select count(*) from users)::int as users, (select count(*) from strings)::int as strings,
      (select count(*) from rooms)::int as rooms`;
    return (await server.app.services.database.query<Record<string, number>>({ name: 'test_names', text }))[0]!;
  };

  it('of thousands of characters are ids that nobody has: no endpoint breaks at them', async () => {
    const alice = await server.register();
    expect(READING.length).to.be.above(40);
    for (const { path, operationId } of READING)
      for (const id of ODD_IDS) {
        const { status, body } = await server.ask(alice, 'GET', pathOf(path, id));
        expect(status, `${operationId} ${id.slice(0, 1)} ${JSON.stringify(body)}`).to.be.below(500);
      }
  });

  it('that somebody only asks for, or ignores, become no rows: reading makes no names', async () => {
    const alice = await server.register();
    await server.must(alice, 'PUT', `/user/${alice.userId}/account_data/m.ignored_user_list`, { ignored_users: {} });
    await server.must(alice, 'GET', '/sync');
    const before = await rows();
    const ignored = Object.fromEntries(Array.from({ length: 500 }, (_, n) => [`@nobody${n}:localhost`, {}]));
    await server.must(alice, 'PUT', `/user/${alice.userId}/account_data/m.ignored_user_list`, {
      ignored_users: ignored,
    });
    await server.must(alice, 'GET', '/notifications');
    await server.must(alice, 'GET', '/sync');
    await server.must(alice, 'POST', '/keys/query', { device_keys: { '@unheard:localhost': [] } });
    await server.must(alice, 'POST', '/search', {
      search_categories: { room_events: { search_term: 'x', filter: { senders: ['@unseen:localhost'] } } },
    });
    for (const { path } of READING)
      for (const id of ['@neverseen:localhost', '!neverseen:localhost', '$neverseen', 'org.never.seen'])
        await server.ask(alice, 'GET', pathOf(path, id));
    expect(await rows()).to.deep.equal(before);
  });

  it('in a status message, such as NUL, are refused whichever way it comes, and lose nobody else’s presence', async () => {
    const [odd, plain] = [await server.register(), await server.register()];
    const path = (userId: string): string => `/presence/${userId}/status`;
    const bad = { presence: 'online', status_msg: 'a\u0000b' };
    const answer = await server.ask(odd, 'PUT', path(odd.userId), bad);
    expect([answer.status, answer.body.errcode]).to.deep.equal([400, 'M_INVALID_PARAM']);
    const socket = await server.connect(odd);
    expect((await socket.request('presence', bad)).error.errcode).to.equal('M_INVALID_PARAM');
    await socket.end();
    // Half a character is no text either, but nothing that the database minds.
    await server.ask(odd, 'PUT', path(odd.userId), { presence: 'online', status_msg: '\ud800' });
    await server.must(plain, 'PUT', path(plain.userId), { presence: 'online', status_msg: 'here' });
    await server.app.restart();
    expect((await server.must(plain, 'GET', path(plain.userId))).status_msg).to.equal('here');
  });

  it('such as NUL are refused in the texts that an endpoint or a method declares, and stay what they are in the content of events', async () => {
    const host = await server.register();
    const room = await server.room(host);
    const nul = 'a\u0000b';
    const refused: readonly (readonly [method: string, path: string, body?: object])[] = [
      ['POST', '/createRoom', { name: nul }],
      ['POST', '/createRoom', { invite: [`@${nul}:localhost`] }],
      ['POST', `/rooms/${room}/kick`, { user_id: '@a:localhost', reason: nul }],
      ['POST', '/keys/query', { device_keys: { [`@${nul}:localhost`]: [] } }],
      ['PUT', '/sendToDevice/m.x/1', { messages: { [host.userId]: { [nul]: {} } } }],
      ['GET', `/rooms/${encodeURIComponent(nul)}/state`],
      ['GET', `/rooms/${room}/messages?dir=b&from=${encodeURIComponent(nul)}`],
    ];
    for (const [method, path, body] of refused) {
      const answer = await server.ask(host, method, path, body);
      expect([answer.status, answer.body.errcode], path).to.deep.equal([400, 'M_INVALID_PARAM']);
      expect(answer.body.error).to.match(/must not hold a NUL character\.$/);
    }
    const socket = await server.connect(host);
    const { error } = await socket.request('leave', { room_id: room, reason: nul });
    expect(error.errcode).to.equal('M_INVALID_PARAM');
    await socket.end();
    const content = { msgtype: 'm.text', body: nul, [nul]: [nul] };
    const { event_id: id } = await server.must(host, 'PUT', `/rooms/${room}/send/m.room.message/1`, content);
    expect((await server.must(host, 'GET', `/rooms/${room}/event/${id}`)).content).to.deep.equal(content);
  });

  it('in bodies, such as NUL, half a character and texts without end, break nothing wherever a text is taken', async () => {
    const [alice, host] = [await server.register(), await server.register()];
    const room = await server.room(host);
    await server.must(alice, 'POST', `/join/${room}`, {});
    await server.must(alice, 'POST', `/rooms/${room}/leave`, {});
    const sliding = '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?timeout=0';
    const wish = { timeline_limit: 1, required_state: [] };
    const profile = `/profile/${alice.userId}`;
    const password = { type: 'm.login.password', password: 'x' };
    const bodies = (odd: string): readonly (readonly [method: string, path: string, body: object])[] => [
      ['POST', sliding, { room_subscriptions: { [odd]: wish } }],
      ['POST', sliding, { lists: { [odd]: { ...wish, ranges: [[0, 1]], filters: { spaces: [odd], tags: [odd] } } } }],
      ['POST', sliding, { extensions: { receipts: { enabled: true, rooms: [odd], lists: [odd] } }, txn_id: odd }],
      ['POST', sliding, { extensions: { 'org.matrix.msc4262.profiles': { enabled: true, include_fields: [odd] } } }],
      ['PUT', `${profile}/displayname`, { displayname: odd }],
      ['PUT', `${profile}/org.x`, { 'org.x': odd }],
      ['POST', '/user_directory/search', { search_term: odd }],
      ['POST', '/search', { search_categories: { room_events: { search_term: odd, filter: { senders: [odd] } } } }],
      ['POST', '/publicRooms', { filter: { generic_search_term: odd, room_types: [odd] } }],
      ['POST', '/createRoom', { name: odd, topic: odd, room_alias_name: odd, invite: [odd] }],
      ['POST', '/keys/query', { device_keys: { [odd]: [odd], '@a:test': [odd] } }],
      ['POST', '/keys/claim', { one_time_keys: { [alice.userId]: { [odd]: odd } } }],
      ['PUT', `/sendToDevice/m.x/t${odd.length}`, { messages: { [alice.userId]: { [odd]: {} }, [odd]: { '*': {} } } }],
      ['POST', '/room_keys/version', { algorithm: odd, auth_data: { a: odd } }],
      ['POST', '/register', { username: odd, password: odd, device_id: odd, initial_device_display_name: odd }],
      ['POST', '/login', { type: 'm.login.token', token: odd }],
      ['POST', '/login', { ...password, identifier: { type: 'm.id.user', user: odd } }],
      ['POST', '/login', { ...password, identifier: { type: 'm.id.thirdparty', medium: odd, address: odd } }],
      ['POST', '/refresh', { refresh_token: odd }],
      ['POST', '/delete_devices', { devices: [odd] }],
      ['PUT', `/rooms/${room}/redact/$x/t`, { reason: odd, with_rel_types: [odd] }],
      ['POST', `/rooms/${room}/report`, { reason: odd }],
      ['PUT', '/pushrules/global/content/x', { pattern: odd, actions: ['notify'] }],
      ['POST', `/user/${alice.userId}/filter`, { room: { rooms: [odd] } }],
      [
        'PUT',
        `/user/${alice.userId}/account_data/org.matrix.msc4155.invite_permission_config`,
        { blocked_users: [odd] },
      ],
      [
        'POST',
        '/pushers/set',
        {
          kind: 'http',
          app_id: odd,
          pushkey: odd,
          app_display_name: odd,
          device_display_name: odd,
          lang: odd,
          data: { url: 'https://push.example.org/_matrix/push/v1/notify' },
        },
      ],
    ];
    for (const odd of ['a\u0000b', '\ud800', LONG])
      for (const [method, path, body] of bodies(odd)) {
        const answer = await server.ask(alice, method, path, body);
        expect(answer.status, `${path} ${JSON.stringify(odd).slice(0, 9)}`).to.be.below(500);
      }
    expect(server.app.lines.filter(({ message }) => message.startsWith('The database refused'))).to.deep.equal([]);
  });
});
