import { expect } from 'chai';
import { ClientEvent, EventTimeline, JoinRule, Preset, type RoomMember } from 'matrix-js-sdk';
import { ChildServer } from '#test/support/child-server.ts';
import { SdkClient } from '#test/support/sdk-client.ts';

describe('members of rooms, as js-sdk clients see them', function () {
  this.timeout(60_000);
  let server: ChildServer;
  let alice: SdkClient;
  let bob: SdkClient;
  let carol: SdkClient;

  before(async () => {
    server = await ChildServer.start({ database: 'shared' });
    const named = async (name: string): Promise<SdkClient> => (await SdkClient.register(server.url, name)).start();
    [alice, bob, carol] = await Promise.all([named('alice'), named('bob'), named('carol')]);
  });
  after(async () => {
    for (const client of [alice, bob, carol]) client?.stop();
    await server?.dispose();
  });

  const memberOf = (reader: SdkClient, roomId: string, userId: string): RoomMember | null | undefined =>
    reader.client.getRoom(roomId)?.getLiveTimeline().getState(EventTimeline.FORWARDS)?.getMember(userId);

  /** A room of alice's in which bob is too. */
  async function shared(preset = Preset.PrivateChat): Promise<string> {
    const { room_id: roomId } = await alice.client.createRoom({ preset, invite: [bob.userId] });
    await bob.until('the invite', () => bob.membership(roomId) === 'invite');
    await bob.client.joinRoom(roomId);
    await alice.until('bob', () => alice.membership(roomId, bob.userId) === 'join');
    await bob.until('the room', () => bob.membership(roomId) === 'join');
    return roomId;
  }

  it('shows who invites, to what and why, before the invite is taken', async () => {
    const { room_id: roomId } = await alice.client.createRoom({
      name: 'お茶',
      topic: '玉露',
      preset: Preset.PrivateChat,
    });
    await alice.client.invite(roomId, bob.userId, { reason: '一服どうぞ' });
    await bob.until('the invite', () => bob.membership(roomId) === 'invite');
    const room = bob.client.getRoom(roomId)!;
    expect(room.name).to.equal('お茶');
    expect(room.getMember(bob.userId)!.events.member!.getSender()).to.equal(alice.userId);
    expect(room.getMember(bob.userId)?.events.member?.getContent()).to.include({
      membership: 'invite',
      reason: '一服どうぞ',
    });
    await bob.client.leave(roomId);
    await bob.until('it is declined', () => bob.membership(roomId) === 'leave');
    await alice.until('the answer', () => alice.membership(roomId, bob.userId) === 'leave');
  });

  it('marks a direct chat as one for the invited', async () => {
    const { room_id: roomId } = await alice.client.createRoom({
      preset: Preset.TrustedPrivateChat,
      is_direct: true,
      invite: [carol.userId],
    });
    await carol.until('the invite', () => carol.membership(roomId) === 'invite');
    expect(carol.client.getRoom(roomId)!.getMember(carol.userId)!.getDMInviter()).to.equal(alice.userId);
  });

  it('lets somebody knock, be let in, and take a knock back', async () => {
    const { room_id: roomId } = await alice.client.createRoom({
      name: '門',
      initial_state: [{ type: 'm.room.join_rules', state_key: '', content: { join_rule: JoinRule.Knock } }],
    });
    await carol.client.knockRoom(roomId, { reason: '入れて' });
    await carol.until('the knock', () => carol.membership(roomId) === 'knock');
    expect(carol.client.getRoom(roomId)!.name).to.equal('門');
    await alice.until('the knock', () => alice.membership(roomId, carol.userId) === 'knock');
    await alice.client.invite(roomId, carol.userId);
    await carol.until('the invite', () => carol.membership(roomId) === 'invite');
    await carol.client.joinRoom(roomId);
    await carol.until('the room', () => carol.membership(roomId) === 'join');

    await bob.client.knockRoom(roomId);
    await bob.until('the knock', () => bob.membership(roomId) === 'knock');
    await bob.client.leave(roomId);
    await bob.until('the knock is taken back', () => bob.membership(roomId) === 'leave');
    await alice.until('the knock is taken back', () => alice.membership(roomId, bob.userId) === 'leave');
  });

  it('tells the kicked why, and what is said afterwards no more', async () => {
    const roomId = await shared();
    await alice.client.kick(roomId, bob.userId, '静かに');
    await bob.until('the kick', () => bob.membership(roomId) === 'leave');
    const member = bob.client.getRoom(roomId)!.getMember(bob.userId)!;
    expect(member.isKicked()).to.equal(true);
    expect(member.events.member!.getContent()).to.include({ reason: '静かに' });
    await alice.client.sendTextMessage(roomId, '内緒');
    const { room_id: other } = await bob.client.createRoom({});
    await bob.room(other);
    expect(bob.texts(roomId)).to.deep.equal([]);
    const refused = await bob.client
      .sendTextMessage(roomId, 'でも')
      .catch((error: { errcode: string }) => error.errcode);
    expect(refused).to.equal('M_FORBIDDEN');
  });

  it('keeps the banned out until they are unbanned and invited', async () => {
    const roomId = await shared(Preset.PublicChat);
    await alice.client.ban(roomId, bob.userId, 'だめ');
    await bob.until('the ban', () => bob.membership(roomId) === 'ban');
    const join = (): Promise<unknown> =>
      bob.client.joinRoom(roomId).catch((error: { errcode: string }) => error.errcode);
    expect(await join()).to.equal('M_FORBIDDEN');
    await alice.client.unban(roomId, bob.userId);
    await alice.until('the unban', () => alice.membership(roomId, bob.userId) === 'leave');
    await alice.client.invite(roomId, bob.userId);
    await bob.until('the invite', () => bob.membership(roomId) === 'invite');
    await bob.client.joinRoom(roomId);
    await bob.until('the room', () => bob.membership(roomId) === 'join');
  });

  it('shows a new name and a new picture to all members', async () => {
    const roomId = await shared();
    await bob.client.setDisplayName('ボブ');
    await bob.client.setAvatarUrl('mxc://localhost/bob');
    await alice.until('the name', () => memberOf(alice, roomId, bob.userId)?.name === 'ボブ');
    await alice.until(
      'the picture',
      () => memberOf(alice, roomId, bob.userId)?.getMxcAvatarUrl() === 'mxc://localhost/bob',
    );
    expect(await carol.client.getProfileInfo(bob.userId)).to.deep.equal({
      displayname: 'ボブ',
      avatar_url: 'mxc://localhost/bob',
    });
  });

  it('shows what those who speak say of themselves in their profiles, as they change it', async () => {
    const STATUS = 'org.matrix.msc4426.status';
    const roomId = await shared();
    await bob.client.setExtendedProfileProperty(STATUS, { text: '泳いでいます', emoji: '🏊️' });
    await bob.client.sendTextMessage(roomId, 'やあ');
    const reader = await SdkClient.logIn(server.url, 'alice');
    const told: unknown[] = [];
    reader.client.on(ClientEvent.UserProfileUpdate, (userId, profile) => {
      if (userId === bob.userId) told.push(profile?.[STATUS]);
    });
    try {
      await reader.start({ unstableMSC4429SyncUserProfileFields: [STATUS] });
      await reader.until('the status', () => told.length > 0);
      await bob.client.setExtendedProfileProperty(STATUS, { text: '岸に' });
      await reader.until('the change', () => told.length > 1);
      await bob.client.deleteExtendedProfileProperty(STATUS);
      await reader.until('that it is gone', () => told.length > 2);
      expect(told).to.deep.equal([{ text: '泳いでいます', emoji: '🏊️' }, { text: '岸に' }, null]);
    } finally {
      reader.stop();
    }
  });

  it('loads the members of a room lazily: those who speak, and all of them on demand', async () => {
    const roomId = await shared(Preset.PublicChat);
    // In a room without a name, those after whom it is called come as well.
    await alice.client.setRoomName(roomId, '大広間');
    await carol.client.joinRoom(roomId);
    await carol.room(roomId);
    const { event_id: said } = await bob.client.sendTextMessage(roomId, 'やあ');
    const phone = await (await SdkClient.logIn(server.url, 'carol')).start({ initialSyncLimit: 1 });
    try {
      await phone.sees(roomId, said);
      expect(memberOf(phone, roomId, bob.userId)?.membership).to.equal('join');
      const { state, timeline } = phone.syncs[0]!.body.rooms.join[roomId];
      const told = [
        ...(state ?? phone.syncs[0]!.body.rooms.join[roomId]['org.matrix.msc4222.state_after']).events,
        ...timeline.events,
      ];
      expect(
        told
          .filter((event: { type: string }) => event.type === 'm.room.member')
          .map((event: { state_key: string }) => event.state_key),
      ).to.have.members([bob.userId, carol.userId]);
      expect(phone.client.getRoom(roomId)!.getJoinedMemberCount()).to.equal(3);
      await phone.client.getRoom(roomId)!.loadMembersIfNeeded();
      expect(memberOf(phone, roomId, alice.userId)?.membership).to.equal('join');
    } finally {
      phone.stop();
    }
  });

  it('forgets a room for good', async () => {
    const roomId = await shared();
    await bob.client.leave(roomId);
    await bob.until('it is left', () => bob.membership(roomId) === 'leave');
    await bob.client.forget(roomId, true);
    const phone = await (await SdkClient.logIn(server.url, 'bob')).start();
    expect(phone.client.getRoom(roomId)).to.equal(null);
    phone.stop();
  });

  it('shows history from before the join, page by page to the beginning', async () => {
    const { room_id: roomId } = await alice.client.createRoom({ preset: Preset.PublicChat });
    const said = Array.from({ length: 45 }, (_, index) => `その${index}`);
    for (const text of said) await alice.client.sendTextMessage(roomId, text);
    await bob.client.joinRoom(roomId);
    const room = await bob.room(roomId);
    await bob.until('the newest', () => bob.texts(roomId).length > 0);
    while (room.getLiveTimeline().getPaginationToken(EventTimeline.BACKWARDS) !== null)
      await bob.client.scrollback(room, 10);
    expect(bob.texts(roomId)).to.deep.equal(said);
    expect(room.getLiveTimeline().getEvents()[0]!.getType()).to.equal('m.room.create');
  });
});
