import { expect } from 'chai';
import { type Federation, startFederation } from '#test/support/federation/federation.ts';
import type { InProcessServer, Json } from '../../../support/in-process-server.ts';
import type { RemotePartner } from '#test/support/federation/remote-partner.ts';

const HIERARCHY = '/_matrix/federation/v1/hierarchy/';

const summary = (roomId: string, more: object = {}): Json => ({
  room_id: roomId,
  num_joined_members: 3,
  world_readable: false,
  guest_can_join: false,
  join_rule: 'public',
  ...more,
});

const child = (roomId: string, via: readonly string[] = ['p.test'], more: object = {}): Json => ({
  type: 'm.space.child',
  state_key: roomId,
  sender: '@x:p.test',
  origin_server_ts: 1,
  content: { via, ...more },
});

describe('spaces over several servers', function () {
  this.timeout(120_000);
  let federation: Federation;
  let a: InProcessServer;
  let b: InProcessServer;
  let partner: RemotePartner;
  /** What the partner tells, by room id. */
  const told = new Map<string, Json>();

  before(async () => {
    federation = await startFederation(['a.test', 'b.test'], { partners: ['p.test', 'q.test'] });
    a = federation.server('a.test');
    b = federation.server('b.test');
    partner = federation.partner('p.test');
    partner.on('GET', `${HIERARCHY}*`, ({ path }) => {
      const body = told.get(decodeURIComponent(path.slice(HIERARCHY.length)));
      return body === undefined ? { status: 404, body: { errcode: 'M_NOT_FOUND', error: 'no' } } : { body };
    });
  });
  after(() => federation?.stop());

  const space = (server: InProcessServer, user: string, more: object = {}): Promise<string> =>
    server.room(user, { creation_content: { type: 'm.space' }, preset: 'public_chat', ...more });
  const contain = (server: InProcessServer, user: string, parent: string, id: string, via: string[]): Promise<string> =>
    server.setState(user, parent, 'm.space.child', { via }, id);
  const page = (roomId: string, query = '', user = 'alice'): Promise<Json> =>
    a.must(user, 'GET', `/v1/rooms/${encodeURIComponent(roomId)}/hierarchy${query}`);
  const idsOf = (answer: Json): string[] => answer.rooms.map((room: Json) => room.room_id);
  const tell = (roomId: string, children: readonly Json[] = [], more: object = {}): void => {
    const room = summary(roomId, { room_type: 'm.space', children_state: children });
    told.set(roomId, { room, children: [], inaccessible_children: [], ...more });
  };
  const forget = (): Promise<void> => federation.clock.advance(301_000);

  it('are walked through across servers, depth first, and each room is told once', async () => {
    const root = await space(a, 'alice', { name: 'Root' });
    const far = await space(b, 'bob', { name: 'Far' });
    const leaf = await b.room('bob', { name: 'Leaf', preset: 'public_chat' });
    const secret = await b.room('bob', { name: 'Secret', preset: 'private_chat' });
    const near = await a.room('alice', { name: 'Near', preset: 'public_chat' });
    await contain(a, 'alice', root, far, ['b.test']);
    await federation.clock.advance(1);
    await contain(a, 'alice', root, near, ['a.test']);
    await contain(b, 'bob', far, leaf, ['b.test']);
    await federation.clock.advance(1);
    await contain(b, 'bob', far, secret, ['b.test']);
    await contain(b, 'bob', far, root, ['a.test']);
    const all = await page(root);
    expect(idsOf(all)).to.deep.equal([root, far, leaf, near]);
    expect(all.rooms.map(({ name }: Json) => name)).to.deep.equal(['Root', 'Far', 'Leaf', 'Near']);
    expect(all.rooms[1].children_state.map((state: Json) => state.state_key)).to.have.members([leaf, secret, root]);
    expect(idsOf(await page(root, '?max_depth=1'))).to.deep.equal([root, far, near]);
    const first = await page(root, '?limit=2');
    expect(idsOf(first)).to.deep.equal([root, far]);
    expect(idsOf(await page(root, `?limit=2&from=${first.next_batch}`))).to.deep.equal([leaf, near]);
  });

  it('are found through a server that is named, where this one is not in them', async () => {
    const far = await space(b, 'bob', { name: 'Distant', room_version: '12' });
    expect(idsOf(await page(far, '?via=b.test'))).to.deep.equal([far]);
    expect(idsOf(await page(far, '?org.matrix.msc4235.via=b.test'))).to.deep.equal([far]);
    const { status, body } = await a.ask('alice', 'GET', `/v1/rooms/${encodeURIComponent(far)}/hierarchy?via=p.test`);
    expect([status, body.errcode]).to.deep.equal([403, 'M_FORBIDDEN']);
  });

  it('of which another server says what it likes show what the user may join, and nothing else', async () => {
    tell(
      '!root:p.test',
      [
        child('!open:p.test'),
        child('!invite:p.test'),
        child('!restricted:p.test'),
        child('!gone:p.test'),
        child('!odd:p.test', [], { via: 'no list' }),
        { ...child('!x:p.test'), type: 'm.room.member' },
        { ...child('no room id') },
      ],
      {
        children: [
          summary('!open:p.test'),
          summary('!invite:p.test', { join_rule: 'invite' }),
          summary('!restricted:p.test', { join_rule: 'restricted', allowed_room_ids: ['!elsewhere:p.test', 7] }),
          summary('!never:p.test'),
          'nonsense',
          { name: 'no id' },
        ],
        inaccessible_children: ['!gone:p.test', 7],
      },
    );
    const before = partner.requests('GET', /\/hierarchy\//).length;
    expect(idsOf(await page('!root:p.test'))).to.deep.equal(['!root:p.test', '!open:p.test']);
    // What the answer told of its children is not asked again.
    expect(partner.requests('GET', /\/hierarchy\//).length - before).to.equal(1);
    const own = await a.room('alice', { preset: 'private_chat' });
    tell('!root2:p.test', [child('!r:p.test')], {
      children: [summary('!r:p.test', { join_rule: 'restricted', allowed_room_ids: [own] })],
    });
    expect(idsOf(await page('!root2:p.test'))).to.deep.equal(['!root2:p.test', '!r:p.test']);
    expect(idsOf(await page('!root2:p.test', '', 'carol'))).to.deep.equal(['!root2:p.test']);
  });

  it('in loops, endless depth and of huge answers end', async () => {
    tell('!one:p.test', [child('!two:p.test')]);
    tell('!two:p.test', [child('!one:p.test'), child('!two:p.test')]);
    expect(idsOf(await page('!one:p.test'))).to.deep.equal(['!one:p.test', '!two:p.test']);
    partner.on('GET', `${HIERARCHY}!deep*`, ({ path }) => {
      const at = Number(/deep(\d+)/.exec(decodeURIComponent(path))?.[1]);
      const room = summary(`!deep${at}:p.test`, {
        room_type: 'm.space',
        children_state: [child(`!deep${at + 1}:p.test`)],
      });
      return { body: { room, children: [], inaccessible_children: [] } };
    });
    let found = 0;
    let from: string | undefined = '';
    for (let pages = 0; from !== undefined && pages < 20; pages++) {
      const answer: Json = await page('!deep0:p.test', `?limit=50${from === '' ? '' : `&from=${from}`}`);
      found += answer.rooms.length;
      from = answer.next_batch;
    }
    expect([found, from]).to.deep.equal([101, undefined]);
    told.set('!huge:p.test', `{"room":"${'x'.repeat(5_000_000)}"}`);
    expect((await a.ask('alice', 'GET', '/v1/rooms/!huge:p.test/hierarchy')).status).to.equal(403);
    told.set('!other:p.test', { room: summary('!another:p.test'), children: [], inaccessible_children: [] });
    expect((await a.ask('alice', 'GET', '/v1/rooms/!other:p.test/hierarchy')).status).to.equal(403);
  });

  it('with rooms of this server are told as they are here, whatever another server says of them', async () => {
    const secret = await a.room('alice', { preset: 'private_chat', name: 'Secret' });
    tell('!liar:p.test', [child(secret, ['p.test'])], { children: [summary(secret, { name: 'Open!' })] });
    expect(idsOf(await page('!liar:p.test', '', 'eve'))).to.deep.equal(['!liar:p.test']);
    const mine = await page('!liar:p.test');
    expect(mine.rooms[1]).to.include({ room_id: secret, name: 'Secret', join_rule: 'invite' });
  });

  it('show a room that is open to members of the space as soon as its server knows who these are', async () => {
    const root = await space(a, 'alice', { name: 'Members' });
    const allow = [{ type: 'm.room_membership', room_id: root, via: ['a.test'] }];
    const inside = await b.room('bob', { preset: 'public_chat', name: 'Inside' });
    await b.setState('bob', inside, 'm.room.join_rules', { join_rule: 'restricted', allow });
    await contain(a, 'alice', root, inside, ['b.test']);
    expect(idsOf(await page(root))).to.deep.equal([root]);
    await b.must('bob', 'POST', `/join/${encodeURIComponent(root)}?server_name=a.test`, {});
    await federation.idle();
    expect(idsOf(await page(root))).to.deep.equal([root, inside]);
  });

  it('are remembered for five minutes, each server for itself', async () => {
    tell('!known:p.test');
    await page('!known:p.test');
    told.delete('!known:p.test');
    expect(idsOf(await page('!known:p.test'))).to.deep.equal(['!known:p.test']);
    await forget();
    expect((await a.ask('alice', 'GET', '/v1/rooms/!known:p.test/hierarchy')).status).to.equal(403);
    // Who is led to another server is not told what this one said.
    tell('!split:p.test');
    federation.partner('q.test').on('GET', `${HIERARCHY}*`, () => ({
      body: { room: summary('!split:p.test', { name: 'Forged' }), children: [], inaccessible_children: [] },
    }));
    await page('!split:p.test', '?via=q.test', 'eve');
    expect((await page('!split:p.test')).rooms[0]).not.to.have.property('name');
  });

  it('are told to other servers as far as some of their users may join or read them', async () => {
    const root = await space(a, 'alice');
    const open = await a.room('alice', { preset: 'public_chat', name: 'Open' });
    const closed = await a.room('alice', { preset: 'private_chat' });
    const invited = await a.room('alice', { preset: 'private_chat' });
    const denied = await a.room('alice', {
      preset: 'public_chat',
      initial_state: [{ type: 'm.room.server_acl', content: { allow: ['*'], deny: ['p.test'] } }],
    });
    for (const [id, suggested] of [
      [open, true],
      [closed, false],
      [invited, false],
      [denied, false],
      ['!unknown:q.test', false],
    ] as const)
      await a.setState('alice', root, 'm.space.child', { via: ['a.test'], suggested }, id);
    const get = async (roomId: string, query = ''): Promise<Json> =>
      partner.send('a.test', 'GET', `${HIERARCHY}${encodeURIComponent(roomId)}${query}`);
    const { status, body } = await get(root);
    expect(status).to.equal(200);
    expect([body.room.room_id, body.room.children_state.length]).to.deep.equal([root, 5]);
    expect(body.children.map((room: Json) => room.room_id)).to.deep.equal([open]);
    expect(body.children[0]).to.include({ name: 'Open', join_rule: 'public', room_version: '12' });
    expect(body.inaccessible_children).to.have.members([closed, invited, denied]);
    const suggested = (await get(root, '?suggested_only=true')).body;
    expect(suggested.room.children_state.map((state: Json) => state.state_key)).to.deep.equal([open]);
    for (const roomId of [closed, denied, '!unknown:q.test', 'nonsense']) {
      const answer = await get(roomId);
      expect([answer.status, answer.body.errcode]).to.deep.equal([404, 'M_NOT_FOUND']);
    }
  });

  describe('and single rooms', () => {
    const read = (room: string, query = '', user: string | undefined = 'alice') =>
      a.ask(user, 'GET', `/v1/room_summary/${encodeURIComponent(room)}${query}`);

    it('are described through a server that is named, or by their alias', async () => {
      const roomId = await b.room('bob', { name: 'Garden', preset: 'public_chat', room_alias_name: 'garden2' });
      for (const answer of [
        await read(roomId, '?via=b.test'),
        await read('#garden2:b.test'),
        await read('#garden2:b.test', '', undefined),
      ]) {
        expect(answer.status).to.equal(200);
        expect(answer.body).to.include({ room_id: roomId, name: 'Garden', join_rule: 'public', num_joined_members: 1 });
        expect(answer.body).not.to.have.property('children_state');
      }
      expect((await read(roomId, '?via=b.test')).body.membership).to.equal('leave');
    });

    it('are not described to those who may not join them, as rooms are that are not there', async () => {
      const roomId = await b.room('bob', { preset: 'private_chat', room_alias_name: 'closed' });
      for (const room of [roomId, '!nothing:b.test'])
        expect((await read(room, '?via=b.test')).body.errcode).to.equal('M_NOT_FOUND');
      told.set('!mine:p.test', {
        room: summary('!mine:p.test', { join_rule: 'invite' }),
        children: [],
        inaccessible_children: [],
      });
      expect((await read('!mine:p.test')).body.errcode).to.equal('M_NOT_FOUND');
    });
  });
});
