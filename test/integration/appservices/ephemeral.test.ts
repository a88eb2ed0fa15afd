import assert from 'node:assert/strict';
import { registrationOf, StubAppservice } from '#test/support/stand-ins/application-service.ts';
import { InProcessServer, type Json } from '#test/support/in-process-server.ts';

const users = (name: string) => ({
  sender_localpart: `${name}-bot`,
  namespaces: { users: [{ exclusive: true, regex: `@${name}-.*` }], aliases: [], rooms: [] },
});

describe('application services: what passes in rooms, and devices', () => {
  let stub: StubAppservice;
  let other: StubAppservice;
  let server: InProcessServer;

  before(async () => {
    stub = await StubAppservice.start();
    other = await StubAppservice.start();
    const more = { receive_ephemeral: true, 'org.matrix.msc3202': true };
    server = await InProcessServer.start({
      appservices: [
        registrationOf('irc', { url: stub.url, ...users('irc'), ...more }),
        registrationOf('plain', { url: other.url, ...users('plain') }),
      ],
    });
  });
  after(async () => {
    await server.stop();
    await stub.stop();
    await other.stop();
  });
  beforeEach(async () => {
    stub.answer = () => [200, {}];
    await server.idle();
    stub.take();
    other.take();
  });

  const bridgedRoom = async (wish: object = {}): Promise<string> => {
    await server.clock.advance(1);
    const room = await server.room('alice', { preset: 'public_chat', ...wish });
    await server.join('irc-bob', room);
    await server.join('plain-bob', room);
    await settle();
    stub.take();
    other.take();
    return room;
  };
  const settle = async (): Promise<void> => {
    await server.idle();
    await server.clock.advance(100);
    await server.idle();
  };
  /** What it was sent under a name since the last time. */
  const sent = (name: string): Json[] => stub.take().flatMap(({ body }) => body[name] ?? []);
  const encrypted = {
    initial_state: [{ type: 'm.room.encryption', state_key: '', content: { algorithm: 'm.megolm.v1.aes-sha2' } }],
  };
  /** Uploads a device's keys and so many one-time keys. */
  const uploadKeys = async (name: string, oneTime: number, run = 'a'): Promise<void> => {
    const { deviceId, userId } = await server.session(name);
    await server.must(name, 'POST', '/keys/upload', {
      device_keys: {
        user_id: userId,
        device_id: deviceId,
        algorithms: ['m.olm.v1.curve25519-aes-sha2'],
        keys: { [`curve25519:${deviceId}`]: 'c', [`ed25519:${deviceId}`]: run },
        signatures: { [userId]: { [`ed25519:${deviceId}`]: 's' } },
      },
      one_time_keys: Object.fromEntries(
        Array.from({ length: oneTime }, (_, n) => [
          `signed_curve25519:${run}${n}`,
          { key: `${run}${n}`, signatures: {} },
        ]),
      ),
      fallback_keys: { 'signed_curve25519:f': { key: 'f', fallback: true, signatures: {} } },
    });
  };

  it('who types is told, with the room, to those who want to know, under both names', async () => {
    const room = await bridgedRoom();
    await server.must('alice', 'PUT', `/rooms/${room}/typing/@alice:test`, { typing: true, timeout: 20_000 });
    await settle();
    const asked = stub.take().filter(({ body }) => body.ephemeral?.some(({ type }: Json) => type === 'm.typing'));
    assert.equal(asked.length, 1);
    const typing = asked[0]?.body.ephemeral.find(({ type }: Json) => type === 'm.typing');
    assert.deepEqual(typing, { type: 'm.typing', room_id: room, content: { user_ids: ['@alice:test'] } });
    assert.deepEqual(asked[0]?.body['de.sorunome.msc2409.ephemeral'], asked[0]?.body.ephemeral);
    assert.deepEqual(asked[0]?.body.events, []);
    assert.ok(other.take().every(({ body }) => body.ephemeral === undefined));
    await server.clock.advance(21_000);
    await settle();
    const stopped = sent('ephemeral').filter(({ type }) => type === 'm.typing');
    assert.deepEqual(stopped, [{ type: 'm.typing', room_id: room, content: { user_ids: [] } }]);
  });

  it('receipts are told, private ones of its own users alone', async () => {
    const room = await bridgedRoom();
    const eventId = await server.say('alice', room, 'read me');
    await server.must('alice', 'POST', `/rooms/${room}/receipt/m.read/${eventId}`, {});
    await server.must('bob', 'POST', `/rooms/${room}/join`, {});
    await server.must('bob', 'POST', `/rooms/${room}/receipt/m.read.private/${eventId}`, {});
    await server.must('irc-bob', 'POST', `/rooms/${room}/receipt/m.read.private/${eventId}`, {});
    await settle();
    const receipts = sent('ephemeral').filter(({ type }) => type === 'm.receipt');
    assert.ok(receipts.every((receipt) => receipt.room_id === room));
    const kinds = receipts.map(({ content }) => content[eventId]);
    const readers = (kind: string): string[] => kinds.flatMap((kind_) => Object.keys(kind_[kind] ?? {}));
    assert.deepEqual(readers('m.read'), ['@alice:test']);
    assert.deepEqual(readers('m.read.private'), ['@irc-bob:test']);
    assert.equal(typeof kinds[0]['m.read']['@alice:test'].ts, 'number');
  });

  it('presence is sent for users who share a room with one of its users', async () => {
    await bridgedRoom();
    await server.must('alice', 'PUT', '/presence/@alice:test/status', { presence: 'unavailable', status_msg: 'lunch' });
    await server.must('nobody', 'PUT', '/presence/@nobody:test/status', { presence: 'online', status_msg: 'alone' });
    await settle();
    const presence = sent('ephemeral').filter(({ type }) => type === 'm.presence');
    assert.deepEqual([...new Set(presence.map(({ sender }) => sender))], ['@alice:test']);
    assert.equal(presence.at(-1).content.status_msg, 'lunch');
  });

  it('messages to devices of its users come once, with their device, and are deleted when they have arrived', async () => {
    await server.session('irc-bot/BRIDGE');
    stub.answer = () => [500, {}];
    for (const n of [1, 2])
      await server.must('alice', 'PUT', `/sendToDevice/m.room.encrypted/txn-device-${n}`, {
        messages: { '@irc-bot:test': { BRIDGE: { n } } },
      });
    await settle();
    const [failed] = stub.take();
    stub.answer = () => [200, {}];
    await server.clock.advance(400_000);
    await settle();
    const arrived = stub.take();
    assert.equal(arrived[0]?.path, failed?.path);
    assert.deepEqual(arrived[0]?.body, failed?.body);
    const messages = arrived.flatMap(({ body }) => body['de.sorunome.msc2409.to_device'] ?? []);
    assert.deepEqual(
      messages,
      [1, 2].map((n) => ({
        content: { n },
        sender: '@alice:test',
        type: 'm.room.encrypted',
        to_user_id: '@irc-bot:test',
        to_device_id: 'BRIDGE',
      })),
    );
    const left = await server.must('irc-bot/BRIDGE', 'GET', '/sync?timeout=0');
    assert.deepEqual(left.to_device?.events ?? [], []);
    await server.restart();
    await settle();
    assert.deepEqual(sent('de.sorunome.msc2409.to_device'), []);
  });

  it('messages to devices wait for a service that is killed off with the server, and come once it is back', async () => {
    await server.session('irc-bot/BRIDGE');
    stub.answer = () => [500, {}];
    await server.must('alice', 'PUT', '/sendToDevice/m.room.encrypted/txn-kill', {
      messages: { '@irc-bot:test': { BRIDGE: { kept: true } } },
    });
    await settle();
    await server.kill();
    stub.take();
    stub.answer = () => [200, {}];
    await server.revive();
    await settle();
    assert.deepEqual(
      sent('de.sorunome.msc2409.to_device').map(({ content }) => content),
      [{ kept: true }],
    );
  });

  it('messages to devices of others stay theirs', async () => {
    await server.must('irc-bob', 'PUT', '/sendToDevice/m.room.encrypted/txn-other', {
      messages: { '@alice:test': { DEVICE: { n: 1 } }, '@plain-bob:test': { DEVICE: { n: 2 } } },
    });
    await settle();
    assert.deepEqual(sent('de.sorunome.msc2409.to_device'), []);
    assert.ok(other.take().every(({ body }) => body['de.sorunome.msc2409.to_device'] === undefined));
    const { to_device: mail } = await server.must('plain-bob', 'GET', '/sync?timeout=0');
    assert.deepEqual(mail.events[0].content, { n: 2 });
  });

  it('device list changes are sent for users who share a room with one of its users, including joins and leaves', async () => {
    const room = await bridgedRoom(encrypted);
    await uploadKeys('alice', 0, 'first');
    await uploadKeys('stranger', 0, 'first');
    await settle();
    const changed = stub.take().flatMap(({ body }) => {
      assert.deepEqual(body['org.matrix.msc3202.device_lists'], body.device_lists);
      return body.device_lists.changed;
    });
    assert.ok(changed.includes('@alice:test'));
    assert.ok(!changed.includes('@stranger:test'));
    await server.join('stranger', room);
    await settle();
    assert.ok(stub.take().some(({ body }) => body.device_lists.changed.includes('@stranger:test')));
    await server.must('stranger', 'POST', `/rooms/${room}/leave`, {});
    await settle();
    assert.ok(stub.take().some(({ body }) => body.device_lists.left.includes('@stranger:test')));
  });

  it('changes of devices are told after a restart of the server, if they were not before', async () => {
    await bridgedRoom();
    stub.answer = () => [500, {}];
    await server.say('alice', await bridgedRoom(), 'under way');
    await settle();
    await uploadKeys('alice', 0, 'second');
    await settle();
    await server.kill();
    stub.take();
    stub.answer = () => [200, {}];
    await server.revive();
    await settle();
    assert.ok(stub.take().some(({ body }) => body.device_lists.changed.includes('@alice:test')));
  });

  it('a device that has no keys yet is told that it has none, so that it uploads some', async () => {
    await server.session('irc-bot/FRESH');
    await settle();
    const counts = stub.take().flatMap(({ body }) => body.device_one_time_keys_count?.['@irc-bot:test']?.FRESH ?? []);
    assert.deepEqual(counts, [{ signed_curve25519: 0 }]);
  });

  it('how many keys its devices have left is told when it changes, under both names', async () => {
    await uploadKeys('irc-bot/KEYS', 3);
    await settle();
    const counts = stub.take().flatMap(({ body }) => {
      const prefix = 'org.matrix.msc3202.';
      assert.deepEqual(body[`${prefix}device_one_time_keys_count`], body.device_one_time_keys_count);
      assert.deepEqual(body[`${prefix}device_unused_fallback_key_types`], body.device_unused_fallback_key_types);
      return body.device_one_time_keys_count?.['@irc-bot:test']?.KEYS ?? [];
    });
    assert.deepEqual(counts.at(-1), { signed_curve25519: 3 });
    await server.must('alice', 'POST', '/keys/claim', {
      one_time_keys: { '@irc-bot:test': { KEYS: 'signed_curve25519' } },
    });
    await settle();
    const [after] = stub.take();
    assert.deepEqual(after?.body.device_one_time_keys_count['@irc-bot:test'].KEYS, { signed_curve25519: 2 });
    assert.deepEqual(after?.body.device_unused_fallback_key_types['@irc-bot:test'].KEYS, ['signed_curve25519']);
  });
});
