import { expect } from 'chai';
import type { Config } from '#src/app/config/config.ts';
import { type Federation, type RemotePartner, startFederation } from '#test/support/federation/federation.ts';
import { type Answer, type ConfigChanges, InProcessServer, type Json } from '#test/support/in-process-server.ts';
import { until } from '#test/support/until.ts';

const HOUR = 3_600_000;
const verdict = ({ body, status }: Answer): Json => (status === 200 ? 200 : body.errcode);

describe('rules of the operator', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  afterEach(() => server?.stop());

  const start = async (config: ConfigChanges): Promise<void> => {
    server = await InProcessServer.start({ config });
  };
  const invite = async (token: string, roomId: string, userId: string): Promise<Json> =>
    verdict(await server.ask(token, 'POST', `/rooms/${roomId}/invite`, { user_id: userId }));
  const create = async (token: string, wish: object = {}): Promise<Json> =>
    verdict(await server.ask(token, 'POST', '/createRoom', wish));

  it('let only administrators invite, however the invite comes', async () => {
    await start({ policy: { invites: { by: 'admins' } } });
    await server.account('bob');
    const roomId = await server.room('alice');
    expect(await invite('alice', roomId, '@bob:test')).to.equal('M_FORBIDDEN');
    const member = `/rooms/${roomId}/state/m.room.member/@bob:test`;
    expect(verdict(await server.ask('alice', 'PUT', member, { membership: 'invite' }))).to.equal('M_FORBIDDEN');
    expect(await create('alice', { invite: ['@bob:test'] })).to.equal('M_FORBIDDEN');
    const { delay_id: id } = await server.must('alice', 'PUT', `${member}?org.matrix.msc4140.delay=1000`, {
      membership: 'invite',
    });
    await until('the delayed invite is refused', async () => {
      await server.clock.advance(1_000);
      const path = `/unstable/org.matrix.msc4140/delayed_events/${id}`;
      return (await server.must('alice', 'GET', path)).error?.errcode === 'M_FORBIDDEN';
    });
    expect(await create('admin-eve', { invite: ['@bob:test'] })).to.equal(200);
  });

  it('keep accounts below an age from what is forbidden to them, until they are old enough', async () => {
    await start({
      policy: {
        youngAccounts: [
          { youngerThanHours: 1, forbid: ['create_room', 'join', 'send', 'upload'] },
          { youngerThanHours: 48, forbid: ['invite_strangers', 'create_alias', 'publish_room'] },
        ],
      },
    });
    await server.session('alice');
    await server.session('bob');
    const open = await server.room('admin-eve', { preset: 'public_chat' });
    expect(await create('alice')).to.equal('M_FORBIDDEN');
    expect(verdict(await server.ask('alice', 'POST', `/rooms/${open}/join`, {}))).to.equal('M_FORBIDDEN');
    const upload = async (): Promise<Json> =>
      verdict(await server.ask('alice', 'POST', '/_matrix/media/v3/upload', undefined, { raw: 'x' }));
    expect(await upload()).to.equal('M_FORBIDDEN');
    await server.clock.advance(HOUR);
    expect(await upload()).to.equal(200);
    await server.join('alice', open);
    const roomId = await server.room('alice');
    await server.say('alice', roomId, 'old enough');
    // Bob is in no room with her, and the administrator is.
    expect(await invite('alice', roomId, '@bob:test')).to.equal('M_FORBIDDEN');
    expect(await invite('alice', roomId, '@admin-eve:test')).to.equal(200);
    const aliased = { room_alias_name: 'early' };
    expect(await create('alice', aliased)).to.equal('M_FORBIDDEN');
    expect(await create('alice', { visibility: 'public' })).to.equal('M_FORBIDDEN');
    await server.clock.advance(47 * HOUR);
    expect(await invite('alice', roomId, '@bob:test')).to.equal(200);
    expect(await create('alice', { ...aliased, visibility: 'public' })).to.equal(200);
  });

  it('hold accounts below an age to a rate of their own, and bridged users and administrators to none', async () => {
    await start({
      policy: { youngAccounts: [{ youngerThanHours: 24, limits: [{ action: 'send', perHour: 60, burst: 2 }] }] },
    });
    const { database, users } = server.services;
    await database.write((tx) =>
      users.create(tx, { userId: '@bridged:test', localpart: 'bridged', passwordHash: null, appserviceId: 'bridge' }),
    );
    const say = async (token: string, roomId: string): Promise<Json> =>
      verdict(
        await server.ask(token, 'PUT', `/rooms/${roomId}/send/m.room.message/${Math.random()}`, {
          msgtype: 'm.text',
          body: 'x',
        }),
      );
    const roomId = await server.room('alice');
    expect([await say('alice', roomId), await say('alice', roomId), await say('alice', roomId)]).to.deep.equal([
      200,
      200,
      'M_LIMIT_EXCEEDED',
    ]);
    await server.clock.advance(60_000);
    expect(await say('alice', roomId)).to.equal(200);
    for (const token of ['bridged', 'admin-eve']) {
      const own = await server.room(token);
      for (let i = 0; i < 4; i++) expect(await say(token, own)).to.equal(200);
    }
  });

  it('say who may make rooms, and upgrade them', async () => {
    await start({
      policy: {
        roomCreationRules: [
          { action: 'deny', userId: '@guest*' },
          { action: 'allow', userId: '@staff-*' },
        ],
      },
    });
    expect(await create('alice')).to.equal('M_FORBIDDEN');
    expect(await create('staff-bob')).to.equal(200);
    expect(await create('admin-eve')).to.equal(200);
    const roomId = await server.room('admin-eve', {
      power_level_content_override: { users: { '@admin-eve:test': 100, '@alice:test': 100 } },
      room_version: '11',
      invite: ['@alice:test'],
    });
    await server.join('alice', roomId);
    const upgraded = await server.ask('alice', 'POST', `/rooms/${roomId}/upgrade`, { new_version: '12' });
    expect(verdict(upgraded)).to.equal('M_FORBIDDEN');
  });

  it('say who may make which aliases, the first one that matches', async () => {
    await start({
      policy: {
        aliasCreationRules: [
          { action: 'deny', alias: '#official*' },
          { action: 'allow', userId: '@alice:*' },
        ],
      },
    });
    const roomId = await server.room('alice', { preset: 'public_chat' });
    await server.join('bob', roomId);
    const make = async (token: string, name: string): Promise<Json> =>
      verdict(await server.ask(token, 'PUT', `/directory/room/%23${name}:test`, { room_id: roomId }));
    expect(await make('alice', 'official-news')).to.equal('M_FORBIDDEN');
    expect(await make('alice', 'news')).to.equal(200);
    expect(await make('bob', 'bobs')).to.equal('M_FORBIDDEN');
    expect(await create('alice', { room_alias_name: 'official' })).to.equal('M_FORBIDDEN');
    expect(await create('alice', { room_alias_name: 'mine' })).to.equal(200);
    expect((await server.ask('alice', 'GET', '/directory/room/%23official:test')).status).to.equal(404);
  });

  it('say who may publish which rooms, by the aliases that they have here', async () => {
    await start({ policy: { publicationRules: [{ action: 'allow', alias: '#open-*' }] } });
    const roomId = await server.room('alice', { preset: 'public_chat' });
    const publish = async (token: string): Promise<Json> =>
      verdict(await server.ask(token, 'PUT', `/directory/list/room/${roomId}`, { visibility: 'public' }));
    expect(await publish('alice')).to.equal('M_FORBIDDEN');
    await server.must('alice', 'PUT', '/directory/room/%23open-air:test', { room_id: roomId });
    expect(await publish('alice')).to.equal(200);
    // Who may not publish may take off the list.
    await server.must('alice', 'PUT', `/directory/list/room/${roomId}`, { visibility: 'private' });
    expect(await create('alice', { visibility: 'public' })).to.equal('M_FORBIDDEN');
    expect(await create('alice', { visibility: 'public', room_alias_name: 'open-mic' })).to.equal(200);
  });

  for (const [publication, expected] of [
    ['admins', ['M_FORBIDDEN', 200]],
    ['none', ['M_FORBIDDEN', 'M_FORBIDDEN']],
  ] as const satisfies [Config['room']['publication'], readonly Json[]][])
    it(`publish no rooms but those of ${publication}, if that is who may`, async () => {
      await start({ room: { publication } });
      expect([
        await create('alice', { visibility: 'public' }),
        await create('admin-eve', { visibility: 'public' }),
      ]).to.deep.equal(expected);
    });

  it('encrypt new rooms by default, unless their maker says how, and public ones only if all are, and tell clients so', async () => {
    await start({ room: { encryptionByDefault: 'invite' } });
    const algorithm = async (wish: object): Promise<Json> => {
      const roomId = await server.room('alice', wish);
      return (await server.ask('alice', 'GET', `/rooms/${roomId}/state/m.room.encryption`)).body.algorithm;
    };
    expect(await algorithm({})).to.equal('m.megolm.v1.aes-sha2');
    expect(await algorithm({ preset: 'trusted_private_chat' })).to.equal('m.megolm.v1.aes-sha2');
    expect(await algorithm({ preset: 'public_chat' })).to.equal(undefined);
    const own = { type: 'm.room.encryption', content: { algorithm: 'org.example' } };
    expect(await algorithm({ initial_state: [own] })).to.equal('org.example');
    const { unstable_features: features } = await server.must(undefined, 'GET', '/_matrix/client/versions');
    expect(features).to.include({
      'io.element.e2ee_forced.private': true,
      'io.element.e2ee_forced.trusted_private': true,
      'io.element.e2ee_forced.public': false,
    });
  });
});

describe('rules of the operator about other servers', function () {
  this.timeout(60_000);
  let federation: Federation;
  let p: RemotePartner;
  before(async () => {
    federation = await startFederation(['a.test', 'b.test'], {
      partners: ['p.test'],
      servers: {
        'a.test': { config: { policy: { invites: { denyServers: ['p.*'] } } } },
        'b.test': { config: { policy: { invites: { localOnly: true } } } },
      },
    });
    p = federation.partner('p.test');
  });
  after(() => federation?.stop());

  it('keep invites from denied servers, and to them, and all of them where only local ones are wanted', async () => {
    const [a, b] = [federation.server('a.test'), federation.server('b.test')];
    const roomId = await a.room('alice');
    const ask = async (userId: string): Promise<Json> =>
      verdict(await a.ask('alice', 'POST', `/rooms/${roomId}/invite`, { user_id: userId }));
    expect(await ask('@pat:p.test')).to.equal('M_FORBIDDEN');
    await b.account('bob');
    // The other server takes no invites from anywhere else.
    expect(await ask('@bob:b.test')).to.equal('M_FORBIDDEN');
    const own = await b.room('bob');
    const out = await b.ask('bob', 'POST', `/rooms/${own}/invite`, { user_id: '@alice:a.test' });
    expect(verdict(out)).to.equal('M_FORBIDDEN');
    expect(p.requests('PUT', /invite/)).to.deep.equal([]);
  });
});
