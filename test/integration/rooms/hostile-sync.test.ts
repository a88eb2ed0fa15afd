import { expect } from 'chai';
import fc from 'fast-check';
import { ChildServer } from '#test/support/child-server.ts';
import { ask, must } from '#test/support/http.ts';

// What a test expects in a body it says itself.
// oxlint-disable-next-line typescript/no-explicit-any
type Json = any;

const LONG = Array.from({ length: 800 }, (_, at) =>
  ((at * 2_654_435_761) % 1_679_616).toString(36).padStart(4, '0'),
).join('');
const oddText = fc.oneof(
  fc.constantFrom(
    '',
    '\0',
    'a\0b',
    LONG,
    '*',
    '@',
    '@a\0:b',
    '@alice:localhost',
    `@${LONG}:localhost`,
    '__proto__',
    '\ud800',
  ),
  fc.string({ unit: 'binary', maxLength: 12 }),
);
const odd: fc.Arbitrary<unknown> = fc.oneof(
  oddText,
  fc.constantFrom(null, true, -1, 0, 0.5, 1e300, 2 ** 53, [], {}, [[]], [null], { a: {} }),
  fc.array(oddText, { maxLength: 3 }),
);
const mixed = (members: Readonly<Record<string, fc.Arbitrary<unknown>>>): fc.Arbitrary<Json> =>
  fc.record(
    Object.fromEntries(
      Object.entries(members).map(([name, proper]) => [
        name,
        fc.oneof({ arbitrary: proper, weight: 4 }, { arbitrary: odd, weight: 1 }),
      ]),
    ),
    { requiredKeys: [] },
  );

describe('filters, tokens and account data that mean harm', function () {
  this.timeout(120_000);
  let server: ChildServer;
  let token = '';
  let roomId = '';
  let eventId = '';
  before(async () => {
    server = await ChildServer.start({ database: 'shared' });
    const body = { username: 'alice', password: 'a long password', auth: { type: 'm.login.dummy' } };
    token = (await must(server.url, 'POST', '/register', { body })).access_token;
    roomId = (await must(server.url, 'POST', '/createRoom', { token, body: { preset: 'public_chat' } })).room_id;
    const said = { msgtype: 'm.text', body: 'needle' };
    eventId = (await must(server.url, 'PUT', `/rooms/${roomId}/send/m.room.message/1`, { token, body: said })).event_id;
    const reply = { ...said, 'm.relates_to': { rel_type: 'm.thread', event_id: eventId } };
    await must(server.url, 'PUT', `/rooms/${roomId}/send/m.room.message/2`, { token, body: reply });
  });
  after(() => server?.dispose());

  const answered = async (method: string, path: string, body?: unknown): Promise<number> => {
    const { status } = await ask(server.url, method, path, { token, ...(body === undefined ? {} : { body }) });
    expect(status, `${method} ${path} ${JSON.stringify(body)}`).to.be.lessThan(500);
    return status;
  };
  const everything = async (): Promise<void> => {
    const search = { search_categories: { room_events: { search_term: 'needle', event_context: {} } } };
    const paths = [
      '/sync?timeout=0',
      '/notifications',
      `/rooms/${roomId}/messages?dir=b`,
      `/rooms/${roomId}/context/${encodeURIComponent(eventId)}`,
      `/rooms/${roomId}/event/${encodeURIComponent(eventId)}`,
      `/_matrix/client/v1/rooms/${roomId}/threads?include=participated`,
      `/_matrix/client/v1/rooms/${roomId}/relations/${encodeURIComponent(eventId)}`,
    ];
    for (const path of paths) expect(await answered('GET', path), path).to.equal(200);
    expect(await answered('POST', '/search', search)).to.equal(200);
  };

  it('ignored users may be called anything', async () => {
    const list = fc.oneof(
      odd,
      fc.record({ ignored_users: fc.oneof(odd, fc.dictionary(oddText, odd, { maxKeys: 4 })) }),
    );
    await fc.assert(
      fc.asyncProperty(list, async (content) => {
        await answered('PUT', '/user/@alice:localhost/account_data/m.ignored_user_list', content);
        await everything();
      }),
      { numRuns: 25 },
    );
  });

  it('filters and positions of sync may be anything', async () => {
    const types = fc.array(fc.oneof(oddText, fc.constantFrom('m.room.*', 'm.room.message')), { maxLength: 3 });
    const events = mixed({
      limit: fc.nat(),
      types,
      not_types: types,
      senders: fc.constantFrom([], ['@alice:localhost']),
      not_senders: fc.constantFrom([], ['@alice:localhost']),
      rooms: fc.constantFrom([], ['!x:localhost']),
      contains_url: fc.boolean(),
      lazy_load_members: fc.boolean(),
      include_redundant_members: fc.boolean(),
      unread_thread_notifications: fc.boolean(),
      related_by_rel_types: types,
      related_by_senders: fc.constantFrom([], ['@alice:localhost']),
    });
    const filter = mixed({
      event_format: fc.constantFrom('client', 'federation'),
      presence: events,
      account_data: events,
      room: mixed({
        timeline: events,
        state: events,
        ephemeral: events,
        account_data: events,
        include_leave: fc.boolean(),
      }),
    });
    const fields = fc.array(fc.oneof(oddText, fc.constantFrom('content.body', 'a\\.b', '\\', '..')), { maxLength: 4 });
    const since = fc.oneof(
      oddText,
      fc.constantFrom(
        's1_AAAAAAAAAAAAAAAAAAAAAA_run.0',
        's1_fw_run.0',
        `s1_${Buffer.alloc(16, 127).toString('base64url')}_x.zzz`,
        't1_0_0',
      ),
      fc
        .uint8Array({ minLength: 10, maxLength: 60 })
        .map((bytes) => `s1_${Buffer.from(bytes).toString('base64url')}_run.0`),
    );
    await fc.assert(
      fc.asyncProperty(filter, fields, since, odd, async (wanted, paths, from, other) => {
        await answered('POST', '/user/@alice:localhost/filter', { ...wanted, event_fields: paths });
        const json = encodeURIComponent(JSON.stringify(wanted));
        const position = encodeURIComponent(from.toWellFormed());
        const set = encodeURIComponent(String(other).toWellFormed());
        await answered('GET', `/sync?timeout=0&filter=${json}`);
        await answered('GET', `/sync?timeout=0&since=${position}&filter=${json}`);
        await answered('GET', `/sync?timeout=0&since=${position}&full_state=true&set_presence=${set}&filter=${set}`);
        await answered('POST', `/rooms/${roomId}/receipt/m.read/${encodeURIComponent(eventId)}`, { thread_id: other });
        await answered('PUT', `/user/@alice:localhost/rooms/${roomId}/tags/${set}`, { order: other });
        await answered('POST', `/rooms/${roomId}/read_markers`, { 'm.fully_read': other, 'm.read': from });
      }),
      { numRuns: 25 },
    );
    await everything();
  });
});
