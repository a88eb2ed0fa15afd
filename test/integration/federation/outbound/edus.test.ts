import { expect } from 'chai';
import { sql } from '#src/storage/database.ts';
import type { InProcessServer, Json } from '../../../support/in-process-server.ts';
import { type Federation, type RemotePartner, startFederation } from '#test/support/federation/federation.ts';
import { remoteMember } from '#test/support/federation/remote-members.ts';

const SEND = /^\/_matrix\/federation\/v1\/send\//;
const NOTHING_TO_TELL = sql(
  'test_nothing_to_tell',
  `insert into destination_device_lists (destination, user_id, after) select $1, '@gone' || n || ':a.test', 0 from generate_series(1, $2) n`,
);
const DEVICES = /^\/_matrix\/federation\/v1\/user\/devices\//;

describe('EDUs to other servers', () => {
  let federation: Federation;
  let a: InProcessServer;
  let b: InProcessServer;
  let p: RemotePartner;
  let count = 0;

  before(async () => {
    federation = await startFederation(['a.test', 'b.test'], {
      partners: ['p.test'],
      server: { config: { presence: { federate: true } } },
    });
    a = federation.server('a.test');
    b = federation.server('b.test');
    p = federation.partner('p.test');
  });
  after(() => federation.stop());
  beforeEach(async () => {
    p.on('PUT', SEND, () => ({ body: { pdus: {} } }));
    await federation.idle();
    p.asked.length = 0;
  });

  const ALICE = '@alice:a.test';
  const BOB = '@bob:b.test';
  /** A room of alice's, with bob of the other server in it. */
  const shared = async (): Promise<string> => {
    const roomId = await a.room('alice', { preset: 'public_chat' });
    await b.must('bob', 'POST', `/join/${roomId}?server_name=a.test`, {});
    await federation.idle();
    return roomId;
  };
  /** Rooms of alice's, with the user of the partner in them. */
  const withPartner = async (count: number): Promise<string[]> => {
    const rooms: string[] = [];
    for (let n = 0; n < count; n++) {
      const roomId = await a.room('alice', { preset: 'public_chat' });
      await remoteMember(a, roomId, '@user:p.test', 'join', p.signingKey);
      rooms.push(roomId);
    }
    return rooms;
  };
  const since = async (server: InProcessServer, token: string): Promise<string> =>
    (await server.must(token, 'GET', '/sync?timeout=0')).next_batch;
  const news = async (server: InProcessServer, token: string, from: string): Promise<Json> => {
    await federation.idle();
    return server.must(token, 'GET', `/sync?timeout=0&since=${from}`);
  };
  const ephemeral = (sync: Json, roomId: string, type: string): Json[] =>
    (sync.rooms?.join?.[roomId]?.ephemeral?.events ?? []).filter((event: Json) => event.type === type);
  const toDevice = (server: InProcessServer, user: string, to: string, content: Json): Promise<Json> =>
    server.must(user, 'PUT', `/sendToDevice/m.test/${(count += 1)}`, { messages: { [to]: { '*': content } } });
  const edusOf = (type: string): Json[] =>
    p
      .requests('PUT', SEND)
      .flatMap(({ body }) => body.edus ?? [])
      .filter((edu: Json) => edu.edu_type === type)
      .map(({ content }: Json) => content);
  const keysOf = (userId: string, deviceId: string, key = 'one'): Json => ({
    user_id: userId,
    device_id: deviceId,
    algorithms: ['m.olm.v1.curve25519-aes-sha2'],
    keys: { [`curve25519:${deviceId}`]: key, [`ed25519:${deviceId}`]: key },
    signatures: { [userId]: { [`ed25519:${deviceId}`]: 'signature' } },
  });

  it('shows who types on the other server, and who stops', async () => {
    const roomId = await shared();
    let from = await since(b, 'bob');
    await a.must('alice', 'PUT', `/rooms/${roomId}/typing/${ALICE}`, { typing: true, timeout: 30_000 });
    let sync = await news(b, 'bob', from);
    expect(ephemeral(sync, roomId, 'm.typing').map(({ content }) => content.user_ids)).to.deep.equal([[ALICE]]);
    from = sync.next_batch;
    await a.must('alice', 'PUT', `/rooms/${roomId}/typing/${ALICE}`, { typing: false });
    sync = await news(b, 'bob', from);
    expect(ephemeral(sync, roomId, 'm.typing').map(({ content }) => content.user_ids)).to.deep.equal([[]]);
  });

  it('shows up to where users of the other server have read, in a thread and without one at the same event', async () => {
    const roomId = await shared();
    const eventId = await a.say('alice', roomId, 'read this');
    await federation.idle();
    const from = await since(a, 'alice');
    await b.must('bob', 'POST', `/rooms/${roomId}/receipt/m.read/${encodeURIComponent(eventId)}`, {
      thread_id: 'main',
    });
    await b.must('bob', 'POST', `/rooms/${roomId}/receipt/m.read/${encodeURIComponent(eventId)}`, {});
    await b.must('bob', 'POST', `/rooms/${roomId}/receipt/m.read.private/${encodeURIComponent(eventId)}`, {});
    await federation.idle();
    const receipts = await a.services.receipts.forRoom((await a.services.rooms.byId(roomId))!);
    expect(
      receipts
        .all()
        .filter(({ userId }) => userId === BOB)
        .map(({ kind, thread }) => [kind, thread]),
    ).to.have.deep.members([
      ['m.read', 'main'],
      ['m.read', undefined],
    ]);
    expect(ephemeral(await news(a, 'alice', from), roomId, 'm.receipt')).to.have.length(1);
  });

  it('shows who is here on the other server', async () => {
    await shared();
    const from = await since(b, 'bob');
    await a.must('alice', 'PUT', `/presence/${ALICE}/status`, { presence: 'unavailable', status_msg: 'at lunch' });
    const sync = await news(b, 'bob', from);
    const told = sync.presence.events.filter(({ sender }: Json) => sender === ALICE);
    expect(told.map(({ content }: Json) => [content.presence, content.status_msg])).to.deep.equal([
      ['unavailable', 'at lunch'],
    ]);
  });

  it('brings messages to devices of the other server once, though both are killed on the way', async () => {
    await shared();
    const from = await since(b, 'bob');
    federation.cut('a.test', 'b.test');
    await toDevice(a, 'alice', BOB, { n: 1 });
    await toDevice(a, 'alice', BOB, { n: 2 });
    await a.kill();
    await a.revive();
    await b.kill();
    await b.revive();
    federation.heal('a.test', 'b.test');
    await federation.clock.advance(30_000);
    const sync = await news(b, 'bob', from);
    expect(sync.to_device.events.map(({ content, sender }: Json) => [content.n, sender])).to.deep.equal([
      [1, ALICE],
      [2, ALICE],
    ]);
    const rows = await a.services.database.query(
      { name: 'test_destination_to_device', text: 'select 1 from destination_to_device' },
      [],
    );
    expect(rows).to.deep.equal([]);
  });

  it('takes a message that a server sends again, be it in another transaction, for the one that came', async () => {
    const roomId = await a.room('alice', { preset: 'public_chat' });
    await remoteMember(a, roomId, '@user:p.test', 'join', p.signingKey);
    const from = await since(a, 'alice');
    const content = (sender: string): Json => ({
      message_id: 'same',
      sender,
      type: 'm.test',
      messages: { [ALICE]: { '*': { n: 1 } }, '@nobody:a.test': { '*': {} }, [BOB]: { '*': {} } },
    });
    for (const sender of ['@user:p.test', '@user:p.test', '@mallory:b.test'])
      await p.transact('a.test', { edus: [{ edu_type: 'm.direct_to_device', content: content(sender) }] });
    const sync = await news(a, 'alice', from);
    expect(sync.to_device.events.map(({ sender }: Json) => sender)).to.deep.equal(['@user:p.test']);
  });

  it('brings messages for devices before events, however many there are', async () => {
    const roomId = await a.room('alice', { preset: 'public_chat' });
    await remoteMember(a, roomId, '@user:p.test', 'join', p.signingKey);
    await federation.idle();
    p.asked.length = 0;
    federation.cut('a.test', 'p.test');
    for (let n = 0; n < 105; n++) await toDevice(a, 'alice', '@user:p.test', { n });
    await a.say('alice', roomId, 'after them');
    await federation.idle();
    federation.heal('a.test', 'p.test');
    await federation.clock.advance(30_000);
    await federation.idle();
    const transactions = p.requests('PUT', SEND).map(({ body }) => body);
    expect(edusOf('m.direct_to_device').map(({ messages }) => messages['@user:p.test']['*'].n)).to.deep.equal(
      Array.from({ length: 105 }, (_, n) => n),
    );
    expect(Math.max(...transactions.map(({ edus = [] }) => edus.length))).to.be.at.most(100);
    const first = transactions.findIndex(({ pdus }) => pdus.length > 0);
    const last = transactions.findLastIndex(({ edus = [] }) =>
      edus.some((edu: Json) => edu.edu_type === 'm.direct_to_device'),
    );
    expect(first).to.be.at.least(last);
  });

  it('tells of devices that change, each update naming the one before, and of all of them to whoever asks', async () => {
    const roomId = await a.room('dora', { preset: 'public_chat' });
    await remoteMember(a, roomId, '@user:p.test', 'join', p.signingKey);
    const userId = '@dora:a.test';
    await a.must('dora', 'POST', '/keys/upload', { device_keys: keysOf(userId, 'DEVICE') });
    await federation.idle();
    await a.must('dora/PHONE', 'GET', '/account/whoami');
    await federation.idle();
    await a.must('dora/PHONE', 'POST', '/keys/upload', { device_keys: keysOf(userId, 'PHONE') });
    await federation.idle();
    await a.must('dora/PHONE', 'POST', '/logout', {});
    await federation.idle();
    const updates = edusOf('m.device_list_update').filter((content) => content.user_id === userId);
    expect(updates.map(({ deleted, device_id: deviceId }) => [deviceId, deleted === true])).to.deep.equal([
      ['DEVICE', false],
      ['PHONE', false],
      ['PHONE', false],
      ['PHONE', true],
    ]);
    expect(updates.map(({ prev_id: previous }) => previous)).to.deep.equal([
      [],
      [updates[0].stream_id],
      [updates[1].stream_id],
      [updates[2].stream_id],
    ]);
    const answer = await p.send('a.test', 'GET', `/_matrix/federation/v1/user/devices/${userId}`);
    expect(answer.status).to.equal(200);
    expect(answer.body.stream_id).to.equal(updates[3].stream_id);
    expect(answer.body.devices.map((device: Json) => device.device_id)).to.deep.equal(['DEVICE']);
  });

  it('tells of devices without keys that come, are renamed and go, and lists them for whoever asks', async () => {
    const roomId = await a.room('nora/ALPHA', { preset: 'public_chat' });
    await remoteMember(a, roomId, '@user:p.test', 'join', p.signingKey);
    const userId = '@nora:a.test';
    const listed = async (): Promise<Json[]> =>
      (await p.send('a.test', 'GET', `/_matrix/federation/v1/user/devices/${userId}`)).body.devices;
    await a.must('nora/BOT', 'GET', '/account/whoami');
    await federation.idle();
    expect((await listed()).map(({ device_id: id, keys }) => [id, keys])).to.deep.equal([
      ['ALPHA', undefined],
      ['BOT', undefined],
    ]);
    await a.must('nora/BOT', 'PUT', '/devices/BOT', { display_name: 'Robot' });
    await federation.idle();
    expect((await listed()).find(({ device_id: id }) => id === 'BOT').device_display_name).to.equal('Robot');
    await a.must('nora/BOT', 'POST', '/keys/upload', { device_keys: keysOf(userId, 'BOT') });
    await federation.idle();
    await a.must('nora/BOT', 'POST', '/logout', {});
    await federation.idle();
    const updates = edusOf('m.device_list_update').filter((content) => content.user_id === userId);
    expect(
      updates.map(({ deleted, device_display_name: name, device_id: id, keys }) => [
        id,
        name,
        deleted,
        keys?.device_id,
      ]),
    ).to.deep.equal([
      ['ALPHA', undefined, undefined, undefined],
      ['BOT', undefined, undefined, undefined],
      ['BOT', 'Robot', undefined, undefined],
      ['BOT', 'Robot', undefined, 'BOT'],
      ['BOT', undefined, true, undefined],
    ]);
    expect(updates.map(({ prev_id: previous }) => previous)).to.deep.equal([
      [],
      ...updates.slice(0, -1).map(({ stream_id: id }) => [id]),
    ]);
    expect((await listed()).map(({ device_id: id }) => id)).to.deep.equal(['ALPHA']);
    // Nobody can encrypt for a device without keys.
    const { device_keys: keys } = await a.must('alice', 'POST', '/keys/query', { device_keys: { [userId]: [] } });
    expect(keys).to.deep.equal({ [userId]: {} });
  });

  it('notes nothing of devices without keys while no other server shares a room with the user, and tells of them when one does', async () => {
    const [roomId] = (await withPartner(1)) as [string];
    const userId = '@olga:a.test';
    const noted = (): Promise<Json[]> =>
      a.services.database.query(
        { name: 'test_keyless_noted', text: 'select device_id from told_devices where user_id = $1' },
        [userId],
      );
    for (const device of ['BOT', 'GONE']) await a.must(`olga/${device}`, 'GET', '/account/whoami');
    await a.room('olga/BOT', {});
    await a.must('olga/GONE', 'POST', '/logout', {});
    await a.must('olga/BOT', 'PUT', '/devices/BOT', { display_name: 'Robot' });
    await federation.idle();
    expect(await noted()).to.deep.equal([]);
    await a.must('olga/BOT', 'POST', `/join/${roomId}`, {});
    await federation.idle();
    const { body } = await p.send('a.test', 'GET', `/_matrix/federation/v1/user/devices/${userId}`);
    expect(body.devices).to.deep.equal([{ device_id: 'BOT', device_display_name: 'Robot' }]);
    const told = (): Json[] =>
      edusOf('m.device_list_update')
        .filter((edu) => edu.user_id === userId)
        .map(({ deleted, device_display_name: name, device_id: id }) => [id, name, deleted]);
    expect(told()).to.deep.equal([['BOT', 'Robot', undefined]]);
    // Alone again: what changes now is told when the server is back, as it is then.
    await a.must('olga/BOT', 'POST', `/rooms/${roomId}/leave`, {});
    await federation.idle();
    p.asked.length = 0;
    await a.must('olga/BOT', 'PUT', '/devices/BOT', { display_name: 'Android' });
    await a.must('olga/PHONE', 'GET', '/account/whoami');
    await federation.idle();
    expect(told()).to.deep.equal([]);
    await a.must('olga/BOT', 'POST', `/join/${roomId}`, {});
    await federation.idle();
    expect(told()).to.deep.equal([
      ['BOT', 'Android', undefined],
      ['PHONE', undefined, undefined],
    ]);
  });

  it('costs no transaction for users whose devices have no keys, such as all who register', async () => {
    const { database, deviceListChanges } = a.services;
    const names = Array.from({ length: 40 }, (_, index) => `keyless${index}`);
    await Promise.all(names.map((name) => a.must(name, 'GET', '/account/whoami')));
    const userIds = names.map((name) => `@${name}:a.test`);
    await federation.idle();
    const before = database.statements();
    await database.write(async (tx) => {
      for (const userId of userIds) await deviceListChanges.mark(tx, userId);
    });
    await federation.idle();
    // One to note each of them, and some for all together.
    expect(database.statements() - before - userIds.length).to.be.at.most(30);
  });

  it('tells servers that a user joins a room with of all the devices of the user, unless they hear of them already', async () => {
    const rooms = await withPartner(2);
    for (const deviceId of ['DEVICE', 'GONE', 'PHONE'])
      await a.must(`emil/${deviceId}`, 'POST', '/keys/upload', { device_keys: keysOf('@emil:a.test', deviceId) });
    await a.must('emil/GONE', 'POST', '/logout', {});
    await federation.idle();
    const told = (userId: string): Json[] => edusOf('m.device_list_update').filter((edu) => edu.user_id === userId);
    expect(told('@emil:a.test')).to.deep.equal([]);
    for (const roomId of rooms) {
      await a.must('emil/DEVICE', 'POST', `/join/${roomId}`, {});
      await federation.idle();
      const updates = told('@emil:a.test');
      // Of what is gone as well: nobody knows what the server has heard of before.
      expect(updates.map(({ device_id: id, deleted, keys }) => [id, deleted, keys?.device_id])).to.deep.equal([
        ['DEVICE', undefined, 'DEVICE'],
        ['PHONE', undefined, 'PHONE'],
        ['GONE', true, undefined],
      ]);
      const [first, second] = updates.map(({ stream_id: id }) => id);
      expect(updates.map(({ prev_id: previous }) => previous)).to.deep.equal([[], [first], [second]]);
    }
    // A room that is on other servers only.
    await b.must('frida', 'POST', '/keys/upload', { device_keys: keysOf('@frida:b.test', 'DEVICE') });
    await federation.idle();
    await b.must('frida', 'POST', `/join/${rooms[0]}?server_name=a.test`, {});
    await federation.idle();
    expect(told('@frida:b.test').map(({ device_id: id }) => id)).to.deep.equal(['DEVICE']);
  });

  it('tells a server of the devices of a user who joins several of its rooms at once', async () => {
    const rooms = await withPartner(2);
    await a.must('gus', 'POST', '/keys/upload', { device_keys: keysOf('@gus:a.test', 'DEVICE') });
    for (const roomId of rooms) await a.must('gus', 'POST', `/join/${roomId}`, {});
    await federation.idle();
    p.asked.length = 0;
    // As when both have been joined before one of them is looked at.
    for (const roomId of rooms)
      await a.services.deviceLists.shareWith((await a.services.rooms.byId(roomId))!.nid, '@gus:a.test');
    await federation.idle();
    expect(edusOf('m.device_list_update').map(({ device_id: id }) => id)).to.deep.equal(['DEVICE']);
  });

  it('tells a server that was away of a device that is gone, though the user joins one more room with it', async () => {
    const [first, second] = (await withPartner(2)) as [string, string];
    await a.must('hal/DEVICE', 'POST', '/keys/upload', { device_keys: keysOf('@hal:a.test', 'DEVICE') });
    await a.must('hal/KEYLESS', 'POST', `/join/${second}`, {});
    await federation.idle();
    p.on('PUT', SEND, () => ({ status: 502 }));
    await a.must('alice', 'PUT', `/rooms/${second}/send/m.room.message/away`, { msgtype: 'm.text', body: 'away' });
    await federation.idle();
    await a.must('hal/DEVICE', 'POST', '/logout', {});
    await federation.idle();
    await a.must('hal/KEYLESS', 'POST', `/join/${first}`, {});
    await federation.idle();
    p.asked.length = 0;
    p.on('PUT', SEND, () => ({ body: { pdus: {} } }));
    await federation.clock.advance(60_000);
    await federation.idle();
    const updates = edusOf('m.device_list_update').filter((edu) => edu.user_id === '@hal:a.test');
    expect(updates.map(({ device_id: id, deleted }) => [id, deleted])).to.deep.equal([
      ['KEYLESS', undefined],
      ['DEVICE', true],
    ]);
  });

  it('notes nothing for users without devices, in a statement for many, and sends nothing for them', async () => {
    await withPartner(1);
    const { database, deviceListEdus, deviceLists } = a.services;
    const userIds = Array.from({ length: 300 }, (_, index) => `@nobody${index}:a.test`);
    await federation.idle();
    p.asked.length = 0;
    const before = database.statements();
    await deviceLists.tell(userIds, ['p.test']);
    expect(database.statements() - before).to.be.at.most(5);
    expect(deviceListEdus.has('p.test')).to.equal(false);
    await federation.idle();
    expect(p.requests('PUT', SEND)).to.deep.equal([]);
  });

  it('sends the update of a user behind hundreds with no pending changes', async () => {
    const [roomId] = (await withPartner(1)) as [string];
    await a.must('ida', 'POST', `/join/${roomId}`, {});
    await federation.idle();
    p.asked.length = 0;
    await a.services.database.query(NOTHING_TO_TELL, ['p.test', 250]);
    await a.must('ida', 'POST', '/keys/upload', { device_keys: keysOf('@ida:a.test', 'DEVICE') });
    await federation.idle();
    expect(edusOf('m.device_list_update').map(({ user_id: userId }) => userId)).to.deep.equal(['@ida:a.test']);
    expect(a.services.deviceListEdus.has('p.test')).to.equal(false);
  });

  it('keeps the devices of users of another server, and asks for them again when it missed an update', async () => {
    const roomId = await a.room('alice', { preset: 'public_chat' });
    const user = '@ed:p.test';
    await remoteMember(a, roomId, user, 'join', p.signingKey);
    let devices: Json[] = [{ device_id: 'ONE', keys: keysOf(user, 'ONE'), device_display_name: 'first' }];
    let streamId = 5;
    p.on('GET', DEVICES, () => ({ body: { user_id: user, stream_id: streamId, devices } }));
    const ask = async (): Promise<string[]> => {
      const { device_keys: keys } = await a.must('alice', 'POST', '/keys/query', { device_keys: { [user]: [] } });
      return Object.keys(keys[user] ?? {});
    };
    expect(await ask()).to.deep.equal(['ONE']);
    expect(await ask()).to.deep.equal(['ONE']);
    expect(p.requests('GET', DEVICES)).to.have.length(1);
    let from = await since(a, 'alice');
    const update = (deviceId: string, stream: number, previous: number[]): Promise<Json> =>
      p.transact('a.test', {
        edus: [
          {
            edu_type: 'm.device_list_update',
            content: {
              user_id: user,
              device_id: deviceId,
              stream_id: stream,
              prev_id: previous,
              keys: keysOf(user, deviceId),
            },
          },
        ],
      });
    await update('TWO', 6, [5]);
    let sync = await news(a, 'alice', from);
    expect(sync.device_lists.changed).to.deep.equal([user]);
    expect(await ask()).to.deep.equal(['ONE', 'TWO']);
    expect(p.requests('GET', DEVICES)).to.have.length(1);
    from = sync.next_batch;
    devices = ['ONE', 'FOUR'].map((deviceId) => ({ device_id: deviceId, keys: keysOf(user, deviceId) }));
    streamId = 8;
    await update('FOUR', 8, [7]);
    sync = await news(a, 'alice', from);
    expect(sync.device_lists.changed).to.deep.equal([user]);
    expect(await ask()).to.deep.equal(['FOUR', 'ONE']);
    expect(p.requests('GET', DEVICES)).to.have.length(2);
    from = sync.next_batch;
    // A user who shares no room any more is forgotten: their changes are not sent any more.
    await remoteMember(a, roomId, user, 'leave', p.signingKey);
    sync = await news(a, 'alice', from);
    expect(sync.device_lists.left).to.deep.equal([user]);
    const rows = await a.services.database.query(
      { name: 'test_remote_device_lists', text: "select 1 from remote_device_lists where user_id = '@ed:p.test'" },
      [],
    );
    expect(rows).to.deep.equal([]);
  });

  it('believes no server what is not its own to tell', async () => {
    const roomId = await shared();
    await remoteMember(a, roomId, '@user:p.test', 'join', p.signingKey);
    const eventId = await a.say('alice', roomId, 'x');
    await federation.idle();
    const from = await since(a, 'alice');
    await p.transact('a.test', {
      edus: [
        { edu_type: 'm.typing', content: { room_id: roomId, user_id: BOB, typing: true } },
        { edu_type: 'm.typing', content: { room_id: roomId, user_id: '@stranger:p.test', typing: true } },
        {
          edu_type: 'm.receipt',
          content: { [roomId]: { 'm.read': { [BOB]: { event_ids: [eventId], data: { ts: 1 } } } } },
        },
        { edu_type: 'm.presence', content: { push: [{ user_id: BOB, presence: 'online', status_msg: 'forged' }] } },
        { edu_type: 'm.presence', content: { push: [{ user_id: '@stranger:p.test', presence: 'online' }] } },
        {
          edu_type: 'm.device_list_update',
          content: { user_id: BOB, device_id: 'X', stream_id: 1_000, prev_id: [], keys: keysOf(BOB, 'X') },
        },
        { edu_type: 'm.receipt', content: { [roomId]: 7, 'no room': { 'm.read': [] } } },
        { edu_type: 'm.direct_to_device', content: { messages: 7 } },
      ],
    });
    const sync = await news(a, 'alice', from);
    expect(sync.rooms?.join?.[roomId]?.ephemeral?.events ?? []).to.deep.equal([]);
    expect(JSON.stringify(sync.presence ?? {}))
      .not.to.include('forged')
      .and.not.to.include('stranger');
    expect(sync.device_lists?.changed ?? []).to.deep.equal([]);
  });

  it('sends servers that come into a room the events that are still sticky there', async () => {
    const roomId = await a.room('alice', { preset: 'public_chat' });
    await a.must('alice', 'PUT', `/rooms/${roomId}/send/m.test/s1?org.matrix.msc4354.sticky_duration_ms=600000`, {
      body: 'sticky',
    });
    await a.say('alice', roomId, 'not sticky');
    await remoteMember(a, roomId, '@user:p.test', 'join', p.signingKey);
    await federation.idle();
    const pdus = p.requests('PUT', SEND).flatMap(({ body }) => body.pdus);
    expect(pdus.filter((pdu) => pdu.room_id === roomId).map(({ content }) => content.body)).to.deep.equal(['sticky']);
  });

  it('sends sticky events to a server that came while it could not be reached, though this server is killed meanwhile', async () => {
    const roomId = await a.room('alice', { preset: 'public_chat' });
    // More than one transaction holds.
    const bodies = Array.from({ length: 60 }, (_, index) => `sticky ${index}`);
    for (const body of bodies)
      await a.must(
        'alice',
        'PUT',
        `/rooms/${roomId}/send/m.test/${body}?org.matrix.msc4354.sticky_duration_ms=3000000`,
        {
          body,
        },
      );
    p.on('PUT', SEND, () => ({ status: 503, body: {} }));
    await remoteMember(a, roomId, '@user:p.test', 'join', p.signingKey);
    await a.say('alice', roomId, 'after the join');
    await federation.clock.advance(5_000);
    await federation.idle();
    await a.kill();
    await a.revive();
    p.asked.length = 0;
    p.on('PUT', SEND, () => ({ body: { pdus: {} } }));
    await federation.clock.advance(60_000);
    await federation.idle();
    const pdus = p.requests('PUT', SEND).flatMap(({ body }) => body.pdus);
    expect(pdus.filter((pdu) => pdu.room_id === roomId).map(({ content }) => content.body)).to.deep.equal([
      ...bodies,
      'after the join',
    ]);
    await federation.clock.advance(2_000);
    await federation.idle();
    const rows = await a.services.database.query(
      {
        name: 'test_destination_rooms_of_sticky',
        text: `select room from destination_rooms where destination = 'p.test'`,
      },
      [],
    );
    expect(rows).to.deep.equal([]);
  });

  it('takes no change for a new one after a restart that concerned no server when it was made', async () => {
    const roomId = await a.room('rita/BOT', { preset: 'public_chat' });
    await a.must('rita/OTHER', 'GET', '/account/whoami');
    await federation.idle();
    await remoteMember(a, roomId, '@user:p.test', 'join', p.signingKey);
    await a.restart();
    await federation.idle();
    expect(edusOf('m.device_list_update').filter((edu) => edu.user_id === '@rita:a.test')).to.deep.equal([]);
  });
});
