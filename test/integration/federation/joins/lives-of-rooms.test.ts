import { expect } from 'chai';
import { systemRandom } from '#src/kernel/random.ts';
import { signJson } from '#src/protocol/signing/json-signatures.ts';
import { generateSigningKey } from '#src/protocol/signing/signing-key.ts';
import type { InProcessServer, Json } from '#test/support/in-process-server.ts';
import { type Federation, startFederation } from '#test/support/federation/federation.ts';
import { JoinableRoom } from '#test/support/federation/joinable-room.ts';

describe('rooms that servers share', function () {
  this.timeout(60_000);
  let federation: Federation;
  let a: InProcessServer;
  let b: InProcessServer;
  let c: InProcessServer;

  before(async () => {
    federation = await startFederation(['a.test', 'b.test', 'c.test'], { partners: ['p.test'] });
    a = federation.server('a.test');
    b = federation.server('b.test');
    c = federation.server('c.test');
  });
  after(() => federation?.stop());

  const enc = encodeURIComponent;
  const join = (server: InProcessServer, token: string, roomId: string, ...via: string[]): Promise<Json> =>
    server.ask(token, 'POST', `/join/${enc(roomId)}?${via.map((name) => `via=${name}`).join('&')}`, {});
  const joined = async (server: InProcessServer, token: string, roomId: string, ...via: string[]): Promise<void> => {
    const { body, status } = await join(server, token, roomId, ...via);
    expect([status, body.room_id], JSON.stringify(body)).to.deep.equal([200, roomId]);
  };
  const members = async (server: InProcessServer, token: string, roomId: string): Promise<Record<string, string>> => {
    const { chunk } = await server.must(token, 'GET', `/rooms/${roomId}/members`);
    return Object.fromEntries(chunk.map((event: Json) => [event.state_key, event.content.membership]));
  };
  const open = (wish: object = {}): Promise<string> => a.room('alice', { preset: 'public_chat', ...wish });

  it('are joined by alias, through the server that has it', async () => {
    const roomId = await open({ room_alias_name: 'lobby' });
    const { room_id: found } = await b.must('bob', 'POST', `/join/${enc('#lobby:a.test')}`, {});
    expect(found).to.equal(roomId);
    expect(await members(b, 'bob', roomId)).to.have.property('@bob:b.test', 'join');
  });

  it('send each join, leave, kick, ban and invite to all other servers', async () => {
    const roomId = await open();
    await joined(b, 'bob', roomId, 'a.test');
    await joined(c, 'carol', roomId, 'a.test');
    await federation.idle();
    expect(await members(b, 'bob', roomId)).to.have.property('@carol:c.test', 'join');
    const step = async (path: string, expected: string): Promise<void> => {
      await a.must('alice', 'POST', `/rooms/${roomId}/${path}`, { user_id: '@carol:c.test' });
      await federation.idle();
      expect((await members(a, 'alice', roomId))['@carol:c.test'], path).to.equal(expected);
      expect((await members(b, 'bob', roomId))['@carol:c.test'], path).to.equal(expected);
    };
    await step('kick', 'leave');
    expect((await c.must('carol', 'GET', '/joined_rooms')).joined_rooms).not.to.include(roomId);
    await joined(c, 'carol', roomId, 'a.test');
    await federation.idle();
    await step('ban', 'ban');
    expect((await join(c, 'carol', roomId, 'a.test')).status).to.equal(403);
    await step('unban', 'leave');
    await step('invite', 'invite');
    expect((await c.must('carol', 'GET', '/sync')).rooms.invite).to.have.property(roomId);
    await joined(c, 'carol', roomId);
    await federation.idle();
    expect(await members(b, 'bob', roomId)).to.have.property('@carol:c.test', 'join');
    await c.must('carol', 'POST', `/rooms/${roomId}/leave`, {});
    await federation.idle();
    expect(await members(b, 'bob', roomId)).to.have.property('@carol:c.test', 'leave');
  });

  it('have the state of the other servers after a server rejoins, regardless of its old state', async () => {
    const roomId = await open({ name: 'before' });
    await joined(b, 'bob', roomId, 'a.test');
    await federation.idle();
    await b.must('bob', 'POST', `/rooms/${roomId}/leave`, {});
    await federation.idle();
    await a.setState('alice', roomId, 'm.room.name', { name: 'after' });
    await a.must('alice', 'POST', `/rooms/${roomId}/ban`, { user_id: '@evil:b.test' });
    const { next_batch: since } = await b.must('bob', 'GET', '/sync');
    await joined(b, 'bob', roomId, 'a.test');
    const { rooms } = await b.must('bob', 'GET', `/sync?since=${since}`);
    const room = rooms.join[roomId];
    expect(room.timeline.limited).to.equal(true);
    const name = room.state.events.find(({ type }: Json) => type === 'm.room.name');
    expect(name.content).to.deep.equal({ name: 'after' });
    expect(await members(b, 'bob', roomId)).to.deep.equal({
      '@alice:a.test': 'join',
      '@bob:b.test': 'join',
      '@evil:b.test': 'ban',
    });
    await b.say('bob', roomId, 'back again');
    await federation.idle();
    expect(a.bodies(await a.must('alice', 'GET', `/rooms/${roomId}/messages?dir=b`))).to.include('back again');
    await b.restart();
    expect((await b.must('bob', 'GET', `/rooms/${roomId}/state/m.room.name`)).name).to.equal('after');
  });

  it('are brought once when many of a server join at the same time', async () => {
    const roomId = await open();
    const names = ['one', 'two', 'three', 'four'];
    await Promise.all(names.map((name) => joined(b, name, roomId, 'a.test')));
    await federation.idle();
    const expected = ['@alice:a.test', ...names.map((name) => `@${name}:b.test`)].toSorted();
    expect(Object.keys(await members(b, 'one', roomId)).toSorted()).to.deep.equal(expected);
    expect(Object.keys(await members(a, 'alice', roomId)).toSorted()).to.deep.equal(expected);
  });

  it('let in through another server whom nobody of this one may vouch for', async () => {
    const parent = await open();
    for (const name of ['bob', 'dave']) await joined(b, name, parent, 'a.test');
    const rule = { join_rule: 'restricted', allow: [{ type: 'm.room_membership', room_id: parent }] };
    const roomId = await open({
      power_level_content_override: { invite: 50 },
      initial_state: [{ type: 'm.room.join_rules', content: rule }],
    });
    await federation.idle();
    await joined(b, 'bob', roomId, 'a.test');
    // The server is in the room by now, but its user may not invite.
    await joined(b, 'dave', roomId);
    await federation.idle();
    for (const [server, token] of [
      [a, 'alice'],
      [b, 'bob'],
    ] as const) {
      const { chunk } = await server.must(token, 'GET', `/rooms/${roomId}/members`);
      const of = (userId: string): Json => chunk.find((event: Json) => event.state_key === userId).content;
      expect(of('@dave:b.test').membership).to.equal('join');
      expect(of('@dave:b.test').join_authorised_via_users_server).to.equal('@alice:a.test');
    }
    const refused = await join(c, 'stranger', roomId, 'a.test');
    expect([refused.status, refused.body.errcode]).to.deep.equal([403, 'M_FORBIDDEN']);
  });

  it('are knocked at from afar: the knock is shown, accepted by an invite, or taken back', async () => {
    const roomId = await a.room('alice', {
      name: 'Behind a door',
      initial_state: [{ type: 'm.room.join_rules', content: { join_rule: 'knock' } }],
    });
    const knock = (name: string): Promise<Json> =>
      b.must(name, 'POST', `/knock/${enc(roomId)}?via=a.test`, { reason: 'please' });
    await knock('bob');
    const { knock_state: state } = (await b.must('bob', 'GET', '/sync')).rooms.knock[roomId];
    const told = state.events.map((event: Json) => event.type);
    expect(told).to.include('m.room.create').and.to.include('m.room.name').and.to.include('m.room.member');
    expect(await members(a, 'alice', roomId)).to.have.property('@bob:b.test', 'knock');
    await a.must('alice', 'POST', `/rooms/${roomId}/invite`, { user_id: '@bob:b.test' });
    const { rooms } = await b.must('bob', 'GET', '/sync');
    expect(rooms.invite).to.have.property(roomId);
    expect(rooms.knock ?? {}).not.to.have.property(roomId);
    await joined(b, 'bob', roomId);
    await knock('dave');
    await b.must('dave', 'POST', `/rooms/${roomId}/leave`, {});
    await federation.idle();
    expect(await members(a, 'alice', roomId)).to.have.property('@dave:b.test', 'leave');
  });

  it('are opened by an invite by address, whether the server of whose address it is in the room or not', async () => {
    const identity = generateSigningKey((count) => systemRandom.bytes(count));
    const roomId = await a.room('alice', { preset: 'private_chat' });
    for (const [name, token] of [
      ['first', 'token1'],
      ['second', 'token2'],
    ] as const) {
      const keys = { public_key: identity.publicKey, key_validity_url: 'https://id.test/valid' };
      const content = { display_name: 'f...@m...', ...keys, public_keys: [keys] };
      await a.setState('alice', roomId, 'm.room.third_party_invite', content, token);
      await federation.idle();
      const unsigned = { mxid: `@${name}:b.test`, sender: '@alice:a.test', token };
      const signed = signJson(unsigned, 'id.test', identity);
      await b.must(name, 'POST', `/join/${enc(roomId)}?via=a.test`, { third_party_signed: signed });
      await federation.idle();
      const { chunk } = await a.must('alice', 'GET', `/rooms/${roomId}/members`);
      const member = chunk.find((event: Json) => event.state_key === unsigned.mxid);
      expect(member.content.membership).to.equal('join');
      expect(member.unsigned.prev_sender).to.equal('@alice:a.test');
      expect(member.unsigned.prev_content.third_party_invite.signed.token).to.equal(token);
    }
    const forged = signJson(
      { mxid: '@third:b.test', sender: '@alice:a.test', token: 'token1' },
      'id.test',
      generateSigningKey((count) => systemRandom.bytes(count)),
    );
    const refused = await c.ask('third', 'POST', `/join/${enc(roomId)}?via=a.test`, { third_party_signed: forged });
    expect([refused.status, refused.body.errcode]).to.deep.equal([403, 'M_FORBIDDEN']);
  });

  it('are joined by guests whom somebody of another server invites, where they let guests in, and by no other guests', async () => {
    const { userId } = await b.session('guest-gus');
    const open = await a.room('alice', { preset: 'private_chat', invite: [userId] });
    const closed = await a.room('alice', {
      preset: 'private_chat',
      initial_state: [{ type: 'm.room.guest_access', state_key: '', content: { guest_access: 'forbidden' } }],
      invite: [userId],
    });
    const free = await a.room('alice', {
      preset: 'public_chat',
      initial_state: [{ type: 'm.room.guest_access', state_key: '', content: { guest_access: 'can_join' } }],
    });
    await federation.idle();
    await joined(b, 'guest-gus', open);
    const refused = await join(b, 'guest-gus', closed);
    expect([refused.status, refused.body.errcode]).to.deep.equal([403, 'M_GUEST_ACCESS_FORBIDDEN']);
    // Nobody has a guest bring a room here that they were not invited to.
    expect((await join(b, 'guest-gus', free, 'a.test')).status).to.equal(403);
    await federation.idle();
    expect((await members(a, 'alice', open))[userId]).to.equal('join');
    expect((await members(a, 'alice', closed))[userId]).to.equal('leave');
    const { rooms } = await b.must('guest-gus', 'GET', '/sync');
    expect(rooms.join).to.have.keys([open]);
    expect(rooms.invite ?? {}).to.not.have.property(closed);
  });

  it('have a successor that other servers follow, with what their users had said of the old one', async () => {
    const old = await open();
    await joined(b, 'bob', old, 'a.test');
    await b.must('bob', 'PUT', `/user/@bob:b.test/rooms/${old}/tags/m.favourite`, { order: 0.5 });
    const { replacement_room: roomId } = await a.must('alice', 'POST', `/rooms/${old}/upgrade`, { new_version: '11' });
    await federation.idle();
    const tombstone = await b.must('bob', 'GET', `/rooms/${old}/state/m.room.tombstone`);
    expect(tombstone.replacement_room).to.equal(roomId);
    await joined(b, 'bob', roomId, 'a.test');
    await federation.idle();
    const { tags } = await b.must('bob', 'GET', `/user/@bob:b.test/rooms/${roomId}/tags`);
    expect(tags).to.have.property('m.favourite');
  });

  it('are made with guests of other servers, who are invited as soon as the room is there', async () => {
    await b.account('bob');
    const member = { type: 'm.room.member', state_key: '@carol:c.test', content: { membership: 'invite' } };
    await c.account('carol');
    const roomId = await a.room('alice', { invite: ['@bob:b.test', '@nobody:b.test'], initial_state: [member] });
    expect(await members(a, 'alice', roomId)).to.deep.equal({
      '@alice:a.test': 'join',
      '@bob:b.test': 'invite',
      '@carol:c.test': 'invite',
    });
    expect((await c.must('carol', 'GET', '/sync')).rooms.invite).to.have.property(roomId);
  });

  it('that a server is only invited to are no room for anything else', async () => {
    await b.account('lone');
    const roomId = await a.room('alice', { invite: ['@lone:b.test'], name: 'Secret' });
    const { next_batch: since } = await b.must('lone', 'GET', '/sync');
    const asked: [string, string, object?][] = [
      ['GET', `/rooms/${roomId}/state`],
      ['GET', `/rooms/${roomId}/members`],
      ['GET', `/rooms/${roomId}/joined_members`],
      ['GET', `/rooms/${roomId}/messages?dir=b`],
      ['GET', `/rooms/${roomId}/context/${enc(`$${'e'.repeat(43)}`)}`],
      ['PUT', `/rooms/${roomId}/send/m.room.message/1`, { body: 'x', msgtype: 'm.text' }],
      ['PUT', `/rooms/${roomId}/state/m.room.name`, { name: 'x' }],
      ['POST', `/rooms/${roomId}/invite`, { user_id: '@bob:b.test' }],
      ['POST', `/rooms/${roomId}/kick`, { user_id: '@alice:a.test' }],
      ['POST', `/rooms/${roomId}/upgrade`, { new_version: '11' }],
      ['GET', `/v1/rooms/${roomId}/hierarchy`],
      ['GET', `/rooms/${roomId}/aliases`],
      ['POST', `/rooms/${roomId}/read_markers`, {}],
      ['PUT', `/rooms/${roomId}/typing/@lone:b.test`, { typing: false }],
      ['GET', `/rooms/${roomId}/initialSync`],
    ];
    for (const [method, path, body] of asked) {
      const answer = await b.ask('lone', method, path, body);
      expect([answer.status, answer.body.errcode], `${method} ${path}`).to.deep.equal([403, 'M_FORBIDDEN']);
    }
    for (const path of ['/initialSync', '/sync?full_state=true', `/sync?since=${since}`, '/notifications'])
      await b.must('lone', 'GET', path);
    const sliding = await b.must('lone', 'POST', '/unstable/org.matrix.simplified_msc3575/sync', {
      lists: { all: { ranges: [[0, 10]], timeline_limit: 1, required_state: [['*', '*']] } },
    });
    expect(sliding.rooms[roomId].invite_state.some((event: Json) => event.content.name === 'Secret')).to.equal(true);
    await b.must('lone', 'POST', `/rooms/${roomId}/leave`, {});
    await b.must('lone', 'GET', '/sync?full_state=true');
    const left = encodeURIComponent(JSON.stringify({ room: { include_leave: true } }));
    await b.must('lone', 'GET', `/sync?filter=${left}`);
    await b.must('lone', 'GET', '/initialSync');
    await b.must('lone', 'POST', '/unstable/org.matrix.simplified_msc3575/sync', {
      lists: { all: { ranges: [[0, 10]], timeline_limit: 1, required_state: [['*', '*']] } },
    });
  });

  it('leave nothing half when the server is killed while it brings one, and come whole afterwards', async () => {
    for (const statement of ['write_outliers', 'event_state_keys_by_id', 'write_events']) {
      const p = federation.partner('p.test');
      const room = new JoinableRoom(p, '10');
      for (let index = 0; index < 20; index++) {
        const userId = `@member${index}:p.test`;
        room.add({ type: 'm.room.member', sender: userId, stateKey: userId, content: { membership: 'join' } });
      }
      room.serveJoins();
      const { database } = c.services;
      const query = database.query.bind(database);
      const { promise: reached, resolve } = Promise.withResolvers<void>();
      database.query = (asked, values) => {
        if (!asked.name.startsWith(statement)) return query(asked, values);
        resolve();
        return new Promise(() => undefined);
      };
      void join(c, 'carol', room.roomId, 'p.test').catch(() => undefined);
      await reached;
      await c.kill();
      await c.revive();
      expect((await c.must('carol', 'GET', '/joined_rooms')).joined_rooms, statement).not.to.include(room.roomId);
      await joined(c, 'carol', room.roomId, 'p.test');
      expect(Object.keys(await members(c, 'carol', room.roomId))).to.have.lengthOf(22);
    }
  });
});
