import { expect } from 'chai';
import { PushServer } from './push-server.ts';

const RULE = '.org.matrix.msc4028.encrypted_event';

describe('encrypted events', function () {
  this.timeout(60_000);
  let server: PushServer;
  before(async () => {
    server = await PushServer.start();
  });
  after(() => server?.stop());

  let count = 0;
  const encrypt = async (roomId: string, more: object = {}): Promise<string> => {
    const content = { algorithm: 'm.megolm.v1.aes-sha2', ciphertext: `cipher ${(count += 1)}`, ...more };
    return (await server.app.must('alice', 'PUT', `/rooms/${roomId}/send/m.room.encrypted/e${count}`, content))
      .event_id;
  };
  /** A room of three in which one has a pusher and wants to hear of mentions alone. */
  const listener = async (me: string): Promise<string> => {
    const roomId = await server.room('alice', me, `${me}-third`);
    await server.push(me);
    await server.app.must(me, 'PUT', `/pushrules/global/room/${encodeURIComponent(roomId)}`, { actions: [] });
    await server.told();
    return roomId;
  };
  const pushedTypes = async (): Promise<unknown[]> => (await server.pushed()).map(({ type, counts }) => [type, counts]);
  const unread = async (me: string, roomId: string): Promise<unknown> =>
    (await server.app.must(me, 'GET', '/sync')).rooms.join[roomId].unread_notifications.notification_count;

  it('are pushed in rooms of which one wants to hear mentions alone, and are not unread for that', async () => {
    const roomId = await listener('bob');
    await encrypt(roomId);
    expect(await pushedTypes()).to.deep.equal([['m.room.encrypted', { unread: 0 }]]);
    expect(await unread('bob', roomId)).to.equal(0);
    await server.app.say('alice', roomId, 'in plain text');
    expect(await pushedTypes()).to.deep.equal([]);
    const edited = await encrypt(roomId, { 'm.relates_to': { rel_type: 'm.replace', event_id: '$x' } });
    expect(await pushedTypes()).to.have.length(1);
    await server.read('bob', roomId, edited);
    await server.told();
    const read = await encrypt(roomId);
    await server.app.idle();
    await server.read('bob', roomId, read, 'm.read.private');
    expect(await pushedTypes()).to.deep.equal([]);
  });

  it('are not pushed to who has said something since', async () => {
    const roomId = await server.room('alice', 'gina');
    await server.push('gina');
    await server.told();
    await encrypt(roomId);
    await server.app.say('gina', roomId, 'I have seen it');
    expect(await pushedTypes()).to.deep.equal([]);
    await encrypt(roomId);
    expect(await pushedTypes()).to.deep.equal([['m.room.encrypted', { unread: 1 }]]);
  });

  it('are not pushed in silenced rooms, from those who are ignored, or where rules of the user say so', async () => {
    const roomId = await listener('carol');
    const conditions = [{ kind: 'event_match', key: 'room_id', pattern: roomId }];
    const muted = `/pushrules/global/override/${encodeURIComponent(roomId)}`;
    await server.app.must('carol', 'PUT', muted, { actions: [], conditions });
    await encrypt(roomId);
    expect(await pushedTypes()).to.deep.equal([]);
    await server.app.must('carol', 'DELETE', muted);
    const own = [{ kind: 'event_match', key: 'sender', pattern: '@alice:test' }];
    await server.app.must('carol', 'PUT', '/pushrules/global/override/alice', { actions: [], conditions: own });
    await encrypt(roomId);
    expect(await pushedTypes()).to.deep.equal([]);
    await server.app.must('carol', 'DELETE', '/pushrules/global/override/alice');
    await encrypt(roomId);
    expect(await pushedTypes()).to.have.length(1);
    const ignored = { ignored_users: { '@alice:test': {} } };
    await server.app.must('carol', 'PUT', '/user/@carol:test/account_data/m.ignored_user_list', ignored);
    await encrypt(roomId);
    expect(await pushedTypes()).to.deep.equal([]);
  });

  it('are pushed by a rule that clients see, and may disable', async () => {
    const roomId = await listener('dave');
    const { global } = await server.app.must('dave', 'GET', '/pushrules/');
    expect(global.override[1]).to.deep.equal({
      rule_id: RULE,
      default: true,
      enabled: true,
      conditions: [{ kind: 'event_property_is', key: 'type', value: 'm.room.encrypted' }],
      actions: ['notify'],
    });
    await server.app.must('dave', 'PUT', `/pushrules/global/override/${RULE}/enabled`, { enabled: false });
    await encrypt(roomId);
    expect(await pushedTypes()).to.deep.equal([]);
    await server.app.must('dave', 'PUT', `/pushrules/global/override/${RULE}/enabled`, { enabled: true });
    await encrypt(roomId);
    expect(await pushedTypes()).to.have.length(1);
    const features = (await server.app.must(undefined, 'GET', '/_matrix/client/versions')).unstable_features;
    expect([features['org.matrix.msc4028'], features['org.matrix.msc3881']]).to.deep.equal([true, true]);
  });
});

describe('a server that does not push all encrypted events', function () {
  this.timeout(60_000);
  let server: PushServer;
  before(async () => {
    server = await PushServer.start({ config: { push: { encryptedEvents: false } } });
  });
  after(() => server?.stop());

  it('has no rule for it, and does not say that it does', async () => {
    const { global } = await server.app.must('bob', 'GET', '/pushrules/');
    expect(JSON.stringify(global)).not.to.include('msc4028');
    const features = (await server.app.must(undefined, 'GET', '/_matrix/client/versions')).unstable_features;
    expect(features['org.matrix.msc4028']).to.equal(false);
  });
});
