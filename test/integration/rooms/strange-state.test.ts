import { expect } from 'chai';
import fc from 'fast-check';
import { ChildServer } from '#test/support/child-server.ts';
import { ask, must } from '#test/support/http.ts';
import { integer, json, text } from '#test/support/strange-json.ts';

// What a test expects in a body it says itself.
// oxlint-disable-next-line typescript/no-explicit-any
type Json = any;

const RUNS = 8;

/** State that the server reads, with the members of its content that it looks at. */
const READ: Readonly<Record<string, readonly string[]>> = {
  'm.room.name': ['name'],
  'm.room.topic': ['topic', 'm.topic'],
  'm.room.avatar': ['url', 'info'],
  'm.room.canonical_alias': ['alias', 'alt_aliases'],
  'm.room.encryption': ['algorithm', 'rotation_period_ms'],
  'm.room.history_visibility': ['history_visibility'],
  'm.room.guest_access': ['guest_access'],
  'm.room.join_rules': ['join_rule', 'allow'],
  'm.room.server_acl': ['allow', 'deny', 'allow_ip_literals'],
  'm.room.retention': ['min_lifetime', 'max_lifetime'],
  'm.room.pinned_events': ['pinned'],
  'm.room.tombstone': ['body', 'replacement_room'],
  'm.room.third_party_invite': ['display_name', 'key_validity_url', 'public_key', 'public_keys'],
  'm.room.aliases': ['aliases'],
  'm.space.child': ['via', 'order', 'suggested'],
  'm.space.parent': ['via', 'canonical'],
  'm.policy.rule.user': ['entity', 'recommendation', 'reason'],
  'm.room.member': ['membership', 'displayname', 'avatar_url', 'reason', 'is_direct', 'third_party_invite'],
  'm.room.power_levels': [
    'ban',
    'events',
    'events_default',
    'invite',
    'kick',
    'notifications',
    'redact',
    'state_default',
    'users',
    'users_default',
  ],
};

/** Entries that are nearly right reach further into the code than those that are nothing at all. */
const nearly: Readonly<Record<string, fc.Arbitrary<Json>>> = {
  allow: fc.array(fc.record({ type: fc.constant('m.room_membership'), room_id: fc.oneof(text, json) }), {
    maxLength: 3,
  }),
  join_rule: fc.constantFrom('restricted', 'knock_restricted', 'public', 'knock'),
  alt_aliases: fc.array(json, { maxLength: 3 }),
  via: fc.array(fc.oneof(fc.constant('localhost'), json), { minLength: 1, maxLength: 3 }),
  notifications: fc.dictionary(text, json, { maxKeys: 2 }),
  membership: fc.constantFrom('join', 'invite', 'ban', 'leave'),
};

const valueOf = (member: string): fc.Arbitrary<Json> => {
  // The specification's schema knows one algorithm, and clients have to be told of others, too.
  if (member === 'algorithm') return fc.oneof(fc.constant('m.megolm.v1.aes-sha2'), integer, fc.constant(null));
  const close = nearly[member];
  return close === undefined ? json : fc.oneof(close, json);
};

const contentOf = (members: readonly string[]): fc.Arbitrary<Json> =>
  fc.oneof(
    { weight: 1, arbitrary: fc.dictionary(text, json, { maxKeys: 3 }) },
    {
      weight: 6,
      arbitrary: fc.record(Object.fromEntries(members.map((member) => [member, valueOf(member)])), {
        requiredKeys: [],
      }),
    },
  );

const keyOf = (type: string): fc.Arbitrary<string> => {
  if (type === 'm.room.member')
    return fc.constantFrom(
      '@alice:localhost',
      '@carol:localhost',
      '@dora:localhost',
      '@nobody:localhost',
      'nobody',
      '@',
    );
  if (type.startsWith('m.space.')) return fc.oneof(fc.constantFrom('SECOND', '!none:localhost', '!a:b:c', ''), text);
  return fc.oneof({ weight: 4, arbitrary: fc.constant('') }, { weight: 1, arbitrary: text });
};

interface StrangeState {
  readonly type: string;
  readonly key: string;
  readonly content: Json;
}

/** The same, except that alice stays in the room and keeps her power: without it she could not upgrade the room. */
const aliceStays = ({ content, key, type }: StrangeState): StrangeState => {
  if (type === 'm.room.power_levels' && isObject(content.users ?? {}))
    return { type, key, content: { ...content, users: { ...content.users, '@alice:localhost': 100 } } };
  if (type === 'm.room.member' && key === '@alice:localhost' && content.membership === 'leave')
    return { type, key, content: { ...content, membership: 'join' } };
  return { type, key, content };
};
const isObject = (value: Json): boolean => typeof value === 'object' && value !== null && !Array.isArray(value);

const stateEvents = fc.tuple(
  ...Object.entries(READ).map(([type, members]) =>
    fc.record({ type: fc.constant(type), key: keyOf(type), content: contentOf(members) }).map(aliceStays),
  ),
);

describe('state that makes no sense', function () {
  this.timeout(180_000);
  let server: ChildServer;
  const tokens = new Map<string, string>();

  before(async () => {
    server = await ChildServer.start({ database: 'shared' });
    for (const name of ['alice', 'bob', 'carol', 'dora']) {
      const body = { username: name, password: 'a long password', auth: { type: 'm.login.dummy' } };
      tokens.set(name, (await must(server.url, 'POST', '/register', { body })).access_token);
    }
  });
  after(() => server?.dispose());

  const post = (name: string, path: string, body: unknown): Promise<Json> =>
    must(server.url, 'POST', path, { token: tokens.get(name), body });

  /** What a request is answered, with what it was: a 5xx is never one. */
  const calm = async (name: string | undefined, method: string, path: string, body?: unknown): Promise<Json> => {
    const answer = await ask(server.url, method, path, {
      token: name === undefined ? undefined : tokens.get(name),
      ...(body === undefined ? {} : { body }),
    });
    expect(answer.status, `${method} ${path} ${JSON.stringify(answer.body)}\n${errorsOf(server)}`).to.be.below(500);
    return answer;
  };

  /** Reads a room in every way. @returns what was not answered with 200 */
  const readAll = async (name: string, roomId: string, eventId: string): Promise<string[]> => {
    const refused: string[] = [];
    const read = async (method: string, path: string, body?: unknown): Promise<void> => {
      const answer = await calm(name, method, path, body);
      if (answer.status !== 200) refused.push(`${method} ${path} ${JSON.stringify(answer.body)}`);
    };
    const room = encodeURIComponent(roomId);
    const event = encodeURIComponent(eventId);
    for (const path of [
      `/_matrix/client/v1/room_summary/${room}`,
      `/_matrix/client/unstable/im.nheko.summary/summary/${room}`,
      `/_matrix/client/v1/rooms/${room}/hierarchy`,
      `/_matrix/client/v1/rooms/${room}/hierarchy?suggested_only=true&max_depth=1`,
      '/publicRooms',
      `/rooms/${room}/state`,
      `/rooms/${room}/members`,
      `/rooms/${room}/joined_members`,
      `/rooms/${room}/messages?dir=b&limit=50`,
      `/rooms/${room}/messages?dir=f&limit=50&filter=${encodeURIComponent('{"lazy_load_members":true}')}`,
      `/rooms/${room}/context/${event}`,
      `/rooms/${room}/event/${event}`,
      `/rooms/${room}/initialSync`,
      `/rooms/${room}/aliases`,
      `/_matrix/client/v1/rooms/${room}/threads`,
      `/_matrix/client/v1/rooms/${room}/relations/${event}`,
      `/_matrix/client/v1/rooms/${room}/timestamp_to_event?ts=0&dir=f`,
      `/events?room_id=${room}`,
      '/initialSync',
      '/notifications',
      '/pushrules/',
    ])
      await read('GET', path);
    const search = {
      search_categories: { room_events: { search_term: 'hello', event_context: {}, include_state: true } },
    };
    await read('POST', '/search', search);
    await read('POST', '/publicRooms', { filter: { generic_search_term: 'o', room_types: [null, 'm.space'] } });
    await read('POST', '/user_directory/search', { search_term: 'a' });
    return refused;
  };

  it('does not come of names and pictures: what cannot be in an event is no name', async () => {
    const path = '/profile/@alice:localhost/displayname';
    const { status, body } = await calm('alice', 'PUT', path, { displayname: 'half \ud83d' });
    expect([status, body.errcode]).to.deep.equal([400, 'M_INVALID_PARAM']);
    expect((await calm('alice', 'PUT', path, { displayname: 'a\0\u202eb\ud83d\ude00' })).status).to.equal(200);
    await post('alice', '/createRoom', {});
  });

  it('breaks no way of reading a room, nor its upgrade', async () => {
    await fc.assert(
      fc.asyncProperty(stateEvents, fc.constantFrom('1', '6', '9', '10', '11', '12'), async (events, version) => {
        const { room_id: roomId } = await post('alice', '/createRoom', {
          room_version: version,
          visibility: 'public',
          preset: 'public_chat',
          creation_content: { type: 'm.space' },
        });
        const { room_id: second } = await post('alice', '/createRoom', { preset: 'public_chat' });
        for (const name of ['bob', 'carol']) await post(name, `/rooms/${encodeURIComponent(roomId)}/join`, {});
        const since = (await calm('bob', 'GET', '/sync?timeout=0')).body.next_batch;
        const say = async (name: string, txn: string): Promise<Json> =>
          calm(name, 'PUT', `/rooms/${encodeURIComponent(roomId)}/send/m.room.message/${txn}`, {
            msgtype: 'm.text',
            body: 'hello',
          });
        const { event_id: eventId } = (await say('bob', 'first')).body;
        for (const { type, key, content } of events) {
          const stateKey = encodeURIComponent(key === 'SECOND' ? second : key);
          await calm('alice', 'PUT', `/rooms/${encodeURIComponent(roomId)}/state/${type}/${stateKey}`, content);
          await calm('alice', 'GET', `/rooms/${encodeURIComponent(roomId)}/state/${type}/${stateKey}`);
        }
        await say('alice', 'second');
        // Carol may have been banned, and dora is not in the room.
        for (const name of ['carol', 'dora']) await readAll(name, roomId, eventId);
        for (const name of ['bob', 'alice']) expect(await readAll(name, roomId, eventId), name).to.deep.equal([]);
        await calm(undefined, 'GET', `/_matrix/client/v1/room_summary/${encodeURIComponent(roomId)}`);
        await calm('dora', 'POST', `/knock/${encodeURIComponent(roomId)}`, {});
        await calm('dora', 'POST', `/join/${encodeURIComponent(roomId)}`, {});
        const upgrade = await calm('alice', 'POST', `/rooms/${encodeURIComponent(roomId)}/upgrade`, {
          new_version: '12',
        });
        expect(upgrade.status, JSON.stringify(upgrade.body)).to.equal(200);
        const successor = upgrade.body.replacement_room;
        const { event_id: inSuccessor } = (
          await calm('alice', 'PUT', `/rooms/${encodeURIComponent(successor)}/send/m.room.message/first`, {
            msgtype: 'm.text',
            body: 'hello',
          })
        ).body;
        expect(await readAll('alice', successor, inSuccessor)).to.deep.equal([]);
        await calm('carol', 'POST', `/rooms/${encodeURIComponent(roomId)}/leave`, {});
        for (const name of ['alice', 'bob', 'carol', 'dora']) {
          expect((await calm(name, 'GET', '/sync?timeout=0')).status).to.equal(200);
          const full = await calm(name, 'GET', '/sync?timeout=0&full_state=true');
          expect(full.status).to.equal(200);
        }
        const news = await calm('bob', 'GET', `/sync?timeout=0&since=${encodeURIComponent(since)}`);
        expect(news.status).to.equal(200);
        expect({ ...news.body.rooms.join, ...news.body.rooms.leave }).to.have.property(roomId);
        // Rooms that stay would make every further run slower.
        for (const name of ['alice', 'bob', 'carol', 'dora']) {
          for (const id of (await calm(name, 'GET', '/joined_rooms')).body.joined_rooms) {
            await calm(name, 'POST', `/rooms/${encodeURIComponent(id)}/leave`, {});
            await calm(name, 'POST', `/rooms/${encodeURIComponent(id)}/forget`, {});
          }
        }
      }),
      { numRuns: RUNS, endOnFailure: true },
    );
  });

  it('nor does account data of any content, for the user or for a room', async () => {
    const { room_id: old } = await post('alice', '/createRoom', { preset: 'public_chat', room_version: '11' });
    for (const name of ['bob', 'carol']) await post(name, `/rooms/${encodeURIComponent(old)}/join`, {});
    const { replacement_room: next } = await post('alice', `/rooms/${encodeURIComponent(old)}/upgrade`, {
      new_version: '12',
    });
    const event = await calm('bob', 'PUT', `/rooms/${encodeURIComponent(old)}/send/m.room.message/strange`, {
      msgtype: 'm.text',
      body: 'hello',
    });
    const names = fc.oneof(fc.constantFrom('@alice:localhost', '@bob:localhost', next, old), text);
    const map = fc.oneof(fc.dictionary(names, json, { maxKeys: 3 }), json);
    // Tags have names of a bounded length: longer ones are refused.
    const isTag = (name: string): boolean => Buffer.byteLength(name) <= 255 && !name.includes('\0');
    const tags = fc.oneof(
      fc.dictionary(names.filter(isTag), json, { maxKeys: 3 }),
      fc.constantFrom(null, 7, 'x', [], true),
    );
    const data = fc.record({
      'm.ignored_user_list': fc.record({ ignored_users: map }, { requiredKeys: [] }),
      'm.direct': fc.dictionary(names, fc.oneof(fc.array(fc.oneof(names, json), { maxLength: 3 }), json), {
        maxKeys: 3,
      }),
      'm.invite_permission_config': fc.record({ default_action: json }, { requiredKeys: [] }),
      'm.tag': fc.record({ tags }, { requiredKeys: [] }),
      'm.marked_unread': fc.record({ unread: json }, { requiredKeys: [] }),
      'm.widgets': fc.dictionary(text, json, { maxKeys: 3 }),
    });
    await fc.assert(
      fc.asyncProperty(data, async (content) => {
        for (const [type, value] of Object.entries(content)) {
          for (const where of ['', `/rooms/${encodeURIComponent(old)}`]) {
            const path = `/user/@carol:localhost${where}/account_data/${type}`;
            expect((await calm('carol', 'PUT', path, value)).status).to.equal(200);
            expect((await calm('carol', 'GET', path)).body).to.deep.equal(JSON.parse(JSON.stringify(value)));
          }
        }
        expect(
          (await calm('carol', 'GET', `/user/@carol:localhost/rooms/${encodeURIComponent(old)}/tags`)).status,
        ).to.equal(200);
        await calm('alice', 'POST', `/rooms/${encodeURIComponent(next)}/invite`, { user_id: '@carol:localhost' });
        await readAll('carol', old, event.body.event_id);
        const joined = await calm('carol', 'POST', `/rooms/${encodeURIComponent(next)}/join`, {});
        expect(joined.status, JSON.stringify(joined.body)).to.equal(200);
        const { status, body } = await calm('carol', 'GET', '/sync?timeout=0');
        expect(status).to.equal(200);
        expect(Object.keys(body.rooms.join)).to.include.members([old, next]);
        await calm('carol', 'POST', `/rooms/${encodeURIComponent(next)}/leave`, {});
      }),
      { numRuns: RUNS, endOnFailure: true },
    );
  });
});

/** What the server last said of something that went wrong in it. */
const errorsOf = (server: ChildServer): string =>
  server.output
    .split('\n')
    .filter((line) => line.includes('"level":50') || line.includes('"level":"error"') || line.includes('ERROR'))
    .slice(-2)
    .join('\n')
    .slice(0, 3000);
