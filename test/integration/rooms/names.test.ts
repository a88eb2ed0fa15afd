import { expect } from 'chai';
import { sql } from '#src/storage/statement.ts';
import { type Answer, InProcessServer } from '#test/support/in-process-server.ts';

const COUNTS = sql(
  'test_counts_of_all_names',
  `select (select count(*) from users)::int as users, (select count(*) from strings)::int as types,
     (select count(*) from state_keys)::int as keys`,
);

describe('names that somebody makes up', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  let roomId: string;
  let txn = 0;

  afterEach(() => server.stop());
  const start = async (options: Parameters<typeof InProcessServer.start>[0] = {}): Promise<void> => {
    server = await InProcessServer.start(options);
    roomId = await server.room('alice', { preset: 'public_chat' });
    await server.join('bob', roomId);
    await server.say('alice', roomId, 'root');
  };
  const counts = async (): Promise<unknown> => (await server.services.database.query(COUNTS))[0];
  const send = (type: string, content: object = { a: 1 }, token = 'bob'): Promise<Answer> =>
    server.ask(token, 'PUT', `/rooms/${roomId}/send/${encodeURIComponent(type)}/n${(txn += 1)}`, content);
  const outcome = ({ status, body }: Answer): unknown => [status, body.errcode, body['org.tsudoi.limiter']];

  it('are not stored by anything that only reads', async () => {
    await start({ config: { federation: { deny: ['nowhere.test'] } } });
    const ignored = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`@invented${i}:nowhere.test`, {}]));
    await server.must('bob', 'PUT', '/user/@bob:test/account_data/m.ignored_user_list', { ignored_users: ignored });
    const long = `@${'x'.repeat(3_000)}:nowhere.test`;
    const made = encodeURIComponent('@made.up:nowhere.test');
    const filter = encodeURIComponent(JSON.stringify({ types: ['org.made.up'], senders: ['@made.up:nowhere.test'] }));
    const reads: readonly (readonly [number, string, string, object?])[] = [
      [200, 'GET', '/notifications'],
      [403, 'GET', `/v1/rooms/${roomId}/threads?include=participated`],
      [403, 'GET', `/v1/rooms/${roomId}/threads?limit=1`],
      [403, 'GET', `/rooms/${roomId}/state/org.made.up/key`],
      [403, 'GET', `/rooms/${roomId}/state/m.room.member/${made}`],
      [403, 'GET', `/rooms/${roomId}/messages?dir=b&filter=${filter}`],
      [403, 'GET', `/presence/${made}/status`],
      [403, 'GET', `/presence/${encodeURIComponent(long)}/status`],
      [403, 'GET', `/profile/${made}`],
      [200, 'GET', '/sync'],
      [403, 'GET', `/rooms/${roomId}/members?at=${server.syncToken()}`],
      [
        200,
        'POST',
        '/search',
        { search_categories: { room_events: { search_term: 'root', filter: { senders: ['@made.up:nowhere.test'] } } } },
      ],
      [200, 'POST', '/user_directory/search', { search_term: 'made' }],
      [200, 'GET', `/v1/rooms/${roomId}/hierarchy`],
      [404, 'GET', `/v1/rooms/${roomId}/relations/${encodeURIComponent('$made-up')}/org.made.up/org.made.up`],
    ];
    for (const [, method, path, body] of reads) await server.ask('bob', method, path, body);
    const before = await counts();
    for (const [expected, method, path, body] of reads) {
      const { status } = await server.ask('carol', method, path, body);
      expect(status, path).to.equal(expected);
      await server.ask('bob', method, path, body);
    }
    // Of carol nothing is stored but that she is there.
    const { users, ...others } = (await counts()) as { users: number };
    const { users: usersBefore, ...othersBefore } = before as { users: number };
    expect(others).to.deep.equal(othersBefore);
    expect(users - usersBefore).to.be.at.most(1);
  });

  it('of types and of relations are limited for each user, as state and with new rooms too; what is known is free', async () => {
    await start({ rateLimits: { new_type: { perSecond: 0.001, burst: 5 } } });
    for (let i = 0; i < 2; i++) expect((await send(`org.made.up${i}`)).status).to.equal(200);
    const relating = { 'm.relates_to': { rel_type: 'org.made.relation', event_id: '$x' } };
    expect((await send('org.made.up2', relating)).status).to.equal(200);
    const path = `/rooms/${await server.room('bob')}/state/org.made.state`;
    expect((await server.ask('bob', 'PUT', `${path}/key`, {})).status).to.equal(200);
    const refused = [429, 'M_LIMIT_EXCEEDED', 'new_type'];
    expect(outcome(await send('org.made.up3'))).to.deep.equal(refused);
    expect(
      outcome(
        await send('m.room.message', {
          msgtype: 'x',
          body: '',
          'm.relates_to': { rel_type: 'org.made.other', event_id: '$x' },
        }),
      ),
    ).to.deep.equal(refused);
    expect(outcome(await server.ask('bob', 'PUT', `/rooms/${roomId}/state/org.made.up3/`, {}))).to.deep.equal(refused);
    const wish = { initial_state: [{ type: 'org.made.up3', content: {} }] };
    expect(outcome(await server.ask('bob', 'POST', '/createRoom', wish))).to.deep.equal(refused);
    // Known by now, and so they were before a restart.
    expect((await send('org.made.up0', relating)).status).to.equal(200);
    await server.restart();
    for (let i = 0; i < 3; i++) expect((await send(`org.made.up${i}`, relating)).status).to.equal(200);
    expect((await server.ask('bob', 'PUT', `${path}/another`, {})).status).to.equal(200);
    expect((await send('org.made.up3', {}, 'alice')).status).to.equal(200);
    expect((await send('org.made.up3')).status).to.equal(200);
  });

  it('of state are limited for each room: what is there may change, and members come and go', async () => {
    await start({ config: { room: { maxStateEvents: 12 } } });
    const set = (key: string, n = 0, token = 'alice'): Promise<Answer> =>
      server.ask(token, 'PUT', `/rooms/${roomId}/state/org.made.state/${key}`, { n });
    let added = 0;
    for (; (await set(`k${added}`)).status === 200; added++) expect(added).to.be.below(12);
    expect(added).to.be.above(3);
    expect(outcome(await set('more'))).to.deep.equal([413, 'M_TOO_LARGE', undefined]);
    expect((await set('k0', 1)).status).to.equal(200);
    await server.join('carol', roomId);
    expect((await server.must('alice', 'GET', `/rooms/${roomId}/joined_members`)).joined).to.have.property(
      '@carol:test',
    );
  });
});
