import { expect } from 'chai';
import { OPERATOR } from '#src/services/audit/actor.ts';
import { type Answer, InProcessServer, type Json } from '#test/support/in-process-server.ts';
import { columnsWith } from '#test/support/table-scan.ts';

const erasePath = (userId: string): string => `/_tsudoi/admin/v1/users/${encodeURIComponent(userId)}/erase`;
const MARK = 'zq7identifying';

/** Where there is something of a user, before. */
const TRACES = [
  'account_data.content',
  'account_data.type',
  'account_threepids.address',
  'delayed_events.content',
  'devices.display_name',
  'devices.last_seen_user_agent',
  'directory_users.display_name',
  'events.json',
  'events.sent_by',
  'external_ids.external_id',
  'filters.content',
  'media.filename',
  'one_time_keys.content',
  'presence.status_msg',
  'profiles.value',
  'push_rules.content',
  'pushers.pushkey',
  'room_tags.tag',
  'sessions.device_id',
];

/** Columns that may name an erased user by id, and why; nothing else of them may be anywhere. */
const NAMED: Readonly<Record<string, string>> = {
  'accounts.user_id': 'nobody else gets the name',
  'admin_tasks.lane': 'a task is kept for seven days after its end',
  'admin_tasks.params': 'a task is kept for seven days after its end',
  'admin_tasks.resource': 'a task is kept for seven days after its end',
  'audit_log.target': 'who was erased, by whom and when, is what the log is for',
  'bullmq.job.data': 'jobs that are done are forgotten by their queue',
  'bullmq.job.dedup_id': 'jobs that are done are forgotten by their queue',
  'bullmq.job.opts': 'jobs that are done are forgotten by their queue',
  'device_changes.user_id': 'others have to learn that the devices are gone',
  'device_changes_due.user_id': 'others have to learn that the devices are gone',
  'events.json': 'what is left of a redacted event names its sender',
  'state_keys.state_key': 'memberships are events',
  'told_devices.user_id': 'other servers have to learn that the devices are gone',
  'users.user_id': 'numbers of all who are named in events',
};

describe('administrators erase a user', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  before(async () => {
    server = await InProcessServer.start();
    await server.session('admin-eve');
  });
  after(() => server?.stop());

  const erase = async (userId: string, wishes: object = {}): Promise<Json> => {
    const { task_id: id } = await server.must('admin-eve', 'POST', erasePath(userId), wishes);
    await server.idle();
    return server.services.adminTasks.get(id);
  };

  /** Somebody of whom there is something everywhere. */
  const leaveTraces = async (name: string): Promise<{ userId: string; room: string; file: string }> => {
    const token = `${name}/${MARK}device`;
    const { services } = server;
    const login = await server.session(token);
    const { userId } = login;
    await server.setProfile(token, { displayname: `${MARK} name` });
    const room = await server.room('alice', { preset: 'public_chat' });
    await server.join(token, room);
    const said = await server.say('alice', room, 'ham');
    await server.say(token, room, `${MARK} message`);
    await server.must(token, 'PUT', `/devices/${MARK}device`, { display_name: `${MARK} phone` });
    await server.must(token, 'GET', '/account/whoami', undefined);
    await server.must(token, 'PUT', `/user/${userId}/account_data/org.${MARK}`, { of: MARK });
    await server.must(token, 'PUT', `/user/${userId}/rooms/${room}/tags/u.${MARK}`, {});
    await server.must(token, 'PUT', `/pushrules/global/content/${MARK}`, { pattern: MARK, actions: ['notify'] });
    await server.must(token, 'POST', `/user/${userId}/filter`, { event_fields: [MARK] });
    await server.must(token, 'PUT', `/presence/${userId}/status`, { presence: 'online', status_msg: MARK });
    await server.must(token, 'POST', `/rooms/${room}/receipt/m.read/${said}`, {});
    await server.must(token, 'POST', '/pushers/set', {
      app_id: MARK,
      pushkey: MARK,
      kind: 'http',
      app_display_name: MARK,
      device_display_name: MARK,
      lang: 'en',
      data: { url: `https://push.test/_matrix/push/v1/notify?${MARK}` },
    });
    await server.must(token, 'PUT', `/rooms/${room}/send/org.test/1?org.matrix.msc4140.delay=60000000`, { of: MARK });
    await services.accountThreepids.replace(userId, [{ medium: 'email', address: `${MARK}@mail.test` }]);
    await services.userChanges.put(OPERATOR, userId, { externalIds: [{ provider: MARK, externalId: MARK }] });
    await server.must(token, 'POST', '/keys/upload', {
      one_time_keys: { [`signed_curve25519:${MARK}`]: { key: MARK, signatures: {} } },
    });
    const upload = await server.ask(token, 'POST', `/_matrix/media/v3/upload?filename=${MARK}.txt`, undefined, {
      raw: `${MARK} content`,
      headers: { 'content-type': 'text/plain', 'user-agent': `${MARK} agent` },
    });
    await server.idle();
    await services.activity.close();
    return { userId, room, file: upload.body.content_uri };
  };

  it('and nothing of them is left in any column of any table but their name, where it has to stay', async () => {
    const { userId, room, file } = await leaveTraces('bob');
    await server.services.presence.close();
    const before = await columnsWith(server, MARK);
    expect(before).to.include.members(TRACES);
    const exports = `/_tsudoi/admin/v1/users/${encodeURIComponent(userId)}/exports`;
    const { export_id: archive } = await server.must('admin-eve', 'POST', exports, {});
    await server.idle();
    const task = await erase(userId, { redact_events: true, delete_media: true });
    expect((await server.ask('admin-eve', 'GET', `${exports}/${archive}`)).status).to.equal(404);
    expect(task).to.deep.include({ status: 'complete' });
    expect(task.result).to.deep.include({ steps: ['events', 'account', 'kept', 'sending_devices', 'media'] });
    expect(task.result.media_deleted).to.equal(1);
    // What administrators changed stays for as long as their log is kept: it says who linked the account to which provider.
    expect(await columnsWith(server, MARK)).to.deep.equal(['audit_log.after_json']);
    const named = await columnsWith(server, userId);
    expect(named.filter((column) => NAMED[column] === undefined)).to.deep.equal([]);
    const [, media] = /^mxc:\/\/test\/(.+)$/.exec(file) ?? [];
    expect((await server.ask('alice', 'GET', `/v1/media/download/test/${media}`)).status).to.equal(404);
    const page = await server.must('alice', 'GET', `/rooms/${room}/messages?dir=b&limit=100`);
    expect(JSON.stringify(page)).to.not.include(MARK);
  });

  it('by choice with what they said and how they showed themselves in rooms: without it that stays for those who were there', async () => {
    const { userId, room } = await leaveTraces('carl');
    await erase(userId);
    const page = await server.must('alice', 'GET', `/rooms/${room}/messages?dir=b&limit=100`);
    expect(server.bodies(page)).to.include(`${MARK} message`);
    const dora = await leaveTraces('dora');
    await erase(dora.userId, { redact_profile: true });
    const told = await server.must('alice', 'GET', `/rooms/${dora.room}/messages?dir=b&limit=100`);
    expect(server.bodies(told)).to.include(`${MARK} message`);
    expect(JSON.stringify(told.chunk.filter(({ type }: Json) => type === 'm.room.member'))).to.not.include(MARK);
  });

  it('whom they deactivated before, as far as they may themselves redact in the rooms that the user left', async () => {
    const { userId, room } = await leaveTraces('erin');
    await server.services.userAdministration.deactivate(OPERATOR, userId, false);
    await server.idle();
    await server.join('admin-eve', room);
    const levels = await server.must('alice', 'GET', `/rooms/${room}/state/m.room.power_levels`);
    await server.setState('alice', room, 'm.room.power_levels', {
      ...levels,
      users: { ...levels.users, '@admin-eve:test': 50 },
    });
    const task = await erase(userId, { redact_events: true });
    expect(task.result.redactions.failed_redactions).to.deep.equal({});
    const page = await server.must('alice', 'GET', `/rooms/${room}/messages?dir=b&limit=100`);
    expect(server.bodies(page)).to.not.include(`${MARK} message`);
  });

  it('with an entry in the audit log, and never themselves, nobody, or somebody of another server', async () => {
    const { records } = await server.services.auditLog.list({ action: 'user.erase' }, { limit: 10 });
    const entry = records.find(({ entry: { target } }) => target === '@bob:test');
    expect(entry?.actor.userId).to.equal('@admin-eve:test');
    expect(entry?.entry.after).to.deep.equal({
      erased: true,
      redact_events: true,
      redact_profile: false,
      delete_media: true,
    });
    const errcode = async (asked: Promise<Answer>): Promise<Json> => {
      const { body, status } = await asked;
      return [status, body.errcode];
    };
    expect(await errcode(server.ask('admin-eve', 'POST', erasePath('@nobody:test')))).to.deep.equal([
      404,
      'M_NOT_FOUND',
    ]);
    expect(await errcode(server.ask('admin-eve', 'POST', erasePath('@x:other.test')))).to.deep.equal([
      400,
      'M_UNKNOWN',
    ]);
    expect(await errcode(server.ask('admin-eve', 'POST', erasePath('@admin-eve:test')))).to.deep.equal([
      400,
      'M_UNKNOWN',
    ]);
    expect(await errcode(server.ask('alice', 'POST', erasePath('@bob:test')))).to.deep.equal([403, 'M_FORBIDDEN']);
  });

  it('and bring nobody back while they are being erased, as what came then would go as well', async () => {
    const { accounts, queues } = server.services;
    const { userId } = await server.session('grace');
    const path = `/_synapse/admin/v2/users/${userId}`;
    const back = (): Promise<Answer> =>
      server.ask('admin-eve', 'PUT', path, { deactivated: false, password: 'here again after all' });
    await queues.pause('tasks');
    try {
      await accounts.deactivate(userId, true);
      await server.must('admin-eve', 'POST', erasePath(userId), {});
      const { body, status } = await back();
      expect([status, body.errcode]).to.deep.equal([400, 'M_UNKNOWN']);
    } finally {
      await queues.resume('tasks');
    }
    await server.idle();
    expect((await back()).body).to.include({ deactivated: false, erased: false });
    await server.idle();
    expect((await server.must('admin-eve', 'GET', path)).deactivated).to.equal(false);
  });

  it('whom they bring back before the rest of the deactivation is done, and what is the user’s from then on stays', async () => {
    const { accounts, deactivation } = server.services;
    const { userId } = await server.session('henry');
    await server.idle();
    await accounts.deactivate(userId, true);
    const back = { deactivated: false, password: 'here again after all', displayname: 'Henry' };
    await server.must('admin-eve', 'PUT', `/_synapse/admin/v2/users/${userId}`, back);
    await deactivation.finish(userId, new AbortController().signal);
    await server.idle();
    expect((await server.must('admin-eve', 'GET', `/_synapse/admin/v2/users/${userId}`)).displayname).to.equal('Henry');
  });
});
