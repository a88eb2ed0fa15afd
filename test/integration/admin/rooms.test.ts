import { expect } from 'chai';
import { InProcessServer, type Json } from '#test/support/in-process-server.ts';

const ROOMS = '/_synapse/admin/v1/rooms';
const ADMIN = 'admin-a';

describe('rooms, for administrators', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  before(async () => (server = await InProcessServer.start()));
  after(() => server.stop());

  const get = (path: string): Promise<Json> => server.must(ADMIN, 'GET', path);
  const of = (roomId: string, path = ''): string => `${ROOMS}/${encodeURIComponent(roomId)}${path}`;
  const refused = async (
    method: string,
    path: string,
    status: number,
    errcode: string,
    body?: object,
  ): Promise<void> => {
    const answer = await server.ask(ADMIN, method, path, body);
    expect([answer.status, answer.body.errcode]).to.deep.equal([status, errcode]);
  };
  /** The ids that a list gives for what is searched for. */
  const names = async (query: string): Promise<string[]> =>
    (await get(`${ROOMS}?${query}`)).rooms.map(({ name }: Json) => name);

  describe('in a list', () => {
    it('have every field that strict tools ask for', async () => {
      const alice = '@alice:test';
      const roomId = await server.room('alice', {
        preset: 'public_chat',
        visibility: 'public',
        room_alias_name: 'fields',
        name: 'Fields',
        creation_content: { type: 'm.space', 'm.federate': false },
        initial_state: [{ type: 'm.room.encryption', content: { algorithm: 'm.megolm.v1.aes-sha2' } }],
      });
      await server.join('bob', roomId);
      const [room] = (await get(`${ROOMS}?search_term=Fields`)).rooms;
      const state = await server.must('alice', 'GET', `/rooms/${roomId}/state`);
      expect(room).to.deep.equal({
        room_id: roomId,
        name: 'Fields',
        canonical_alias: '#fields:test',
        joined_members: 2,
        joined_local_members: 2,
        version: '12',
        creator: alice,
        encryption: 'm.megolm.v1.aes-sha2',
        federatable: false,
        public: true,
        join_rules: 'public',
        guest_access: null,
        history_visibility: 'shared',
        state_events: state.length,
        room_type: 'm.space',
      });
      expect(await get(of(roomId))).to.deep.equal({
        ...room,
        avatar: null,
        topic: null,
        joined_local_devices: 2,
        forgotten: false,
        tombstoned: false,
        replacement_room: null,
      });
    });
    it('say null for what a room does not say', async () => {
      const roomId = await server.room('alice');
      const { rooms } = await get(`${ROOMS}?search_term=${encodeURIComponent(roomId)}`);
      expect(rooms).to.have.lengthOf(1);
      const { canonical_alias: alias, encryption, name, room_type: type } = rooms[0];
      expect([name, alias, encryption, type]).to.deep.equal([null, null, null, null]);
    });
    it('come in pages that say where the others are', async () => {
      for (const name of ['page-1', 'page-2', 'page-3', 'page-4', 'page-5']) await server.room('alice', { name });
      const path = `${ROOMS}?search_term=page-&limit=2`;
      const shape = ({
        rooms,
        offset,
        total_rooms: total,
        next_batch: next,
        prev_batch: previous,
      }: Json): unknown[] => [rooms.map(({ name }: Json) => name), offset, total, next, previous];
      expect(shape(await get(path))).to.deep.equal([['page-1', 'page-2'], 0, 5, 2, undefined]);
      expect(shape(await get(`${path}&from=2`))).to.deep.equal([['page-3', 'page-4'], 2, 5, 4, 0]);
      expect(shape(await get(`${path}&from=4`))).to.deep.equal([['page-5'], 4, 5, undefined, 2]);
      expect(shape(await get(`${path}&from=1`))).to.deep.equal([['page-2', 'page-3'], 1, 5, 3, 0]);
      expect(shape(await get(`${ROOMS}?search_term=page-&limit=0`))).to.deep.equal([[], 0, 5, undefined, undefined]);
    });
    it('are sorted by each of the orders, and the other way round', async () => {
      const small = await server.room('alice', { name: 'sort-a', preset: 'public_chat' });
      const large = await server.room('zoe', {
        name: 'sort-b',
        preset: 'public_chat',
        visibility: 'public',
        room_version: '9',
        room_alias_name: 'sorted',
        initial_state: [
          { type: 'm.room.encryption', content: { algorithm: 'x' } },
          { type: 'm.room.guest_access', content: { guest_access: 'can_join' } },
          { type: 'm.room.history_visibility', content: { history_visibility: 'world_readable' } },
        ],
      });
      await server.setState('zoe', large, 'm.room.join_rules', { join_rule: 'invite' });
      for (const name of ['bob', 'carol'])
        await server.must('zoe', 'POST', `/rooms/${large}/invite`, { user_id: `@${name}:test` });
      await server.join('bob', large);
      await server.join('carol', large);
      await server.setState('alice', small, 'm.room.guest_access', { guest_access: 'forbidden' });
      const sorted = (order: string, dir = 'f'): Promise<string[]> =>
        names(`search_term=sort-&order_by=${order}&dir=${dir}`);
      for (const order of ['name', 'alphabetical', 'creator', 'public', 'version']) {
        // Versions are texts: 9 is larger than 12, and comes first.
        const first = order === 'version' ? 'sort-b' : 'sort-a';
        expect((await sorted(order))[0], order).to.equal(first);
        expect((await sorted(order, 'b'))[1], order).to.equal(first);
      }
      for (const order of ['joined_members', 'size', 'joined_local_members', 'state_events']) {
        expect(await sorted(order), order).to.deep.equal(['sort-b', 'sort-a']);
        expect(await sorted(order, 'b'), order).to.deep.equal(['sort-a', 'sort-b']);
      }
      // What is not said comes last.
      for (const order of ['canonical_alias', 'encryption'])
        expect(await sorted(order), order).to.deep.equal(['sort-b', 'sort-a']);
      expect(await sorted('join_rules')).to.deep.equal(['sort-b', 'sort-a']);
      expect(await sorted('guest_access')).to.deep.equal(['sort-b', 'sort-a']);
      expect(await sorted('history_visibility')).to.deep.equal(['sort-a', 'sort-b']);
      expect(await sorted('federatable')).to.have.lengthOf(2);
    });
    it('are found by a part of the name or of the alias, in any case, or by the whole id', async () => {
      const roomId = await server.room('alice', { name: 'The 100%_Room', room_alias_name: 'needle-Haystack' });
      for (const term of ['100%_r', 'ROOM', 'needle-HAY', roomId]) {
        const { rooms } = await get(`${ROOMS}?search_term=${encodeURIComponent(term)}`);
        expect(
          rooms.map(({ room_id: id }: Json) => id),
          term,
        ).to.include(roomId);
      }
      // Signs are signs, and the server of an alias is not searched.
      for (const term of ['100_%', roomId.slice(0, -3), 'needle%', ':test'])
        expect(
          (await get(`${ROOMS}?search_term=${encodeURIComponent(term)}`)).rooms.map(({ room_id: id }: Json) => id),
          term,
        ).not.to.include(roomId);
      expect((await get(`${ROOMS}?search_term=`)).total_rooms).to.equal((await get(ROOMS)).total_rooms);
    });
    it('are filtered by whether they are in the directory, and whether anybody is there', async () => {
      await server.room('alice', { name: 'filter-public', visibility: 'public' });
      const left = await server.room('alice', { name: 'filter-empty' });
      await server.must('alice', 'POST', `/rooms/${left}/leave`, {});
      expect(await names('search_term=filter-')).to.deep.equal(['filter-empty', 'filter-public']);
      expect(await names('search_term=filter-&public_rooms=true')).to.deep.equal(['filter-public']);
      expect(await names('search_term=filter-&public_rooms=false')).to.deep.equal(['filter-empty']);
      expect(await names('search_term=filter-&empty_rooms=true')).to.deep.equal(['filter-empty']);
      expect(await names('search_term=filter-&empty_rooms=false')).to.deep.equal(['filter-public']);
    });
    it('are as their state is, also after a restart', async () => {
      const roomId = await server.room('alice', { name: 'before-the-restart' });
      await server.setState('alice', roomId, 'm.room.name', { name: 'after-the-restart' });
      await server.restart();
      expect(await names('search_term=-the-restart')).to.deep.equal(['after-the-restart']);
      await server.setState('alice', roomId, 'm.room.name', {});
      expect(await names('search_term=-the-restart')).to.deep.equal([]);
    });
    it('cost two statements a page, however many there are', async () => {
      await get(`${ROOMS}?limit=1`);
      const sent = await server.statementNames(() => get(`${ROOMS}?limit=100`));
      expect(sent.filter((name) => name.startsWith('room_list'))).to.have.lengthOf(2);
      expect(sent.filter((name) => /room|event|member/.test(name))).to.have.lengthOf(2);
    });
    it('are refused with M_INVALID_PARAM for orders, directions and places that there are not', async () => {
      for (const query of ['order_by=colour', 'dir=up', 'from=-1', 'limit=x', 'limit=-1', 'public_rooms=2', 'from=1.5'])
        await refused('GET', `${ROOMS}?${query}`, 400, 'M_INVALID_PARAM');
    });
  });

  describe('one by one', () => {
    it('are M_NOT_FOUND where this server does not have them', async () => {
      for (const path of [
        '',
        '/members',
        '/state',
        '/messages',
        '/timestamp_to_event?ts=1',
        '/context/$x',
        '/hierarchy',
      ])
        await refused('GET', of('!nowhere:test', path), 404, 'M_NOT_FOUND');
    });
    it('tell whether they were closed for another room, and whether they are forgotten', async () => {
      const roomId = await server.room('alice', { topic: 'old' });
      const { replacement_room: successor } = await server.must('alice', 'POST', `/rooms/${roomId}/upgrade`, {
        new_version: '11',
      });
      await server.idle();
      const closed = await get(of(roomId));
      expect([closed.tombstoned, closed.replacement_room, closed.topic, closed.forgotten]).to.deep.equal([
        true,
        successor,
        'old',
        false,
      ]);
      await server.must('alice', 'POST', `/rooms/${roomId}/leave`, {});
      await server.must('alice', 'POST', `/rooms/${roomId}/forget`, {});
      expect((await get(of(roomId))).forgotten).to.equal(true);
    });
    it('tell who is in them, and nobody who was', async () => {
      const roomId = await server.room('alice', { preset: 'public_chat', invite: ['@dora:test'] });
      await server.join('bob', roomId);
      await server.join('carol', roomId);
      await server.must('carol', 'POST', `/rooms/${roomId}/leave`, {});
      const { members, total } = await get(of(roomId, '/members'));
      expect([members.toSorted(), total]).to.deep.equal([['@alice:test', '@bob:test'], 2]);
    });
    it('tell their state, all of it or of one type, to administrators who were never there', async () => {
      const roomId = await server.room('alice', { name: 'State' });
      const types = (body: Json): string[] => body.state.map(({ type }: Json) => type).toSorted();
      const own = await server.must('alice', 'GET', `/rooms/${roomId}/state`);
      expect(types(await get(of(roomId, '/state')))).to.deep.equal(own.map(({ type }: Json) => type).toSorted());
      expect(types(await get(of(roomId, '/state?type=m.room.name')))).to.deep.equal(['m.room.name']);
      expect(types(await get(of(roomId, '/state?type=org.example.none')))).to.deep.equal([]);
      const [event] = (await get(of(roomId, '/state?type=m.room.member'))).state;
      expect([event.room_id, event.state_key, event.content.membership]).to.deep.equal([roomId, '@alice:test', 'join']);
    });
  });

  describe('read by administrators who may not see anything in them', () => {
    let roomId: string;
    let ids: string[];
    let at: number;
    before(async () => {
      roomId = await server.room('alice', {
        initial_state: [{ type: 'm.room.history_visibility', content: { history_visibility: 'joined' } }],
      });
      await server.clock.advance(1_000);
      at = server.clock.now();
      ids = [];
      for (const text of ['1', '2', '3', '4']) ids.push(await server.say('alice', roomId, text));
    });

    it('give their messages in pages, in both directions, with a filter', async () => {
      const first = await get(of(roomId, '/messages?dir=b&limit=2'));
      expect(server.bodies(first)).to.deep.equal(['4', '3']);
      expect(server.bodies(await get(of(roomId, `/messages?dir=b&limit=2&from=${first.end}`)))).to.deep.equal([
        '2',
        '1',
      ]);
      const filter = encodeURIComponent(JSON.stringify({ types: ['m.room.message'] }));
      expect(server.bodies(await get(of(roomId, `/messages?limit=3&filter=${filter}`)))).to.deep.equal(['1', '2', '3']);
      expect((await get(of(roomId, '/messages?limit=1'))).chunk[0].type).to.equal('m.room.create');
    });
    it('give what stands around an event', async () => {
      const context = await get(of(roomId, `/context/${encodeURIComponent(ids[1]!)}?limit=2`));
      expect(context.event.content.body).to.equal('2');
      expect(context.events_before.map(({ content }: Json) => content.body)).to.deep.equal(['1']);
      expect(context.events_after.map(({ content }: Json) => content.body)).to.deep.equal(['3']);
      expect(context.state.some(({ type }: Json) => type === 'm.room.create')).to.equal(true);
      expect(server.bodies(await get(of(roomId, `/messages?dir=b&limit=2&from=${context.start}`)))).to.deep.equal([]);
      await refused('GET', of(roomId, '/context/$unknown'), 404, 'M_NOT_FOUND');
    });
    it('give the event that is nearest to a time', async () => {
      const nearest = (dir: string): Promise<Json> => get(of(roomId, `/timestamp_to_event?ts=${at}${dir}`));
      expect(await nearest('')).to.deep.equal({ event_id: ids[0], origin_server_ts: at });
      expect(await nearest('&dir=b')).to.deep.equal({ event_id: ids[3], origin_server_ts: at });
      await refused('GET', of(roomId, '/timestamp_to_event'), 400, 'M_MISSING_PARAM');
      await refused('GET', of(roomId, `/timestamp_to_event?ts=${at}&dir=x`), 400, 'M_INVALID_PARAM');
    });
    it('are read by administrators who forgot them, too', async () => {
      const forgotten = await server.room(ADMIN);
      const eventId = await server.say(ADMIN, forgotten, 'own');
      await server.must(ADMIN, 'POST', `/rooms/${forgotten}/leave`, {});
      await server.must(ADMIN, 'POST', `/rooms/${forgotten}/forget`, {});
      const context = await get(of(forgotten, `/context/${encodeURIComponent(eventId)}`));
      expect(context.event.content.body).to.equal('own');
      expect(server.bodies(await get(of(forgotten, '/messages?dir=b')))).to.deep.equal(['own']);
    });
    it('give a single event as the PDU that it is, by its id alone', async () => {
      const { event } = await get(`/_synapse/admin/v1/fetch_event/${encodeURIComponent(ids[0]!)}`);
      expect([event.event_id, event.room_id, event.content.body]).to.deep.equal([ids[0], roomId, '1']);
      expect(event).to.include.keys('auth_events', 'prev_events', 'hashes', 'signatures', 'depth', 'unsigned');
      await refused('GET', '/_synapse/admin/v1/fetch_event/$none', 404, 'M_NOT_FOUND');
      await refused('GET', '/_synapse/admin/v1/fetch_event/none', 404, 'M_NOT_FOUND');
    });
  });

  it('are walked through below a space, closed ones too', async () => {
    const space = await server.room('alice', { creation_content: { type: 'm.space' }, name: 'space' });
    const child = await server.room('alice', { name: 'closed child' });
    const grandchild = await server.room('alice', { name: 'not below' });
    await server.setState('alice', space, 'm.space.child', { via: ['test'] }, child);
    await server.setState('alice', space, 'm.space.child', { via: ['elsewhere.test'] }, '!unknown:elsewhere.test');
    await server.setState('alice', space, 'm.space.child', { via: ['test'] }, grandchild);
    const seen = async (query: string): Promise<string[]> =>
      (await get(of(space, `/hierarchy?${query}`))).rooms.map(({ name }: Json) => name);
    expect((await seen('')).toSorted()).to.deep.equal(['closed child', 'not below', 'space']);
    expect(await seen('max_depth=0')).to.deep.equal(['space']);
    const page = await get(of(space, '/hierarchy?limit=1'));
    const next = await get(of(space, `/hierarchy?limit=2&from=${page.next_batch}`));
    expect([...page.rooms, ...next.rooms]).to.have.lengthOf(3);
    expect(page.rooms[0].children_state).to.have.lengthOf(3);
  });
});
