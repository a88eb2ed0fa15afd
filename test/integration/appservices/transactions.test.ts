import assert from 'node:assert/strict';
import { registrationOf, StubAppservice } from '#test/support/stand-ins/application-service.ts';
import { InProcessServer, type Json } from '#test/support/in-process-server.ts';

/** A bridge whose users are named `irc-...`. */
const bridge = (url: string | null, more: object = {}) =>
  registrationOf('irc', {
    url,
    sender_localpart: 'irc-bot',
    namespaces: {
      users: [{ exclusive: true, regex: '@irc-.*' }],
      aliases: [{ exclusive: true, regex: '#irc-.*' }],
      rooms: [],
    },
    ...more,
  });

describe('application services: transactions', () => {
  let stub: StubAppservice;
  let server: InProcessServer;

  before(async () => {
    stub = await StubAppservice.start();
    server = await InProcessServer.start({ appservices: [bridge(stub.url)] });
  });
  after(async () => {
    await server.stop();
    await stub.stop();
  });
  beforeEach(async () => {
    stub.answer = () => [200, {}];
    await server.idle();
    stub.take();
  });

  /** The events of what it was sent since the last time, once each. */
  const events = (): Json[] => stub.take().flatMap(({ body }) => body?.events ?? []);
  const bodies = (): string[] => events().flatMap(({ content }: Json) => content.body ?? []);

  const bridgedRoom = async (): Promise<string> => {
    await server.clock.advance(1);
    const room = await server.room('alice', { preset: 'public_chat' });
    await server.join('irc-bob', room);
    await server.idle();
    stub.take();
    return room;
  };

  it('a message in a room with a user of its namespace arrives, as clients read it, with the proof of the server', async () => {
    const room = await bridgedRoom();
    await server.clock.advance(1_000);
    const eventId = await server.say('alice', room, 'hello');
    await server.clock.advance(500);
    await server.idle();
    const [asked, ...more] = stub.take();
    assert.deepEqual(more, []);
    assert.equal(asked?.method, 'PUT');
    assert.match(asked?.path ?? '', /^\/_matrix\/app\/v1\/transactions\/[^/]+$/);
    assert.equal(asked?.headers.authorization, 'Bearer hs_token_of_irc');
    assert.equal(asked?.query.has('access_token'), false);
    const [event] = asked?.body.events ?? [];
    assert.equal(event.event_id, eventId);
    assert.equal(event.room_id, room);
    assert.equal(event.sender, '@alice:test');
    assert.deepEqual(event.content, { msgtype: 'm.text', body: 'hello' });
    assert.equal(typeof event.unsigned.age, 'number');
    assert.equal(typeof event.origin_server_ts, 'number');
  });

  it('rooms without users of its namespace are none of its business', async () => {
    const room = await server.room('alice');
    await server.say('alice', room, 'private');
    await server.idle();
    assert.deepEqual(stub.take(), []);
  });

  it('events are sent from when a user of its joins, with the invite, until they leave', async () => {
    const room = await server.room('alice');
    await server.say('alice', room, 'before');
    await server.idle();
    assert.deepEqual(events(), []);
    await server.must('alice', 'POST', `/rooms/${room}/invite`, { user_id: '@irc-carol:test' });
    await server.idle();
    const [invite, ...others] = events();
    assert.deepEqual(others, []);
    assert.equal(invite.state_key, '@irc-carol:test');
    assert.equal(invite.content.membership, 'invite');
    const told = invite.unsigned.invite_room_state.map(({ type }: Json) => type);
    assert.ok(told.includes('m.room.create'), told.join());
    await server.say('alice', room, 'while invited');
    await server.idle();
    assert.deepEqual(events(), []);
    await server.join('irc-carol', room);
    await server.say('alice', room, 'while joined');
    await server.must('irc-carol', 'POST', `/rooms/${room}/leave`, {});
    await server.say('alice', room, 'afterwards');
    await server.idle();
    const seen = events();
    assert.deepEqual(
      seen.map(({ content }: Json) => content.membership ?? content.body),
      ['join', 'while joined', 'leave'],
    );
    assert.equal(seen[0].unsigned.prev_content.membership, 'invite');
  });

  it('events by its users are sent to it as well, and redactions of what it knows', async () => {
    const room = await bridgedRoom();
    const eventId = await server.say('irc-bob', room, 'from the other side');
    await server.must('alice', 'PUT', `/rooms/${room}/redact/${eventId}/r1`, {}).catch(() => undefined);
    await server.idle();
    const seen = events();
    assert.equal(seen[0].event_id, eventId);
    const redaction = seen.find(({ type }: Json) => type === 'm.room.redaction');
    assert.equal(redaction.redacts, eventId);
    assert.equal(redaction.content.redacts, eventId);
  });

  it('rooms with an alias in its namespace are of interest, from when they have it', async () => {
    const room = await server.room('alice', { preset: 'public_chat' });
    await server.say('alice', room, 'without');
    await server.idle();
    assert.deepEqual(events(), []);
    await server.services.database.query(
      {
        name: 'test_alias_insert',
        text: `insert into aliases (alias, room, creator, created_ts) select '#irc-x:test', nid, '@irc-bot:test', 0 from rooms where room_id = $1`,
      },
      [room],
    );
    await server.say('alice', room, 'with');
    await server.idle();
    assert.deepEqual(bodies(), ['with']);
  });

  it('hundreds of events arrive in order, in transactions of 100 at most', async () => {
    const room = await bridgedRoom();
    const texts = Array.from({ length: 450 }, (_, n) => `m${n}`);
    await Promise.all(texts.map((text) => server.say('alice', room, text)));
    await server.idle();
    const asked = stub.take();
    const sizes = asked.map(({ body }) => body.events.length);
    assert.ok(Math.max(...sizes) <= 100, sizes.join());
    const got = asked.flatMap(({ body }) => body.events.map((event: Json) => event.event_id));
    const page = await server.must('alice', 'GET', `/rooms/${room}/messages?dir=b&limit=500`);
    const all = page.chunk.filter(({ type }: Json) => type === 'm.room.message').map((event: Json) => event.event_id);
    assert.deepEqual(got, all.slice(0, 450).toReversed());
    assert.equal(new Set(asked.map(({ path }) => path)).size, asked.length);
  });

  it('a transaction that fails is sent again with the same id and content, and what came meanwhile follows', async () => {
    const room = await bridgedRoom();
    stub.answer = () => [503, {}];
    await server.say('alice', room, 'one');
    await server.idle();
    await server.say('alice', room, 'two');
    await server.idle();
    await server.clock.advance(1_000 * 1.3);
    await server.idle();
    const failed = stub.take();
    assert.ok(failed.length >= 2);
    stub.answer = () => [200, {}];
    await server.clock.advance(400_000);
    await server.idle();
    const arrived = stub.take();
    const [first] = failed;
    for (const again of [...failed, arrived[0]]) {
      assert.equal(again?.path, first?.path);
      assert.deepEqual(again?.body, first?.body);
    }
    assert.deepEqual(
      arrived.map(({ body }) => body.events.map(({ content }: Json) => content.body)),
      [['one'], ['two']],
    );
    assert.notEqual(arrived[0]?.path, arrived[1]?.path);
  });

  it('what waited for a service when the server was killed is sent by the next one, under the same id', async () => {
    const room = await bridgedRoom();
    stub.answer = () => [500, {}];
    await server.say('alice', room, 'one');
    await server.idle();
    await server.say('alice', room, 'two');
    await server.idle();
    const [failed] = stub.take();
    await server.kill();
    stub.answer = () => [200, {}];
    await server.revive();
    await server.idle();
    const arrived = stub.take();
    assert.equal(arrived[0]?.path, failed?.path);
    assert.deepEqual(
      arrived.map(({ body }) => body.events.map(({ content }: Json) => content.body)),
      [['one'], ['two']],
    );
  });

  it('a service that is away for long costs a row for each lot of events, and gets all of them when it is back', async () => {
    const room = await bridgedRoom();
    stub.answer = () => [502, {}];
    const texts = Array.from({ length: 1_500 }, (_, n) => `m${n}`);
    for (let from = 0; from < texts.length; from += 250)
      await Promise.all(texts.slice(from, from + 250).map((text) => server.say('alice', room, text)));
    await server.idle();
    const [{ rows }] = (await server.services.database.query({
      name: 'test_appservice_log_rows',
      text: 'select count(*)::int as rows from appservice_log',
    })) as [{ rows: number }];
    assert.ok(rows < 150, `${rows} rows`);
    assert.equal(server.services.appserviceTransactions.stateOf('irc').waiting >= 1_500, true);
    stub.take();
    stub.answer = () => [200, {}];
    await server.clock.advance(400_000);
    await server.idle();
    const got = bodies();
    assert.equal(got.length, 1_500);
    assert.deepEqual(new Set(got), new Set(texts));
    assert.equal(server.services.appserviceTransactions.stateOf('irc').waiting, 0);
    const [left] = (await server.services.database.query({
      name: 'test_appservice_log_rows',
      text: 'select count(*)::int as rows from appservice_log',
    })) as [{ rows: number }];
    assert.equal(left.rows, 0);
  });

  it('a transaction that is too large is sent in parts', async () => {
    const room = await bridgedRoom();
    stub.answer = ({ body }) => (body.events.length > 3 ? [413, { errcode: 'M_TOO_LARGE' }] : [200, {}]);
    await Promise.all(Array.from({ length: 20 }, (_, n) => server.say('alice', room, `m${n}`)));
    await server.idle();
    const accepted = stub.take().filter(({ body }) => body.events.length <= 3);
    const got = accepted.flatMap(({ body }) => body.events.map(({ content }: Json) => content.body));
    assert.equal(got.length, 20);
    assert.equal(new Set(got).size, 20);
  });

  it('a service that knows only the ways of earlier versions is asked in those', async () => {
    const room = await bridgedRoom();
    stub.answer = ({ path, query }) => {
      if (query.get('access_token') !== 'hs_token_of_irc') return [403, { errcode: 'M_FORBIDDEN' }];
      return path.startsWith('/transactions/') ? [200, {}] : [404, 'Not found'];
    };
    await server.say('alice', room, 'old');
    await server.idle();
    const last = stub.take().at(-1);
    assert.match(last?.path ?? '', /^\/transactions\//);
    assert.equal(last?.headers.authorization, 'Bearer hs_token_of_irc');
    assert.equal(last?.body.events[0].content.body, 'old');
    await server.say('alice', room, 'again');
    await server.idle();
    const asked = stub.take();
    assert.equal(asked.length, 1, 'the way that worked is remembered');
    assert.match(asked[0]?.path ?? '', /^\/transactions\//);
  });

  it('nothing piles up for a service without a URL, and what was waiting goes when it loses its URL', async () => {
    const room = await bridgedRoom();
    stub.answer = () => [500, {}];
    await server.say('alice', room, 'waits');
    await server.idle();
    await server.registerAppservices([bridge(null)]);
    await server.reload();
    await server.idle();
    await server.say('alice', room, 'for nobody');
    await server.idle();
    const state = server.services.appserviceTransactions.stateOf('irc');
    await server.registerAppservices([bridge(stub.url)]);
    await server.reload();
    stub.answer = () => [200, {}];
    await server.say('alice', room, 'for the bridge');
    await server.clock.advance(400_000);
    await server.idle();
    assert.equal(state.waiting, 0);
    assert.deepEqual(
      bodies().filter((body) => body === 'for nobody'),
      [],
    );
    assert.deepEqual(
      server.lines.filter(({ level }) => level === 'error'),
      [],
    );
  });

  it('a service that is removed while it cannot be reached, and registered again, is sent what comes from then on', async () => {
    const room = await bridgedRoom();
    stub.answer = () => [500, {}];
    await server.say('alice', room, 'before it was removed');
    await server.idle();
    await server.registerAppservices([]);
    await server.reload();
    await server.idle();
    await server.say('alice', room, 'while it was not there');
    await server.idle();
    await server.registerAppservices([bridge(stub.url)]);
    await server.reload();
    await server.idle();
    const before = stub.take();
    stub.answer = () => [200, {}];
    for (const text of ['one', 'two']) {
      await server.say('alice', room, text);
      await server.idle();
    }
    const after = stub.take();
    assert.deepEqual(
      after.flatMap(({ body }) => (body?.events ?? []).map(({ content }: Json) => content.body)),
      ['one', 'two'],
    );
    const names = new Set(before.map(({ path }) => path));
    assert.ok(!after.some(({ path }) => names.has(path)), 'names of transactions are never used again');
  });

  it('administrators are shown how it stands with it: what waits, since when, and why', async () => {
    const room = await bridgedRoom();
    const shown = async (): Promise<Json> =>
      (await server.must('admin-ann', 'GET', '/_tsudoi/admin/v1/appservices')).appservices.find(
        ({ id }: Json) => id === 'irc',
      ).delivery;
    stub.answer = () => [503, {}];
    await server.say('alice', room, 'waits');
    await server.idle();
    const away = await shown();
    assert.equal(away.waiting_events, 1);
    assert.equal(away.failures, 1);
    assert.ok(away.retry_at > server.clock.now());
    assert.match(away.last_failure, /503/);
    stub.answer = () => [200, {}];
    await server.clock.advance(400_000);
    await server.idle();
    const back = await shown();
    assert.deepEqual([back.waiting_events, back.failures, back.last_failure, back.retry_at], [0, 0, null, null]);
    assert.ok(back.last_success_ts > away.last_success_ts);
    const one = await server.must('admin-ann', 'GET', '/_tsudoi/admin/v1/appservices/irc');
    assert.deepEqual(one.delivery, back);
  });
});
