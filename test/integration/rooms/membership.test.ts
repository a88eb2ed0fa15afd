import { expect } from 'chai';
import { systemRandom } from '#src/kernel/random.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { signJson } from '#src/protocol/signing/json-signatures.ts';
import { generateSigningKey } from '#src/protocol/signing/signing-key.ts';
import { type Answer, type Json, InProcessServer } from '#test/support/in-process-server.ts';

const A = '@alice:test';
const B = '@bob:test';

describe('coming into rooms and leaving them', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  before(async () => (server = await InProcessServer.start({ config: { federation: { enabled: false } } })));
  after(() => server.stop());

  const post = (token: string, path: string, body: object = {}): Promise<Answer> =>
    server.ask(token, 'POST', path, body);
  const refused = async (answer: Promise<Answer>, status: number, errcode: string): Promise<void> => {
    const { status: actual, body } = await answer;
    expect([actual, body?.errcode]).to.deep.equal([status, errcode]);
  };
  const memberEvent = (roomId: string, userId: string, token = 'alice'): Promise<Json> =>
    server.must(token, 'GET', `/rooms/${roomId}/state/m.room.member/${userId}?format=event`);

  describe('inviting somebody of another server', () => {
    it('is refused alike by /invite and as state, as long as this server talks to no other', async () => {
      const roomId = await server.room('alice');
      const target = '@far:elsewhere.test';
      const invited = await post('alice', `/rooms/${roomId}/invite`, { user_id: target });
      const path = `/rooms/${roomId}/state/m.room.member/${encodeURIComponent(target)}`;
      const set = await server.ask('alice', 'PUT', path, { membership: 'invite' });
      expect([set.status, set.body]).to.deep.equal([403, invited.body]);
      expect(invited.body.errcode).to.equal('M_FORBIDDEN');
      // Keeping them out is this server's own business.
      await server.must('alice', 'PUT', path, { membership: 'ban' });
    });
  });

  describe('joining', () => {
    it('works by id and by alias, once: a second join makes no event', async () => {
      const roomId = await server.room('alice', { preset: 'public_chat', room_alias_name: 'joining' });
      expect(await server.must('bob', 'POST', '/join/%23joining:test?server_name=test&via=test', {})).to.deep.equal({
        room_id: roomId,
      });
      const first = await memberEvent(roomId, B);
      expect(await server.must('bob', 'POST', `/join/${roomId}`, { reason: 'again' })).to.deep.equal({
        room_id: roomId,
      });
      expect((await memberEvent(roomId, B)).event_id).to.equal(first.event_id);
      expect((await server.must('bob', 'GET', '/joined_rooms')).joined_rooms).to.deep.equal([roomId]);
    });
    it('answers 404 M_NOT_FOUND for an alias that nobody here knows, and 403 for a room, as for one that one may not join', async () => {
      await refused(post('bob', '/join/!nothing:elsewhere.test?via=elsewhere.test'), 403, 'M_FORBIDDEN');
      await refused(post('bob', '/join/%23nothing:test'), 404, 'M_NOT_FOUND');
      await refused(post('bob', '/join/%23nothing:127.0.0.1:1'), 403, 'M_FORBIDDEN');
      await refused(post('bob', '/join/nonsense'), 400, 'M_INVALID_PARAM');
    });
    it('is forbidden without an invite, and to the banned', async () => {
      const roomId = await server.room('alice');
      await refused(post('bob', `/rooms/${roomId}/join`), 403, 'M_FORBIDDEN');
      const open = await server.room('alice', { preset: 'public_chat' });
      await server.must('alice', 'POST', `/rooms/${open}/ban`, { user_id: B });
      await refused(post('bob', `/rooms/${open}/join`), 403, 'M_FORBIDDEN');
    });
    it('carries profile and reason, and shows the invite as what was before', async () => {
      await server.setProfile('bob', { displayname: 'Bob', avatar_url: 'mxc://test/bob' });
      const roomId = await server.room('alice', { invite: [B] });
      await server.must('bob', 'POST', `/rooms/${roomId}/join`, { reason: 'because' });
      const event = await memberEvent(roomId, B);
      expect(event.content).to.deep.equal({
        membership: 'join',
        displayname: 'Bob',
        avatar_url: 'mxc://test/bob',
        reason: 'because',
      });
      expect(event.unsigned.prev_content.membership).to.equal('invite');
      expect(event.unsigned.prev_sender).to.equal(A);
      await server.setProfile('bob', {});
    });
    it('lets guests in only where guest_access says so', async () => {
      const closed = await server.room('alice', { preset: 'public_chat' });
      await refused(post('guest-1', `/rooms/${closed}/join`), 403, 'M_GUEST_ACCESS_FORBIDDEN');
      await server.setState('alice', closed, 'm.room.guest_access', { guest_access: 'can_join' });
      await server.join('guest-1', closed);
    });
    it('ends in one member event when it is asked for many times at once', async () => {
      const roomId = await server.room('alice', { preset: 'public_chat' });
      await Promise.all(Array.from({ length: 8 }, () => server.join('bob', roomId)));
      const page = await server.must('alice', 'GET', `/rooms/${roomId}/messages?dir=b&limit=100`);
      expect(page.chunk.filter((event: Json) => event.state_key === B)).to.have.length(1);
    });
  });

  describe('restricted rooms', () => {
    const restricted = async (allow: unknown, rule = 'restricted', version = '10'): Promise<string> =>
      server.room('alice', {
        room_version: version,
        initial_state: [{ type: 'm.room.join_rules', content: { join_rule: rule, allow } }],
      });
    for (const rule of ['restricted', 'knock_restricted']) {
      it(`let in who is in one of the named rooms, by a member's word (${rule})`, async () => {
        const space = await server.room('alice', { preset: 'public_chat' });
        const roomId = await restricted(
          [null, 7, { type: 'x' }, { type: 'm.room_membership' }, { type: 'm.room_membership', room_id: space }],
          rule,
        );
        await refused(post('bob', `/rooms/${roomId}/join`), 403, 'M_FORBIDDEN');
        await server.join('bob', space, roomId);
        expect((await memberEvent(roomId, B)).content.join_authorised_via_users_server).to.equal(A);
      });
    }
    it('let nobody in by a list that cannot be read', async () => {
      await refused(post('bob', `/rooms/${await restricted('nonsense')}/join`), 403, 'M_FORBIDDEN');
    });
    it("let the invited in without anybody's word", async () => {
      const roomId = await restricted([]);
      await server.must('alice', 'POST', `/rooms/${roomId}/invite`, { user_id: B });
      await server.join('bob', roomId);
      expect((await memberEvent(roomId, B)).content).to.deep.equal({ membership: 'join' });
    });
    it('take no word for a join but that of this server, which gives it to those who write their own member event too', async () => {
      const space = await server.room('alice', { preset: 'public_chat' });
      const roomId = await restricted([{ type: 'm.room_membership', room_id: space }]);
      const join = (): Promise<Answer> =>
        server.ask('bob', 'PUT', `/rooms/${roomId}/state/m.room.member/${B}`, {
          membership: 'join',
          displayname: 'Bob',
          join_authorised_via_users_server: A,
        });
      await refused(join(), 403, 'M_FORBIDDEN');
      await server.join('bob', space);
      await server.must('bob', 'PUT', `/rooms/${roomId}/state/m.room.member/${B}`, { membership: 'join' });
      expect((await memberEvent(roomId, B)).content).to.deep.equal({
        membership: 'join',
        join_authorised_via_users_server: A,
      });
      expect((await join()).status).to.equal(200);
      expect((await memberEvent(roomId, B)).content).to.deep.equal({ membership: 'join', displayname: 'Bob' });
    });
    it('cannot be joined when nobody here may invite', async () => {
      const space = await server.room('bob', { preset: 'public_chat' });
      const roomId = await restricted([{ type: 'm.room_membership', room_id: space }]);
      await server.must('alice', 'POST', `/rooms/${roomId}/leave`, {});
      expect((await post('bob', `/rooms/${roomId}/join`)).status).to.equal(403);
    });
  });

  it('is nothing for what is no user id, by whatever way it is asked for', async () => {
    const roomId = await server.room('alice');
    for (const key of ['nobody', '@', '@x', '!room:test', ''])
      await refused(
        server.ask('alice', 'PUT', `/rooms/${roomId}/state/m.room.member/${encodeURIComponent(key)}`, {
          membership: 'invite',
        }),
        400,
        'M_BAD_JSON',
      );
    for (const path of ['invite', 'kick', 'ban', 'unban'])
      await refused(post('alice', `/rooms/${roomId}/${path}`, { user_id: 'nobody' }), 400, 'M_INVALID_PARAM');
    const invite = { type: 'm.room.member', state_key: 'nobody', content: { membership: 'invite' } };
    const ban = { ...invite, content: { membership: 'ban' } };
    await refused(post('alice', '/createRoom', { initial_state: [ban] }), 400, 'M_BAD_JSON');
  });

  describe('inviting', () => {
    it('is 403 for oneself, for members, for the banned and from outside', async () => {
      const roomId = await server.room('alice', { preset: 'public_chat' });
      await server.join('bob', roomId);
      await refused(post('alice', `/rooms/${roomId}/invite`, { user_id: A }), 403, 'M_FORBIDDEN');
      await refused(post('alice', `/rooms/${roomId}/invite`, { user_id: B }), 403, 'M_FORBIDDEN');
      await refused(post('dora', `/rooms/${roomId}/invite`, { user_id: '@eve:test' }), 403, 'M_FORBIDDEN');
      await server.must('alice', 'POST', `/rooms/${roomId}/ban`, { user_id: '@eve:test' });
      await refused(post('alice', `/rooms/${roomId}/invite`, { user_id: '@eve:test' }), 403, 'M_FORBIDDEN');
      await refused(post('alice', `/rooms/${roomId}/invite`, { user_id: 'eve' }), 400, 'M_INVALID_PARAM');
      await refused(post('alice', `/rooms/${roomId}/invite`, {}), 400, 'M_MISSING_PARAM');
    });
    it('carries reason and is_direct', async () => {
      const roomId = await server.room('alice');
      await server.must('alice', 'POST', `/rooms/${roomId}/invite`, { user_id: B, reason: 'come', is_direct: true });
      expect((await memberEvent(roomId, B)).content).to.deep.equal({
        membership: 'invite',
        reason: 'come',
        is_direct: true,
      });
    });
    it('shows the invited the stripped state with both member events', async () => {
      const roomId = await server.room('alice', { name: 'Shown', invite: [B] });
      const room = await server.services.rooms.byId(roomId);
      const stripped = await server.services.membership.strippedStateFor(room!, B);
      expect(stripped.map((event) => `${event.type} ${event.state_key}`)).to.deep.equal([
        'm.room.create ',
        'm.room.name ',
        'm.room.join_rules ',
        `m.room.member ${A}`,
        `m.room.member ${B}`,
      ]);
      for (const event of stripped)
        expect(Object.keys(event).toSorted().join(' '), event.type).to.equal(
          event.type === 'm.room.create'
            ? 'content origin_server_ts sender state_key type'
            : 'content sender state_key type',
        );
    });
    it('can be rejected when the inviter has gone, and repeatedly', async () => {
      const roomId = await server.room('alice', { invite: [B] });
      await server.must('alice', 'POST', `/rooms/${roomId}/leave`, {});
      await server.must('bob', 'POST', `/rooms/${roomId}/leave`, { reason: 'no' });
      await server.must('bob', 'POST', `/rooms/${roomId}/leave`, {});
      await server.must('bob', 'POST', `/rooms/${roomId}/forget`);
    });
  });

  describe('third-party invites', () => {
    const identityKey = generateSigningKey((count) => systemRandom.bytes(count));
    const signed = (mxid: string): JsonObject => signJson({ mxid, sender: A, token: 'tok' }, 'id.test', identityKey);
    const room = async (): Promise<string> => {
      const roomId = await server.room('alice');
      const content = {
        display_name: 'b...@mail.test',
        key_validity_url: 'https://id.test/valid',
        public_key: identityKey.publicKey,
      };
      await server.setState('alice', roomId, 'm.room.third_party_invite', content, 'tok');
      return roomId;
    };
    it('let in whom the identity server names, by an invite of who made them', async () => {
      const roomId = await room();
      await server.must('bob', 'POST', `/rooms/${roomId}/join`, { third_party_signed: signed(B) });
      const page = await server.must('bob', 'GET', `/rooms/${roomId}/messages?dir=b&limit=2`);
      expect(page.chunk.map((event: Json) => [event.sender, event.content.membership])).to.deep.equal([
        [B, 'join'],
        [A, 'invite'],
      ]);
      expect(page.chunk[1].content.third_party_invite.display_name).to.equal('b...@mail.test');
    });
    it('let nobody else in', async () => {
      const roomId = await room();
      await refused(post('carol', `/rooms/${roomId}/join`, { third_party_signed: signed(B) }), 403, 'M_FORBIDDEN');
      const forged = { ...signed(B), mxid: '@carol:test' };
      await refused(post('carol', `/rooms/${roomId}/join`, { third_party_signed: forged }), 403, 'M_FORBIDDEN');
      await refused(post('carol', `/rooms/${roomId}/join`, { third_party_signed: { mxid: B } }), 400, 'M_BAD_JSON');
    });
  });

  describe('knocking', () => {
    const knockable = (): Promise<string> =>
      server.room('alice', {
        initial_state: [{ type: 'm.room.join_rules', content: { join_rule: 'knock' } }],
        room_alias_name: undefined,
      });
    it('is 403 unless the join rule allows it, and for the joined, invited and banned', async () => {
      await refused(post('bob', `/knock/${await server.room('alice')}`), 403, 'M_FORBIDDEN');
      await refused(post('bob', `/knock/${await server.room('alice', { preset: 'public_chat' })}`), 403, 'M_FORBIDDEN');
      const roomId = await knockable();
      await refused(post('alice', `/knock/${roomId}`), 403, 'M_FORBIDDEN');
      await server.must('alice', 'POST', `/rooms/${roomId}/invite`, { user_id: B });
      await refused(post('bob', `/knock/${roomId}`), 403, 'M_FORBIDDEN');
      await server.must('alice', 'POST', `/rooms/${roomId}/ban`, { user_id: '@eve:test' });
      await refused(post('eve', `/knock/${roomId}`), 403, 'M_FORBIDDEN');
      await refused(post('bob', '/knock/!nothing:test'), 403, 'M_FORBIDDEN');
      await refused(post('bob', '/knock/%23nothing:test'), 404, 'M_NOT_FOUND');
    });
    it('again with another reason is another event', async () => {
      const roomId = await knockable();
      expect(await server.must('bob', 'POST', `/knock/${roomId}`, { reason: 'one' })).to.deep.equal({
        room_id: roomId,
      });
      const first = await memberEvent(roomId, B);
      await server.must('bob', 'POST', `/knock/${roomId}`, { reason: 'two' });
      const second = await memberEvent(roomId, B);
      expect([first.content.reason, second.content.reason]).to.deep.equal(['one', 'two']);
      expect(second.event_id).not.to.equal(first.event_id);
    });
    it('is answered by an invite, or by a kick, or taken back', async () => {
      const roomId = await knockable();
      for (const answer of ['invite', 'kick'] as const) {
        await server.must('bob', 'POST', `/knock/${roomId}`, {});
        await server.must('alice', 'POST', `/rooms/${roomId}/${answer}`, { user_id: B });
        if (answer === 'invite') await server.must('bob', 'POST', `/rooms/${roomId}/leave`, {});
      }
      await server.must('bob', 'POST', `/knock/${roomId}`, {});
      await server.must('bob', 'POST', `/rooms/${roomId}/leave`, {});
      expect((await memberEvent(roomId, B)).content.membership).to.equal('leave');
    });
  });

  describe('kicking and banning', () => {
    it('needs power, and a target who is there', async () => {
      const roomId = await server.room('alice', { preset: 'public_chat' });
      await server.join('bob', roomId);
      await server.join('carol', roomId);
      await refused(post('bob', `/rooms/${roomId}/kick`, { user_id: '@carol:test' }), 403, 'M_FORBIDDEN');
      await refused(post('bob', `/rooms/${roomId}/ban`, { user_id: '@carol:test' }), 403, 'M_FORBIDDEN');
      await refused(post('alice', `/rooms/${roomId}/kick`, { user_id: '@nobody:test' }), 403, 'M_FORBIDDEN');
      await server.must('alice', 'POST', `/rooms/${roomId}/kick`, { user_id: B, reason: 'noise' });
      expect((await memberEvent(roomId, B)).content).to.deep.equal({ membership: 'leave', reason: 'noise' });
      await refused(post('alice', `/rooms/${roomId}/kick`, { user_id: B }), 403, 'M_FORBIDDEN');
    });
    it('a ban is not ended by a kick but by unban, after which an invite and a join work', async () => {
      const roomId = await server.room('alice');
      await server.must('alice', 'POST', `/rooms/${roomId}/ban`, { user_id: B });
      await refused(post('alice', `/rooms/${roomId}/kick`, { user_id: B }), 403, 'M_FORBIDDEN');
      await server.must('alice', 'POST', `/rooms/${roomId}/unban`, { user_id: B });
      await refused(post('alice', `/rooms/${roomId}/unban`, { user_id: B }), 403, 'M_BAD_STATE');
      await server.must('alice', 'POST', `/rooms/${roomId}/invite`, { user_id: B });
      await server.join('bob', roomId);
    });
  });

  describe('forgetting', () => {
    it('is 400 M_UNKNOWN while joined; afterwards the history is closed', async () => {
      const roomId = await server.room('alice', { preset: 'public_chat' });
      await server.join('bob', roomId);
      await refused(post('bob', `/rooms/${roomId}/forget`), 400, 'M_UNKNOWN');
      await server.must('bob', 'POST', `/rooms/${roomId}/leave`, {});
      await server.must('bob', 'GET', `/rooms/${roomId}/messages?dir=b`);
      await server.must('bob', 'POST', `/rooms/${roomId}/forget`);
      await refused(server.ask('bob', 'GET', `/rooms/${roomId}/messages?dir=b`), 403, 'M_FORBIDDEN');
      await server.restart();
      await refused(server.ask('bob', 'GET', `/rooms/${roomId}/messages?dir=b`), 403, 'M_FORBIDDEN');
      await server.join('bob', roomId);
      await server.must('bob', 'GET', `/rooms/${roomId}/messages?dir=b`);
    });
    it('works after only an invite', async () => {
      const roomId = await server.room('alice', { invite: [B] });
      await server.must('bob', 'POST', `/rooms/${roomId}/leave`, {});
      await server.must('bob', 'POST', `/rooms/${roomId}/forget`);
    });
  });

  it('makes leaving a room that is not known 403, as one that one never was in', async () => {
    await refused(post('bob', '/rooms/!nothing:test/leave'), 403, 'M_FORBIDDEN');
    await refused(post('stranger', `/rooms/${await server.room('alice')}/leave`), 403, 'M_FORBIDDEN');
  });
});
