import { expect } from 'chai';
import { ChildServer } from '#test/support/child-server.ts';
import { type Answer, ask, must } from '#test/support/http.ts';
import { until } from '#test/support/until.ts';

const PASSWORD = 'a long password';

describe('invites and guests on a whole server', function () {
  this.timeout(60_000);
  let server: ChildServer;
  let alice: string;
  let bob: string;

  const register = async (name: string): Promise<string> => {
    const body = { username: name, password: PASSWORD, auth: { type: 'm.login.dummy' } };
    return (await must(server.url, 'POST', '/register', { body })).access_token;
  };
  const get = (token: string, path: string): Promise<Answer> => ask(server.url, 'GET', path, { token });
  const send = (token: string, method: string, path: string, body: unknown = {}): Promise<Answer> =>
    ask(server.url, method, path, { token, body });
  const room = async (token: string, wish: object = {}): Promise<string> =>
    (await must(server.url, 'POST', '/createRoom', { token, body: wish })).room_id;
  const refused = async (answer: Promise<Answer>, status: number, errcode: string): Promise<void> => {
    const { status: actual, body } = await answer;
    expect([actual, body?.errcode]).to.deep.equal([status, errcode]);
  };

  before(async () => {
    server = await ChildServer.start({ database: 'shared', env: { TSUDOI_REGISTRATION__GUESTS: 'true' } });
    alice = await register('alice');
    bob = await register('bob');
  });
  after(() => server?.dispose());

  describe('m.invite_permission_config', () => {
    const allow = (content: object): Promise<Answer> =>
      send(bob, 'PUT', '/user/@bob:localhost/account_data/m.invite_permission_config', content);
    afterEach(() => allow({}));

    it('refuses invites with 403 M_INVITE_BLOCKED, by whatever way they come', async () => {
      const roomId = await room(alice);
      await allow({ default_action: 'block' });
      await refused(
        send(alice, 'POST', `/rooms/${roomId}/invite`, { user_id: '@bob:localhost' }),
        403,
        'M_INVITE_BLOCKED',
      );
      await refused(send(alice, 'POST', '/createRoom', { invite: ['@bob:localhost'] }), 403, 'M_INVITE_BLOCKED');
      const invite = { type: 'm.room.member', state_key: '@bob:localhost', content: { membership: 'invite' } };
      await refused(send(alice, 'POST', '/createRoom', { initial_state: [invite] }), 403, 'M_INVITE_BLOCKED');
      const path = `/rooms/${roomId}/state/m.room.member/@bob:localhost`;
      await refused(send(alice, 'PUT', path, { membership: 'invite' }), 403, 'M_INVITE_BLOCKED');
      await allow({});
      expect((await send(alice, 'POST', `/rooms/${roomId}/invite`, { user_id: '@bob:localhost' })).status).to.equal(
        200,
      );
    });
    it('takes only "block" for blocking', async () => {
      for (const content of [{ default_action: 'allow' }, { default_action: null }, { other: 'block' }]) {
        await allow(content);
        await room(alice, { invite: ['@bob:localhost'] });
      }
    });
    it('hides invites from /sync that were there before, and nowhere else', async () => {
      const roomId = await room(alice, { invite: ['@bob:localhost'] });
      const invites = async (since = ''): Promise<string[]> =>
        Object.keys((await get(bob, `/sync${since}`)).body.rooms?.invite ?? {});
      expect(await invites()).to.include(roomId);
      await allow({ default_action: 'block' });
      expect(await invites()).to.deep.equal([]);
      const member = await get(alice, `/rooms/${roomId}/state/m.room.member/@bob:localhost`);
      expect(member.body.membership).to.equal('invite');
      await allow({});
      expect(await invites()).to.include(roomId);
    });
    it('does not keep anybody from joining what they are invited to, nor changes what ignoring does', async () => {
      const roomId = await room(alice, { invite: ['@bob:localhost'] });
      await allow({ default_action: 'block' });
      expect((await send(bob, 'POST', `/join/${roomId}`)).status).to.equal(200);
      await allow({});
      const ignored = '/user/@bob:localhost/account_data/m.ignored_user_list';
      await send(bob, 'PUT', ignored, { ignored_users: { '@alice:localhost': {} } });
      const hidden = await room(alice, { invite: ['@bob:localhost'] });
      expect((await get(bob, '/sync')).body.rooms?.invite ?? {}).not.to.have.property(hidden);
      await send(bob, 'PUT', ignored, { ignored_users: {} });
    });
  });

  describe('org.matrix.msc4155.invite_permission_config', () => {
    const filter = (content: object): Promise<Answer> =>
      send(bob, 'PUT', '/user/@bob:localhost/account_data/org.matrix.msc4155.invite_permission_config', content);
    const invites = async (): Promise<string[]> => Object.keys((await get(bob, '/sync')).body.rooms?.invite ?? {});
    const slidingInvites = async (): Promise<string[]> => {
      const path = '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync';
      const lists = { all: { ranges: [[0, 99]], timeline_limit: 1, required_state: [] } };
      return Object.keys((await send(bob, 'POST', path, { lists })).body.rooms);
    };
    const invite = async (roomId: string): Promise<Answer> =>
      send(alice, 'POST', `/rooms/${roomId}/invite`, { user_id: '@bob:localhost' });
    afterEach(() => filter({}));

    it('is advertised', async () => {
      expect((await get(bob, '/_matrix/client/versions')).body.unstable_features['org.matrix.msc4155']).to.equal(true);
    });
    for (const content of [
      { blocked_users: ['@alice:localhost'] },
      { blocked_users: ['@al*:localhost'] },
      { blocked_servers: ['local?ost'] },
      { allowed_users: ['@friend:*'], blocked_servers: ['*'] },
    ])
      it(`refuses invites with M_INVITE_BLOCKED by ${JSON.stringify(content)}`, async () => {
        const roomId = await room(alice);
        await filter(content);
        await refused(invite(roomId), 403, 'M_INVITE_BLOCKED');
        await filter({ ...content, enabled: false });
        expect((await invite(roomId)).status).to.equal(200);
      });
    for (const content of [
      { ignored_users: ['@alice:*'] },
      { ignored_servers: ['*'] },
      { ignored_users: ['@alice:localhost'], blocked_users: ['@alice:localhost'] },
    ])
      it(`lets the inviter invite, and tells the invitee nothing of it, by ${JSON.stringify(content)}`, async () => {
        await filter(content);
        const roomId = await room(alice);
        expect((await invite(roomId)).status).to.equal(200);
        expect(await invites()).not.to.include(roomId);
        expect(await slidingInvites()).not.to.include(roomId);
        await filter({});
        expect(await slidingInvites()).to.include(roomId);
        expect(await invites(), 'once the rule is gone').to.include(roomId);
      });
    for (const content of [
      { allowed_users: ['@alice:localhost'], blocked_servers: ['*'], ignored_users: ['*'] },
      { blocked_users: ['@alice:localhost:8448', 'alice', '@ALICE:localhost', 7, '@*:elsewhere'] },
      { blocked_users: { '@alice:localhost': {} } },
      { blocked_users: ['*'.repeat(600)] },
    ])
      it(`shows invites in spite of ${JSON.stringify(content).slice(0, 90)}`, async () => {
        await filter(content);
        const roomId = await room(alice);
        expect((await invite(roomId)).status).to.equal(200);
        expect(await invites()).to.include(roomId);
      });
    it('takes no more steps for it than a thousand patterns a list do', async () => {
      const roomId = await room(alice);
      await filter({ blocked_users: [...Array.from({ length: 1_000 }, (_, n) => `@n${n}:*`), '@alice:localhost'] });
      expect((await invite(roomId)).status).to.equal(200);
    });
  });

  describe('invites by mail', () => {
    const mail = { id_server: 'id.test', id_access_token: 'x', medium: 'email', address: 'carol@mail.test' };
    it('are refused with M_SERVER_NOT_TRUSTED, as there is no identity server', async () => {
      const roomId = await room(alice);
      await refused(send(alice, 'POST', `/rooms/${roomId}/invite`, mail), 400, 'M_SERVER_NOT_TRUSTED');
      await refused(send(alice, 'POST', '/createRoom', { invite_3pid: [mail] }), 400, 'M_SERVER_NOT_TRUSTED');
      const { id_server: _server, ...incomplete } = mail;
      await refused(send(alice, 'POST', `/rooms/${roomId}/invite`, incomplete), 400, 'M_MISSING_PARAM');
      await refused(send(alice, 'POST', `/rooms/${roomId}/invite`, {}), 400, 'M_MISSING_PARAM');
    });
    it('are forbidden to those who are not in the room or may not invite', async () => {
      const roomId = await room(alice, { preset: 'public_chat', power_level_content_override: { invite: 50 } });
      await refused(send(bob, 'POST', `/rooms/${roomId}/invite`, mail), 403, 'M_FORBIDDEN');
      await send(bob, 'POST', `/join/${roomId}`);
      await refused(send(bob, 'POST', `/rooms/${roomId}/invite`, mail), 403, 'M_FORBIDDEN');
    });
  });

  describe('guests', () => {
    const ACCESS = 'm.room.guest_access';
    const guest = async (): Promise<{ access_token: string; user_id: string }> =>
      must(server.url, 'POST', '/register?kind=guest', { body: {} });
    const setAccess = (roomId: string, access: string): Promise<Answer> =>
      send(alice, 'PUT', `/rooms/${roomId}/state/${ACCESS}/`, { guest_access: access });
    const membership = async (roomId: string, userId: string): Promise<string> =>
      (await get(alice, `/rooms/${roomId}/state/m.room.member/${userId}`)).body.membership;
    const hasLeft = (roomId: string, userId: string): Promise<boolean> =>
      until(`${userId} leaves`, async () => (await membership(roomId, userId)) === 'leave');

    it('join only where guest_access is can_join, by whatever way they come', async () => {
      const { access_token: token, user_id: userId } = await guest();
      const roomId = await room(alice, { preset: 'public_chat' });
      await refused(send(token, 'POST', `/join/${roomId}`), 403, 'M_GUEST_ACCESS_FORBIDDEN');
      const path = `/rooms/${roomId}/state/m.room.member/${userId}`;
      await refused(send(token, 'PUT', path, { membership: 'join' }), 403, 'M_GUEST_ACCESS_FORBIDDEN');
      await setAccess(roomId, 'can_join');
      expect((await send(token, 'POST', `/rooms/${roomId}/join`)).status).to.equal(200);
      const message = await send(token, 'PUT', `/rooms/${roomId}/send/m.room.message/1`, {
        msgtype: 'm.text',
        body: 'hi',
      });
      expect(message.status).to.equal(200);
    });
    it('do with memberships by state only what the endpoints let them do: come where they may, and go', async () => {
      const { access_token: token, user_id: userId } = await guest();
      const roomId = await room(alice, { preset: 'public_chat', invite: ['@bob:localhost'] });
      await setAccess(roomId, 'can_join');
      const set = (type: string, key: string, content: object): Promise<Answer> =>
        send(token, 'PUT', `/rooms/${roomId}/state/${type}/${encodeURIComponent(key)}`, content);
      await refused(set('m.room.member', userId, { membership: 'knock' }), 403, 'M_GUEST_ACCESS_FORBIDDEN');
      expect((await set('m.room.member', userId, { membership: 'join', displayname: 'Guest' })).status).to.equal(200);
      // Power for everything, so that only being a guest stands in the way.
      const levels = (await get(alice, `/rooms/${roomId}/state/m.room.power_levels`)).body;
      const all = { ...levels, events: {}, state_default: 0, invite: 0, kick: 0, ban: 0 };
      expect((await send(alice, 'PUT', `/rooms/${roomId}/state/m.room.power_levels`, all)).status).to.equal(200);
      for (const [key, membership] of [
        ['@carol:localhost', 'invite'],
        ['@bob:localhost', 'leave'],
        ['@bob:localhost', 'ban'],
        ['@bob:localhost', 'join'],
        [userId, 'ban'],
        [userId, 'invite'],
      ] as const)
        await refused(set('m.room.member', key, { membership }), 403, 'M_GUEST_ACCESS_FORBIDDEN');
      const invitation = { display_name: 'x', key_validity_url: 'https://x.test', public_key: 'x' };
      await refused(set('m.room.third_party_invite', 'x', invitation), 403, 'M_GUEST_ACCESS_FORBIDDEN');
      expect((await set('m.room.topic', '', { topic: 'Guests may send state' })).status).to.equal(200);
      expect((await set('m.room.member', userId, { membership: 'leave' })).status).to.equal(200);
    });
    it('leave when guest access ends; everybody else stays', async () => {
      const roomId = await room(alice, { preset: 'public_chat' });
      await setAccess(roomId, 'can_join');
      const guests = [await guest(), await guest()];
      for (const { access_token: token } of guests) await send(token, 'POST', `/join/${roomId}`);
      await send(bob, 'POST', `/join/${roomId}`);
      await setAccess(roomId, 'forbidden');
      for (const { user_id: userId } of guests) await hasLeft(roomId, userId);
      expect(await membership(roomId, '@bob:localhost')).to.equal('join');
      const [{ access_token: token } = { access_token: '' }] = guests;
      await refused(send(token, 'POST', `/join/${roomId}`), 403, 'M_GUEST_ACCESS_FORBIDDEN');
    });
    it('who became users before guest access ended stay', async () => {
      const roomId = await room(alice, { preset: 'public_chat' });
      await setAccess(roomId, 'can_join');
      const stays = await guest();
      const goes = await guest();
      for (const { access_token: token } of [stays, goes]) await send(token, 'POST', `/join/${roomId}`);
      const username = stays.user_id.slice(1).split(':')[0];
      const body = {
        username,
        password: PASSWORD,
        guest_access_token: stays.access_token,
        auth: { type: 'm.login.dummy' },
      };
      await must(server.url, 'POST', '/register', { body });
      await setAccess(roomId, 'forbidden');
      await hasLeft(roomId, goes.user_id);
      expect(await membership(roomId, stays.user_id)).to.equal('join');
    });
    it('may change their display name, and nothing else of their profile', async () => {
      const { access_token: token, user_id: userId } = await guest();
      const path = `/profile/${userId}`;
      expect((await send(token, 'PUT', `${path}/displayname`, { displayname: 'Guest' })).status).to.equal(200);
      expect((await get(alice, `${path}/displayname`)).body).to.deep.equal({ displayname: 'Guest' });
      await refused(
        send(token, 'PUT', `${path}/avatar_url`, { avatar_url: 'mxc://a/b' }),
        403,
        'M_GUEST_ACCESS_FORBIDDEN',
      );
      await refused(send(token, 'DELETE', `${path}/avatar_url`), 403, 'M_GUEST_ACCESS_FORBIDDEN');
      expect((await send(token, 'DELETE', `${path}/displayname`)).status).to.equal(200);
    });
    it('are refused what the specification does not give them', async () => {
      const { access_token: token, user_id: userId } = await guest();
      const roomId = await room(alice, { preset: 'public_chat' });
      for (const [method, path] of [
        ['POST', '/createRoom'],
        ['POST', `/rooms/${roomId}/invite`],
        ['POST', `/knock/${roomId}`],
        ['PUT', `/rooms/${roomId}/redact/$event/1`],
        ['PUT', `/rooms/${roomId}/typing/${userId}`],
        ['POST', `/rooms/${roomId}/receipt/m.read/$event`],
        ['POST', `/rooms/${roomId}/read_markers`],
        ['PUT', `/user/${userId}/rooms/${roomId}/tags/x`],
        ['PUT', `/user/${userId}/account_data/x`],
        ['PUT', `/presence/${userId}/status`],
        ['POST', '/pushers/set'],
        ['POST', `/user/${userId}/openid/request_token`],
        ['GET', '/voip/turnServer'],
        ['GET', '/notifications'],
        ['GET', '/account/3pid'],
        ['GET', '/initialSync'],
        ['GET', '/events'],
        ['GET', '/joined_rooms'],
        ['GET', `/rooms/${roomId}/joined_members`],
        ['GET', `/rooms/${roomId}/aliases`],
        ['GET', '/presence/@alice:localhost/status'],
      ] as const) {
        const answer = await (method === 'GET' ? get(token, path) : send(token, method, path));
        expect([path, answer.status, answer.body.errcode]).to.deep.equal([path, 403, 'M_GUEST_ACCESS_FORBIDDEN']);
      }
      for (const path of ['/sync', '/devices', '/account/whoami', '/capabilities'])
        expect((await get(token, path)).status, path).to.equal(200);
    });
  });
});
