import { expect } from 'chai';
import fc from 'fast-check';
import { SearchServer } from '#test/integration/reading/search/search-server.ts';
import { type Json, InProcessServer } from '#test/support/in-process-server.ts';

/** Nothing that could be stored more shortly. */
const LONG = Array.from({ length: 1000 }, (_, at) =>
  ((at * 2_654_435_761) % 1_679_616).toString(36).padStart(4, '0'),
).join('');
const ODD_TEXTS = [
  '',
  '\0',
  'a\0b',
  '\ud800',
  LONG,
  '*',
  '**',
  '%',
  '\\',
  'm.thread',
  'm.replace',
  '$',
  '!',
  '@',
  '🏳️‍🌈',
  '__proto__',
];

/** Whatever JSON can hold, with the values that trip databases and parsers up among it. */
const oddText = fc.oneof(fc.constantFrom(...ODD_TEXTS), fc.string({ unit: 'binary', maxLength: 20 }));
const oddNumber = fc.oneof(fc.integer(), fc.constantFrom(-1, 0, 1e15, 2 ** 53, 1e300, 0.5));
const odd: fc.Arbitrary<unknown> = fc.oneof(
  oddText,
  oddNumber,
  fc.constantFrom(null, true, false, [], {}, [[]], [null], { a: {} }),
  fc.array(oddText, { maxLength: 3 }),
);

/** An object some of whose members are as they should be, and some are odd. */
const mixed = (members: Readonly<Record<string, fc.Arbitrary<unknown>>>): fc.Arbitrary<Json> =>
  fc.record(
    Object.fromEntries(
      Object.entries(members).map(([name, proper]) => [
        name,
        fc.oneof({ arbitrary: proper, weight: 3 }, { arbitrary: odd, weight: 1 }),
      ]),
    ),
    { requiredKeys: [] },
  );

describe('input that means harm', function () {
  this.timeout(120_000);
  let server: InProcessServer;
  let search: SearchServer;
  let roomId = '';
  let otherRoom = '';
  const targets: string[] = [];
  let txn = 0;

  before(async () => {
    server = await InProcessServer.start();
    search = await SearchServer.start(server);
    roomId = await server.room('alice', { preset: 'public_chat' });
    otherRoom = await server.room('alice');
    await server.join('bob', roomId);
    for (const text of ['one', 'two', '東京']) targets.push(await server.say('alice', roomId, text));
    targets.push(await server.say('alice', otherRoom, 'elsewhere'));
  });
  after(() => search.stop());

  const path = (text: string): string => encodeURIComponent(text.toWellFormed());
  /** A request that may be refused, in the client's fault: `ask` throws for 500. */
  const answered = async (method: string, url: string, body?: unknown): Promise<Json> => {
    const answer = await server.ask('alice', method, url, body);
    expect(answer.status, `${method} ${url}`).to.be.lessThan(500);
    return answer;
  };
  const eventId = fc.oneof(
    fc.nat({ max: 3 }).map((at) => () => targets[at] ?? ''),
    oddText.map((text) => () => text),
    fc.constantFrom('$nothing', `$${'A'.repeat(43)}`, `$${LONG}`).map((text) => () => text),
  );
  const token = fc.oneof(
    oddText,
    fc.constantFrom(
      't1_0_0',
      't1_-9_-9',
      't1_2gosa7pa2gv_2gosa7pa2gv',
      't1_zzzzzzzzzzzzz_zzzzzzzzzzzz',
      's1_AAAAAAAAAAAAAAAAAAAAAA_run.0',
      's1_AA_run.0',
      'f1_W10',
    ),
    fc.tuple(fc.maxSafeInteger(), fc.maxSafeInteger()).map(([a, b]) => `t1_${a.toString(36)}_${b.toString(36)}`),
  );

  it('does no harm in m.relates_to, and rooms stay readable', async () => {
    const relates = fc.oneof(
      { arbitrary: odd, weight: 1 },
      {
        arbitrary: fc.tuple(
          mixed({
            rel_type: fc.oneof(fc.constantFrom('m.thread', 'm.replace', 'm.annotation', 'm.reference'), oddText),
            key: oddText,
            'm.in_reply_to': fc.record({ event_id: oddText }),
            is_falling_back: fc.boolean(),
          }),
          eventId,
        ),
        weight: 6,
      },
    );
    await fc.assert(
      fc.asyncProperty(
        relates,
        odd,
        fc.constantFrom('m.room.message', 'm.reaction', 'm.room.encrypted', 'x'),
        async (given, newContent, type) => {
          const relation =
            Array.isArray(given) && typeof given[1] === 'function' ? { ...given[0], event_id: given[1]() } : given;
          const content = { body: 'x', 'm.relates_to': relation, 'm.new_content': newContent };
          await answered('PUT', `/rooms/${roomId}/send/${type}/h${(txn += 1)}`, content);
        },
      ),
      { numRuns: 200 },
    );
    for (const target of targets.slice(0, 3)) {
      await server.must('bob', 'GET', `/rooms/${roomId}/event/${path(target)}`);
      await server.must('bob', 'GET', `/v1/rooms/${roomId}/relations/${path(target)}?recurse=true&limit=500`);
    }
    await server.must('bob', 'GET', `/v1/rooms/${roomId}/threads`);
    await server.must('bob', 'GET', `/rooms/${roomId}/messages?dir=b&limit=1000`);
  });

  it('does no harm in ids, types, state keys and reasons', async () => {
    await fc.assert(
      fc.asyncProperty(oddText, oddText, odd, async (one, two, content) => {
        const [a, b] = [path(one), path(two)];
        await answered('PUT', `/rooms/${roomId}/send/${a}/${b}`, { content });
        await answered('PUT', `/rooms/${roomId}/state/${a}/${b}`, { content });
        await answered('GET', `/rooms/${roomId}/state/${a}/${b}?format=event`);
        await answered('PUT', `/rooms/${roomId}/redact/${a}/${b}`, { reason: content, redacts: one });
        await answered('PUT', `/rooms/${roomId}/send/m.room.redaction/${b}`, { redacts: content });
        await answered('GET', `/rooms/${roomId}/event/${a}`);
        await answered('GET', `/rooms/${a}/event/${b}`);
        await answered('GET', `/rooms/${roomId}/context/${a}?limit=3`);
        await answered('GET', `/v1/rooms/${roomId}/relations/${path(targets[0] ?? '')}/${a}/${b}`);
        await answered('GET', `/v1/rooms/${a}/relations/${b}`);
      }),
      { numRuns: 40 },
    );
    await server.must('bob', 'GET', `/rooms/${roomId}/messages?dir=b&limit=1000`);
    await server.must('bob', 'GET', `/rooms/${roomId}/state`);
  });

  it('does no harm in new rooms, invitations and aliases', async () => {
    const state = mixed({ type: oddText, state_key: oddText, content: fc.constantFrom({}, { membership: 'join' }) });
    const wish = mixed({
      name: oddText,
      topic: oddText,
      room_alias_name: oddText,
      room_version: oddText,
      preset: fc.constantFrom('public_chat', 'private_chat'),
      invite: fc.array(fc.oneof(oddText, fc.constantFrom('@bob:test')), { maxLength: 2 }),
      initial_state: fc.array(state, { maxLength: 3 }),
      creation_content: fc.dictionary(oddText, odd, { maxKeys: 2 }),
      power_level_content_override: fc.dictionary(fc.constantFrom('users', 'events', 'ban'), odd, { maxKeys: 2 }),
    });
    await fc.assert(
      fc.asyncProperty(wish, oddText, async (wanted, text) => {
        await answered('POST', '/createRoom', wanted);
        await answered('POST', `/rooms/${roomId}/invite`, { user_id: text, reason: text });
        await answered('POST', `/rooms/${roomId}/kick`, { user_id: text });
        await answered('POST', `/rooms/${roomId}/ban`, { user_id: text });
        await answered('PUT', `/directory/room/${path(text)}`, { room_id: text });
        await answered('PUT', `/rooms/${roomId}/state/m.room.canonical_alias`, { alias: text, alt_aliases: [text] });
      }),
      { numRuns: 40 },
    );
  });

  it('does no harm in filters, tokens, limits and times', async () => {
    const list = fc.array(oddText, { maxLength: 3 });
    const filter = mixed({
      limit: fc.nat(),
      types: fc.array(fc.oneof(oddText, fc.constantFrom('m.room.*', 'm.room.message')), { maxLength: 3 }),
      not_types: list,
      senders: fc.array(fc.constantFrom('@alice:test', '@nobody:test', '@a\u0001:test')),
      not_senders: fc.array(fc.constantFrom('@alice:test', '@nobody:test')),
      rooms: fc.constantFrom([], ['!x:test'], ['!x\u0001:test']),
      not_rooms: fc.constantFrom([], ['!x:test']),
      contains_url: fc.boolean(),
      lazy_load_members: fc.boolean(),
      include_redundant_members: fc.boolean(),
      related_by_senders: fc.constantFrom([], ['@alice:test']),
      related_by_rel_types: list,
    });
    const limit = fc.oneof(fc.nat({ max: 5 }), fc.constantFrom('99999999999999999999', '-1', 'x', '1e9', ''));
    await fc.assert(
      fc.asyncProperty(
        filter,
        token,
        token,
        limit,
        oddNumber,
        fc.constantFrom('b', 'f', 'x'),
        async (wanted, from, to, count, ts, dir) => {
          const json = encodeURIComponent(JSON.stringify(wanted));
          const page = `dir=${dir}&limit=${count}&from=${path(from)}&to=${path(to)}`;
          await answered('GET', `/rooms/${roomId}/messages?dir=${dir}&filter=${json}&limit=${count}`);
          await answered('GET', `/rooms/${roomId}/messages?${page}`);
          await answered('GET', `/rooms/${roomId}/context/${path(targets[0] ?? '')}?filter=${json}&limit=${count}`);
          await answered('GET', `/v1/rooms/${roomId}/relations/${path(targets[0] ?? '')}?${page}&recurse=true`);
          await answered('GET', `/v1/rooms/${roomId}/threads?limit=${count}&from=${path(from)}`);
          await answered('GET', `/rooms/${roomId}/members?at=${path(from)}`);
          await answered('GET', `/v1/rooms/${roomId}/timestamp_to_event?ts=${ts}&dir=${dir}`);
          const { status } = await search.ask('alice', { search_term: 'one', filter: wanted }, from.toWellFormed());
          expect(status).to.be.lessThan(500);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('does no harm in searches', async () => {
    const wanted = mixed({
      search_term: oddText,
      keys: fc.subarray(['content.body', 'content.name', 'content.topic']),
      order_by: fc.constantFrom('recent', 'rank'),
      event_context: mixed({ before_limit: fc.nat(), after_limit: fc.nat(), include_profile: fc.boolean() }),
      include_state: fc.boolean(),
      filter: fc.constantFrom({}, { limit: 0 }, { limit: 1e15 }),
      groupings: mixed({ group_by: fc.array(mixed({ key: fc.constantFrom('room_id', 'sender') }), { maxLength: 3 }) }),
    });
    const forged = fc
      .tuple(odd, odd, odd, fc.oneof(odd, fc.tuple(fc.constantFrom('r', 's'), oddText)), fc.nat(), oddNumber)
      .map(
        (wire) =>
          `f1_${Buffer.from(JSON.stringify([[9e15, 9e15], null, null, ...wire.slice(3)])).toString('base64url')}`,
      );
    await fc.assert(
      fc.asyncProperty(wanted, fc.option(fc.oneof(token, forged), { nil: undefined }), async (query, next) => {
        const { status } = await search.ask('alice', query, next?.toWellFormed());
        expect(status).to.be.lessThan(500);
        if (next !== undefined) {
          const { status: again } = await search.ask('alice', { search_term: 'one' }, next.toWellFormed());
          expect(again).to.be.lessThan(500);
        }
      }),
      { numRuns: 200 },
    );
  });
});
