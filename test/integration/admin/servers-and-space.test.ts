import { expect } from 'chai';
import { sql } from '#src/storage/statement.ts';
import { InProcessServer, type Json } from '#test/support/in-process-server.ts';

const DESTINATIONS = '/_synapse/admin/v1/federation/destinations';
const MEDIA = '/_synapse/admin/v1/statistics/users/media';
const ANALYZE = sql('test_admin_analyze', 'analyze events');

describe('what administrators see of the whole server', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  before(async () => {
    server = await InProcessServer.start();
  });
  after(() => server?.stop());

  const get = (path: string): Promise<Json> => server.must('admin-root', 'GET', path);
  const upload = (name: string, bytes: number): Promise<Json> =>
    server.ask(name, 'POST', '/_matrix/media/v3/upload', undefined, { raw: 'x'.repeat(bytes) });

  it('is which other servers cannot be reached, since when, and when they are tried again', async () => {
    const { backoff, database } = server.services;
    for (const name of ['one.test', 'two.test', 'three.test']) {
      backoff.failed(name);
      await server.clock.advance(1_000);
    }
    await server.idle();
    const { destinations, total } = await get(DESTINATIONS);
    expect([destinations.map(({ destination }: Json) => destination), total]).to.deep.equal([
      ['one.test', 'three.test', 'two.test'],
      3,
    ]);
    const [one] = destinations;
    expect(one.failure_ts).to.equal(server.clock.now() - 3_000);
    expect(one.retry_last_ts + one.retry_interval).to.equal(backoff.outageOf('one.test')?.retryAt);
    expect(one.last_successful_stream_ordering).to.equal(null);
    expect(await get(`${DESTINATIONS}/one.test`)).to.deep.equal(one);
    const names = async (query: string): Promise<string[]> =>
      (await get(`${DESTINATIONS}?${query}`)).destinations.map(({ destination }: Json) => destination);
    expect(await names('order_by=failure_ts&dir=b')).to.deep.equal(['three.test', 'two.test', 'one.test']);
    expect(await names('destination=T')).to.have.length(3);
    expect(await names('destination=two')).to.deep.equal(['two.test']);
    const page = await get(`${DESTINATIONS}?limit=2`);
    expect([page.destinations.length, page.next_token]).to.deep.equal([2, '2']);
    expect((await get(`${DESTINATIONS}?limit=2&from=2`)).next_token).to.equal(undefined);
    expect(await get(`${DESTINATIONS}/one.test/rooms`)).to.deep.equal({ rooms: [], total: 0 });
    for (const path of ['', '/rooms'])
      expect((await server.ask('admin-root', 'GET', `${DESTINATIONS}/unknown.test${path}`)).status, path).to.equal(404);
    expect((await server.ask('admin-root', 'GET', `${DESTINATIONS}?order_by=odd`)).body.errcode).to.equal(
      'M_INVALID_PARAM',
    );
    await server.must('admin-root', 'POST', `${DESTINATIONS}/one.test/reset_connection`, {});
    expect(backoff.outageOf('one.test')).to.equal(undefined);
    await server.idle();
    const known = await server.ask('admin-root', 'POST', `${DESTINATIONS}/one.test/reset_connection`, {});
    // It was known by its outage alone.
    expect(known.status).to.equal(404);
    const reached = sql(
      'test_admin_delivery',
      `insert into deliveries (queue, destination, position, failures, refusals, gone)
      values ('federation', 'well.test', 7, 0, 0, false)`,
    );
    await database.query(reached);
    expect(await get(`${DESTINATIONS}/well.test`)).to.deep.equal({
      destination: 'well.test',
      retry_last_ts: 0,
      retry_interval: 0,
      failure_ts: null,
      last_successful_stream_ordering: 7,
    });
    const nothing = await server.ask('admin-root', 'POST', `${DESTINATIONS}/well.test/reset_connection`, {});
    expect([nothing.status, nothing.body.errcode]).to.deep.equal([400, 'M_UNKNOWN']);
  });

  it('is how much users have uploaded, by name, number or size', async () => {
    await upload('alice', 100);
    await upload('alice', 100);
    await upload('bob', 500);
    await server.setProfile('bob', { displayname: 'Zoë "quoted"' });
    const usage = async (query: string): Promise<Json[]> => (await get(`${MEDIA}?${query}`)).users;
    expect(await get(MEDIA)).to.deep.equal({
      users: [
        { user_id: '@alice:test', displayname: null, media_count: 2, media_length: 200 },
        { user_id: '@bob:test', displayname: 'Zoë "quoted"', media_count: 1, media_length: 500 },
      ],
      total: 2,
    });
    const names = async (query: string): Promise<string[]> => (await usage(query)).map(({ user_id: id }) => id);
    expect(await names('order_by=media_length&dir=b')).to.deep.equal(['@bob:test', '@alice:test']);
    expect(await names('order_by=media_count')).to.deep.equal(['@bob:test', '@alice:test']);
    expect(await names('search_term=zo')).to.deep.equal(['@bob:test']);
    expect(await names('search_term=test')).to.deep.equal([]);
    const page = await get(`${MEDIA}?limit=1`);
    expect([page.users.length, page.total, page.next_token]).to.deep.equal([1, 2, 1]);
    const now = server.clock.now();
    expect(await names(`from_ts=${now + 1}`)).to.deep.equal([]);
    expect(await names(`until_ts=${now}`)).to.have.length(2);
    const refused = await server.ask('admin-root', 'GET', `${MEDIA}?from_ts=5&until_ts=5`);
    expect([refused.status, refused.body.errcode]).to.deep.equal([400, 'M_INVALID_PARAM']);
  });

  it('is which rooms take most space', async () => {
    const [small, large] = [await server.room('alice'), await server.room('alice')];
    for (let count = 0; count < 30; count++) await server.say('alice', large, 'x'.repeat(1_000));
    await server.services.database.query(ANALYZE);
    const { rooms } = await get('/_synapse/admin/v1/statistics/database/rooms');
    expect(rooms[0].room_id).to.equal(large);
    expect(rooms[0].estimated_size).to.be.above(
      rooms.find(({ room_id: id }: Json) => id === small)?.estimated_size ?? 0,
    );
  });
});
