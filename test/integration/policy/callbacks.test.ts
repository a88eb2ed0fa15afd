import { expect } from 'chai';
import { CALLBACKS } from '#src/services/policy/callbacks/callback.ts';
import { type Federation, type RemotePartner, startFederation } from '#test/support/federation/federation.ts';
import { type Answer, InProcessServer, type Json } from '#test/support/in-process-server.ts';
import { ModerationTool } from '#test/support/stand-ins/moderation-tool.ts';
import { PartnerRoom } from '#test/support/federation/partner-room.ts';
import { until } from '#test/support/until.ts';

const refusal = ({ body, status }: Answer): Json => [status, body.errcode, body.error];
const NO = [403, 'M_FORBIDDEN', 'no.'];

describe('the moderation tool of the operator', function () {
  this.timeout(60_000);
  let tool: ModerationTool;
  let server: InProcessServer;

  const configured = (more: object = {}): object => ({
    callbacks: { baseUrl: tool.url, secret: ModerationTool.SECRET, enabled: [...CALLBACKS], ...more },
  });
  const send = (token: string, roomId: string, body: string, txnId = body): Promise<Answer> =>
    server.ask(token, 'PUT', `/rooms/${roomId}/send/m.room.message/${encodeURIComponent(txnId)}`, {
      msgtype: 'm.text',
      body,
    });

  before(async () => {
    tool = await ModerationTool.start();
  });
  after(() => tool?.stop());

  describe('while it answers', () => {
    before(async () => {
      server = await InProcessServer.start({ config: { policy: configured() } });
      await server.account('alice', 'bob', 'carol', 'admin-eve');
    });
    beforeEach(() => tool.forget());
    after(() => server.stop());

    it('is pinged at the start until it answers', async () => {
      const later = await ModerationTool.start();
      later.answers.set('ping', () => (later.of('ping').length < 2 ? [502, 'bad gateway'] : undefined));
      const other = await InProcessServer.start({
        config: { policy: { callbacks: { baseUrl: later.url, secret: ModerationTool.SECRET } } },
      });
      await until('it is pinged again', async () => {
        await other.clock.advance(1_000);
        return other.lines.some(({ message }) => message === 'the moderation tool answers');
      });
      expect(later.of('ping')).to.have.length(2);
      await other.stop();
      await later.stop();
    });

    it('is asked about an invite in the shape that Draupnir takes, and refuses it with the errcode that it names', async () => {
      const roomId = await server.room('alice');
      tool.forget();
      await server.must('alice', 'POST', `/rooms/${roomId}/invite`, { user_id: '@bob:test' });
      expect(tool.asked).to.deep.equal([
        {
          callback: 'user_may_invite',
          body: { inviter: '@alice:test', invitee: '@bob:test', room_id: roomId },
          authorization: `Bearer ${ModerationTool.SECRET}`,
        },
      ]);
      tool.refuse('user_may_invite', 'M_INVITE_BLOCKED');
      const refused = await server.ask('alice', 'POST', `/rooms/${roomId}/invite`, { user_id: '@carol:test' });
      expect(refusal(refused)).to.deep.equal([403, 'M_INVITE_BLOCKED', 'no.']);
      expect(await server.ask('alice', 'GET', `/rooms/${roomId}/state/m.room.member/@carol:test`)).to.have.property(
        'status',
        404,
      );
    });

    it('says M_FORBIDDEN where it names no errcode, or one that nobody knows, and passes on what else it says', async () => {
      const roomId = await server.room('alice');
      for (const body of [
        { error: 'no.', rule: 'spam' },
        { errcode: 'M_MADE_UP', error: 'no.', rule: 'spam' },
      ]) {
        tool.answers.set('user_may_invite', () => [403, body]);
        const refused = await server.ask('alice', 'POST', `/rooms/${roomId}/invite`, { user_id: '@bob:test' });
        expect([...refusal(refused), refused.body.rule]).to.deep.equal([...NO, 'spam']);
      }
    });

    it('does not hold administrators back from inviting and joining', async () => {
      tool.refuse('user_may_invite');
      tool.refuse('user_may_join_room');
      const roomId = await server.room('admin-eve');
      await server.must('admin-eve', 'POST', `/rooms/${roomId}/invite`, { user_id: '@bob:test' });
      const other = await server.room('bob', { preset: 'public_chat' });
      await server.must('admin-eve', 'POST', `/rooms/${other}/join`, {});
    });

    it('is asked about invites however they come: as state, delayed, with a new room in a version with and without hashed ids', async () => {
      const roomId = await server.room('alice');
      const member = `/rooms/${roomId}/state/m.room.member/@bob:test`;
      tool.refuse('user_may_invite');
      const invite = { membership: 'invite' };
      expect(refusal(await server.ask('alice', 'PUT', member, invite))).to.deep.equal(NO);
      for (const wish of [
        { invite: ['@bob:test'], room_version: '12' },
        { invite: ['@bob:test'], room_version: '10' },
        { initial_state: [{ type: 'm.room.member', state_key: '@bob:test', content: invite }] },
      ])
        expect(refusal(await server.ask('alice', 'POST', '/createRoom', wish))).to.deep.equal(NO);
      const { delay_id: id } = await server.must('alice', 'PUT', `${member}?org.matrix.msc4140.delay=1000`, invite);
      await until('the delayed invite is over', async () => {
        await server.clock.advance(1_000);
        const path = `/unstable/org.matrix.msc4140/delayed_events/${id}`;
        return (await server.must('alice', 'GET', path)).error?.errcode === 'M_FORBIDDEN';
      });
      expect((await server.must('alice', 'GET', '/joined_rooms')).joined_rooms).to.include(roomId);
      expect(new Set(tool.of('user_may_invite').map(({ invitee }) => invitee))).to.deep.equal(new Set(['@bob:test']));
    });

    it('is asked about joins, and told whether the user was invited', async () => {
      const roomId = await server.room('alice', { preset: 'public_chat', invite: ['@bob:test'] });
      tool.forget();
      await server.join('bob', roomId);
      await server.join('carol', roomId);
      // A change of one's name in a room is no join.
      await server.must('carol', 'PUT', `/rooms/${roomId}/state/m.room.member/@carol:test`, {
        membership: 'join',
        displayname: 'Carol',
      });
      expect(tool.of('user_may_join_room')).to.deep.equal([
        { user: '@bob:test', room: roomId, is_invited: true },
        { user: '@carol:test', room: roomId, is_invited: false },
      ]);
      const other = await server.room('alice', { preset: 'public_chat' });
      tool.refuse('user_may_join_room');
      expect(refusal(await server.ask('bob', 'POST', `/rooms/${other}/join`, {}))).to.deep.equal(NO);
    });

    it('is told of each event with the id that it has then, and refuses it', async () => {
      const roomId = await server.room('alice');
      tool.forget();
      const { event_id: eventId } = (await send('alice', roomId, 'hello')).body;
      const [{ event }] = tool.of('check_event_for_spam') as [Json];
      expect(event).to.deep.include({
        event_id: eventId,
        room_id: roomId,
        sender: '@alice:test',
        type: 'm.room.message',
        content: { msgtype: 'm.text', body: 'hello' },
      });
      expect(event).to.not.have.any.keys('auth_events', 'prev_events', 'hashes', 'signatures');
      tool.refuse('check_event_for_spam', 'M_FORBIDDEN', (body) => body.event.content.body === 'spam');
      expect(refusal(await send('alice', roomId, 'spam'))).to.deep.equal(NO);
      expect((await send('alice', roomId, 'ham')).status).to.equal(200);
      const page = await server.must('alice', 'GET', `/rooms/${roomId}/messages?dir=b`);
      expect(server.bodies(page)).to.deep.equal(['ham', 'hello']);
    });

    it('is asked about state, redactions and delayed events, and answers a repeated request as it was answered before', async () => {
      const roomId = await server.room('alice');
      const first = await send('alice', roomId, 'again');
      tool.forget();
      tool.refuse('check_event_for_spam');
      expect(
        refusal(await server.ask('alice', 'PUT', `/rooms/${roomId}/state/m.room.topic`, { topic: 'x' })),
      ).to.deep.equal(NO);
      expect(
        refusal(await server.ask('alice', 'PUT', `/rooms/${roomId}/redact/${first.body.event_id}/r1`, {})),
      ).to.deep.equal(NO);
      expect(await send('alice', roomId, 'again')).to.deep.include({ status: 200, body: first.body });
    });

    it('is told of the events of a new room, and none of it is there when it refuses one', async () => {
      tool.refuse('check_event_for_spam', 'M_FORBIDDEN', (body) => body.event.type === 'm.room.name');
      const before = (await server.must('alice', 'GET', '/joined_rooms')).joined_rooms;
      expect(refusal(await server.ask('alice', 'POST', '/createRoom', { name: 'spam' }))).to.deep.equal(NO);
      expect((await server.must('alice', 'GET', '/joined_rooms')).joined_rooms).to.deep.equal(before);
      expect((await server.ask('alice', 'POST', '/createRoom', { topic: 'ham' })).status).to.equal(200);
    });

    it('does not make a message wait for what it is asked about another one', async () => {
      const roomId = await server.room('alice');
      tool.forget();
      const { promise, resolve } = Promise.withResolvers<undefined>();
      tool.answers.set('check_event_for_spam', (body) =>
        body.event.content.body === 'slow' ? promise.then(() => undefined) : undefined,
      );
      const slow = send('alice', roomId, 'slow');
      await until('it is asked', () => tool.of('check_event_for_spam').length === 1);
      for (let i = 0; i < 20; i++) expect((await send('alice', roomId, `fast ${i}`)).status).to.equal(200);
      resolve(undefined);
      expect((await slow).status).to.equal(200);
      const page = await server.must('alice', 'GET', `/rooms/${roomId}/messages?dir=b&limit=50`);
      expect(server.bodies(page)).to.have.length(21);
    });

    it('is asked about new rooms, aliases and publications', async () => {
      const roomId = await server.room('alice', { preset: 'public_chat' });
      tool.forget();
      await server.must('alice', 'PUT', '/directory/room/%23tools:test', { room_id: roomId });
      await server.must('alice', 'PUT', `/directory/list/room/${roomId}`, { visibility: 'public' });
      await server.must('alice', 'POST', '/createRoom', {
        name: 'tools',
        room_alias_name: 'more',
        visibility: 'public',
      });
      expect(tool.of('user_may_create_room')).to.deep.equal([
        { user_id: '@alice:test', room_config: { name: 'tools', room_alias_name: 'more', visibility: 'public' } },
      ]);
      expect(tool.of('user_may_create_room_alias')).to.deep.equal([
        { user_id: '@alice:test', room_alias: '#tools:test' },
        { user_id: '@alice:test', room_alias: '#more:test' },
      ]);
      expect(tool.of('user_may_publish_room')[0]).to.deep.equal({ user_id: '@alice:test', room_id: roomId });
      expect(tool.of('user_may_publish_room')).to.have.length(2);
      for (const callback of ['user_may_create_room', 'user_may_create_room_alias', 'user_may_publish_room']) {
        tool.forget();
        tool.refuse(callback);
        const wish = { room_alias_name: 'never', visibility: 'public' };
        expect(refusal(await server.ask('alice', 'POST', '/createRoom', wish)), callback).to.deep.equal(NO);
      }
      tool.forget();
      tool.refuse('user_may_create_room');
      expect(
        refusal(await server.ask('alice', 'POST', `/rooms/${roomId}/upgrade`, { new_version: '11' })),
      ).to.deep.equal(NO);
    });

    it('is asked about logins, registrations and files, and nothing is left of what it refuses', async () => {
      const register = (username: string): Promise<Answer> =>
        server.ask(undefined, 'POST', '/register', {
          username,
          password: 'correct horse',
          auth: { type: 'm.login.dummy' },
          inhibit_login: true,
        });
      expect((await register('dora')).status).to.equal(200);
      expect(tool.of('check_registration_for_spam')[0]).to.deep.include({ email_threepid: null, username: 'dora' });
      tool.refuse('check_registration_for_spam');
      expect(refusal(await register('dirk'))).to.deep.equal(NO);
      expect(await server.services.users.exists('@dirk:test')).to.equal(false);

      const login = (): Promise<Answer> =>
        server.ask(undefined, 'POST', '/login', {
          type: 'm.login.password',
          identifier: { type: 'm.id.user', user: 'dora' },
          password: 'correct horse',
          device_id: 'PHONE',
        });
      expect((await login()).status).to.equal(200);
      expect(tool.of('check_login_for_spam')[0]).to.deep.include({ user_id: '@dora:test', device_id: 'PHONE' });
      tool.refuse('check_login_for_spam');
      expect(refusal(await login())).to.deep.equal(NO);

      const upload = (): Promise<Answer> =>
        server.ask('alice', 'POST', '/_matrix/media/v3/upload?filename=a.txt', undefined, {
          raw: 'text',
          headers: { 'content-type': 'text/plain' },
        });
      expect((await upload()).status).to.equal(200);
      expect(tool.of('check_media_file_for_spam')[0]).to.deep.include({ user_id: '@alice:test' });
      expect(tool.of('check_media_file_for_spam')[0].file_info).to.deep.include({ bytes: 4, filename: 'a.txt' });
      tool.refuse('check_media_file_for_spam');
      expect(refusal(await upload())).to.deep.equal(NO);
    });

    it('is asked about users whom a search in the directory finds, and those whom it refuses are not shown', async () => {
      await server.room('carol', { preset: 'public_chat' });
      await server.must('carol', 'PUT', '/profile/@carol:test/displayname', { displayname: 'Carol the found' });
      const found = async (): Promise<string[]> => {
        const { results } = await server.must('alice', 'POST', '/user_directory/search', { search_term: 'found' });
        return results.map(({ user_id: id }: Json) => id);
      };
      tool.forget();
      expect(await found()).to.deep.equal(['@carol:test']);
      expect(tool.of('check_username_for_spam')).to.deep.equal([
        {
          user_profile: { user_id: '@carol:test', display_name: 'Carol the found', avatar_url: null },
          requester_id: '@alice:test',
        },
      ]);
      tool.refuse('check_username_for_spam');
      expect(await found()).to.deep.equal([]);
    });

    it('counts what it is asked, by callback and by what it said', async () => {
      const roomId = await server.room('alice');
      tool.refuse('user_may_invite');
      await server.ask('alice', 'POST', `/rooms/${roomId}/invite`, { user_id: '@bob:test' });
      const text = await server.metrics.render();
      expect(text).to.match(/tsudoi_policy_callbacks_total\{callback="user_may_invite",outcome="refused"\} \d/);
      expect(text).to.match(/tsudoi_policy_callback_seconds_count\{callback="user_may_invite"\} \d/);
    });
  });

  describe('while it does not answer', () => {
    before(async () => {
      const policy = configured({
        failOpen: ['check_event_for_spam', 'user_may_join_room'],
        background: ['user_may_create_room_alias'],
      });
      server = await InProcessServer.start({ config: { policy } });
      await server.account('alice', 'bob');
    });
    beforeEach(() => tool.forget());
    after(() => server.stop());

    it('lets pass what fails open, and refuses everything else with M_UNKNOWN', async () => {
      const roomId = await server.room('alice', { preset: 'public_chat' });
      for (const answer of [
        [502, '<h1>Bad gateway</h1>'],
        [200 + 302, {}],
        [302, {}],
        [401, 'no token'],
      ] as const) {
        for (const callback of CALLBACKS) tool.answers.set(callback, () => answer);
        expect((await send('alice', roomId, `open ${answer[0]}`)).status).to.equal(200);
        const refused = await server.ask('alice', 'POST', `/rooms/${roomId}/invite`, { user_id: '@bob:test' });
        expect([refused.status, refused.body.errcode]).to.deep.equal([403, 'M_UNKNOWN']);
      }
      await server.join('bob', roomId);
    });

    it('is not waited for longer than it may take', async () => {
      const roomId = await server.room('alice');
      tool.answers.set('user_may_invite', () => 'hang');
      const refused = server.ask('alice', 'POST', `/rooms/${roomId}/invite`, { user_id: '@bob:test' });
      await until('it is asked', () => tool.of('user_may_invite').length === 1);
      await server.clock.advance(5_000);
      expect((await refused).body.errcode).to.equal('M_UNKNOWN');
    });

    it('is sent callbacks of `background` without waiting for a response', async () => {
      const roomId = await server.room('alice');
      const { promise, resolve } = Promise.withResolvers<undefined>();
      tool.answers.set('user_may_create_room_alias', () => promise.then(() => [400, {}] as const));
      await server.must('alice', 'PUT', '/directory/room/%23told:test', { room_id: roomId });
      await until('it is told', () => tool.of('user_may_create_room_alias').length === 1);
      resolve(undefined);
      await server.idle();
    });
  });

  describe('of a server that others talk to', () => {
    let federation: Federation;
    let p: RemotePartner;
    const PAT = '@pat:p.test';

    before(async () => {
      federation = await startFederation(['a.test'], {
        partners: ['p.test'],
        server: { config: { policy: configured() } },
      });
      server = federation.server('a.test');
      p = federation.partner('p.test');
      p.on('PUT', '/_matrix/federation/v1/send/*', () => ({ body: { pdus: {} } }));
    });
    beforeEach(() => tool.forget());
    after(() => federation?.stop());

    it('has events of others soft-failed that it refuses', async () => {
      const roomId = await server.room('alice', { preset: 'public_chat' });
      const room = await PartnerRoom.join(server, p, roomId, [PAT]);
      const say = (body: string) =>
        room.build({ type: 'm.room.message', sender: PAT, content: { msgtype: 'm.text', body } });
      tool.refuse('check_event_for_spam', 'M_FORBIDDEN', (body) => body.event.content.body === 'spam');
      const spam = say('spam');
      await room.send([spam]);
      await room.send([say('ham')]);
      await server.idle();
      const page = await server.must('alice', 'GET', `/rooms/${roomId}/messages?dir=b`);
      expect(server.bodies(page)).to.deep.equal(['ham']);
      const told = tool.of('check_event_for_spam').filter(({ event }) => event.event_id === spam.eventId);
      expect(told).to.have.length(1);
      expect(told[0].event).to.deep.include({ room_id: roomId, sender: PAT });
    });

    it('is asked before users of others are let in', async () => {
      const roomId = await server.room('alice', { preset: 'public_chat' });
      const path = `/_matrix/federation/v1/make_join/${encodeURIComponent(roomId)}/${encodeURIComponent(PAT)}?ver=12`;
      expect((await p.send('a.test', 'GET', path)).status).to.equal(200);
      expect(tool.of('accept_make_join')).to.deep.equal([{ user: PAT, room: roomId }]);
      tool.refuse('accept_make_join');
      const refused = await p.send('a.test', 'GET', path);
      expect([refused.status, refused.body.errcode]).to.deep.equal([403, 'M_FORBIDDEN']);
    });
  });

  describe('where none is configured', () => {
    before(async () => {
      server = await InProcessServer.start();
    });
    after(() => server.stop());

    it('costs a warm message nothing: neither statements nor turns of the event loop', async () => {
      const roomId = await server.room('alice');
      await send('alice', roomId, 'warm');
      expect(server.services.policyGate.checksEvents).to.equal(false);
      const names = await server.statementNames(() => send('alice', roomId, 'counted'));
      expect(names).to.have.length(1);
    });
  });
});
