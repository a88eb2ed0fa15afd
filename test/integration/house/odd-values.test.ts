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
});
