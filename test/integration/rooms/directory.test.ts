import { expect } from 'chai';
import { type Answer, type Json, InProcessServer } from '#test/support/in-process-server.ts';

const encode = encodeURIComponent;

describe('names of rooms, and their directory', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  before(async () => (server = await InProcessServer.start()));
  after(() => server.stop());

  const refused = async (answer: Promise<Answer>, status: number, errcode: string): Promise<void> => {
    const { status: actual, body } = await answer;
    expect([actual, body?.errcode]).to.deep.equal([status, errcode]);
  };
  const alias = (token: string | undefined, method: string, name: string, roomId?: string): Promise<Answer> =>
    server.ask(
      token,
      method,
      `/directory/room/${encode(name)}`,
      roomId === undefined ? undefined : { room_id: roomId },
    );
  const canonical = async (roomId: string): Promise<unknown> =>
    (await server.ask('alice', 'GET', `/rooms/${roomId}/state/m.room.canonical_alias`)).body;

  describe('aliases', () => {
    it('are made by members, found by anybody, listed for members', async () => {
      const roomId = await server.room('alice');
      expect((await alias('alice', 'PUT', '#one:test', roomId)).status).to.equal(200);
      expect((await alias(undefined, 'GET', '#one:test')).body).to.deep.equal({ room_id: roomId, servers: ['test'] });
      expect(await server.must('alice', 'GET', `/rooms/${roomId}/aliases`)).to.deep.equal({ aliases: ['#one:test'] });
      await refused(server.ask('bob', 'GET', `/rooms/${roomId}/aliases`), 403, 'M_FORBIDDEN');
      await refused(alias('bob', 'PUT', '#two:test', roomId), 403, 'M_FORBIDDEN');
    });
    it('are 409 when taken, 400 when they are none or of another server, 404 when they are not there', async () => {
      const roomId = await server.room('alice', { room_alias_name: 'taken' });
      await refused(alias('alice', 'PUT', '#taken:test', roomId), 409, 'M_UNKNOWN');
      await refused(alias('alice', 'PUT', '#a:elsewhere.test', roomId), 400, 'M_INVALID_PARAM');
      await refused(alias('alice', 'PUT', 'nonsense', roomId), 400, 'M_INVALID_PARAM');
      await refused(alias(undefined, 'GET', 'nonsense'), 400, 'M_INVALID_PARAM');
      await refused(alias(undefined, 'GET', '#none:test'), 404, 'M_NOT_FOUND');
      await refused(alias('alice', 'DELETE', '#none:test'), 404, 'M_NOT_FOUND');
    });
    it('are what createRoom makes of a name, and the other way round', async () => {
      const roomId = await server.room('alice');
      for (const name of ['茶室 二', 'two words', '#hash', 'Ünïcode!', '..', 'x'.repeat(249)]) {
        expect((await alias('alice', 'PUT', `#${name}:test`, roomId)).status, name).to.equal(200);
        await alias('alice', 'DELETE', `#${name}:test`);
        const made = await server.room('alice', { room_alias_name: name });
        expect((await alias(undefined, 'GET', `#${name}:test`)).body.room_id).to.equal(made);
        expect(await canonical(made)).to.deep.equal({ alias: `#${name}:test` });
        await alias('alice', 'DELETE', `#${name}:test`);
      }
      for (const name of ['', 'a:b', ':', 'x'.repeat(250), 'NUL\0']) {
        await refused(server.ask('alice', 'POST', '/createRoom', { room_alias_name: name }), 400, 'M_INVALID_PARAM');
        if (!name.includes('\0')) await refused(alias('alice', 'PUT', `#${name}:test`, roomId), 400, 'M_INVALID_PARAM');
      }
    });
    it('are bounded in number', async () => {
      const roomId = await server.room('alice');
      for (let i = 0; i < 100; i++) expect((await alias('alice', 'PUT', `#n${i}:test`, roomId)).status).to.equal(200);
      await refused(alias('alice', 'PUT', '#one-more:test', roomId), 413, 'M_TOO_LARGE');
      await refused(alias('alice', 'PUT', '#n1:test', roomId), 413, 'M_TOO_LARGE');
      await alias('alice', 'DELETE', '#n1:test');
      expect((await alias('alice', 'PUT', '#one-more:test', roomId)).status).to.equal(200);
    });
    it('may be deleted by their maker without power, and the canonical alias stays', async () => {
      const roomId = await server.room('alice', { preset: 'public_chat' });
      await server.join('bob', roomId);
      await alias('bob', 'PUT', '#bobs:test', roomId);
      await server.setState('alice', roomId, 'm.room.canonical_alias', { alias: '#bobs:test' });
      expect((await alias('bob', 'DELETE', '#bobs:test')).status).to.equal(200);
      expect(await canonical(roomId)).to.deep.equal({ alias: '#bobs:test' });
      expect((await alias(undefined, 'GET', '#bobs:test')).status).to.equal(404);
    });
    it('may be deleted by operators, which takes them out of the canonical alias, and by nobody else', async () => {
      const roomId = await server.room('alice', { preset: 'public_chat' });
      await server.join('bob', roomId);
      await server.join('carol', roomId);
      for (const name of ['#main:test', '#alt:test']) await alias('bob', 'PUT', name, roomId);
      await server.setState('alice', roomId, 'm.room.canonical_alias', {
        alias: '#main:test',
        alt_aliases: ['#alt:test'],
      });
      await refused(alias('carol', 'DELETE', '#main:test'), 403, 'M_FORBIDDEN');
      expect((await alias('alice', 'DELETE', '#alt:test')).status).to.equal(200);
      expect(await canonical(roomId)).to.deep.equal({ alias: '#main:test' });
      expect((await alias('alice', 'DELETE', '#main:test')).status).to.equal(200);
      expect(await canonical(roomId)).to.deep.equal({});
    });
  });

  describe('the canonical alias', () => {
    it('must exist and lead to the room: 400 M_BAD_ALIAS', async () => {
      const roomId = await server.room('alice', { room_alias_name: 'here' });
      await server.room('alice', { room_alias_name: 'there' });
      const put = (content: object): Promise<Answer> =>
        server.ask('alice', 'PUT', `/rooms/${roomId}/state/m.room.canonical_alias/`, content);
      for (const name of ['#there:test', '#nowhere:test', '#a:elsewhere.test']) {
        await refused(put({ alias: name }), 400, 'M_BAD_ALIAS');
        await refused(put({ alt_aliases: [name] }), 400, 'M_BAD_ALIAS');
      }
      for (const name of ['nonsense', '@alice:test', 7]) {
        await refused(put({ alias: name }), 400, 'M_INVALID_PARAM');
        await refused(put({ alt_aliases: [name] }), 400, 'M_INVALID_PARAM');
      }
      expect((await put({ alias: '#here:test', alt_aliases: ['#here:test'] })).status).to.equal(200);
      expect((await put({})).status).to.equal(200);
    });
    it('may go on naming what it named before', async () => {
      const roomId = await server.room('alice', {
        room_alias_name: 'gone',
        preset: 'public_chat',
        invite: ['@bob:test'],
      });
      await server.services.database.query({
        name: 'test_alias_gone',
        text: "delete from aliases where alias = '#gone:test'",
      });
      await alias('alice', 'PUT', '#new:test', roomId);
      await server.setState('alice', roomId, 'm.room.canonical_alias', {
        alias: '#gone:test',
        alt_aliases: ['#new:test'],
      });
    });
  });

  describe('the list of public rooms', () => {
    let small: string;
    let large: string;
    let space: string;
    before(async () => {
      small = await server.room('alice', { visibility: 'public', name: 'Small Talk', topic: 'weather' });
      large = await server.room('alice', { visibility: 'public', name: 'Large', room_alias_name: 'large' });
      space = await server.room('alice', {
        visibility: 'public',
        name: 'Space',
        creation_content: { type: 'm.space' },
      });
      for (const token of ['bob', 'carol']) await server.join(token, large);
      await server.join('bob', space);
      await server.room('alice', { name: 'Hidden' });
    });
    const ids = (page: Json): string[] => page.chunk.map((room: Json) => room.room_id);
    const search = (body: object): Promise<Json> => server.must('alice', 'POST', '/publicRooms', body);

    it('shows the rooms with the most members first, to anybody', async () => {
      const page = await server.must(undefined, 'GET', '/publicRooms');
      expect(ids(page)).to.deep.equal([large, space, small]);
      expect(page.total_room_count_estimate).to.equal(3);
      expect(page.chunk[0]).to.deep.equal({
        room_id: large,
        name: 'Large',
        canonical_alias: '#large:test',
        num_joined_members: 3,
        world_readable: false,
        guest_can_join: false,
        join_rule: 'public',
      });
      expect(page.chunk[1].room_type).to.equal('m.space');
    });
    it('is read page by page', async () => {
      const first = await server.must(undefined, 'GET', '/publicRooms?limit=2');
      expect(ids(first)).to.deep.equal([large, space]);
      expect(first).not.to.have.property('prev_batch');
      const second = await server.must(undefined, 'GET', `/publicRooms?limit=2&since=${first.next_batch}`);
      expect(ids(second)).to.deep.equal([small]);
      expect(second).not.to.have.property('next_batch');
      expect(ids(await server.must(undefined, 'GET', `/publicRooms?limit=2&since=${second.prev_batch}`))).to.deep.equal(
        [large, space],
      );
      await refused(server.ask(undefined, 'GET', '/publicRooms?since=x'), 400, 'M_INVALID_PARAM');
    });
    it('is searched by name, topic and alias, whatever the case', async () => {
      expect(ids(await search({ filter: { generic_search_term: 'SMALL' } }))).to.deep.equal([small]);
      expect(ids(await search({ filter: { generic_search_term: 'eath' } }))).to.deep.equal([small]);
      expect(ids(await search({ filter: { generic_search_term: '#large' } }))).to.deep.equal([large]);
      expect(ids(await search({ filter: { generic_search_term: 'hidden' } }))).to.deep.equal([]);
      expect(ids(await search({ limit: 1 }))).to.deep.equal([large]);
    });
    it('is searched whatever the width, the kind of kana and the accents', async () => {
      const cafe = await server.room('alice', { visibility: 'public', name: '東京カフェ Crème' });
      for (const term of ['カフェ', 'ｶﾌｪ', 'かふぇ', '京カ', 'creme', 'ＣＲＥＭＥ', 'ぇ c'])
        expect(ids(await search({ filter: { generic_search_term: term } })), term).to.deep.equal([cafe]);
      for (const term of ['茶', '%', '_', '\\', '#none'])
        expect(ids(await search({ filter: { generic_search_term: term } })), term).to.deep.equal([]);
      expect(ids(await search({ filter: { generic_search_term: ' ' } }))).to.have.length(4);
      await server.must('alice', 'PUT', `/directory/list/room/${cafe}`, { visibility: 'private' });
    });
    it('shows as many as there are for limit 0, and no room that everybody has left', async () => {
      const roomId = await server.room('alice', { visibility: 'public' });
      expect(ids(await server.must(undefined, 'GET', '/publicRooms?limit=0'))).to.include(roomId);
      await server.must('alice', 'POST', `/rooms/${roomId}/leave`, {});
      const page = await server.must(undefined, 'GET', '/publicRooms?limit=0');
      expect([ids(page).length, page.total_room_count_estimate]).to.deep.equal([3, 3]);
    });
    it('is narrowed to types of rooms', async () => {
      expect(ids(await search({ filter: { room_types: ['m.space'] } }))).to.deep.equal([space]);
      expect(ids(await search({ filter: { room_types: [null] } }))).to.deep.equal([large, small]);
      expect(ids(await search({ filter: { room_types: [] } }))).to.deep.equal([]);
      expect(ids(await search({ filter: { room_types: null } }))).to.deep.equal([large, space, small]);
    });
    it('is that of another server where one is named, which has to be one that is asked', async () => {
      await refused(server.ask(undefined, 'GET', '/publicRooms?server=127.0.0.1:1'), 403, 'M_FORBIDDEN');
      expect(ids(await server.must(undefined, 'GET', '/publicRooms?server=test'))).to.have.length(3);
    });
    it('does not tell strangers whether there is a private room', async () => {
      const hidden = await server.room('alice', { preset: 'private_chat', invite: ['@bob:test'] });
      const path = (roomId: string): string => `/directory/list/room/${roomId}`;
      const nothing = '!nothing:test';
      for (const token of [undefined, 'carol']) {
        const unknown = await server.ask(token, 'GET', path(nothing));
        expect([unknown.status, unknown.body.errcode]).to.deep.equal([404, 'M_NOT_FOUND']);
        expect(await server.ask(token, 'GET', path(hidden))).to.deep.equal(unknown);
      }
      const change = { visibility: 'public' };
      expect(await server.ask('carol', 'PUT', path(hidden), change)).to.deep.equal(
        await server.ask('carol', 'PUT', path(nothing), change),
      );
      for (const token of ['alice', 'bob'])
        expect(await server.must(token, 'GET', path(hidden))).to.deep.equal({ visibility: 'private' });
    });
    it('is changed by operators only, and lasts', async () => {
      const path = `/directory/list/room/${small}`;
      expect(await server.must(undefined, 'GET', path)).to.deep.equal({ visibility: 'public' });
      await server.join('bob', small);
      await refused(server.ask('bob', 'PUT', path, { visibility: 'private' }), 403, 'M_FORBIDDEN');
      await server.must('alice', 'PUT', path, { visibility: 'private' });
      expect(await server.must(undefined, 'GET', path)).to.deep.equal({ visibility: 'private' });
      expect(ids(await server.must(undefined, 'GET', '/publicRooms'))).to.deep.equal([large, space]);
      await server.restart();
      expect(ids(await server.must(undefined, 'GET', '/publicRooms'))).to.deep.equal([large, space]);
      await server.must('alice', 'PUT', path, {});
      expect(ids(await server.must(undefined, 'GET', '/publicRooms'))).to.have.length(3);
      await refused(server.ask(undefined, 'GET', '/directory/list/room/!nothing:test'), 404, 'M_NOT_FOUND');
      await refused(server.ask('alice', 'PUT', '/directory/list/room/!nothing:test', {}), 404, 'M_NOT_FOUND');
    });
  });
});
