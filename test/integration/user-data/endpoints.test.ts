import { expect } from 'chai';
import { MAX_TAG_LENGTH } from '#src/services/user-data/account-data/tag-content.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Json } from '#test/support/in-process-server.ts';
import { World } from './world.ts';

const ALICE = '@alice:test';
const BOB = '@bob:test';
const CAROL = '@carol:test';

/** A body, parsed and as text. */
interface Answer {
  readonly status: number;
  readonly json: Json;
  readonly text: string;
}

describe('user data over HTTP', () => {
  let world: World;
  let room: Room;
  before(async () => {
    world = await World.begin();
    room = await world.room(ALICE, [BOB]);
  });
  after(async () => {
    await world.end();
  });

  const ask = async (method: string, path: string, body?: unknown, token: string | null = 'alice'): Promise<Answer> => {
    const { status, body: json } = await world.app.ask(token ?? undefined, method, path, body);
    return { status, json, text: JSON.stringify(json) };
  };
  const refused = async (
    status: number,
    errcode: string,
    method: string,
    path: string,
    body?: unknown,
    token = 'alice',
  ): Promise<void> => {
    const answer = await ask(method, path, body, token);
    expect([answer.status, answer.json['errcode']], `${method} ${path}: ${answer.text}`).to.deep.equal([
      status,
      errcode,
    ]);
  };
  const fine = async (
    method: string,
    path: string,
    body?: unknown,
    token = 'alice',
  ): Promise<Record<string, unknown>> => {
    const answer = await ask(method, path, body, token);
    expect(answer.status, `${method} ${path}: ${answer.text}`).to.equal(200);
    return answer.json;
  };

  describe('account data', () => {
    const mine = `/user/${ALICE}/account_data`;
    const inRoom = (roomId = room.roomId): string => `/user/${ALICE}/rooms/${encodeURIComponent(roomId)}/account_data`;

    it('gives back what was set, globally and for a room', async () => {
      await fine('PUT', `${mine}/org.example.one`, { a: [1.5, null, 'x\u0000'] });
      expect(await fine('GET', `${mine}/org.example.one`)).to.deep.equal({ a: [1.5, null, 'x\u0000'] });
      await fine('PUT', `${inRoom()}/org.example.one`, { b: 2 });
      expect(await fine('GET', `${inRoom()}/org.example.one`)).to.deep.equal({ b: 2 });
    });
    it('answers 404 M_NOT_FOUND for what was never set, and 403 for other users', async () => {
      await refused(404, 'M_NOT_FOUND', 'GET', `${mine}/org.example.none`);
      await refused(404, 'M_NOT_FOUND', 'GET', `${inRoom()}/org.example.none`);
      await refused(403, 'M_FORBIDDEN', 'GET', `${mine}/org.example.one`, undefined, 'bob');
      await refused(403, 'M_FORBIDDEN', 'PUT', `${inRoom()}/org.example.one`, {}, 'bob');
    });
    it('answers 405 M_BAD_JSON for types that the server keeps', async () => {
      for (const type of ['m.push_rules', 'm.fully_read']) {
        await refused(405, 'M_BAD_JSON', 'PUT', `${mine}/${type}`, {});
        await refused(405, 'M_BAD_JSON', 'PUT', `${inRoom()}/${type}`, {});
      }
    });
    it('answers 400 M_INVALID_PARAM for what is no room id', () =>
      refused(400, 'M_INVALID_PARAM', 'GET', `${inRoom('@not:a.room')}/x.y`));
    it('serves the push rules of a user who has changed none', async () => {
      expect(await fine('GET', `${mine}/m.push_rules`)).to.have.nested.property(
        'global.override[0].rule_id',
        '.m.rule.master',
      );
    });
    it('keeps that a room is marked as unread, which changes no count of what is', async () => {
      const event = await world.say(room, BOB, 'read');
      await world.services.receipts.receive(room, ALICE, 'm.read', undefined, event.eventId);
      await fine('PUT', `${inRoom()}/m.marked_unread`, { unread: true });
      expect(await fine('GET', `${inRoom()}/m.marked_unread`)).to.deep.equal({ unread: true });
      const entry = (await world.services.accountData.load(ALICE)).entry(room.nid, 'm.marked_unread');
      expect(entry?.json).to.equal('{"unread":true}');
      expect(await world.services.unread.counts(ALICE, room, Infinity)).to.include({ notification: 0, highlight: 0 });
    });
    it('notices what changed since a position', async () => {
      const data = await world.services.accountData.load(ALICE);
      const before = data.latest;
      await fine('PUT', `${mine}/org.example.two`, { n: 1 });
      await fine('PUT', `${mine}/org.example.two`, { n: 2 });
      expect(data.changedSince(before).map(({ type, json }) => [type, json])).to.deep.equal([
        ['org.example.two', '{"n":2}'],
      ]);
      expect(data.changedSince(data.latest)).to.deep.equal([]);
    });
  });

  describe('account data, how much of it', () => {
    const bobs = `/user/${BOB}/account_data`;
    const put = (type: string, content: unknown): Promise<Answer> => ask('PUT', `${bobs}/${type}`, content, 'bob');
    const text = (length: number): { text: string } => ({ text: 'x'.repeat(length) });

    it('is bounded by bytes, and what makes it less is always let in', async () => {
      const fresh = await World.begin();
      const { accountData } = fresh.services;
      const refusal = (work: Promise<void>): Promise<unknown> =>
        work.then(
          () => undefined,
          (error: { errcode?: string }) => error.errcode,
        );
      const set = (type: string, length: number): Promise<unknown> =>
        refusal(accountData.setByClient(BOB, 0, type, text(length)));
      expect(await set('org.example.a', 600_000)).to.equal(undefined);
      expect(await set('org.example.b', 600_000)).to.equal('M_TOO_LARGE');
      expect(await set('org.example.b', 300_000)).to.equal(undefined);
      expect(await set('org.example.b', 500_000)).to.equal('M_TOO_LARGE');
      // Refused and failed ones count for nothing.
      expect(await set('org.example.b', 390_000)).to.equal(undefined);
      expect(await set('org.example.a', 1_000)).to.equal(undefined);
      expect(await set('org.example.c', 500_000)).to.equal(undefined);
      const restarted = await fresh.restart();
      expect(
        await refusal(restarted.services.accountData.setByClient(BOB, 0, 'org.example.d', text(200_000))),
      ).to.equal('M_TOO_LARGE');
      expect(await refusal(restarted.services.accountData.setByClient(BOB, 0, 'org.example.c', text(10)))).to.equal(
        undefined,
      );
      expect(
        await refusal(restarted.services.accountData.setByClient(BOB, 0, 'org.example.d', text(200_000))),
      ).to.equal(undefined);
      await restarted.end();
    });

    it('is bounded by pieces, tags among them; what the server keeps by itself does not count', async () => {
      const fresh = await World.begin();
      const { accountData } = fresh.services;
      const there = await fresh.room(BOB);
      for (let i = 0; i < 298; i++) await accountData.setByClient(BOB, 0, `org.example.${i}`, {});
      await fresh.services.tags.set(BOB, there.nid, 'u.one', {});
      await expectRefusal(fresh.services.tags.set(BOB, there.nid, 'u.two', {}));
      await expectRefusal(accountData.setByClient(BOB, there.nid, 'org.example.one', {}));
      await accountData.setByClient(BOB, 0, 'org.example.7', { changed: true });
      const event = await fresh.say(there, BOB, 'x');
      await fresh.services.readMarkers.send(BOB, there.roomId, 'm.fully_read', event.eventId, undefined);
      await fresh.services.tags.remove(BOB, there.nid, 'u.one');
      await fresh.services.tags.set(BOB, there.nid, 'u.two', {});
      await fresh.end();
    });

    const expectRefusal = async (work: Promise<void>): Promise<void> => {
      const error = await work.catch((reason: unknown) => reason);
      expect(error).to.include({ errcode: 'M_TOO_LARGE' });
    };

    it('is kept for rooms that one is or was in only, and nobody is told which others there are', async () => {
      const secret = await world.room(ALICE);
      for (const roomId of [secret.roomId, '!unknown:test']) {
        const path = `/user/${BOB}/rooms/${encodeURIComponent(roomId)}`;
        const answers = [
          await ask('PUT', `${path}/account_data/org.example`, {}, 'bob'),
          await ask('GET', `${path}/account_data/org.example`, undefined, 'bob'),
          await ask('PUT', `${path}/tags/u.x`, {}, 'bob'),
          await ask('GET', `${path}/tags`, undefined, 'bob'),
          await ask('DELETE', `${path}/tags/u.x`, undefined, 'bob'),
        ];
        for (const { status, json } of answers) expect([status, json['errcode']]).to.deep.equal([403, 'M_FORBIDDEN']);
      }
      await world.member(secret, ALICE, BOB, 'invite');
      const path = `/user/${BOB}/rooms/${encodeURIComponent(secret.roomId)}/account_data/org.example`;
      await fine('PUT', path, { n: 1 }, 'bob');
      await world.member(secret, BOB, BOB, 'leave');
      expect(await fine('GET', path, undefined, 'bob')).to.deep.equal({ n: 1 });
    });

    it('is read piece by piece for whoever does not sync', async () => {
      for (let i = 0; i < 5; i++) expect((await put(`org.example.long${i}`, text(50_000))).status).to.equal(200);
      const later = await world.services.database.query<{ pos: number }>({
        name: 'test_latest_account_data',
        text: 'select max(pos) as pos from account_data',
      });
      expect(later).to.have.length(1);
      await world.beside(async (cold) => {
        await cold.services.interner.ensure({ users: [BOB] });
        expect(await cold.statements(() => cold.services.accountData.get(BOB, 0, 'org.example.long3'))).to.equal(1);
        expect(await cold.statements(() => cold.services.accountData.get(BOB, 0, 'org.example.long3'))).to.equal(0);
        expect(await cold.services.accountData.get(BOB, 0, 'org.example.none')).to.equal(undefined);
        expect(await cold.statements(() => cold.services.accountData.get(BOB, 0, 'org.example.none'))).to.equal(0);
        expect(cold.services.accountData.peek(BOB)).to.equal(undefined);
      });
      // What is set is what is read from then on, also where it was known not to be there.
      await world.services.accountData.set(BOB, 0, 'org.example.none', { there: true });
      expect(await world.services.accountData.get(BOB, 0, 'org.example.none')).to.equal('{"there":true}');
    });
  });

  describe('tags', () => {
    const tags = (): string => `/user/${ALICE}/rooms/${encodeURIComponent(room.roomId)}/tags`;
    it('adds, changes and removes tags', async () => {
      expect(await fine('GET', tags())).to.deep.equal({ tags: {} });
      await Promise.all([fine('PUT', `${tags()}/u.work`, { order: 0.5 }), fine('PUT', `${tags()}/m.favourite`, {})]);
      expect(await fine('GET', tags())).to.deep.equal({ tags: { 'u.work': { order: 0.5 }, 'm.favourite': {} } });
      await fine('DELETE', `${tags()}/u.work`);
      await fine('DELETE', `${tags()}/u.work`);
      expect(await fine('GET', tags())).to.deep.equal({ tags: { 'm.favourite': {} } });
    });
    it('refuses names over 255 bytes and orders that are no numbers', async () => {
      await refused(400, 'M_INVALID_PARAM', 'PUT', `${tags()}/u.${'x'.repeat(254)}`, {});
      await refused(400, 'M_BAD_JSON', 'PUT', `${tags()}/u.work`, { order: 'first' });
    });
    it('are told as account data, and may be set as such', async () => {
      const path = `/user/${ALICE}/rooms/${encodeURIComponent(room.roomId)}/account_data/m.tag`;
      await fine('PUT', path, { tags: { 'u.a': { order: 1 }, 'u.b': { order: 'no' }, 'u.c': 7 }, more: [1] });
      expect(await fine('GET', tags())).to.deep.equal({ tags: { 'u.a': { order: 1 }, 'u.b': {} } });
      expect(await fine('GET', path)).to.deep.equal({
        tags: { 'u.a': { order: 1 }, 'u.b': { order: 'no' }, 'u.c': 7 },
        more: [1],
      });
      await fine('PUT', `${tags()}/u.d`, {});
      await fine('DELETE', `${tags()}/u.a`);
      const told = { tags: { 'u.b': { order: 'no' }, 'u.c': 7, 'u.d': {} }, more: [1] };
      expect(await fine('GET', path)).to.deep.equal(told);
      const entry = (await world.services.accountData.load(ALICE)).entry(room.nid, 'm.tag');
      expect(JSON.parse(entry?.json ?? '')).to.deep.equal(told);
      for (const odd of [{}, { tags: {} }, { tags: 'none' }, { more: 1 }]) {
        await fine('PUT', path, odd);
        expect(await fine('GET', tags())).to.deep.equal({ tags: {} });
        expect(await fine('GET', path)).to.deep.equal(odd);
      }
      await fine('PUT', `${tags()}/u.e`, {});
      await fine('DELETE', `${tags()}/u.e`);
      expect(await fine('GET', path)).to.deep.equal({ tags: {}, more: 1 });
    });
    it('say little each, in which way ever they are set', async () => {
      const path = `/user/${ALICE}/rooms/${encodeURIComponent(room.roomId)}/account_data/m.tag`;
      const [most, more] = [{ x: 'x'.repeat(MAX_TAG_LENGTH - 8) }, { x: 'x'.repeat(MAX_TAG_LENGTH - 7) }];
      await fine('PUT', `${tags()}/u.a`, most);
      await fine('PUT', path, { tags: { 'u.a': most, 'u.b': most } });
      await refused(413, 'M_TOO_LARGE', 'PUT', `${tags()}/u.c`, more);
      await refused(413, 'M_TOO_LARGE', 'PUT', path, { tags: { 'u.a': most, 'u.c': more } });
      expect(Object.keys((await fine('GET', tags()))['tags'] as object)).to.have.members(['u.a', 'u.b']);
      await fine('PUT', path, { tags: {} });
    });
    it('have little beside them in m.tag, since that is written again with each of them', async () => {
      const path = `/user/${ALICE}/rooms/${encodeURIComponent(room.roomId)}/account_data/m.tag`;
      await fine('PUT', path, { tags: { 'u.a': { x: 'x'.repeat(5_000) } }, more: 'x'.repeat(4_000) });
      await refused(413, 'M_TOO_LARGE', 'PUT', path, { tags: {}, more: 'x'.repeat(5_000) });
      await refused(413, 'M_TOO_LARGE', 'PUT', path, { tags: { 'u.a': 'x'.repeat(5_000) } });
      await fine('PUT', path, { tags: {} });
    });
    it('are so many in a room and no more, and have names that are text', async () => {
      for (let i = 0; i < 10; i++) await fine('PUT', `${tags()}/u.${i}`, {});
      await refused(413, 'M_TOO_LARGE', 'PUT', `${tags()}/u.10`, {});
      await fine('PUT', `${tags()}/u.9`, { order: 1 });
      const path = `/user/${ALICE}/rooms/${encodeURIComponent(room.roomId)}/account_data/m.tag`;
      const many = Object.fromEntries(Array.from({ length: 11 }, (_, i) => [`u.${i}`, {}]));
      await refused(413, 'M_TOO_LARGE', 'PUT', path, { tags: many });
      for (const name of ['nul\0', 'half\ud800', 'l'.repeat(256)])
        await refused(400, 'M_INVALID_PARAM', 'PUT', path, { tags: { [name]: {} } });
      await fine('PUT', path, { tags: {} });
    });
    it('are written one by one: a change costs one row, however many there are', async () => {
      for (let i = 0; i < 10; i++) await fine('PUT', `${tags()}/u.${i}`, { n: i });
      const rows = (): Promise<{ place: string }[]> =>
        world.services.database.query({
          name: 'test_places_of_tags',
          text: 'select tag || ctid::text as place from room_tags',
        });
      const before = new Set((await rows()).map(({ place }) => place));
      const sent = await world.statements(() => fine('PUT', `${tags()}/u.3`, { n: 'other' }));
      expect(sent).to.equal(1);
      expect((await rows()).filter(({ place }) => !before.has(place))).to.have.length(1);
    });
  });

  describe('filters', () => {
    const path = `/user/${ALICE}/filter`;
    it('gives the same filter the same id, and gives it back', async () => {
      const { filter_id: id } = await fine('POST', path, { room: { timeline: { limit: 3 } }, x: 1 });
      const again = await fine('POST', path, { x: 1, room: { timeline: { limit: 3 } } });
      expect(again['filter_id']).to.equal(id);
      expect(await fine('GET', `${path}/${String(id)}`)).to.deep.equal({ room: { timeline: { limit: 3 } }, x: 1 });
      expect((await world.services.filters.filterFor(ALICE, String(id))).room.timeline.limit).to.equal(3);
      await refused(403, 'M_FORBIDDEN', 'GET', `${path}/${String(id)}`, undefined, 'bob');
      await refused(404, 'M_NOT_FOUND', 'GET', `/user/${BOB}/filter/${String(id)}`, undefined, 'bob');
    });
    it('stores one filter when the same comes twice at once', async () => {
      const answers = await Promise.all([1, 2, 3, 4].map(() => fine('POST', path, { presence: { limit: 7 } })));
      expect(new Set(answers.map((answer) => answer['filter_id'])).size).to.equal(1);
    });
    it('refuses what is no filter and ids that do not exist', async () => {
      await refused(400, 'M_BAD_JSON', 'POST', path, { room: { timeline: { types: 'm.room.message' } } });
      await refused(404, 'M_NOT_FOUND', 'GET', `${path}/999999`);
      await refused(404, 'M_NOT_FOUND', 'GET', `${path}/nonsense`);
    });
    it('keeps so many of a user and no more, by number and by bytes', async () => {
      const bobs = `/user/${BOB}/filter`;
      const define = (filter: unknown): Promise<Answer> => ask('POST', bobs, filter, 'bob');
      const long = (n: number): unknown => ({ padding: 'x'.repeat(60_000), n });
      expect((await define(long(1))).status).to.equal(200);
      expect((await define(long(2))).json['errcode']).to.equal('M_TOO_LARGE');
      for (let n = 0; n < 4; n++) expect((await define({ presence: { limit: n } })).status).to.equal(200);
      await refused(413, 'M_TOO_LARGE', 'POST', bobs, { presence: { limit: 4 } }, 'bob');
      // What is there already is no more than before.
      expect((await define({ presence: { limit: 3 } })).status).to.equal(200);
      expect((await define(long(1))).status).to.equal(200);
    });
    it('refuses a filter that is too long, stored or given in full', async () => {
      const long = { room: { timeline: { types: [`m.${'x'.repeat(70_000)}`] } } };
      await refused(413, 'M_TOO_LARGE', 'POST', path, long);
      const refusal = await world.services.filters
        .filterFor(ALICE, JSON.stringify(long))
        .catch((error: unknown) => error);
      expect(refusal).to.include({ errcode: 'M_TOO_LARGE' });
    });
    it('takes a filter that is given in full', async () => {
      expect(
        (await world.services.filters.filterFor(ALICE, '{"room":{"timeline":{"limit":9}}}')).room.timeline.limit,
      ).to.equal(9);
      expect((await world.services.filters.filterFor(ALICE, undefined)).room.includeLeave).to.equal(false);
    });
  });

  describe('typing', () => {
    const path = (userId: string): string => `/rooms/${encodeURIComponent(room.roomId)}/typing/${userId}`;
    it('shows who types until they stop or time is up, and tells each change once', async () => {
      const typing = (): { users: readonly string[]; at: number } => world.services.typing.typingIn(room.nid);
      let told = 0;
      world.services.typing.changed.subscribe(() => void (told += 1));
      const before = typing().at;
      await fine('PUT', path(ALICE), { typing: true, timeout: 10_000 });
      await fine('PUT', path(ALICE), { typing: true, timeout: 10_000 });
      await fine('PUT', path(BOB), { typing: true }, 'bob');
      expect(typing().users).to.deep.equal([ALICE, BOB]);
      const both = typing().at;
      expect(both).to.be.greaterThan(before);
      await world.app.clock.advance(11_000);
      expect(typing().users).to.deep.equal([BOB]);
      await fine('PUT', path(BOB), { typing: false }, 'bob');
      await fine('PUT', path(BOB), { typing: false }, 'bob');
      expect(typing().users).to.deep.equal([]);
      expect(typing().at).to.be.greaterThan(both);
      expect(told).to.equal(4);
    });
    it('refuses strangers, and to type in the name of others', async () => {
      await refused(403, 'M_FORBIDDEN', 'PUT', path('@exempt:test'), { typing: true }, 'exempt');
      await refused(403, 'M_FORBIDDEN', 'PUT', path(BOB), { typing: true });
      await refused(400, 'M_MISSING_PARAM', 'PUT', path(ALICE), { timeout: 1 });
    });
    it('forgets those who leave', async () => {
      await world.join(room, CAROL);
      await world.services.typing.set(CAROL, room.roomId, true);
      await world.member(room, CAROL, CAROL, 'leave');
      expect(world.services.typing.typingIn(room.nid).users).to.deep.equal([]);
    });
  });

  describe('receipts and read markers', () => {
    const receipt = (kind: string, eventId: string): string =>
      `/rooms/${encodeURIComponent(room.roomId)}/receipt/${kind}/${encodeURIComponent(eventId)}`;

    it('keeps a threaded and an unthreaded receipt at the same event', async () => {
      const root = await world.say(room, ALICE, 'root');
      const reply = await world.reply(room, ALICE, root.eventId);
      await fine('POST', receipt('m.read', reply.eventId), { thread_id: root.eventId }, 'bob');
      await fine('POST', receipt('m.read', reply.eventId), {}, 'bob');
      const mine = (await world.services.receipts.forRoom(room)).all().filter(({ userId }) => userId === BOB);
      expect(mine.map(({ thread, eventId }) => [thread, eventId])).to.deep.equal([
        [root.eventId, reply.eventId],
        [undefined, reply.eventId],
      ]);
    });
    it('does not move backwards and does not write the same twice', async () => {
      const first = await world.say(room, ALICE, 'first');
      const second = await world.say(room, ALICE, 'second');
      await fine('POST', receipt('m.read', second.eventId), {}, 'bob');
      const before = (await world.services.receipts.forRoom(room)).latest;
      const sent = await world.statements(async () => {
        await fine('POST', receipt('m.read', second.eventId), {}, 'bob');
        await fine('POST', receipt('m.read', first.eventId), {}, 'bob');
      });
      expect([sent, (await world.services.receipts.forRoom(room)).latest]).to.deep.equal([0, before]);
      const [a, b] = [await world.say(room, ALICE, 'a'), await world.say(room, ALICE, 'b')];
      await Promise.all([
        fine('POST', receipt('m.read', b.eventId), {}, 'bob'),
        fine('POST', receipt('m.read', a.eventId), {}, 'bob'),
      ]);
      expect((await world.services.receipts.forRoom(room)).of(BOB, 'm.read', undefined)?.eventId).to.equal(b.eventId);
    });
    it('shows private receipts to their owner only, and tells what changed since', async () => {
      const event = await world.say(room, ALICE, 'x');
      const receipts = await world.services.receipts.forRoom(room);
      const before = receipts.latest;
      await fine('POST', receipt('m.read.private', event.eventId), {}, 'bob');
      expect(receipts.changedSince(before)).to.have.length(1);
      expect(receipts.visibleTo(BOB).some(({ kind }) => kind === 'm.read.private')).to.equal(true);
      expect(receipts.visibleTo(ALICE).some(({ kind }) => kind === 'm.read.private')).to.equal(false);
    });
    it('refuses thread ids that are wrong', async () => {
      const root = await world.say(room, ALICE, 'root');
      const reply = await world.reply(room, ALICE, root.eventId);
      const reaction = await world.services.events.send(room, {
        type: 'm.reaction',
        sender: ALICE,
        content: { 'm.relates_to': { rel_type: 'm.annotation', event_id: reply.eventId, key: 'x' } },
      });
      for (const thread of ['', 7, null])
        await refused(400, 'M_INVALID_PARAM', 'POST', receipt('m.read', root.eventId), { thread_id: thread });
      await refused(400, 'M_INVALID_PARAM', 'POST', receipt('m.read', reply.eventId), { thread_id: 'main' });
      await refused(400, 'M_INVALID_PARAM', 'POST', receipt('m.read', reply.eventId), { thread_id: '$other' });
      await refused(400, 'M_INVALID_PARAM', 'POST', receipt('m.fully_read', root.eventId), { thread_id: 'main' });
      await fine('POST', receipt('m.read', root.eventId), { thread_id: 'main' });
      await fine('POST', receipt('m.read', root.eventId), { thread_id: root.eventId });
      await fine('POST', receipt('m.read', reaction.eventId), { thread_id: root.eventId });
    });
    it('takes no event for a thread to which nobody replied in one', async () => {
      const event = await world.say(room, ALICE, 'alone');
      const reaction = await world.services.events.send(room, {
        type: 'm.reaction',
        sender: ALICE,
        content: { 'm.relates_to': { rel_type: 'm.annotation', event_id: event.eventId, key: 'x' } },
      });
      for (const target of [event, reaction])
        await refused(400, 'M_INVALID_PARAM', 'POST', receipt('m.read', target.eventId), { thread_id: event.eventId });
      await world.reply(room, BOB, event.eventId);
      for (const target of [event, reaction])
        await fine('POST', receipt('m.read', target.eventId), { thread_id: event.eventId });
    });
    it('keeps those of so many threads; what was read in older ones stays read', async () => {
      const threads = await world.room(ALICE, [BOB]);
      const read = async (eventId: string, threadId: string, kind = 'm.read'): Promise<void> => {
        const path = `/rooms/${encodeURIComponent(threads.roomId)}/receipt/${kind}/${encodeURIComponent(eventId)}`;
        await fine('POST', path, { thread_id: threadId }, 'bob');
      };
      const roots: string[] = [];
      for (let i = 0; i < 8; i++) {
        const root = (await world.say(threads, BOB, `root ${i}`)).eventId;
        await world.reply(threads, ALICE, root, 'first');
        roots.push(root);
      }
      const kept = async (w: World): Promise<(string | undefined)[]> =>
        (await w.services.receipts.forRoom(threads))
          .all()
          .filter(({ userId }) => userId === BOB)
          .map(({ thread }) => thread);
      const unread = async (w: World): Promise<[string, number][]> => {
        const there = await w.services.rooms.byId(threads.roomId);
        const counts = await w.services.unread.counts(BOB, there!, Infinity);
        return [...counts.threads].map(([root, { notification }]) => [root, notification]);
      };
      expect(await unread(world)).to.have.length(8);
      for (const root of roots) {
        const { eventId } = await world.reply(threads, ALICE, root, 'second');
        await read(eventId, root, root === roots[2] ? 'm.read.private' : 'm.read');
      }
      expect(await unread(world)).to.deep.equal([]);
      // Five threads, and one replaced another for each that came after.
      expect(await kept(world)).to.deep.equal(roots.slice(3));
      const later = await world.reply(threads, ALICE, roots[0]!, 'third');
      expect(await unread(world)).to.deep.equal([[roots[0], 1]]);
      await world.beside(async (cold) => {
        expect(await kept(cold)).to.deep.equal(roots.slice(3));
        expect(await unread(cold)).to.deep.equal([[roots[0], 1]]);
      });
      await read(later.eventId, roots[0]!);
      expect(await unread(world)).to.deep.equal([]);
      expect(await kept(world)).to.deep.equal([...roots.slice(4), roots[0]]);
    });
    it('refuses unknown kinds, unknown events and strangers', async () => {
      const event = await world.say(room, ALICE, 'x');
      await refused(400, 'M_INVALID_PARAM', 'POST', receipt('m.nonsense', event.eventId), {});
      await refused(404, 'M_NOT_FOUND', 'POST', receipt('m.read', '$nothing'), {});
      await refused(403, 'M_FORBIDDEN', 'POST', receipt('m.read', event.eventId), {}, 'exempt');
    });
    it('sets all markers in one go, and never moves the fully read marker backwards', async () => {
      const [first, second] = [await world.say(room, ALICE, '1'), await world.say(room, ALICE, '2')];
      const path = `/rooms/${encodeURIComponent(room.roomId)}/read_markers`;
      await fine('POST', path, {
        'm.fully_read': second.eventId,
        'm.read': second.eventId,
        'm.read.private': second.eventId,
      });
      await fine('POST', path, { 'm.fully_read': first.eventId });
      await fine('POST', receipt('m.fully_read', first.eventId));
      const marker = await fine(
        'GET',
        `/user/${ALICE}/rooms/${encodeURIComponent(room.roomId)}/account_data/m.fully_read`,
      );
      expect(marker).to.deep.equal({ event_id: second.eventId });
      const receipts = await world.services.receipts.forRoom(room);
      expect(
        ['m.read', 'm.read.private'].map((kind) => receipts.of(ALICE, kind as 'm.read', undefined)?.eventId),
      ).to.deep.equal([second.eventId, second.eventId]);
      await refused(404, 'M_NOT_FOUND', 'POST', path, { 'm.fully_read': '$nothing' });
    });
  });

  describe('push rules', () => {
    const rule = (kind: string, id: string): string => `/pushrules/global/${kind}/${encodeURIComponent(id)}`;
    it('serves them with and without the last slash', async () => {
      const all = await fine('GET', '/pushrules/');
      expect(await fine('GET', '/pushrules')).to.deep.equal(all);
      expect({ global: await fine('GET', '/pushrules/global/') }).to.deep.equal(all);
    });
    it('serves the rules of one kind, as other servers do', async () => {
      const { underride } = await fine('GET', '/pushrules/global/');
      for (const path of ['/pushrules/global/underride/', '/pushrules/global/underride'])
        expect((await ask('GET', path)).json).to.deep.equal(underride);
    });
    it('answers 404 M_NOT_FOUND for reading or changing a rule of an unknown kind, and 400 for making one', async () => {
      const odd = rule('nonsense', 'x');
      for (const path of [odd, `${odd}/enabled`, `${odd}/actions`, '/pushrules/global/nonsense/'])
        await refused(404, 'M_NOT_FOUND', 'GET', path);
      await refused(404, 'M_NOT_FOUND', 'PUT', `${odd}/enabled`, { enabled: true });
      await refused(404, 'M_NOT_FOUND', 'PUT', `${odd}/actions`, { actions: [] });
      await refused(404, 'M_NOT_FOUND', 'DELETE', odd);
      await refused(400, 'M_INVALID_PARAM', 'PUT', odd, { actions: [] });
    });
    it('keeps so many of a user and no more, by number and by bytes', async () => {
      const put = (id: string, length: number): Promise<Answer> =>
        ask('PUT', rule('override', id), { actions: [{ set_tweak: 'x', value: 'y'.repeat(length) }] }, 'bob');
      for (let i = 0; i < 50; i++) expect((await put(`r${i}`, 10)).status).to.equal(200);
      expect((await put('r50', 10)).json['errcode']).to.equal('M_TOO_LARGE');
      await refused(
        413,
        'M_TOO_LARGE',
        'PUT',
        `${rule('override', '.m.rule.master')}/enabled`,
        { enabled: true },
        'bob',
      );
      for (const id of ['r1', 'r4']) expect((await put(id, 45_000)).status).to.equal(200);
      expect((await put('r2', 20_000)).json['errcode']).to.equal('M_TOO_LARGE');
      await fine('PUT', `${rule('override', 'r3')}/enabled`, { enabled: false }, 'bob');
      for (let i = 0; i < 50; i++) await fine('DELETE', rule('override', `r${i}`), undefined, 'bob');
    });
    it('writes one rule where one is changed, and the position of the change', async () => {
      for (let i = 0; i < 40; i++)
        await fine('PUT', rule('override', `many${i}`), {
          actions: [],
          conditions: Array.from({ length: 20 }, () => ({ kind: 'event_match', key: 'content.x', pattern: 'y' })),
        });
      const rows = (): Promise<{ place: string }[]> =>
        world.services.database.query({
          name: 'test_places_of_rules',
          text: 'select rule_id || ctid::text as place from push_rules',
        });
      const before = new Set((await rows()).map(({ place }) => place));
      const sent = await world.statements(() =>
        fine('PUT', `${rule('override', 'many7')}/enabled`, { enabled: false }),
      );
      expect(sent).to.equal(1);
      expect((await rows()).filter(({ place }) => !before.has(place))).to.have.length(1);
      expect(
        await world.statements(() => fine('PUT', `${rule('override', 'many7')}/enabled`, { enabled: false })),
      ).to.equal(0);
      const { global } = await fine('GET', `/user/${ALICE}/account_data/m.push_rules`);
      expect(await fine('GET', '/pushrules/global/')).to.deep.equal(global);
      for (let i = 0; i < 40; i++) await fine('DELETE', rule('override', `many${i}`));
    });
    it('adds, places, changes and removes rules, and tells of it', async () => {
      const told: string[] = [];
      const stop = world.services.accountData.changed.subscribe(({ type }) => void told.push(type));
      await fine('PUT', rule('content', 'one'), { pattern: 'one', actions: ['notify'] });
      await fine('PUT', `${rule('content', 'two')}?after=one`, { pattern: 'two', actions: [] });
      const { content } = await fine('GET', '/pushrules/global/');
      expect((content as { rule_id: string }[]).map(({ rule_id }) => rule_id)).to.deep.equal([
        'one',
        'two',
        '.m.rule.contains_user_name',
      ]);
      await fine('PUT', `${rule('content', 'two')}/enabled`, { enabled: false });
      expect(await fine('GET', `${rule('content', 'two')}/enabled`)).to.deep.equal({ enabled: false });
      await fine('PUT', `${rule('content', 'two')}/actions`, {
        actions: ['notify', { set_tweak: 'sound', value: 'x' }],
      });
      expect(await fine('GET', `${rule('content', 'two')}/actions`)).to.deep.equal({
        actions: ['notify', { set_tweak: 'sound', value: 'x' }],
      });
      expect(await fine('GET', rule('content', 'two'))).to.include({
        rule_id: 'two',
        pattern: 'two',
        enabled: false,
        default: false,
      });
      await fine('DELETE', rule('content', 'two'));
      stop();
      expect(told).to.deep.equal(Array.from({ length: 5 }, () => 'm.push_rules'));
      await refused(404, 'M_NOT_FOUND', 'GET', rule('content', 'two'));
    });
    it('changes the rules of the server, but does not remove them', async () => {
      await fine('PUT', `${rule('override', '.m.rule.suppress_notices')}/enabled`, { enabled: false });
      expect(await fine('GET', rule('override', '.m.rule.suppress_notices'))).to.include({
        enabled: false,
        default: true,
      });
      await refused(400, 'M_INVALID_PARAM', 'DELETE', rule('override', '.m.rule.master'));
    });
    it('serves those of one kind, with and without the last slash', async () => {
      const all = await fine('GET', '/pushrules/global/');
      for (const kind of ['override', 'content', 'room', 'sender', 'underride'])
        for (const path of [`/pushrules/global/${kind}/`, `/pushrules/global/${kind}`]) {
          const { status, text } = await ask('GET', path);
          expect([status, JSON.parse(text)], path).to.deep.equal([200, all[kind]]);
        }
    });
    it('answers 404 M_NOT_FOUND for whatever is asked of a kind that there is not, and 400 when a rule of it is to be made', async () => {
      const made = rule('nonsense', 'x');
      await refused(404, 'M_NOT_FOUND', 'GET', '/pushrules/global/nonsense/');
      for (const path of [made, `${made}/enabled`, `${made}/actions`]) await refused(404, 'M_NOT_FOUND', 'GET', path);
      await refused(404, 'M_NOT_FOUND', 'PUT', `${made}/enabled`, { enabled: true });
      await refused(404, 'M_NOT_FOUND', 'PUT', `${made}/actions`, { actions: [] });
      await refused(404, 'M_NOT_FOUND', 'DELETE', made);
      await refused(400, 'M_INVALID_PARAM', 'PUT', made, { actions: [] });
    });
    it('refuses what makes no sense', async () => {
      await refused(400, 'M_INVALID_PARAM', 'PUT', rule('content', '.x'), { actions: [], pattern: 'x' });
      await refused(400, 'M_UNKNOWN', 'PUT', `${rule('content', 'x')}?before=nothing`, { actions: [], pattern: 'x' });
      await refused(400, 'M_MISSING_PARAM', 'PUT', rule('content', 'x'), { pattern: 'x' });
      await refused(404, 'M_NOT_FOUND', 'PUT', `${rule('override', 'nothing')}/enabled`, { enabled: true });
    });
  });

  describe('profiles', () => {
    const path = `/profile/${ALICE}`;
    it('sets, shows and removes fields; anybody may look', async () => {
      await fine('PUT', `${path}/displayname`, { displayname: 'Alice' });
      await fine('PUT', `${path}/avatar_url`, { avatar_url: 'mxc://test/abc' });
      await fine('PUT', `${path}/org.example.likes`, { 'org.example.likes': { cake: [true, null] } });
      const profile = {
        avatar_url: 'mxc://test/abc',
        displayname: 'Alice',
        'org.example.likes': { cake: [true, null] },
      };
      const anonymous = await ask('GET', path, undefined, null);
      expect(anonymous.json).to.deep.equal(profile);
      expect(await fine('GET', `${path}/org.example.likes`)).to.deep.equal({
        'org.example.likes': { cake: [true, null] },
      });
      await fine('DELETE', `${path}/org.example.likes`);
      await refused(404, 'M_NOT_FOUND', 'GET', `${path}/org.example.likes`);
    });
    it('takes any text of up to 1000 bytes for an avatar, as clients and bridges set it', async () => {
      for (const avatar of ['https://example.org/a.png', 'no URI at all', 'é'.repeat(500)]) {
        await fine('PUT', `${path}/avatar_url`, { avatar_url: avatar });
        // The schemas know content URIs only.
        expect((await world.services.profiles.read(ALICE)).avatarUrl).to.equal(avatar);
      }
    });
    it('is changed by its owner and administrators only', async () => {
      await refused(403, 'M_FORBIDDEN', 'PUT', `${path}/displayname`, { displayname: 'Mallory' }, 'bob');
      await fine('PUT', `/profile/${CAROL}/displayname`, { displayname: 'Carol' }, 'admin');
      expect(await fine('GET', `/profile/${CAROL}/displayname`)).to.deep.equal({ displayname: 'Carol' });
    });
    it('answers 404 for users that do not exist, and asks no server in a network of its own', async () => {
      await refused(404, 'M_NOT_FOUND', 'GET', '/profile/@nobody:test');
      await refused(403, 'M_FORBIDDEN', 'GET', '/profile/@someone:127.0.0.1:1/displayname');
      expect(await fine('GET', `/profile/@admin:test`)).to.deep.equal({});
    });
    it('keeps to the limits of the specification', async () => {
      await refused(400, 'M_KEY_TOO_LARGE', 'PUT', `${path}/org.${'x'.repeat(252)}`, {});
      await refused(400, 'M_INVALID_PARAM', 'PUT', `${path}/Nope`, { Nope: 1 });
      await refused(400, 'M_MISSING_PARAM', 'PUT', `${path}/displayname`, { name: 'Alice' });
      await refused(400, 'M_BAD_JSON', 'PUT', `${path}/displayname`, { displayname: 7 });
      await refused(400, 'M_INVALID_PARAM', 'PUT', `${path}/avatar_url`, { avatar_url: 'é'.repeat(501) });
      await refused(400, 'M_PROFILE_TOO_LARGE', 'PUT', `${path}/org.example.large`, {
        'org.example.large': 'x'.repeat(66_000),
      });
    });
    it('carries name and avatar into the rooms, without what belonged to the join', async () => {
      const own = await world.room(ALICE);
      const bob = await world.join(own, BOB, {
        join_authorised_via_users_server: ALICE,
        reason: 'hello',
        'org.example.kept': 1,
      });
      expect(bob.content).to.have.property('reason');
      await Promise.all(
        [1, 2, 3].map((i) => fine('PUT', `/profile/${BOB}/displayname`, { displayname: `Bob ${i}` }, 'bob')),
      );
      await fine('PUT', `/profile/${BOB}/avatar_url`, { avatar_url: 'mxc://test/bob' }, 'bob');
      await world.app.idle();
      const event = await world.services.loader.one(own, own.member(BOB)!.event);
      expect(event?.content).to.deep.equal({
        membership: 'join',
        displayname: 'Bob 3',
        avatar_url: 'mxc://test/bob',
        'org.example.kept': 1,
      });
      await fine('PUT', `/profile/${BOB}/displayname`, { displayname: '' }, 'bob');
      await world.app.idle();
      expect((await world.services.loader.one(own, own.member(BOB)!.event))?.content).to.not.have.property(
        'displayname',
      );
    });
  });

  describe('presence', () => {
    const path = (userId: string): string => `/presence/${userId}/status`;
    it('answers for oneself before anything was set', async () => {
      // A test before this one has read something.
      expect(await fine('GET', path(ALICE))).to.include.keys('presence');
    });
    it('shows what was set to those who share a room', async () => {
      await fine('PUT', path(ALICE), { presence: 'online', status_msg: 'here' });
      expect(await fine('GET', path(ALICE), undefined, 'bob')).to.deep.equal({
        presence: 'online',
        status_msg: 'here',
        last_active_ago: 0,
        currently_active: true,
      });
      await refused(403, 'M_FORBIDDEN', 'GET', path(CAROL));
    });
    it('refuses to set that of others, and states that do not exist', async () => {
      await refused(403, 'M_FORBIDDEN', 'PUT', path(BOB), { presence: 'online' });
      await refused(400, 'M_BAD_JSON', 'PUT', path(ALICE), { presence: 'asleep' });
      await refused(400, 'M_MISSING_PARAM', 'PUT', path(ALICE), {});
    });
  });
});
