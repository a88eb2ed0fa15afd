import assert from 'node:assert/strict';
import { registrationOf, StubAppservice } from '#test/support/stand-ins/application-service.ts';
import { InProcessServer, type Json } from '#test/support/in-process-server.ts';

/** Events in all. */
const MANY = 10_000;
const AT_ONCE = 250;

describe('application services: what they cost', function () {
  this.timeout(240_000);
  let stubs: StubAppservice[];
  let server: InProcessServer;
  let room: string;

  before(async () => {
    stubs = await Promise.all([StubAppservice.start(), StubAppservice.start(), StubAppservice.start()]);
    server = await InProcessServer.start({
      appservices: stubs.map(({ url }, n) =>
        registrationOf(`bridge${n}`, {
          url,
          sender_localpart: `bridge${n}`,
          namespaces: { users: [], aliases: [], rooms: [{ exclusive: false, regex: '!.*' }] },
        }),
      ),
    });
    room = await server.room('alice');
    await server.idle();
  });
  after(async () => {
    await server.stop();
    await Promise.all(stubs.map((stub) => stub.stop()));
  });
  beforeEach(async () => {
    await server.idle();
    for (const stub of stubs) stub.take();
  });

  const send = async (body: string): Promise<string> => {
    const { events, rooms } = server.services;
    const held = (await rooms.byId(room))!;
    const content = { msgtype: 'm.text', body };
    return (await events.send(held, { type: 'm.room.message', sender: '@alice:test', content })).eventId;
  };

  it('a send waits for no statement of theirs: its own is the only one', async () => {
    await send('warm');
    await server.idle();
    const sent = await server.statements(async () => {
      for (let n = 0; n < 20; n += 1) await send(`${n}`);
    });
    assert.ok(sent <= 20, `${sent} statements`);
  });

  it('10,000 events reach three services in order, in transactions of 100, with a few statements for each transaction', async () => {
    const said: string[] = [];
    const statements = await server.statements(async () => {
      for (let from = 0; from < MANY; from += AT_ONCE) {
        said.push(...(await Promise.all(Array.from({ length: AT_ONCE }, (_, n) => send(`${from + n}`)))));
        // What follows the sends goes on beside them.
        await server.clock.advance(20);
      }
      await server.idle();
    });
    let transactions = 0;
    for (const stub of stubs) {
      const asked = stub.take();
      transactions += asked.length;
      const got = asked.flatMap(({ body }) => body.events as Json[]).map(({ content }) => Number(content.body));
      assert.equal(got.length, MANY);
      assert.ok(asked.every(({ body }) => body.events.length <= 100));
      assert.equal(new Set(got).size, MANY);
      const { chunk } = await server.must('alice', 'GET', `/rooms/${room}/messages?dir=b&limit=1000`);
      const newest = chunk.map(({ content }: Json) => Number(content.body)).toReversed();
      assert.deepEqual(got.slice(-newest.length), newest);
    }
    // Sends are written together, lots of events are noted together, and each transaction is noted when it begins and when it arrived.
    assert.ok(
      statements <= MANY / 50 + 4 * transactions + 500,
      `${statements} statements, ${transactions} transactions`,
    );
    assert.ok(transactions <= 3 * 3 * (MANY / 100), `${transactions} transactions`);
    assert.equal(said.length, MANY);
  });

  it('a service that is away for thousands of events costs few rows, of a few bytes for each event', async () => {
    const missed = 3_000;
    const [away] = stubs;
    assert.ok(away);
    away.answer = () => [503, {}];
    for (let from = 0; from < missed; from += AT_ONCE) {
      await Promise.all(Array.from({ length: AT_ONCE }, (_, n) => send(`away ${from + n}`)));
      await server.clock.advance(20);
    }
    await server.idle();
    const [{ bytes, rows }] = (await server.services.database.query({
      name: 'test_appservice_log_size',
      text: `select count(*)::int as rows, coalesce(sum(pg_column_size(l)), 0)::int as bytes from appservice_log l where service = 'bridge0'`,
    })) as [{ rows: number; bytes: number }];
    assert.ok(rows <= missed / 20, `${rows} rows`);
    assert.ok(bytes <= missed * 16, `${bytes} bytes`);
    away.take();
    away.answer = () => [200, {}];
    await server.clock.advance(400_000);
    await server.idle();
    const got = away.take().flatMap(({ body }) => body.events as Json[]);
    assert.equal(got.length, missed);
    assert.ok(got.every(({ content }) => content.body.startsWith('away ')));
  });
});
