import { expect } from 'chai';
import { type Answer, type Json, InProcessServer } from '#test/support/in-process-server.ts';

const B = '@bob:test';

describe('finding rooms and events', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  before(async () => (server = await InProcessServer.start()));
  after(() => server.stop());

  const get = (token: string | undefined, path: string): Promise<Answer> => server.ask(token, 'GET', path);
  const refused = async (answer: Promise<Answer>, status: number, errcode: string): Promise<void> => {
    const { status: actual, body } = await answer;
    expect([actual, body?.errcode]).to.deep.equal([status, errcode]);
  };
  const publicRoom = (wish: object = {}): Promise<string> => server.room('alice', { preset: 'public_chat', ...wish });

  describe('by time', () => {
    const path = (roomId: string, ts: number, dir: string): string =>
      `/v1/rooms/${roomId}/timestamp_to_event?ts=${ts}&dir=${dir}`;
    const nearest = async (token: string, roomId: string, ts: number, dir: string): Promise<string> =>
      (await server.must(token, 'GET', path(roomId, ts, dir))).event_id;

    it('finds the nearest event in each direction, however far away', async () => {
      const roomId = await publicRoom();
      await server.clock.advance(1000);
      const first = await server.say('alice', roomId, '1');
      const at = server.clock.now();
      // The clock alone: three months of everything that comes back by itself would take long.
      server.clock.set(90 * 86_400_000);
      const second = await server.say('alice', roomId, '2');
      const later = server.clock.now();
      expect(await nearest('alice', roomId, at, 'f')).to.equal(first);
      expect(await nearest('alice', roomId, at, 'b')).to.equal(first);
      expect(await nearest('alice', roomId, at + 1, 'f')).to.equal(second);
      expect(await nearest('alice', roomId, later - 1, 'b')).to.equal(first);
      expect(await nearest('alice', roomId, later + 1e12, 'b')).to.equal(second);
      await refused(get('alice', path(roomId, later + 1, 'f')), 404, 'M_NOT_FOUND');
      await refused(get('alice', path(roomId, 5, 'b')), 404, 'M_NOT_FOUND');
      const { event_id: eventId, origin_server_ts: ts } = await server.must('alice', 'GET', path(roomId, at + 1, 'f'));
      expect([eventId, ts]).to.deep.equal([second, later]);
      const context = await server.must(
        'alice',
        'GET',
        `/rooms/${roomId}/context/${encodeURIComponent(eventId)}?limit=2`,
      );
      expect(context.events_before[0].event_id).to.equal(first);
    });
    it('decides between events of the same time by their place in the room', async () => {
      const roomId = await publicRoom();
      await server.clock.advance(1000);
      const ids = [];
      for (const text of ['1', '2', '3']) ids.push(await server.say('alice', roomId, text));
      const at = server.clock.now();
      expect(await nearest('alice', roomId, at, 'f')).to.equal(ids[0]);
      expect(await nearest('alice', roomId, at, 'b')).to.equal(ids[2]);
    });
    it('finds only what the user may see', async () => {
      const roomId = await publicRoom({
        initial_state: [{ type: 'm.room.history_visibility', content: { history_visibility: 'joined' } }],
      });
      await server.clock.advance(1000);
      const at = server.clock.now();
      for (let i = 0; i < 30; i++) await server.say('alice', roomId, 'hidden');
      await server.clock.advance(1000);
      await server.join('bob', roomId);
      const joined = server.clock.now();
      const { origin_server_ts: ts } = await server.must('bob', 'GET', path(roomId, at, 'f'));
      expect(ts).to.equal(joined);
    });
    it('finds what came since the user joined, however much came before that is not for them', async () => {
      const roomId = await publicRoom({
        initial_state: [{ type: 'm.room.history_visibility', content: { history_visibility: 'joined' } }],
      });
      await server.clock.advance(1000);
      const at = server.clock.now();
      const room = (await server.services.rooms.byId(roomId))!;
      const hidden = { type: 'm.room.message', sender: '@alice:test', content: { msgtype: 'm.text', body: 'hidden' } };
      for (let i = 0; i < 22; i++) {
        await server.services.events.sendAll(
          room,
          Array.from({ length: 100 }, () => hidden),
        );
      }
      await server.clock.advance(1000);
      await server.join('bob', roomId);
      const joined = server.clock.now();
      const { origin_server_ts: ts } = await server.must('bob', 'GET', path(roomId, at, 'f'));
      expect(ts).to.equal(joined);
      await refused(get('bob', path(roomId, joined - 500, 'b')), 404, 'M_NOT_FOUND');
    });
    it('is for members only, even in public rooms', async () => {
      const roomId = await publicRoom();
      await refused(get('bob', path(roomId, 0, 'f')), 403, 'M_FORBIDDEN');
      await refused(get('bob', path('!nowhere:test', 0, 'f')), 403, 'M_FORBIDDEN');
      await refused(get('alice', `/v1/rooms/${roomId}/timestamp_to_event?dir=f`), 400, 'M_MISSING_PARAM');
    });
  });

  describe('summaries', () => {
    const summary = (roomIdOrAlias: string): string => `/v1/room_summary/${encodeURIComponent(roomIdOrAlias)}`;

    it('describe a room to whoever may join it, by id or alias, with or without an account', async () => {
      const roomId = await publicRoom({ name: 'Cheese', topic: 'tasty', room_alias_name: 'cheese' });
      await server.setState('alice', roomId, 'm.room.encryption', { algorithm: 'm.megolm.v1.aes-sha2' });
      const expected = {
        room_id: roomId,
        name: 'Cheese',
        topic: 'tasty',
        canonical_alias: '#cheese:test',
        num_joined_members: 1,
        world_readable: false,
        join_rule: 'public',
        room_version: '12',
        encryption: 'm.megolm.v1.aes-sha2',
      };
      expect((await get(undefined, summary('#cheese:test'))).body)
        .to.deep.include(expected)
        .and.not.have.property('membership');
      expect((await get('bob', summary(roomId))).body).to.deep.include({ ...expected, membership: 'leave' });
      expect((await get('alice', summary(roomId))).body.membership).to.equal('join');
    });
    it('answer on the unstable paths, with the names that were used there', async () => {
      const roomId = await publicRoom();
      for (const path of [`summary/${roomId}`, `rooms/${roomId}/summary`]) {
        const { status, body } = await get('bob', `/unstable/im.nheko.summary/${path}`);
        expect([status, body['im.nheko.summary.room_version']]).to.deep.equal([200, '12']);
      }
    });
    it('are 404 for rooms that are not there or not open, and open to the invited and those who may knock', async () => {
      const roomId = await server.room('alice', { preset: 'private_chat' });
      await refused(get('bob', summary(roomId)), 404, 'M_NOT_FOUND');
      await refused(get(undefined, summary(roomId)), 404, 'M_NOT_FOUND');
      await refused(get('bob', summary('!nowhere:test')), 404, 'M_NOT_FOUND');
      await refused(get('bob', summary('#nowhere:test')), 404, 'M_NOT_FOUND');
      await server.must('alice', 'POST', `/rooms/${roomId}/invite`, { user_id: B });
      expect((await get('bob', summary(roomId))).body.membership).to.equal('invite');
      await server.setState('alice', roomId, 'm.room.join_rules', { join_rule: 'knock' });
      expect((await get(undefined, summary(roomId))).status).to.equal(200);
      await server.must('alice', 'POST', `/rooms/${roomId}/ban`, { user_id: B });
      await refused(get('bob', summary(roomId)), 404, 'M_NOT_FOUND');
    });
    it('name the rooms whose members may join', async () => {
      const club = await publicRoom();
      const roomId = await server.room('alice', {
        initial_state: [
          {
            type: 'm.room.join_rules',
            content: { join_rule: 'restricted', allow: [{ type: 'm.room_membership', room_id: club }, { type: 'x' }] },
          },
        ],
      });
      await refused(get('bob', summary(roomId)), 404, 'M_NOT_FOUND');
      await server.join('bob', club);
      expect((await get('bob', summary(roomId))).body.allowed_room_ids).to.deep.equal([club]);
    });
  });

  describe('spaces', () => {
    const space = (wish: object = {}): Promise<string> =>
      publicRoom({ creation_content: { type: 'm.space' }, ...wish });
    const child = async (parent: string, roomId: string, content: object = {}): Promise<string> => {
      await server.clock.advance(1);
      return server.setState('alice', parent, 'm.space.child', { via: ['test'], ...content }, roomId);
    };
    const hierarchy = (token: string, roomId: string, query = ''): Promise<Json> =>
      server.must(token, 'GET', `/v1/rooms/${roomId}/hierarchy${query}`);
    const ids = (page: Json): string[] => page.rooms.map((room: Json) => room.room_id);

    it('are walked depth first, children by order and then by their time', async () => {
      const [root, inner, a, b, c, d] = [await space(), await space(), ...(await rooms(4))] as [string, ...string[]];
      await child(root, d!);
      await child(root, inner!, { order: 'b' });
      await child(root, c!, { order: 'a' });
      await child(root, b!, { order: 'ünvalid' });
      await child(inner!, a!);
      const page = await hierarchy('bob', root);
      expect(ids(page)).to.deep.equal([root, c, inner, a, d, b]);
      expect(page).not.to.have.property('next_batch');
      const [top, leaf] = page.rooms;
      expect(top.room_type).to.equal('m.space');
      expect(top.children_state.map((event: Json) => event.state_key)).to.deep.equal([c, inner, d, b]);
      expect(top.children_state[0]).to.have.all.keys('type', 'state_key', 'sender', 'content', 'origin_server_ts');
      expect(leaf.children_state).to.deep.equal([]);
      expect(ids(await hierarchy('bob', root, '?max_depth=1'))).to.deep.equal([root, c, inner, d, b]);
      expect(ids(await hierarchy('bob', root, '?max_depth=0'))).to.deep.equal([root]);
    });
    it('come page by page, with the same question each time', async () => {
      const root = await space();
      const all = [root];
      for (const roomId of await rooms(5)) {
        await child(root, roomId);
        all.push(roomId);
      }
      const found: string[] = [];
      let from = '';
      for (let page; page === undefined || page.next_batch !== undefined; from = `&from=${page.next_batch}`) {
        page = await hierarchy('bob', root, `?limit=2${from}`);
        expect(page.rooms.length).to.be.at.most(2);
        found.push(...ids(page));
      }
      expect(found).to.deep.equal(all);
      const { next_batch: token } = await hierarchy('bob', root, '?limit=2');
      await refused(get('bob', `/v1/rooms/${root}/hierarchy?from=${token}&max_depth=1`), 400, 'M_INVALID_PARAM');
      await refused(
        get('bob', `/v1/rooms/${root}/hierarchy?from=${token}&suggested_only=true`),
        400,
        'M_INVALID_PARAM',
      );
      await refused(get('bob', `/v1/rooms/${root}/hierarchy?from=x`), 400, 'M_INVALID_PARAM');
      await refused(get('bob', `/v1/rooms/${await space()}/hierarchy?from=${token}`), 400, 'M_INVALID_PARAM');
    });
    it('show only suggested rooms when that is wanted', async () => {
      const [root, a, b] = [await space(), ...(await rooms(2))] as [string, string, string];
      await child(root, a, { suggested: true });
      await child(root, b);
      const page = await hierarchy('bob', root, '?suggested_only=true');
      expect(ids(page)).to.deep.equal([root, a]);
      expect(page.rooms[0].children_state).to.have.length(1);
    });
    it('leave out what is not open to the user, what was removed, and loops', async () => {
      const root = await space();
      const closed = await server.room('alice', { preset: 'private_chat' });
      const invited = await server.room('alice', { preset: 'private_chat', invite: [B] });
      const [removed = '', open = ''] = await rooms(2);
      const inner = await space();
      for (const roomId of [closed, invited, removed, open, inner]) await child(root, roomId);
      await child(root, removed, { via: [] });
      await child(inner, root);
      await child(inner, '!elsewhere:remote');
      expect(ids(await hierarchy('bob', root))).to.deep.equal([root, invited, open, inner]);
      expect(ids(await hierarchy('alice', root))).to.deep.equal([root, closed, invited, open, inner]);
    });
    it('are refused to those to whom the root is not open', async () => {
      const root = await server.room('alice', { preset: 'private_chat', creation_content: { type: 'm.space' } });
      await refused(get('bob', `/v1/rooms/${root}/hierarchy`), 403, 'M_FORBIDDEN');
      await refused(get('bob', '/v1/rooms/!nowhere:test/hierarchy'), 403, 'M_FORBIDDEN');
    });
    const rooms = async (count: number): Promise<string[]> => {
      const made: string[] = [];
      for (let i = 0; i < count; i++) made.push(await publicRoom());
      return made;
    };
  });

  describe('mutual rooms', () => {
    const mutual = (token: string, userId: string, more = ''): Promise<Answer> =>
      get(token, `/v1/mutual_rooms?user_id=${encodeURIComponent(userId)}${more}`);

    it('are those in which both are now', async () => {
      const both = await server.room('gina', { preset: 'public_chat' });
      const left = await server.room('gina', { preset: 'public_chat' });
      const hers = await server.room('gina', { preset: 'public_chat' });
      await server.join('hugo', both, left);
      await server.must('gina', 'POST', `/rooms/${hers}/invite`, { user_id: '@hugo:test' });
      await server.must('hugo', 'POST', `/rooms/${left}/leave`, {});
      expect((await mutual('gina', '@hugo:test')).body).to.deep.equal({ joined: [both], count: 1 });
      expect((await mutual('hugo', '@gina:test')).body).to.deep.equal({ joined: [both], count: 1 });
      expect((await mutual('hugo', '@nobody:test')).body).to.deep.equal({ joined: [], count: 0 });
    });
    it('come page by page', async () => {
      const made: string[] = [];
      for (let i = 0; i < 103; i++) made.push(await server.room('ines', { preset: 'public_chat' }));
      await server.join('jana', ...made);
      const { body: first } = await mutual('ines', '@jana:test');
      expect([first.joined.length, first.count]).to.deep.equal([100, 103]);
      const { body: rest } = await mutual('ines', '@jana:test', `&from=${first.next_batch}`);
      expect([...first.joined, ...rest.joined]).to.deep.equal(made);
      expect((await mutual('ines', '@jana:test', `&batch_token=${first.next_batch_token}`)).body).to.deep.equal(rest);
      expect(rest).not.to.have.any.keys('next_batch', 'next_batch_token');
    });
    it('are refused for oneself, for what is no user, and for tokens that are none', async () => {
      await refused(mutual('alice', '@alice:test'), 400, 'M_INVALID_PARAM');
      await refused(mutual('alice', 'bob'), 400, 'M_INVALID_PARAM');
      await refused(mutual('alice', '@no body:test'), 400, 'M_INVALID_PARAM');
      await refused(mutual('alice', B, '&from=x'), 400, 'M_INVALID_PARAM');
      await refused(get('alice', '/v1/mutual_rooms'), 400, 'M_MISSING_PARAM');
    });
  });
});
