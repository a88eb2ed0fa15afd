import { expect } from 'chai';
import type { InProcessServer, Json } from '#test/support/in-process-server.ts';
import { type Federation, startFederation } from '#test/support/federation/federation.ts';

const ADMIN = 'admin-a';
const UNKNOWN = '!never-heard-of:elsewhere.test';
const BLOCKED = 'This room has been blocked on this server.';

describe('a room that administrators block', function () {
  this.timeout(60_000);
  let federation: Federation;
  let a: InProcessServer;
  let b: InProcessServer;
  before(async () => {
    federation = await startFederation(['a.test', 'b.test']);
    a = federation.server('a.test');
    b = federation.server('b.test');
  });
  after(() => federation?.stop());

  const enc = encodeURIComponent;
  const path = (roomId: string): string => `/_synapse/admin/v1/rooms/${enc(roomId)}/block`;
  const block = (server: InProcessServer, roomId: string, isBlocked = true): Promise<Json> =>
    server.must(ADMIN, 'PUT', path(roomId), { block: isBlocked });
  const refused = async (
    server: InProcessServer,
    token: string,
    method: string,
    url: string,
    body: object = {},
  ): Promise<void> => {
    const answer = await server.ask(token, method, url, body);
    expect([answer.status, answer.body.errcode, answer.body.error], url).to.deep.equal([403, 'M_FORBIDDEN', BLOCKED]);
  };

  it('is told with the administrator who did it first, known to the server or not, and is open again afterwards', async () => {
    const known = await a.room('alice');
    for (const roomId of [known, UNKNOWN]) {
      expect(await a.must(ADMIN, 'GET', path(roomId))).to.deep.equal({ block: false });
      expect(await block(a, roomId)).to.deep.equal({ block: true });
      await a.must('admin-b', 'PUT', path(roomId), { block: true });
      expect(await a.must(ADMIN, 'GET', path(roomId))).to.deep.equal({ block: true, user_id: '@admin-a:a.test' });
      expect(await block(a, roomId, false)).to.deep.equal({ block: false });
      expect(await block(a, roomId, false)).to.deep.equal({ block: false });
      expect(await a.must(ADMIN, 'GET', path(roomId))).to.deep.equal({ block: false });
    }
  });
  it('refuses all joins, knocks and invites, while members can still use the room', async () => {
    const roomId = await a.room('alice', {
      preset: 'public_chat',
      room_alias_name: 'blocked',
      invite: ['@iris:a.test'],
    });
    await a.join('carol', roomId);
    await block(a, roomId);
    await refused(a, 'bob', 'POST', `/rooms/${roomId}/join`);
    await refused(a, 'bob', 'POST', `/join/${enc('#blocked:a.test')}`);
    await refused(a, 'iris', 'POST', `/rooms/${roomId}/join`);
    await refused(a, 'bob', 'PUT', `/rooms/${roomId}/state/m.room.member/${enc('@bob:a.test')}`, {
      membership: 'join',
    });
    await refused(a, 'alice', 'POST', `/rooms/${roomId}/invite`, { user_id: '@bob:a.test' });
    await refused(a, 'alice', 'PUT', `/rooms/${roomId}/state/m.room.member/${enc('@bob:a.test')}`, {
      membership: 'invite',
    });
    await a.setState('alice', roomId, 'm.room.join_rules', { join_rule: 'knock' });
    await refused(a, 'bob', 'POST', `/knock/${enc(roomId)}`);
    await a.say('carol', roomId, 'still here');
    await a.must('carol', 'PUT', '/profile/@carol:a.test/displayname', { displayname: 'Carol' });
    await a.idle();
    const { displayname } = await a.must('alice', 'GET', `/rooms/${roomId}/state/m.room.member/@carol:a.test`);
    expect(displayname).to.equal('Carol');
    await a.must('carol', 'POST', `/rooms/${roomId}/leave`, {});
    await refused(a, 'carol', 'POST', `/rooms/${roomId}/join`);
    await a.must('iris', 'POST', `/rooms/${roomId}/leave`, {});
    await a.restart();
    await refused(a, 'bob', 'POST', `/rooms/${roomId}/join`);
    await block(a, roomId, false);
    await a.setState('alice', roomId, 'm.room.join_rules', { join_rule: 'public' });
    await a.join('bob', roomId);
  });
  it('is joined through no other server, and its invites from there are refused', async () => {
    const roomId = await b.room('bob', { preset: 'public_chat' });
    await block(a, roomId);
    await refused(a, 'alice', 'POST', `/join/${enc(roomId)}?via=b.test`);
    await refused(a, 'alice', 'POST', `/knock/${enc(roomId)}?via=b.test`);
    const invite = await b.ask('bob', 'POST', `/rooms/${roomId}/invite`, { user_id: '@alice:a.test' });
    expect([invite.status, invite.body.errcode]).to.deep.equal([403, 'M_FORBIDDEN']);
    expect((await a.must('alice', 'GET', '/sync')).rooms?.invite ?? {}).not.to.have.property(roomId);
    await block(a, roomId, false);
    await b.must('bob', 'POST', `/rooms/${roomId}/invite`, { user_id: '@alice:a.test' });
    await a.must('alice', 'POST', `/join/${enc(roomId)}`, {});
  });
  it('lets nobody of other servers in either, by those who are in it here', async () => {
    const roomId = await a.room('alice', { preset: 'public_chat' });
    await block(a, roomId);
    const join = await b.ask('bob', 'POST', `/join/${enc(roomId)}?via=a.test`, {});
    expect([join.status, join.body.errcode]).to.deep.equal([403, 'M_FORBIDDEN']);
    await refused(a, 'alice', 'POST', `/rooms/${roomId}/invite`, { user_id: '@bob:b.test' });
  });
  it('is refused with M_INVALID_PARAM where it is no room, and M_BAD_JSON where it is not said whether', async () => {
    for (const [method, body] of [
      ['GET', undefined],
      ['PUT', { block: true }],
    ] as const) {
      const answer = await a.ask(ADMIN, method, path('room'), body);
      expect([answer.status, answer.body.errcode]).to.deep.equal([400, 'M_INVALID_PARAM']);
    }
    const roomId = await a.room('alice');
    expect((await a.ask(ADMIN, 'PUT', path(roomId), { block: 'yes' })).body.errcode).to.equal('M_BAD_JSON');
    expect((await a.ask(ADMIN, 'PUT', path(roomId), {})).body.errcode).to.equal('M_MISSING_PARAM');
  });
  it('leaves an entry in the audit log, with what was there before', async () => {
    const roomId = await a.room('alice');
    await block(a, roomId);
    await block(a, roomId);
    await block(a, roomId, false);
    const { records } = await a.services.auditLog.list({ roomId }, { limit: 10 });
    expect(records.map(({ actor, entry }) => [actor.userId, entry.action, entry.before, entry.after])).to.deep.equal([
      ['@admin-a:a.test', 'room.unblock', { block: true }, { block: false }],
      ['@admin-a:a.test', 'room.block', { block: true }, { block: true }],
      ['@admin-a:a.test', 'room.block', { block: false }, { block: true }],
    ]);
  });
});
