import { createRequire } from 'node:module';
import { expect } from 'chai';
import nacl from 'tweetnacl';
import type { ThirdPartyId } from '#src/protocol/identifiers/third-party-id.ts';
import { type Json, InProcessServer, SIGNING_KEY } from '#test/support/in-process-server.ts';

const canonicaljson = createRequire(import.meta.url)('canonicaljson') as { stringify(value: unknown): string };

const A = '@alice:test';
const B = '@bob:test';
const TYPE = 'm.room.third_party_invite';
const bytes = (base64: string): Uint8Array => Uint8Array.from(Buffer.from(base64, 'base64'));

describe('inviting by mail address, kept here', () => {
  let server: InProcessServer;
  let count = 0;

  before(async () => {
    server = await InProcessServer.start();
  });
  after(() => server?.stop());

  /** An address that nobody else in these tests has. */
  const someone = (): ThirdPartyId => ({ medium: 'email', address: `bob${++count}@mail.test` });
  const state = async (roomId: string): Promise<Json[]> => server.must('alice', 'GET', `/rooms/${roomId}/state`);
  const invitations = async (roomId: string): Promise<Json[]> =>
    (await state(roomId)).filter((event: Json) => event.type === TYPE);
  const memberEvent = async (roomId: string, userId = B): Promise<Json> =>
    (await state(roomId)).find((event: Json) => event.type === 'm.room.member' && event.state_key === userId);
  const invite = (roomId: string, { medium, address }: ThirdPartyId, more: object = {}): Promise<Json> =>
    server.must('alice', 'POST', `/rooms/${roomId}/invite`, { medium, address, id_server: 'test', ...more });
  const claim = (id: ThirdPartyId, userId = B): Promise<void> =>
    server.services.database.write((tx) => server.services.accountThreepids.bind(tx, userId, id));
  /** What the job does. */
  const redeem = async (roomId: string): Promise<void> => {
    for (const { state_key: token } of await invitations(roomId)) await server.services.inviteRedemption.redeem(token);
  };
  const jobs = (): Promise<{ token: string }[]> =>
    server.services.database.query<{ token: string }>({
      name: 'test_redeem_jobs',
      text: "select payload->>'token' as token from outbox where job = 'third_party_invites.redeem'",
    });
  const kept = (): Promise<{ token: string; sent: boolean }[]> =>
    server.services.database.query({ name: 'test_kept_invites', text: 'select token, sent from third_party_invites' });

  it('leaves an invitation in the room that says how to redeem it, and not whom it is for', async () => {
    const roomId = await server.room('alice');
    await invite(roomId, { medium: 'email', address: 'Somebody@Mail.test' });
    const [{ sender, content, state_key: token }] = await invitations(roomId);
    expect(sender).to.equal(A);
    expect(token).to.match(/^[0-9a-zA-Z]{40}$/);
    expect(content.display_name).to.equal('s...@m...');
    expect(content.public_key).to.equal(SIGNING_KEY.publicKey);
    expect(content.public_keys[0].public_key).to.equal(content.public_key);
    expect(server.services.inviteKeys.publicKey(SIGNING_KEY.keyId)).to.equal(content.public_key);
    expect(server.services.inviteKeys.publicKey('ed25519:other')).to.equal(undefined);
    expect(content.key_validity_url).to.equal('https://test/_matrix/identity/v2/pubkey/isvalid');
    expect(content.public_keys.map((entry: Json) => entry.key_validity_url)).to.deep.equal([
      'https://test/_matrix/identity/v2/pubkey/isvalid',
      'https://test/_matrix/identity/v2/pubkey/ephemeral/isvalid',
    ]);
    expect(bytes(content.public_keys[1].public_key)).to.have.length(32);
    expect(content.public_keys[1].public_key).not.to.equal(content.public_key);
    expect(JSON.stringify(await state(roomId)).toLowerCase()).not.to.contain('somebody');
  });

  it('invites the user once the address is theirs, with a signature that others can verify', async () => {
    const roomId = await server.room('alice');
    const id = someone();
    await server.setProfile('bob', { displayname: 'Bob' });
    await invite(roomId, id);
    await claim(id);
    expect(await memberEvent(roomId)).to.equal(undefined);
    const [{ content: published, state_key: token }] = await invitations(roomId);
    expect((await jobs()).map((job) => job.token)).to.include(token);
    await redeem(roomId);
    const { sender, content } = await memberEvent(roomId);
    expect([sender, content.membership, content.displayname]).to.deep.equal([A, 'invite', 'Bob']);
    const { display_name: displayName, signed } = content.third_party_invite;
    expect(displayName).to.equal(published.display_name);
    const { signatures, ...payload } = signed;
    expect(payload).to.deep.equal({ mxid: B, sender: A, token });
    expect(Object.keys(signatures)).to.deep.equal(['test']);
    const [[signedBy, signature]] = Object.entries<string>(signatures.test) as [[string, string]];
    expect(signedBy).to.equal(SIGNING_KEY.keyId);
    const message = new TextEncoder().encode(canonicaljson.stringify(payload));
    expect(nacl.sign.detached.verify(message, bytes(signature), bytes(published.public_key))).to.equal(true);
    await server.join('bob', roomId);
    await server.setProfile('bob', {});
  });

  it('compares addresses without regard to case', async () => {
    const roomId = await server.room('alice');
    await invite(roomId, { medium: 'email', address: 'STRAUß@Mail.TEST' });
    await claim({ medium: 'email', address: 'strauss@mail.test' });
    await redeem(roomId);
    expect((await memberEvent(roomId)).content.membership).to.equal('invite');
  });

  it('redeems an invite once: a user who declined is not invited again by a repeated step', async () => {
    const roomId = await server.room('alice');
    const id = someone();
    await invite(roomId, id);
    await claim(id);
    const [{ state_key: token }] = await invitations(roomId);
    // A process that was killed after the event and before noting that.
    const { database } = server.services;
    await database.query({
      name: 'test_keep_copy',
      text: 'create table kept_copy as select * from third_party_invites',
    });
    await Promise.all([redeem(roomId), redeem(roomId), redeem(roomId)]);
    const first = (await memberEvent(roomId)).event_id;
    await redeem(roomId);
    expect((await memberEvent(roomId)).event_id).to.equal(first);
    await server.must('bob', 'POST', `/rooms/${roomId}/leave`);
    await database.query(
      {
        name: 'test_copy_back',
        text: 'insert into third_party_invites select * from kept_copy where token = $1',
      },
      [token],
    );
    await database.query({ name: 'test_drop_copy', text: 'drop table kept_copy' });
    await redeem(roomId);
    expect((await memberEvent(roomId)).content.membership).to.equal('leave');
    expect((await kept()).map((row) => row.token)).not.to.include(token);
  });

  it('takes up what was claimed right before the server stops', async () => {
    const roomId = await server.room('alice');
    const id = someone();
    await invite(roomId, id);
    await claim(id);
    await server.restart();
    await server.idle();
    expect((await memberEvent(roomId)).content.membership).to.equal('invite');
  });

  describe('comes to nothing', () => {
    const nothing = async (spoil: (roomId: string, token: string) => Promise<unknown>): Promise<void> => {
      const roomId = await server.room('alice', {
        preset: 'public_chat',
        power_level_content_override: { invite: 50 },
      });
      await server.join('carol', roomId);
      await server.setState('alice', roomId, 'm.room.power_levels', {
        ...(await server.must('alice', 'GET', `/rooms/${roomId}/state/m.room.power_levels`)),
        users: { '@carol:test': 60 },
      });
      const id = someone();
      await server.must('carol', 'POST', `/rooms/${roomId}/invite`, { ...id, id_server: 'test' });
      const [{ state_key: token }] = await invitations(roomId);
      await spoil(roomId, token);
      await claim(id);
      await server.services.inviteRedemption.redeem(token);
      expect((await memberEvent(roomId))?.content.membership).not.to.equal('invite');
      expect((await kept()).map((row) => row.token)).not.to.include(token);
    };
    it('when it was revoked', () => nothing((roomId, token) => server.setState('alice', roomId, TYPE, {}, token)));
    it('when the inviter has left', () => nothing((roomId) => server.must('carol', 'POST', `/rooms/${roomId}/leave`)));
    it('when the inviter may not invite any more', () =>
      nothing(async (roomId) => {
        const path = `/rooms/${roomId}/state/m.room.power_levels`;
        await server.must('alice', 'PUT', path, { ...(await server.must('alice', 'GET', path)), users: {} });
      }));
    it('when the invitee is banned', () =>
      nothing((roomId) => server.must('alice', 'POST', `/rooms/${roomId}/ban`, { user_id: B })));
    it('when another user has replaced it', () =>
      nothing((roomId, token) =>
        server.setState('alice', roomId, TYPE, { display_name: 'x', public_key: 'AAAA' }, token),
      ));
  });
  it('leaves those alone who have joined meanwhile', async () => {
    const roomId = await server.room('alice', { preset: 'public_chat' });
    const id = someone();
    await invite(roomId, id);
    await server.join('bob', roomId);
    await claim(id);
    await redeem(roomId);
    expect((await memberEvent(roomId)).content.membership).to.equal('join');
  });
  it('does not invite those who want no invites', async () => {
    const roomId = await server.room('alice');
    const id = someone();
    await invite(roomId, id);
    await server.account('shy');
    await server.services.accountData.setByClient('@shy:test', 0, 'm.invite_permission_config', {
      default_action: 'block',
    });
    await claim(id, '@shy:test');
    await redeem(roomId);
    expect(await memberEvent(roomId, '@shy:test')).to.equal(undefined);
  });

  it('says by key whether an invitation still stands', async () => {
    const roomId = await server.room('alice');
    await invite(roomId, someone());
    const [{ content, state_key: token }] = await invitations(roomId);
    const { inviteKeys: keys } = server.services;
    const [longTerm, ephemeral] = content.public_keys.map((entry: Json) => entry.public_key);
    expect([keys.isValid(longTerm), await keys.isEphemeralKeyValid(ephemeral)]).to.deep.equal([true, true]);
    expect([keys.isValid(ephemeral), await keys.isEphemeralKeyValid(longTerm)]).to.deep.equal([false, false]);
    // Nobody revokes it from another room.
    const other = await server.room('alice');
    await server.setState('alice', other, TYPE, {}, token);
    await server.idle();
    expect(await keys.isEphemeralKeyValid(ephemeral)).to.equal(true);
    await server.setState('alice', roomId, TYPE, {}, token);
    await server.idle();
    expect(await keys.isEphemeralKeyValid(ephemeral)).to.equal(false);
  });

  it('leaves one invitation for the same person in the same room, unless it was revoked', async () => {
    const roomId = await server.room('alice');
    const id = someone();
    await invite(roomId, id);
    await invite(roomId, { ...id, address: id.address.toUpperCase() });
    const [first, ...others] = await invitations(roomId);
    expect(others).to.deep.equal([]);
    await server.setState('alice', roomId, TYPE, {}, first.state_key);
    await invite(roomId, id);
    expect(await invitations(roomId)).to.have.length(2);
  });

  it('loses none that is made while the address finds its owner', async () => {
    const { thirdPartyInvites, database } = server.services;
    const rooms = await Promise.all(Array.from({ length: 8 }, () => server.room('alice')));
    const id = someone();
    const done = rooms.map((roomId) => thirdPartyInvites.invite({ userId: A, rateLimited: false }, roomId, id));
    await claim(id);
    await Promise.all(done);
    await server.idle();
    const members = await Promise.all(rooms.map((roomId) => memberEvent(roomId)));
    expect(members.map((event) => event?.content.membership)).to.deep.equal(rooms.map(() => 'invite'));
    const left = { name: 'test_left_of_address', text: 'select token from third_party_invites where address = $1' };
    expect(await database.query(left, [id.address])).to.deep.equal([]);
  });
  it('waits with what is claimed before its event was sent', async () => {
    const roomId = await server.room('alice');
    const id = someone();
    const { database, inviteRedemption } = server.services;
    const insert = {
      name: 'test_unsent_invite',
      text: `insert into third_party_invites (token, medium, address, room_id, inviter, ephemeral_key, created_ts)
             values ($1, 'email', $2, $3, $4, $1, $5)`,
    };
    await database.query(insert, ['early', id.address, roomId, A, server.clock.now()]);
    await claim(id);
    await inviteRedemption.redeem('early');
    expect((await kept()).map((row) => row.token)).to.include('early');
    await server.clock.advance(61_000);
    await inviteRedemption.redeem('early');
    expect((await kept()).map((row) => row.token)).not.to.include('early');
  });
  it('keeps nothing of an invitation whose event was refused', async () => {
    const roomId = await server.room('alice');
    const before = await kept();
    const room = await server.services.rooms.byId(roomId);
    const { thirdPartyInvites } = server.services;
    const [prepared] = await thirdPartyInvites.prepare({ userId: '@mallory:test', rateLimited: false }, [someone()]);
    let failed = false;
    await thirdPartyInvites.carryOut({ userId: '@mallory:test' }, room!, prepared!).catch(() => (failed = true));
    expect(failed).to.equal(true);
    expect(await kept()).to.deep.equal(before);
  });
});
