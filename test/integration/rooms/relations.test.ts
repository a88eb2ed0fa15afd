import { expect } from 'chai';
import { sql } from '#src/storage/statement.ts';
import { type Json, InProcessServer } from '#test/support/in-process-server.ts';

const A = '@alice:test';
const B = '@bob:test';

describe('events that relate to each other', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  let txn = 0;
  before(async () => (server = await InProcessServer.start()));
  after(() => server.stop());

  const open = async (...tokens: string[]): Promise<string> => {
    const roomId = await server.room('alice', { preset: 'public_chat' });
    for (const token of tokens) await server.join(token, roomId);
    return roomId;
  };
  const attempt = (token: string, roomId: string, type: string, content: object, id?: string) =>
    server.ask(token, 'PUT', `/rooms/${roomId}/send/${type}/${id ?? `r${(txn += 1)}`}`, content);
  const send = async (token: string, roomId: string, type: string, content: object): Promise<string> => {
    const { status, body } = await attempt(token, roomId, type, content);
    expect(status, JSON.stringify(body)).to.equal(200);
    return body.event_id;
  };
  const relating = (relType: string, eventId: string, more: object = {}): object => ({
    'm.relates_to': { rel_type: relType, event_id: eventId, ...more },
  });
  const message = (token: string, roomId: string, body: string, more: object = {}): Promise<string> =>
    send(token, roomId, 'm.room.message', { msgtype: 'm.text', body, ...more });
  const edit = (token: string, roomId: string, target: string, body: string): Promise<string> =>
    message(token, roomId, `* ${body}`, {
      'm.new_content': { msgtype: 'm.text', body },
      ...relating('m.replace', target),
    });
  const reply = (token: string, roomId: string, root: string, body: string): Promise<string> =>
    message(token, roomId, body, relating('m.thread', root));
  const react = (token: string, roomId: string, target: string, key: string): Promise<string> =>
    send(token, roomId, 'm.reaction', relating('m.annotation', target, { key }));
  const redact = (token: string, roomId: string, eventId: string): Promise<Json> =>
    server.must(token, 'PUT', `/rooms/${roomId}/redact/${encodeURIComponent(eventId)}/r${(txn += 1)}`, {});
  const event = (token: string, roomId: string, eventId: string): Promise<Json> =>
    server.must(token, 'GET', `/rooms/${roomId}/event/${encodeURIComponent(eventId)}`);
  const bundled = async (token: string, roomId: string, eventId: string): Promise<Json> =>
    (await event(token, roomId, eventId)).unsigned['m.relations'];
  const relations = (token: string, roomId: string, eventId: string, rest = ''): Promise<Json> =>
    server.must(token, 'GET', `/v1/rooms/${roomId}/relations/${encodeURIComponent(eventId)}${rest}`);
  const ids = (page: Json): string[] => page.chunk.map((one: Json) => one.event_id);
  const ignore = (token: string, ...users: string[]): Promise<void> =>
    server.services.accountData.setByClient(`@${token}:test`, 0, 'm.ignored_user_list', {
      ignored_users: Object.fromEntries(users.map((user) => [user, {}])),
    });

  describe('bundled aggregations', () => {
    it('give the most recent valid edit, as a whole event', async () => {
      const roomId = await open('bob');
      const target = await message('alice', roomId, 'firts');
      expect(await bundled('bob', roomId, target)).to.equal(undefined);
      await edit('alice', roomId, target, 'first');
      await server.clock.advance(5);
      const latest = await edit('alice', roomId, target, 'First');
      await server.clock.advance(5);
      await edit('bob', roomId, target, 'not hers');
      await message('alice', roomId, 'without new content', relating('m.replace', target));
      await send('alice', roomId, 'x.y.z', { 'm.new_content': {}, ...relating('m.replace', target) });
      const { 'm.replace': replace, ...others } = await bundled('bob', roomId, target);
      expect(others).to.deep.equal({});
      expect(replace).to.deep.include({ event_id: latest, sender: A, type: 'm.room.message', room_id: roomId });
      expect(replace.content['m.new_content'].body).to.equal('First');
      expect((await event('bob', roomId, target)).content.body).to.equal('firts');
    });
    it('decide between edits of the same millisecond by the larger event id', async () => {
      const roomId = await open();
      const target = await message('alice', roomId, 'a');
      const edits = [await edit('alice', roomId, target, 'b'), await edit('alice', roomId, target, 'c')];
      expect((await bundled('alice', roomId, target))['m.replace'].event_id).to.equal(edits.sort().at(-1));
    });
    it('do not edit edits, state, or what was redacted, and forget redacted edits', async () => {
      const roomId = await open();
      const target = await message('alice', roomId, 'a');
      const first = await edit('alice', roomId, target, 'b');
      await server.clock.advance(5);
      const second = await edit('alice', roomId, target, 'c');
      await edit('alice', roomId, first, 'd');
      expect(await bundled('alice', roomId, first)).to.equal(undefined);
      const state = await server.setState('alice', roomId, 'x.state', { a: 1 });
      await send('alice', roomId, 'x.state', { 'm.new_content': {}, ...relating('m.replace', state) });
      expect(await bundled('alice', roomId, state)).to.equal(undefined);
      expect((await bundled('alice', roomId, target))['m.replace'].event_id).to.equal(second);
      await redact('alice', roomId, second);
      expect((await bundled('alice', roomId, target))['m.replace'].event_id).to.equal(first);
      await redact('alice', roomId, target);
      expect(await bundled('alice', roomId, target)).to.equal(undefined);
    });
    it('need no m.new_content where it is encrypted', async () => {
      const roomId = await open();
      const encrypted = { algorithm: 'm.megolm.v1.aes-sha2', ciphertext: 'x', session_id: 's' };
      const target = await send('alice', roomId, 'm.room.encrypted', encrypted);
      await edit('alice', roomId, target, 'in the clear');
      expect(await bundled('alice', roomId, target)).to.equal(undefined);
      const hidden = await send('alice', roomId, 'm.room.encrypted', {
        ...encrypted,
        ...relating('m.replace', target),
      });
      expect((await bundled('alice', roomId, target))['m.replace'].event_id).to.equal(hidden);
    });
    it('sum a thread up: the latest reply with its own edit, the count, and whether one takes part', async () => {
      const roomId = await open('bob', 'carol');
      const root = await message('alice', roomId, 'root');
      await reply('bob', roomId, root, 'one');
      const last = await reply('bob', roomId, root, 'tow');
      const edited = await edit('bob', roomId, last, 'two');
      const thread = (await bundled('carol', roomId, root))['m.thread'];
      expect(thread).to.deep.include({ count: 2, current_user_participated: false });
      expect(thread.latest_event).to.deep.include({ event_id: last, room_id: roomId });
      expect(thread.latest_event.unsigned['m.relations']['m.replace'].event_id).to.equal(edited);
      for (const token of ['alice', 'bob']) {
        expect((await bundled(token, roomId, root))['m.thread'].current_user_participated).to.equal(true);
      }
      await redact('bob', roomId, last);
      const after = (await bundled('carol', roomId, root))['m.thread'];
      expect([after.count, after.latest_event.content.body]).to.deep.equal([1, 'one']);
    });
    it('list references, and leave annotations to the clients', async () => {
      const roomId = await open();
      const target = await message('alice', roomId, 'a');
      await react('alice', roomId, target, '👍');
      expect(await bundled('alice', roomId, target)).to.equal(undefined);
      const references = [
        await send('alice', roomId, 'x.ref', relating('m.reference', target)),
        await send('alice', roomId, 'x.ref', relating('m.reference', target)),
      ];
      expect(await bundled('alice', roomId, target)).to.deep.equal({
        'm.reference': { chunk: references.map((eventId) => ({ event_id: eventId })) },
      });
    });
    it('pass over those whom the reader ignores', async () => {
      const roomId = await open('bob', 'dora');
      const root = await message('alice', roomId, 'root');
      const his = await reply('alice', roomId, root, 'hers');
      await reply('bob', roomId, root, 'his');
      await send('bob', roomId, 'x.ref', relating('m.reference', root));
      await ignore('dora', B);
      const relation = await bundled('dora', roomId, root);
      expect(Object.keys(relation)).to.deep.equal(['m.thread']);
      expect(relation['m.thread'].count).to.equal(1);
      expect(relation['m.thread'].latest_event.event_id).to.equal(his);
      expect(ids(await relations('dora', roomId, root))).to.deep.equal([his]);
      expect((await bundled('alice', roomId, root))['m.thread'].count).to.equal(2);
    });
    it('do not tell what the reader may not see', async () => {
      const roomId = await open('bob');
      const target = await message('alice', roomId, 'a');
      await server.must('bob', 'POST', `/rooms/${roomId}/leave`, {});
      await server.setState('alice', roomId, 'm.room.history_visibility', { history_visibility: 'joined' });
      await edit('alice', roomId, target, 'secret');
      await reply('alice', roomId, target, 'secret');
      await send('alice', roomId, 'x.ref', relating('m.reference', target));
      await server.join('bob', roomId);
      expect(await bundled('bob', roomId, target)).to.equal(undefined);
      expect(ids(await relations('bob', roomId, target))).to.deep.equal([]);
      expect(Object.keys(await bundled('alice', roomId, target))).to.have.length(3);
    });
    it('come with /messages, /context and /relations, and are found again after a restart', async () => {
      const roomId = await open();
      const target = await message('alice', roomId, 'a');
      const changed = await edit('alice', roomId, target, 'b');
      const inner = await message('alice', roomId, 'c', relating('m.reference', target));
      await edit('alice', roomId, inner, 'd');
      const look = async (): Promise<void> => {
        const page = await server.must('alice', 'GET', `/rooms/${roomId}/messages?dir=b&limit=4`);
        const [, , , shown] = page.chunk;
        expect(shown.unsigned['m.relations']['m.replace'].event_id).to.equal(changed);
        const context = await server.must('alice', 'GET', `/rooms/${roomId}/context/${encodeURIComponent(target)}`);
        expect(context.event.unsigned['m.relations']['m.replace'].event_id).to.equal(changed);
        const { chunk } = await relations('alice', roomId, target, '/m.reference');
        expect(chunk[0].unsigned['m.relations']['m.replace'].content['m.new_content'].body).to.equal('d');
      };
      await look();
      await server.restart();
      await look();
      const after = await edit('alice', roomId, target, 'e');
      await server.clock.advance(5);
      expect([changed, after]).to.include((await bundled('alice', roomId, target))['m.replace'].event_id);
    });
    it('are made up anew when events were deleted', async () => {
      const roomId = await open();
      const root = await message('alice', roomId, 'root');
      await reply('alice', roomId, root, 'kept');
      const deleted = await reply('alice', roomId, root, 'deleted');
      const room = (await server.services.rooms.byId(roomId))!;
      const event = (await server.services.events.find(room, deleted))!;
      await server.services.database.query(sql('test_delete', 'delete from events where room = $1 and nid = $2'), [
        room.nid,
        event.nid,
      ]);
      server.services.stream.publish({ kind: 'purged', room });
      const thread = (await bundled('alice', roomId, root))['m.thread'];
      expect([thread.count, thread.latest_event.content.body]).to.deep.equal([1, 'kept']);
      await reply('alice', roomId, root, 'another');
      expect((await bundled('alice', roomId, root))['m.thread'].count).to.equal(2);
    });
    it('cost no statement for what nothing relates to, nor again for what was read', async () => {
      const roomId = await open('bob');
      const target = await message('alice', roomId, 'a');
      await message('alice', roomId, 'b');
      const room = (await server.services.rooms.byId(roomId))!;
      const reader = { userId: B, deviceId: 'DEVICE' };
      await server.services.accountData.load(B);
      const bundle = (): Promise<ReadonlyMap<number, string>> =>
        server.services.aggregations.bundle(room, reader, room.ring.events.slice(-3));
      expect(await server.statements(bundle)).to.equal(0);
      await edit('alice', roomId, target, 'c');
      expect(await server.statements(bundle)).to.equal(0);
      const bundles = await bundle();
      expect(bundles.size).to.equal(1);
      expect(await bundle()).to.equal(bundles);
      await react('alice', roomId, target, 'x');
      expect(await bundle()).not.to.equal(bundles);
    });
  });

  describe('the relations API', () => {
    it('lists what relates to an event in both directions, by type of relation and event', async () => {
      const roomId = await open();
      const target = await message('alice', roomId, 'a');
      const first = await react('alice', roomId, target, '1');
      const second = await send('alice', roomId, 'x.ref', relating('m.reference', target));
      const third = await send('alice', roomId, 'x.other', relating('m.reference', target));
      expect(ids(await relations('alice', roomId, target))).to.deep.equal([third, second, first]);
      expect(ids(await relations('alice', roomId, target, '?dir=f'))).to.deep.equal([first, second, third]);
      expect(ids(await relations('alice', roomId, target, '/m.reference'))).to.deep.equal([third, second]);
      expect(ids(await relations('alice', roomId, target, '/m.reference/x.ref'))).to.deep.equal([second]);
      expect(ids(await relations('alice', roomId, target, '/m.nothing'))).to.deep.equal([]);
      await redact('alice', roomId, third);
      expect(ids(await relations('alice', roomId, target))).to.deep.equal([second, first]);
    });
    it('pages, and takes tokens of /sync and /messages', async () => {
      const roomId = await open();
      const target = await message('alice', roomId, 'a');
      const some: string[] = [];
      for (let i = 0; i < 4; i++) some.push(await react('alice', roomId, target, `${i}`));
      const token = server.syncToken();
      for (let i = 4; i < 7; i++) some.push(await react('alice', roomId, target, `${i}`));
      for (const dir of ['b', 'f']) {
        const found: string[] = [];
        let from = '';
        for (let page; page === undefined || page.next_batch !== undefined; from = `&from=${page.next_batch}`) {
          page = await relations('alice', roomId, target, `?limit=3&dir=${dir}${from}`);
          expect(page.prev_batch === undefined).to.equal(found.length === 0);
          found.push(...ids(page));
        }
        expect(found).to.deep.equal(dir === 'f' ? some : some.toReversed());
      }
      expect(ids(await relations('alice', roomId, target, `?dir=f&from=${token}`))).to.deep.equal(some.slice(4));
      expect(ids(await relations('alice', roomId, target, `?from=${token}`))).to.deep.equal(
        some.slice(0, 4).toReversed(),
      );
      expect(ids(await relations('alice', roomId, target, `?to=${token}`))).to.deep.equal(some.slice(4).toReversed());
      const { end } = await server.must('alice', 'GET', `/rooms/${roomId}/messages?dir=b&limit=2`);
      expect(ids(await relations('alice', roomId, target, `?limit=1&from=${end}`))).to.deep.equal([some[4]]);
      const { status, body } = await server.ask(
        'alice',
        'GET',
        `/v1/rooms/${roomId}/relations/${encodeURIComponent(target)}?from=nonsense`,
      );
      expect([status, body.errcode]).to.deep.equal([400, 'M_INVALID_PARAM']);
    });
    it('follows relations of relations where it is asked to, and says how far', async () => {
      const roomId = await open();
      const target = await message('alice', roomId, 'a');
      const inThread = await reply('alice', roomId, target, 'b');
      const reaction = await react('alice', roomId, inThread, '1');
      expect(ids(await relations('alice', roomId, target))).to.deep.equal([inThread]);
      const all = await relations('alice', roomId, target, '?recurse=true');
      expect(ids(all)).to.deep.equal([reaction, inThread]);
      expect(all.recursion_depth).to.equal(3);
      expect(ids(await relations('alice', roomId, target, '/m.thread?recurse=true'))).to.deep.equal([inThread]);
      expect(ids(await relations('alice', roomId, target, '/m.annotation?recurse=true'))).to.deep.equal([]);
    });
    it('answers 404 for what is not there, not in the room, or not for the reader', async () => {
      const roomId = await open();
      const target = await message('alice', roomId, 'a');
      const elsewhere = await message('alice', await open(), 'b');
      for (const [token, eventId] of [
        ['alice', '$nowhere'],
        ['alice', elsewhere],
        ['eve', target],
      ] as const) {
        const path = `/v1/rooms/${roomId}/relations/${encodeURIComponent(eventId)}`;
        const { status, body } = await server.ask(token, 'GET', path);
        expect([status, body.errcode]).to.deep.equal([404, 'M_NOT_FOUND']);
      }
    });
  });

  describe('threads', () => {
    const threads = (token: string, roomId: string, query = ''): Promise<Json> =>
      server.must(token, 'GET', `/v1/rooms/${roomId}/threads${query}`);

    it('are listed by their latest replies, page by page', async () => {
      const roomId = await open('bob');
      const roots: string[] = [];
      for (const name of ['1', '2', '3']) roots.push(await message('alice', roomId, name));
      const [first = '', second = '', third = ''] = roots;
      await reply('bob', roomId, first, 'a');
      await reply('alice', roomId, second, 'b');
      await reply('alice', roomId, third, 'c');
      const last = await reply('alice', roomId, first, 'd');
      expect(ids(await threads('bob', roomId))).to.deep.equal([first, third, second]);
      const page = await threads('bob', roomId, '?limit=2');
      expect(ids(page)).to.deep.equal([first, third]);
      expect(page.chunk[0].unsigned['m.relations']['m.thread'].count).to.equal(2);
      const rest = await threads('bob', roomId, `?limit=2&from=${page.next_batch}`);
      expect([ids(rest), rest.next_batch]).to.deep.equal([[second], undefined]);
      expect(ids(await threads('bob', roomId, '?include=participated'))).to.deep.equal([first]);
      await redact('alice', roomId, last);
      expect(ids(await threads('bob', roomId))).to.deep.equal([third, second, first]);
    });
    it('show the root of an ignored user without content, and do not count their replies', async () => {
      const roomId = await open('bob', 'fred');
      const his = await message('bob', roomId, 'his');
      const hers = await message('alice', roomId, 'hers');
      await reply('alice', roomId, his, 'a');
      await reply('alice', roomId, hers, 'b');
      await reply('bob', roomId, his, 'c');
      await ignore('fred', B);
      const page = await threads('fred', roomId);
      expect(ids(page)).to.deep.equal([hers, his]);
      expect(page.chunk[1].content).to.deep.equal({});
    });
    it('are refused to strangers, and for tokens that are none', async () => {
      const roomId = await open();
      const stranger = await server.ask('eve', 'GET', `/v1/rooms/${roomId}/threads`);
      expect([stranger.status, stranger.body.errcode]).to.deep.equal([403, 'M_FORBIDDEN']);
      const wrong = await server.ask('alice', 'GET', `/v1/rooms/${roomId}/threads?from=x`);
      expect([wrong.status, wrong.body.errcode]).to.deep.equal([400, 'M_INVALID_PARAM']);
    });
    it('cost a reply no more than any other message, however far back they began', async () => {
      const roomId = await open();
      const root = await message('alice', roomId, 'root');
      const room = (await server.services.rooms.byId(roomId))!;
      const drafts = Array.from({ length: 300 }, (_, i) => ({ type: 'x', sender: A, content: { i } }));
      await server.services.events.sendAll(room, drafts);
      await reply('alice', roomId, root, 'first');
      const plain = await server.statements(() => message('alice', roomId, 'plain'));
      expect(await server.statements(() => reply('alice', roomId, root, 'second'))).to.equal(plain);
      expect(await server.statements(() => reply('alice', roomId, root, 'third'))).to.equal(plain);
      expect((await bundled('alice', roomId, root))['m.thread'].count).to.equal(3);
    });
    it('do not start at what is in another room', async () => {
      const [roomId, other] = [await open('bob'), await open('bob')];
      const root = await message('alice', other, 'elsewhere');
      const content = { msgtype: 'm.text', body: 'c', ...relating('m.thread', root) };
      const { status, body } = await attempt('bob', roomId, 'm.room.message', content);
      expect([status, body.errcode]).to.deep.equal([400, 'M_UNKNOWN']);
      expect(await threads('bob', roomId)).to.deep.equal({ chunk: [] });
      expect(await threads('bob', other)).to.deep.equal({ chunk: [] });
    });
    it('do not start at what relates to another event', async () => {
      const roomId = await open();
      const target = await message('alice', roomId, 'a');
      const inThread = await reply('alice', roomId, target, 'b');
      const content = { msgtype: 'm.text', body: 'c', ...relating('m.thread', inThread) };
      const { status, body } = await attempt('alice', roomId, 'm.room.message', content);
      expect([status, body.errcode]).to.deep.equal([400, 'M_UNKNOWN']);
    });
  });

  describe('annotations', () => {
    it('are answered as the first time under the same transaction id, also when this process has forgotten it', async () => {
      const roomId = await open('bob');
      const target = await message('alice', roomId, 'a');
      const path = `/rooms/${roomId}/send/m.reaction/repeated`;
      const content = relating('m.annotation', target, { key: '🎉' });
      const first = await server.must('alice', 'PUT', path, content);
      const { transactions } = server.services.events;
      for (let other = 0; other < 25_000; other++)
        await transactions.once(`other ${other}`, () => Promise.resolve('$x'));
      expect(await server.must('alice', 'PUT', path, content)).to.deep.equal(first);
    });
    it('are refused a second time with M_DUPLICATE_ANNOTATION, until the first is redacted', async () => {
      const roomId = await open('bob');
      const target = await message('alice', roomId, 'a');
      const first = await react('alice', roomId, target, '👍');
      const again = await attempt('alice', roomId, 'm.reaction', relating('m.annotation', target, { key: '👍' }));
      expect([again.status, again.body.errcode]).to.deep.equal([400, 'M_DUPLICATE_ANNOTATION']);
      await react('alice', roomId, target, '🎉');
      await react('bob', roomId, target, '👍');
      await send('alice', roomId, 'x.reaction', relating('m.annotation', target, { key: '👍' }));
      await redact('alice', roomId, first);
      await react('alice', roomId, target, '👍');
    });
    it('are one when two come at once, and the same one when their transaction is repeated', async () => {
      const roomId = await open();
      const target = await message('alice', roomId, 'a');
      const content = relating('m.annotation', target, { key: 'x' });
      const answers = await Promise.all([
        attempt('alice', roomId, 'm.reaction', content, 'one'),
        attempt('alice', roomId, 'm.reaction', content, 'two'),
      ]);
      expect(answers.map(({ status }) => status).sort()).to.deep.equal([200, 400]);
      const won = answers[0].status === 200 ? 'one' : 'two';
      const { body } = answers.find(({ status }) => status === 200)!;
      expect((await attempt('alice', roomId, 'm.reaction', content, won)).body).to.deep.equal(body);
      await server.restart();
      expect((await attempt('alice', roomId, 'm.reaction', content, won)).body).to.deep.equal(body);
      expect((await attempt('alice', roomId, 'm.reaction', content, 'three')).status).to.equal(400);
    });
  });
});
