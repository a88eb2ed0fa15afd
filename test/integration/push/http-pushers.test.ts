import { OPERATOR } from '#src/services/audit/actor.ts';
import { expect } from 'chai';
import { GRACE_MS, PushServer } from './push-server.ts';

describe('an HTTP pusher', function () {
  this.timeout(120_000);
  let server: PushServer;
  before(async () => {
    server = await PushServer.start();
  });
  after(() => server?.stop());
  afterEach(() => {
    server.gateway.mood = () => [200, { rejected: [] }];
  });

  let names = 0;
  /** A name that nobody has. */
  const name = (): string => `user${(names += 1)}`;
  /** Somebody with a pusher, in a room of three with somebody who talks. */
  const listener = async (): Promise<{ me: string; other: string; roomId: string }> => {
    const [me, other, third] = [name(), name(), name()] as const;
    const roomId = await server.room(other, me, third);
    await server.push(me);
    await server.told();
    return { me, other, roomId };
  };

  it('is told all about a message', async () => {
    const { me, other, roomId } = await listener();
    await server.app.setProfile(other, { displayname: 'Major Tom' });
    await server.app.setState(other, roomId, 'm.room.name', { name: 'Mission Control' });
    const eventId = await server.app.say(other, roomId, 'floating');
    expect(await server.told()).to.deep.equal([
      {
        event_id: eventId,
        id: eventId,
        room_id: roomId,
        type: 'm.room.message',
        sender: `@${other}:test`,
        sender_display_name: 'Major Tom',
        room_name: 'Mission Control',
        prio: 'low',
        content: { msgtype: 'm.text', body: 'floating' },
        counts: { unread: 1 },
        devices: [
          {
            app_id: 'test.app',
            pushkey: me,
            pushkey_ts: Math.floor(server.app.clock.now() / 1_000) - 2,
            data: {},
            tweaks: {},
          },
        ],
      },
    ]);
  });

  it('is told nothing while the account is locked, and of what comes afterwards', async () => {
    const { me, other, roomId } = await listener();
    const { userAdministration } = server.app.services;
    await userAdministration.lock(OPERATOR, `@${me}:test`, true);
    await server.app.say(other, roomId, 'not for the locked');
    expect(await server.told()).to.deep.equal([]);
    await userAdministration.lock(OPERATOR, `@${me}:test`, false);
    const eventId = await server.app.say(other, roomId, 'welcome back');
    expect((await server.pushed()).map(({ event_id: id }) => id)).to.deep.equal([eventId]);
  });

  it('is told by id alone when it wants that, with everything that its client put into data', async () => {
    const { me, other, roomId } = await listener();
    await server.push(me, {}, { format: 'event_id_only', default_payload: { aps: { 'mutable-content': 1 } } });
    const eventId = await server.app.say(other, roomId, 'secret');
    const [told, ...more] = await server.told();
    expect(more).to.deep.equal([]);
    expect(Object.keys(told).toSorted()).to.deep.equal(['counts', 'devices', 'event_id', 'prio', 'room_id']);
    expect(told.event_id).to.equal(eventId);
    expect(told.devices[0].data).to.deep.equal({
      format: 'event_id_only',
      default_payload: { aps: { 'mutable-content': 1 } },
    });
    expect(JSON.stringify(told)).not.to.include('secret');
  });

  it('is told that nothing is unread any more of what is read before its gateway has answered', async () => {
    const { me, other, roomId } = await listener();
    const asked = Promise.withResolvers<void>();
    const answer = Promise.withResolvers<void>();
    server.gateway.mood = async () => {
      asked.resolve();
      await answer.promise;
      return [200, { rejected: [] }];
    };
    const eventId = await server.app.say(other, roomId, 'read at once');
    await server.app.idle();
    await server.app.clock.advance(GRACE_MS);
    await asked.promise;
    await server.read(me, roomId, eventId);
    answer.resolve();
    const told = await server.told();
    expect(told.map(({ counts, event_id: id }) => [id, counts.unread])).to.deep.equal([
      [eventId, 1],
      [undefined, 0],
    ]);
  });

  it('hears of a mention with its tweaks, and with high priority', async () => {
    const { me, other, roomId } = await listener();
    const content = { msgtype: 'm.text', body: 'hey', 'm.mentions': { user_ids: [`@${me}:test`] } };
    await server.app.must(other, 'PUT', `/rooms/${roomId}/send/m.room.message/mention-${me}`, content);
    const [told] = await server.told();
    expect(told.prio).to.equal('high');
    expect(told.devices[0].tweaks).to.deep.equal({ sound: 'default', highlight: true });
  });

  it('hears of encrypted events with high priority, in rooms of any size', async () => {
    const { other, roomId } = await listener();
    const content = { algorithm: 'm.megolm.v1.aes-sha2', ciphertext: 'x', session_id: 's' };
    await server.app.must(other, 'PUT', `/rooms/${roomId}/send/m.room.encrypted/e-${other}`, content);
    const [told] = await server.told();
    expect([told.type, told.prio, told.content]).to.deep.equal(['m.room.encrypted', 'high', content]);
  });

  it('hears of an invitation, before its user is in the room', async () => {
    const [me, other] = [name(), name()];
    await server.push(me);
    const roomId = await server.app.room(other, { name: 'Come in', invite: [`@${me}:test`] });
    const [told, ...more] = await server.pushed();
    expect(more).to.deep.equal([]);
    expect([told.type, told.user_is_target, told.membership, told.room_name, told.room_id, told.counts]).to.deep.equal([
      'm.room.member',
      true,
      'invite',
      'Come in',
      roomId,
      { unread: 1 },
    ]);
    // Once it was answered, it waits no more.
    await server.app.join(me, roomId);
    expect((await server.told()).map(({ counts }) => counts)).to.deep.equal([{ unread: 0 }]);
  });

  it('names a room by its alias where it has no other name', async () => {
    const { other, roomId } = await listener();
    const alias = `#alias-${other}:test`;
    await server.app.must(other, 'PUT', `/directory/room/${encodeURIComponent(alias)}`, { room_id: roomId });
    await server.app.setState(other, roomId, 'm.room.canonical_alias', { alias });
    await server.app.say(other, roomId, 'hello');
    const [told] = await server.told();
    expect([told.room_name, told.room_alias]).to.deep.equal([alias, alias]);
  });

  it('is not told what its user sends, what nobody is notified of, or what happens in a room that is muted', async () => {
    const { me, other, roomId } = await listener();
    await server.app.say(me, roomId, 'my own');
    await server.app.must(other, 'PUT', `/rooms/${roomId}/send/m.room.message/n-${me}`, {
      msgtype: 'm.notice',
      body: 'notice',
    });
    await server.app.must(other, 'PUT', `/rooms/${roomId}/send/m.reaction/r-${me}`, {});
    const muted = `/pushrules/global/override/${encodeURIComponent(roomId)}`;
    await server.app.must(me, 'PUT', muted, {
      actions: [],
      conditions: [{ kind: 'event_match', key: 'room_id', pattern: roomId }],
    });
    await server.app.say(other, roomId, 'into silence');
    expect(await server.pushed()).to.deep.equal([]);
    await server.app.must(me, 'DELETE', muted);
    await server.told();
    await server.app.say(other, roomId, 'loud');
    expect((await server.pushed()).map(({ content }) => content.body)).to.deep.equal(['loud']);
  });

  it('is told nothing of those whom its user ignores, invitations included', async () => {
    const { me, other, roomId } = await listener();
    const ignored = { ignored_users: { [`@${other}:test`]: {} } };
    await server.app.must(me, 'PUT', `/user/@${me}:test/account_data/m.ignored_user_list`, ignored);
    await server.app.say(other, roomId, 'do you hear me');
    await server.app.room(other, { invite: [`@${me}:test`] });
    expect(await server.pushed()).to.deep.equal([]);
  });

  it('is told of no invitation that its user does not want to be shown', async () => {
    const { me, other } = await listener();
    const filter = { ignored_users: [`@${other}:*`] };
    await server.app.must(
      me,
      'PUT',
      `/user/@${me}:test/account_data/org.matrix.msc4155.invite_permission_config`,
      filter,
    );
    await server.app.room(other, { invite: [`@${me}:test`] });
    expect(await server.pushed()).to.deep.equal([]);
  });

  it('is not told what was read, redacted or left behind within the grace time', async () => {
    const { me, other, roomId } = await listener();
    const read = await server.app.say(other, roomId, 'read at once');
    await server.app.idle();
    await server.read(me, roomId, read, 'm.read.private');
    expect(await server.pushed()).to.deep.equal([]);
    const redacted = await server.app.say(other, roomId, 'oops');
    await server.app.idle();
    await server.app.must(other, 'PUT', `/rooms/${roomId}/redact/${redacted}/r-${me}`, {});
    expect(await server.pushed()).to.deep.equal([]);
    await server.app.say(other, roomId, 'answered at once');
    await server.app.idle();
    await server.app.say(me, roomId, 'the answer');
    expect(await server.pushed()).to.deep.equal([]);
    await server.app.say(other, roomId, 'too late');
    await server.app.idle();
    await server.app.must(me, 'POST', `/rooms/${roomId}/leave`, {});
    expect(await server.pushed()).to.deep.equal([]);
  });

  it('is told nothing of what came before its user was in the room, or before it was set', async () => {
    const [me, other] = [name(), name()];
    const roomId = await server.room(other);
    await server.push(me);
    await server.app.say(other, roomId, 'before');
    await server.app.join(me, roomId);
    expect(await server.pushed()).to.deep.equal([]);
    const late = name();
    await server.app.join(late, roomId);
    await server.app.say(other, roomId, 'nobody listens');
    await server.told();
    await server.push(late);
    expect(await server.pushed()).to.deep.equal([]);
  });

  it('is told the new count when its user reads on another device, sends something, or what is unread changes otherwise', async () => {
    const { me, other, roomId } = await listener();
    const [second, third] = [name(), name()];
    const otherRoom = await server.room(other, me, second, third);
    const first = await server.app.say(other, roomId, 'one');
    await server.app.say(other, roomId, 'two');
    const last = await server.app.say(other, otherRoom, 'three');
    expect((await server.told()).map(({ counts }) => counts.unread)).to.deep.equal([2, 2, 2]);
    await server.read(me, roomId, first);
    expect(await server.told()).to.deep.equal([]);
    await server.read(me, otherRoom, last, 'm.read.private');
    const [told, ...more] = await server.told();
    expect(more).to.deep.equal([]);
    expect(Object.keys(told).toSorted()).to.deep.equal(['counts', 'devices']);
    expect([told.counts, told.devices[0].pushkey]).to.deep.equal([{ unread: 1 }, me]);
    await server.app.say(me, roomId, 'my own');
    expect((await server.told()).map(({ counts }) => counts)).to.deep.equal([{ unread: 0 }]);
    const event = await server.app.say(other, roomId, 'oops');
    expect((await server.told()).map(({ counts }) => counts)).to.deep.equal([{ unread: 1 }]);
    await server.app.must(other, 'PUT', `/rooms/${roomId}/redact/${event}/red-${me}`, {});
    await server.settle(30_000);
    expect((await server.told()).map(({ counts }) => counts)).to.deep.equal([{ unread: 0 }]);
    await server.app.say(other, roomId, 'four');
    await server.told();
    await server.app.must(other, 'POST', `/rooms/${roomId}/kick`, { user_id: `@${me}:test` });
    expect((await server.told()).map(({ counts }) => counts)).to.deep.equal([{ unread: 0 }]);
  });

  it('is told no counts when it wants none', async () => {
    const { me, other, roomId } = await listener();
    await server.push(me, {}, { 'org.matrix.msc4076.disable_badge_count': true });
    const event = await server.app.say(other, roomId, 'one');
    const [told] = await server.told();
    expect(told).not.to.have.property('counts');
    await server.read(me, roomId, event);
    expect(await server.told()).to.deep.equal([]);
  });

  it('can be silenced from another device and set going again, without what came meanwhile', async () => {
    const { me, other, roomId } = await listener();
    const session = await server.app.session(me);
    const listed = async (): Promise<unknown[]> =>
      (await server.app.must(me, 'GET', '/pushers')).pushers.map((pusher: Record<string, unknown>) => [
        pusher['enabled'],
        pusher['org.matrix.msc3881.enabled'],
        pusher['device_id'],
        pusher['org.matrix.msc3881.device_id'],
      ]);
    expect(await listed()).to.deep.equal([[true, true, session.deviceId, session.deviceId]]);
    await server.app.must(`${me}/LAPTOP`, 'POST', '/pushers/set', {
      ...server.pusher(me),
      'org.matrix.msc3881.enabled': false,
    });
    expect(await listed()).to.deep.equal([[false, false, session.deviceId, session.deviceId]]);
    await server.app.say(other, roomId, 'unheard');
    expect(await server.told()).to.deep.equal([]);
    await server.app.must(`${me}/LAPTOP`, 'POST', '/pushers/set', { ...server.pusher(me), enabled: true });
    expect(await server.pushed()).to.deep.equal([]);
    await server.app.say(other, roomId, 'heard');
    expect((await server.pushed()).map(({ content }) => content.body)).to.deep.equal(['heard']);
  });

  it('is removed when its gateway rejects its pushkey, and no other one is', async () => {
    const { me, other, roomId } = await listener();
    const neighbour = name();
    await server.app.join(neighbour, roomId);
    await server.push(neighbour);
    await server.told();
    server.gateway.mood = () => [200, { rejected: [me, 'somebody else'] }];
    await server.app.say(other, roomId, 'one');
    expect(await server.pushed()).to.have.length(2);
    expect((await server.app.must(me, 'GET', '/pushers')).pushers).to.deep.equal([]);
    expect((await server.app.must(neighbour, 'GET', '/pushers')).pushers).to.have.length(1);
    await server.app.say(other, roomId, 'two');
    expect((await server.pushed()).map(({ devices }) => devices[0].pushkey)).to.deep.equal([neighbour]);
  });

  it('ends with its device, and with a password change on another one', async () => {
    const { me, other, roomId } = await listener();
    await server.push(`${me}/PHONE`, { pushkey: `${me}-phone` });
    await server.app.say(other, roomId, 'both');
    expect((await server.pushed()).map(({ devices }) => devices[0].pushkey).toSorted()).to.deep.equal([
      me,
      `${me}-phone`,
    ]);
    await server.app.say(other, roomId, 'on the way');
    await server.app.idle();
    await server.app.must(`${me}/PHONE`, 'POST', '/logout', {});
    expect((await server.pushed()).map(({ devices }) => devices[0].pushkey)).to.deep.equal([me]);
    expect((await server.app.must(me, 'GET', '/pushers')).pushers).to.have.length(1);
  });

  it('moves to whoever sets the same pushkey of the same application last, unless they add theirs', async () => {
    const [first, second, third] = [name(), name(), name()];
    const roomId = await server.room(name(), first, second, third);
    const talker = name();
    await server.app.join(talker, roomId);
    const shared = `shared-${first}`;
    for (const one of [first, second]) await server.push(one, { pushkey: shared });
    await server.push(third, { pushkey: shared, append: true });
    await server.told();
    await server.app.say(talker, roomId, 'for two');
    expect(await server.pushed()).to.have.length(2);
    expect((await server.app.must(first, 'GET', '/pushers')).pushers).to.deep.equal([]);
    await server.app.must(second, 'POST', '/pushers/set', { kind: null, app_id: 'test.app', pushkey: shared });
    await server.app.say(talker, roomId, 'for one');
    expect(await server.pushed()).to.have.length(1);
  });
});
