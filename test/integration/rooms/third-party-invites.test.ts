import { createHmac } from 'node:crypto';
import { createRequire } from 'node:module';
import { expect } from 'chai';
import nacl from 'tweetnacl';
import { ChildServer } from '#test/support/child-server.ts';
import { type Answer, ask, must } from '#test/support/http.ts';
import { IdentityServer, LOOPBACK_CA_FILE } from '#test/support/stand-ins/identity-server.ts';
import { SdkClient } from '#test/support/sdk-client.ts';
import { until } from '#test/support/until.ts';

const canonicaljson = createRequire(import.meta.url)('canonicaljson') as { stringify(value: unknown): string };

const PASSWORD = 'a long password';
const SECRET = 'shared secret';
const TYPE = 'm.room.third_party_invite';
const BOB = '@bob:localhost';
/** The jobs of a killed process are taken up once it has not been heard of for a while. */
const PATIENCE_MS = 45_000;
const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64').replaceAll('=', '');

// What is expected in it the test says itself.
// oxlint-disable-next-line typescript/no-explicit-any
type Json = any;

describe('invites by mail address on a whole server', function () {
  this.timeout(120_000);
  let server: ChildServer;
  let identity: IdentityServer;
  let admin: string;
  let alice: string;
  let bob: string;
  let count = 0;

  const registerAdmin = async (username: string): Promise<string> => {
    const path = '/_synapse/admin/v1/register';
    const { nonce } = await must(server.url, 'GET', path);
    const mac = createHmac('sha1', SECRET).update([nonce, username, PASSWORD, 'admin'].join('\0')).digest('hex');
    const body = { nonce, username, password: PASSWORD, admin: true, mac };
    return (await must(server.url, 'POST', path, { body })).access_token;
  };
  const register = async (username: string): Promise<string> => {
    const body = { username, password: PASSWORD, auth: { type: 'm.login.dummy' } };
    return (await must(server.url, 'POST', '/register', { body })).access_token;
  };
  const send = (token: string, method: string, path: string, body: unknown = {}): Promise<Answer> =>
    ask(server.url, method, path, method === 'GET' ? { token } : { token, body });
  const done = async (token: string, method: string, path: string, body: unknown = {}): Promise<Json> => {
    const answer = await send(token, method, path, body);
    if (answer.status !== 200) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  };
  const refused = async (answer: Promise<Answer>, status: number, errcode: string): Promise<void> => {
    const { status: actual, body } = await answer;
    expect([actual, body?.errcode]).to.deep.equal([status, errcode]);
  };
  const room = async (wish: object = {}): Promise<string> => (await done(alice, 'POST', '/createRoom', wish)).room_id;
  const someone = (): string => `person${++count}@mail.test`;
  const invite = (roomId: string, address: string, more: object = {}): Promise<Answer> =>
    send(alice, 'POST', `/rooms/${roomId}/invite`, { medium: 'email', address, ...more });
  const bind = (userId: string, ...addresses: string[]): Promise<Answer> =>
    send(admin, 'PUT', `/_synapse/admin/v2/users/${userId}`, {
      threepids: addresses.map((address) => ({ medium: 'email', address })),
    });
  const stateOf = (roomId: string): Promise<Json[]> => done(alice, 'GET', `/rooms/${roomId}/state`);
  const invitation = async (roomId: string): Promise<Json> => (await stateOf(roomId)).find(({ type }) => type === TYPE);
  const member = async (roomId: string, userId = BOB): Promise<Json> =>
    (await stateOf(roomId)).find(({ type, state_key: key }) => type === 'm.room.member' && key === userId)?.content;
  const becomesInvited = (roomId: string): Promise<Json> => until('he is invited', () => member(roomId), PATIENCE_MS);

  before(async () => {
    identity = await IdentityServer.start();
    server = await ChildServer.start({
      database: 'shared',
      env: {
        TSUDOI_REGISTRATION__SHARED_SECRET: SECRET,
        TSUDOI_IDENTITY__TRUSTED_SERVERS: `${identity.name},localhost:1`,
        TSUDOI_FEDERATION__TRUSTED_CA_FILES: LOOPBACK_CA_FILE,
        TSUDOI_FEDERATION__ALLOW_IP_RANGES: '127.0.0.0/8,::1',
      },
    });
    admin = await registerAdmin('root');
    alice = await register('alice');
    await done(alice, 'PUT', '/profile/@alice:localhost/displayname', { displayname: 'Alice' });
    bob = await register('bob');
  });
  after(async () => {
    await server?.dispose();
    await identity?.stop();
  });

  describe('kept by this server', () => {
    it('reach whoever owns the address later', async () => {
      const address = someone();
      const roomId = await room({ name: 'By mail' });
      expect((await invite(roomId, address.toUpperCase())).body).to.deep.equal({});
      expect((await invitation(roomId)).content.display_name).to.equal('p...@m...');
      const [own] = (await bind(BOB, address)).body.threepids;
      expect(own).to.include({ medium: 'email', address });
      const { third_party_invite: proof } = await becomesInvited(roomId);
      expect(proof.signed.mxid).to.equal(BOB);
      const sync = await done(bob, 'GET', '/sync');
      expect(sync.rooms.invite).to.have.property(roomId);
      await done(bob, 'POST', `/join/${roomId}`);
      const { threepids } = await done(bob, 'GET', '/account/3pid');
      expect(threepids.map((one: Json) => [one.medium, one.address])).to.deep.equal([['email', address]]);
      expect(threepids[0].added_at).to.be.closeTo(Date.now(), 60_000);
    });
    it('are plain invites where the owner of the address is known', async () => {
      const address = someone();
      await bind(BOB, address);
      const roomId = await room();
      await invite(roomId, address, { id_server: 'localhost', id_access_token: 'whatever' });
      expect(await member(roomId)).to.deep.equal({ membership: 'invite' });
      expect(await invitation(roomId)).to.equal(undefined);
      expect((await invite(roomId, address)).status).to.equal(200);
      await done(bob, 'POST', `/join/${roomId}`);
      await refused(invite(roomId, address), 403, 'M_FORBIDDEN');
      const allow = '/user/@bob:localhost/account_data/m.invite_permission_config';
      await done(bob, 'PUT', allow, { default_action: 'block' });
      await refused(invite(await room(), address), 403, 'M_INVITE_BLOCKED');
      await refused(
        send(alice, 'POST', '/createRoom', { invite_3pid: [{ medium: 'email', address }] }),
        403,
        'M_INVITE_BLOCKED',
      );
      await done(bob, 'PUT', allow, {});
    });
    it('are redeemed though the server is killed at any moment', async () => {
      const rooms = await Promise.all([room(), room(), room()]);
      const address = someone();
      await Promise.all(rooms.map((roomId) => invite(roomId, address)));
      await server.restart('SIGKILL');
      expect((await bind(BOB, address)).status).to.equal(200);
      await server.restart('SIGKILL');
      for (const roomId of rooms) await becomesInvited(roomId);
    });
    it('are made along with a room, in every version', async () => {
      const address = someone();
      for (let version = 1; version <= 12; version++) {
        const roomId = await room({
          room_version: String(version),
          invite_3pid: [{ medium: 'email', address, id_server: 'localhost', id_access_token: 'x' }],
          initial_state: [{ type: 'm.room.topic', content: { topic: 'first' } }],
        });
        const { content } = await invitation(roomId);
        expect(content.public_keys, String(version)).to.have.length(2);
      }
      const rooms = (await done(alice, 'GET', '/joined_rooms')).joined_rooms as string[];
      await bind(BOB, address);
      const waiting = [];
      for (const roomId of rooms) if ((await invitation(roomId)) !== undefined) waiting.push(roomId);
      expect(waiting.length).to.be.at.least(12);
      for (const roomId of waiting.slice(-12)) expect((await becomesInvited(roomId)).membership).to.equal('invite');
    });
    it('to somebody known are among the first events of a new room', async () => {
      const address = someone();
      await bind(BOB, address);
      const roomId = await room({ invite_3pid: [{ medium: 'email', address }], is_direct: true });
      expect(await member(roomId)).to.include({ membership: 'invite', is_direct: true });
      await refused(
        send(bob, 'POST', '/createRoom', { invite_3pid: [{ medium: 'email', address }] }),
        400,
        'M_INVALID_PARAM',
      );
    });
    it('are published with keys that anybody can ask about', async () => {
      const roomId = await room();
      await invite(roomId, someone());
      const { content, state_key: token } = await invitation(roomId);
      const valid = async (url: string, key: string): Promise<boolean> =>
        (await must(server.url, 'GET', `${new URL(url).pathname}?public_key=${encodeURIComponent(key)}`)).valid;
      for (const { public_key: key, key_validity_url: url } of content.public_keys) {
        expect(url.startsWith(server.url)).to.equal(true);
        expect(await valid(url, key)).to.equal(true);
        expect(await valid(url, base64(nacl.sign.keyPair().publicKey))).to.equal(false);
        expect(await valid(url, 'no key')).to.equal(false);
        // Not every client knows that + has to be escaped.
        expect((await must(server.url, 'GET', `${new URL(url).pathname}?public_key=${key}`)).valid).to.equal(true);
        await refused(ask(server.url, 'GET', new URL(url).pathname), 400, 'M_MISSING_PARAM');
      }
      await done(alice, 'PUT', `/rooms/${roomId}/state/${TYPE}/${token}`, {});
      const { public_key: ephemeral, key_validity_url: url } = content.public_keys[1];
      await until('the key is valid no more', async () => (await valid(url, ephemeral)) === false);
    });
    it('are published by key id, as signatures name it', async () => {
      const address = someone();
      const roomId = await room();
      await invite(roomId, address);
      await bind(BOB, address);
      const { signed } = (await becomesInvited(roomId)).third_party_invite;
      const { signatures, ...payload } = signed;
      const [[keyId, signature]] = Object.entries<string>(signatures.localhost) as [[string, string]];
      const { public_key: key } = await must(server.url, 'GET', `/_matrix/identity/v2/pubkey/${keyId}`);
      const message = new TextEncoder().encode(canonicaljson.stringify(payload));
      const isSigned = nacl.sign.detached.verify(message, Buffer.from(signature, 'base64'), Buffer.from(key, 'base64'));
      expect(isSigned).to.equal(true);
      await refused(ask(server.url, 'GET', '/_matrix/identity/v2/pubkey/ed25519:x'), 404, 'M_NOT_FOUND');
    });
    it('need an address, and of mail', async () => {
      const roomId = await room();
      for (const address of ['', 'nobody', 'a b@c.d', '<a@b.c>'])
        await refused(invite(roomId, address), 400, 'M_INVALID_PARAM');
      for (const medium of ['msisdn', 'pigeon'])
        await refused(invite(roomId, '447700900000', { medium }), 400, 'M_THREEPID_MEDIUM_NOT_SUPPORTED');
      await refused(send(alice, 'POST', `/rooms/${roomId}/invite`, { medium: 'email' }), 400, 'M_MISSING_PARAM');
      await refused(send(alice, 'POST', `/rooms/${roomId}/invite`, { address: 'a@b.c' }), 400, 'M_MISSING_PARAM');
      const before = (await done(alice, 'GET', '/joined_rooms')).joined_rooms.length;
      const wish = { invite_3pid: [{ medium: 'email', address: 'nobody' }] };
      await refused(send(alice, 'POST', '/createRoom', wish), 400, 'M_INVALID_PARAM');
      expect((await done(alice, 'GET', '/joined_rooms')).joined_rooms).to.have.length(before);
    });
  });

  describe('addresses of accounts', () => {
    it('are for administrators to set, and belong to one account', async () => {
      const address = someone();
      const path = `/_synapse/admin/v2/users/${BOB}`;
      await refused(send(alice, 'PUT', path, { threepids: [] }), 403, 'M_FORBIDDEN');
      await refused(send(alice, 'GET', path), 403, 'M_FORBIDDEN');
      await bind(BOB, address, address.toUpperCase());
      const { threepids } = await done(admin, 'GET', path);
      expect(threepids.map((one: Json) => [one.medium, one.address])).to.deep.equal([['email', address]]);
      await refused(bind('@alice:localhost', address), 400, 'M_THREEPID_IN_USE');
      await refused(bind(BOB, 'no address'), 400, 'M_INVALID_PARAM');
      await bind(BOB);
      expect((await bind('@alice:localhost', address)).status).to.equal(200);
      await bind('@alice:localhost');
    });
    it('are free again when the account is deactivated', async () => {
      const address = someone();
      const token = await register('leaver');
      await bind('@leaver:localhost', address);
      const auth = { type: 'm.login.password', identifier: { type: 'm.id.user', user: 'leaver' }, password: PASSWORD };
      await done(token, 'POST', '/account/deactivate', { auth });
      await until('the address is free', async () => (await bind(BOB, address)).status === 200);
      await refused(bind('@leaver:localhost', someone()), 400, 'M_UNKNOWN');
    });
    it('that were invited are forgotten along with the account of the inviter', async () => {
      const token = await register('inviter');
      const { room_id: roomId } = await done(token, 'POST', '/createRoom', {
        preset: 'private_chat',
        invite: ['@alice:localhost'],
      });
      await done(alice, 'POST', `/rooms/${roomId}/join`);
      await done(token, 'POST', `/rooms/${roomId}/invite`, { medium: 'email', address: someone() });
      const [, { public_key: key }] = (await invitation(roomId)).content.public_keys;
      const isValid = async (): Promise<boolean> => {
        const path = `/_matrix/identity/v2/pubkey/ephemeral/isvalid?public_key=${encodeURIComponent(key)}`;
        return (await ask(server.url, 'GET', path)).body.valid;
      };
      expect(await isValid()).to.equal(true);
      const auth = { type: 'm.login.password', identifier: { type: 'm.id.user', user: 'inviter' }, password: PASSWORD };
      await done(token, 'POST', '/account/deactivate', { auth });
      await until('the invitation is forgotten', async () => !(await isValid()));
    });
  });

  describe('through an identity server', () => {
    const through = (more: object = {}): object => ({
      id_server: identity.name,
      id_access_token: identity.token,
      ...more,
    });

    it('are plain invites of whoever has bound the address there', async () => {
      const address = someone();
      identity.bindings.set(`${address} email`, BOB);
      const roomId = await room();
      expect((await invite(roomId, address, through())).status).to.equal(200);
      expect((await member(roomId)).membership).to.equal('invite');
      const made = await room({ invite_3pid: [{ medium: 'email', address, ...through() }] });
      expect((await member(made)).membership).to.equal('invite');
    });
    it('are kept there otherwise, and redeemed by what it signs', async () => {
      const roomId = await room({ name: 'Room', creation_content: { type: 'm.space' } });
      expect((await invite(roomId, someone(), through())).status).to.equal(200);
      const { body } = identity.asked.at(-1)!;
      expect(body).to.include({
        room_id: roomId,
        sender: '@alice:localhost',
        room_name: 'Room',
        room_type: 'm.space',
        room_join_rules: 'invite',
        sender_display_name: 'Alice',
      });
      const { content, state_key: token } = await invitation(roomId);
      expect(content.public_key).to.equal(base64(identity.longTerm.publicKey));
      expect(content.public_keys).to.have.length(2);
      const payload = { mxid: BOB, sender: '@alice:localhost', token };
      const signature = nacl.sign.detached(
        new TextEncoder().encode(canonicaljson.stringify(payload)),
        identity.longTerm.secretKey,
      );
      const signed = { ...payload, signatures: { 'identity.test': { 'ed25519:0': base64(signature) } } };
      await done(bob, 'POST', `/join/${roomId}`, { third_party_signed: signed });
      expect((await member(roomId)).membership).to.equal('join');
    });
    it('are refused where it is not trusted, and need its token', async () => {
      const roomId = await room();
      const elsewhere = { id_server: 'elsewhere.test', id_access_token: 'x' };
      await refused(invite(roomId, someone(), elsewhere), 400, 'M_SERVER_NOT_TRUSTED');
      await refused(invite(roomId, someone(), { id_server: identity.name }), 400, 'M_MISSING_PARAM');
      await refused(invite(roomId, someone(), { id_access_token: 'x' }), 400, 'M_MISSING_PARAM');
      await refused(invite(roomId, someone(), through({ id_access_token: 'wrong' })), 403, 'M_FORBIDDEN');
      const unreachable = { id_server: 'localhost:1', id_access_token: 'x' };
      await refused(invite(roomId, someone(), unreachable), 502, 'M_CONNECTION_FAILED');
      expect(await invitation(roomId)).to.equal(undefined);
      expect(server.output).not.to.contain(identity.token).and.not.to.contain('@mail.test');
    });
  });

  it('are forbidden to those who are not in the room or may not invite, and nobody is asked for them', async () => {
    const roomId = await room({ preset: 'public_chat', power_level_content_override: { invite: 50 } });
    const asked = identity.asked.length;
    const wish = { medium: 'email', address: someone(), id_server: identity.name, id_access_token: identity.token };
    await refused(send(bob, 'POST', `/rooms/${roomId}/invite`, wish), 403, 'M_FORBIDDEN');
    await done(bob, 'POST', `/join/${roomId}`);
    await refused(send(bob, 'POST', `/rooms/${roomId}/invite`, wish), 403, 'M_FORBIDDEN');
    expect(identity.asked).to.have.length(asked);
  });

  it('are what the SDK makes of inviteByEmail and inviteByThreePid', async () => {
    const here = await SdkClient.register(server.url, 'dora', { idBaseUrl: server.url });
    const guest = await SdkClient.register(server.url, 'emil');
    try {
      const address = someone();
      const { room_id: roomId } = await here.client.createRoom({ name: 'SDK' });
      await guest.start();
      await here.client.inviteByEmail(roomId, address);
      await bind('@emil:localhost', address);
      await guest.until('he sees the invite', () => guest.client.getRoom(roomId)?.getMyMembership() === 'invite');
      await guest.client.joinRoom(roomId);
      expect((await guest.client.getThreePids()).threepids.map((one) => one.address)).to.deep.equal([address]);
    } finally {
      here.stop();
      guest.stop();
    }
    const elsewhere = SdkClient.of(server.url, here.login, {
      idBaseUrl: `https://${identity.name}`,
      identityServer: { getAccessToken: async () => identity.token },
    });
    const { room_id: roomId } = await elsewhere.client.createRoom({});
    await elsewhere.client.inviteByThreePid(roomId, 'email', someone());
    const state = await elsewhere.client.roomState(roomId);
    const [event] = state.filter(({ type }) => type === TYPE);
    expect(event?.content['public_key']).to.equal(base64(identity.longTerm.publicKey));
    elsewhere.stop();
  });
});
