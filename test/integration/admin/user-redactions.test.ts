import { expect } from 'chai';
import { type Answer, InProcessServer, type Json } from '#test/support/in-process-server.ts';

const REDACT = '/_synapse/admin/v1/user';

describe('administrators redact all that a user has sent', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  before(async () => {
    server = await InProcessServer.start();
    await server.session('admin-eve');
  });
  after(() => server?.stop());

  const start = (userId: string, body: object, token = 'admin-eve'): Promise<Answer> =>
    server.ask(token, 'POST', `${REDACT}/${encodeURIComponent(userId)}/redact`, body);
  const status = async (id: string): Promise<Json> => server.must('admin-eve', 'GET', `${REDACT}/redact_status/${id}`);
  const redacted = async (userId: string, body: object): Promise<Json> => {
    const { redact_id: id } = (await start(userId, body)).body;
    await server.idle();
    return status(id);
  };
  const room = async (...members: readonly string[]): Promise<string> => {
    const roomId = await server.room('alice', { preset: 'public_chat' });
    for (const member of members) await server.join(member, roomId);
    return roomId;
  };
  const shown = async (roomId: string): Promise<Json[]> => {
    const page = await server.must('alice', 'GET', `/rooms/${roomId}/messages?dir=f&limit=200`);
    return page.chunk
      .filter(({ type }: Json) => type === 'm.room.message')
      .map(({ content }: Json) => content.body ?? null);
  };
  const redactionsIn = async (roomId: string): Promise<Json[]> => {
    const page = await server.must('alice', 'GET', `/rooms/${roomId}/messages?dir=b&limit=200`);
    return page.chunk.filter(({ type }: Json) => type === 'm.room.redaction');
  };

  it('in all rooms that the user is in or banned from, in the name of the user, and says so', async () => {
    await server.setProfile('bob', { displayname: 'offensive' });
    const rooms = [await room('bob'), await room('bob'), await room('bob')];
    for (const roomId of rooms) await server.say('bob', roomId, 'spam');
    for (const roomId of rooms) await server.say('alice', roomId, 'ham');
    await server.must('alice', 'POST', `/rooms/${rooms[2]}/ban`, { user_id: '@bob:test' });
    const answer = await redacted('@bob:test', { rooms: [], reason: 'spam' });
    expect(answer.status).to.equal('complete');
    // In the name of somebody who is banned nothing can be sent.
    expect(Object.keys(answer.failed_redactions)).to.deep.equal([rooms[2]]);
    for (const roomId of rooms.slice(0, 2)) {
      expect(await shown(roomId)).to.deep.equal([null, 'ham']);
      const made = await redactionsIn(roomId);
      expect(new Set(made.map(({ sender }) => sender))).to.deep.equal(new Set(['@bob:test']));
      expect(made[0].content.reason).to.equal('spam');
      const member = await server.must('alice', 'GET', `/rooms/${roomId}/state/m.room.member/@bob:test`);
      expect(member).to.deep.equal({ membership: 'join' });
    }
  });

  it('by the administrator where that is asked for, with the power that the room gives them', async () => {
    const roomId = await room('carl', 'admin-eve');
    await server.say('carl', roomId, 'spam');
    const without = await redacted('@carl:test', { rooms: [roomId], use_admin: true });
    expect(without.failed_redactions).to.have.keys(roomId);
    const levels = await server.must('alice', 'GET', `/rooms/${roomId}/state/m.room.power_levels`);
    await server.setState('alice', roomId, 'm.room.power_levels', {
      ...levels,
      users: { ...levels.users, '@admin-eve:test': 50 },
    });
    expect(await redacted('@carl:test', { rooms: [roomId], use_admin: true })).to.deep.equal({
      status: 'complete',
      failed_redactions: {},
    });
    expect(await shown(roomId)).to.deep.equal([null]);
    expect((await redactionsIn(roomId)).map(({ sender }) => sender)).to.deep.equal(['@admin-eve:test']);
  });

  it('so many of each room, the newest first, and of a time only', async () => {
    const roomId = await room('dora');
    for (const text of ['first', 'second']) await server.say('dora', roomId, text);
    await server.clock.advance(1_000);
    const between = server.clock.now();
    await server.clock.advance(1_000);
    for (const text of ['third', 'fourth']) await server.say('dora', roomId, text);
    await redacted('@dora:test', { rooms: [roomId], limit: 1 });
    expect(await shown(roomId)).to.deep.equal(['first', 'second', 'third', null]);
    await redacted('@dora:test', { rooms: [roomId], before_ts: between, limit: 1 });
    expect(await shown(roomId)).to.deep.equal(['first', null, 'third', null]);
    await redacted('@dora:test', { rooms: [roomId], after_ts: between });
    expect(await shown(roomId)).to.deep.equal(['first', null, null, null]);
  });

  it('as a task, with an entry in the audit log, that is not begun a second time while it waits', async () => {
    const roomId = await room('erin');
    await server.say('erin', roomId, 'spam');
    const [first, second] = await Promise.all([
      start('@erin:test', { rooms: [roomId], reason: 'spam' }),
      server.idle().then(() => start('@erin:test', { rooms: [roomId] })),
    ]);
    expect(first.status).to.equal(200);
    expect([200, 400]).to.include(second.status);
    await server.idle();
    const { records } = await server.services.auditLog.list({ action: 'user.redact' }, { limit: 10 });
    const entry = records.findLast(({ entry: { target } }) => target === '@erin:test');
    expect(entry?.entry).to.deep.include({ reason: 'spam', taskId: first.body.redact_id });
    expect(entry?.actor.userId).to.equal('@admin-eve:test');
  });

  it('and get Synapse’s errors for what is no user, no limit, no task, and no administrator', async () => {
    const errcode = async (asked: Promise<Answer>): Promise<Json> => {
      const { body, status: code } = await asked;
      return [code, body.errcode];
    };
    expect(await errcode(start('bob', { rooms: [] }))).to.deep.equal([400, 'M_INVALID_PARAM']);
    expect(await errcode(start('@bob:test', { rooms: [], limit: 0 }))).to.deep.equal([400, 'M_BAD_JSON']);
    expect(await errcode(start('@bob:test', {}))).to.deep.equal([400, 'M_MISSING_PARAM']);
    expect(await errcode(start('@bob:test', { rooms: [] }, 'alice'))).to.deep.equal([403, 'M_FORBIDDEN']);
    expect(await errcode(server.ask('admin-eve', 'GET', `${REDACT}/redact_status/none`))).to.deep.equal([
      404,
      'M_NOT_FOUND',
    ]);
  });
});
