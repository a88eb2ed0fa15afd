import { expect } from 'chai';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { OPERATOR } from '#src/services/audit/actor.ts';
import { sql } from '#src/storage/statement.ts';
import { InProcessServer, type Json } from '#test/support/in-process-server.ts';
import { MortalServer } from '#test/support/mortal/mortal-server.ts';
import { taskKilledAnywhere } from './killed-task.ts';

const SEND = '/_synapse/admin/v1/send_server_notice';
const NOTICES = '@notices:test';
const HIDE = sql('test_notices_hide', `update accounts set is_guest = true where user_id like '@user%'`);
const TOLD = sql(
  'test_notices_told',
  `select n.user_id as "userId", (select count(*)::int from events e where e.room = r.nid and e.json like '%"told"%') as times
   from server_notice_rooms n join rooms r on r.room_id = n.room_id where n.user_id = any($1)`,
);
const notice = (body: string): object => ({ msgtype: 'm.text', body });

describe('server notices', function () {
  this.timeout(120_000);
  let server: InProcessServer;
  before(async () => {
    server = await InProcessServer.start({ config: { serverNotices: { user: 'notices', displayName: 'The server' } } });
  });
  after(() => server?.stop());

  const send = (user: string, body: string): Promise<Json> =>
    server.must('admin-root', 'POST', SEND, { user_id: `@${user}:test`, content: notice(body) });
  const invites = async (name: string): Promise<Json> => (await server.must(name, 'GET', '/sync')).rooms?.invite ?? {};
  const roomFor = async (user: string): Promise<string> => {
    await server.account(user);
    await send(user, 'hello');
    const [roomId] = Object.keys(await invites(user));
    return roomId ?? '';
  };

  it('come as an invite to a room that is tagged, from whom the configuration names', async () => {
    const roomId = await roomFor('alice');
    const { invite_state: state } = (await invites('alice'))[roomId];
    const of = (type: string): Json => state.events.find((event: Json) => event.type === type);
    expect(of('m.room.name').content.name).to.equal('Server Notices');
    const inviter = state.events.find((event: Json) => event.type === 'm.room.member' && event.state_key === NOTICES);
    expect(inviter?.content.displayname).to.equal('The server');
    expect(await server.must('alice', 'GET', `/user/@alice:test/rooms/${roomId}/tags`)).to.deep.equal({
      tags: { 'm.server_notice': {} },
    });
    await server.join('alice', roomId);
    const page = await server.must('alice', 'GET', `/rooms/${roomId}/messages?dir=b`);
    expect(server.bodies(page)).to.deep.equal(['hello']);
    expect(page.chunk[0].sender).to.equal('@alice:test');
  });

  it('all go to the same room, also when several are sent at once, and whoever left it is invited again', async () => {
    await server.account('bob');
    await Promise.all(['one', 'two', 'three'].map((body) => send('bob', body)));
    const rooms = Object.keys(await invites('bob'));
    expect(rooms).to.have.length(1);
    const [roomId = ''] = rooms;
    await server.join('bob', roomId);
    await server.must('bob', 'POST', `/rooms/${roomId}/leave`, {});
    await send('bob', 'four');
    expect(Object.keys(await invites('bob'))).to.deep.equal([roomId]);
    await server.join('bob', roomId);
    const page = await server.must('bob', 'GET', `/rooms/${roomId}/messages?dir=b`);
    expect(server.bodies(page)).to.have.members(['one', 'two', 'three', 'four']);
  });

  it('are not to be answered, and their room lets nobody else in', async () => {
    const roomId = await roomFor('carol');
    await server.join('carol', roomId);
    const said = await server.ask('carol', 'PUT', `/rooms/${roomId}/send/m.room.message/1`, notice('no'));
    expect([said.status, said.body.errcode]).to.deep.equal([403, 'M_FORBIDDEN']);
    const invited = await server.ask('carol', 'POST', `/rooms/${roomId}/invite`, { user_id: '@bob:test' });
    expect(invited.status).to.equal(403);
  });

  it('cannot be rejected, by whatever way it is tried, and left once they were joined', async () => {
    const roomId = await roomFor('dora');
    const tries = [
      ['POST', `/rooms/${roomId}/leave`, {}],
      ['PUT', `/rooms/${roomId}/state/m.room.member/@dora:test`, { membership: 'leave' }],
    ] as const;
    for (const [method, path, body] of tries) {
      const refused = await server.ask('dora', method, path, body);
      expect([refused.status, refused.body.errcode], path).to.deep.equal([403, 'M_CANNOT_LEAVE_SERVER_NOTICE_ROOM']);
    }
    await server.join('dora', roomId);
    await server.must('dora', 'POST', `/rooms/${roomId}/leave`, {});
  });

  it('do not keep a deactivated user in their room', async () => {
    const roomId = await roomFor('leaving');
    await server.services.accounts.deactivate('@leaving:test', false);
    await server.idle();
    const room = await server.services.rooms.byId(roomId);
    expect(room?.member('@leaving:test')?.membership).to.equal('leave');
  });

  it('are in a room that users are in at once who take no invites', async () => {
    await server.account('shy');
    await server.must('shy', 'PUT', '/user/@shy:test/account_data/m.invite_permission_config', {
      default_action: 'block',
    });
    await send('shy', 'hello');
    const { rooms } = await server.must('shy', 'GET', '/sync');
    expect(Object.keys(rooms.join)).to.have.length(1);
  });

  it('are sent once for each transaction id', async () => {
    await server.account('erin');
    const once = (body: string, id: string): Promise<Json> =>
      server.must('admin-root', 'PUT', `${SEND}/${id}`, { user_id: '@erin:test', content: notice(body) });
    const first = await once('one', 'a');
    expect(await once('one', 'a')).to.deep.equal(first);
    expect(await once('one', 'b')).not.to.deep.equal(first);
    const { entries } = await server.must('admin-root', 'GET', '/_tsudoi/admin/v1/audit_log?target=@erin:test');
    expect(entries.map(({ action }: Json) => action)).to.deep.equal(['server_notice.send', 'server_notice.send']);
    expect(JSON.stringify(entries)).not.to.include('one');
  });

  it('are in a room whose name is in the language of the user', async () => {
    await server.account('haruko');
    await server.must('haruko', 'POST', '/pushers/set', {
      kind: 'http',
      app_id: 'app.test',
      pushkey: 'key',
      app_display_name: 'App',
      device_display_name: 'Phone',
      lang: 'ja-JP',
      data: { url: 'https://push.test/_matrix/push/v1/notify' },
    });
    const roomId = await roomFor('haruko');
    const { events } = (await invites('haruko'))[roomId].invite_state;
    expect(events.find((event: Json) => event.type === 'm.room.name').content.name).to.equal('サーバーからのお知らせ');
  });

  it('are refused for users of other servers, for nobody, and without content', async () => {
    const refusals = [
      [{ user_id: '@x:other.test', content: {} }, 400, 'M_INVALID_PARAM'],
      [{ user_id: 'x', content: {} }, 400, 'M_INVALID_PARAM'],
      [{ user_id: '@nobody:test', content: {} }, 404, 'M_NOT_FOUND'],
      [{ user_id: NOTICES, content: {} }, 404, 'M_NOT_FOUND'],
      [{ user_id: '@alice:test' }, 400, 'M_MISSING_PARAM'],
      [{ user_id: '@alice:test', content: { body: 1.5 } }, 400, 'M_BAD_JSON'],
    ] as const;
    for (const [body, status, errcode] of refusals) {
      const answer = await server.ask('admin-root', 'POST', SEND, body);
      expect([answer.status, answer.body.errcode], JSON.stringify(body)).to.deep.equal([status, errcode]);
    }
  });

  it('are announced to everybody by a task, in the languages that there are', async () => {
    const { task_id: id } = await server.must('admin-root', 'POST', '/_tsudoi/admin/v1/announcements', {
      content: notice('maintenance tonight'),
      translations: { ja: notice('今夜メンテナンスを行います') },
    });
    await server.idle();
    const task = await server.must('admin-root', 'GET', `/_tsudoi/admin/v1/tasks/${id}`);
    expect(task).to.deep.include({ status: 'complete', action: 'send_announcement' });
    expect(task.result.sent).to.be.above(5);
    expect(task.result.failed).to.equal(0);
    const [roomId = ''] = Object.keys(await invites('haruko'));
    await server.join('haruko', roomId);
    const page = await server.must('haruko', 'GET', `/rooms/${roomId}/messages?dir=b`);
    expect(server.bodies(page)).to.include('今夜メンテナンスを行います');
  });
});

describe('server notices that are not configured', function () {
  this.timeout(60_000);
  it('are refused, and announcements as well', async () => {
    const server = await InProcessServer.start();
    try {
      await server.account('alice');
      const one = await server.ask('admin-root', 'POST', SEND, { user_id: '@alice:test', content: notice('x') });
      const all = await server.ask('admin-root', 'POST', '/_tsudoi/admin/v1/announcements', { content: notice('x') });
      for (const answer of [one, all]) expect([answer.status, answer.body.errcode]).to.deep.equal([400, 'M_UNKNOWN']);
    } finally {
      await server.stop();
    }
  });
});

describe('an announcement whose process is killed', function () {
  this.timeout(180_000);
  let mortal: MortalServer;
  before(async () => {
    mortal = await MortalServer.open({ TSUDOI_SERVER_NOTICES__USER: 'notices' });
  });
  after(() => mortal?.close());

  taskKilledAnywhere(() => mortal, {
    title: 'reaches everybody exactly once, in one room each, wherever it is killed',
    task: 'send_announcement',
    async prepare(life) {
      // Those of the last round are told of nothing any more.
      await mortal.database.query(HIDE);
      return [await mortal.user(life), await mortal.user(life)].map(({ userId }) => userId);
    },
    start: ({ services }) =>
      services.announcements.announce(OPERATOR, { content: notice('told') as JsonObject, translations: {} }),
    async assertDone(_life, users, _id, when) {
      const told = await mortal.database.query<{ userId: string; times: number }>(TOLD, [users]);
      expect(told, when).to.have.deep.members(users.map((userId) => ({ userId, times: 1 })));
    },
  });
});
