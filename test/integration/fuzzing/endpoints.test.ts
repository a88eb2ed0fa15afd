import { expect } from 'chai';
import fc from 'fast-check';
import { ENDPOINTS } from '#src/app/endpoints.ts';
import type { Endpoint } from '#src/http/endpoint.ts';
import { EncryptionServer, keyOf, deviceKeysOf, type TestDevice } from '#test/integration/e2ee/encryption-server.ts';
import { type KnownThings, type RandomRequest, requestsOf } from '#test/support/random-requests.ts';

/** Requests to each endpoint. More by TSUDOI_FUZZ_RUNS, others by TSUDOI_FUZZ_SEED. */
const RUNS = Number(process.env['TSUDOI_FUZZ_RUNS'] ?? 8);
const SEED = Number(process.env['TSUDOI_FUZZ_SEED'] ?? 20_261_129);
/** No answer comes later than that on any machine, unless something hangs. */
const MAX_MS = 30_000;
const SECRET = 'secret-of-the-victim';

/** Statuses from 500 on that say what the specification says: nothing is broken. */
const MEANT = new Set(['M_NOT_YET_UPLOADED', 'M_CONNECTION_FAILED', 'M_CONNECTION_TIMEOUT']);

/** What ends the session that it is asked by, or is nothing that users may ask. */
const isAsked = ({ auth }: Endpoint): boolean => auth !== 'server' && auth !== 'appservice';

describe('endpoints that are asked at random', function () {
  this.timeout(600_000);
  let server: EncryptionServer;
  let victim: TestDevice;
  let intruder: TestDevice;
  let things: KnownThings;
  let names = 0;

  before(async () => {
    server = await EncryptionServer.start();
    victim = await server.register('victim');
    things = await secrets();
    await begin();
  });
  after(() => server.stop());

  /** A user with something in every area that nobody else may read, and the names of all of it. */
  const secrets = async (): Promise<KnownThings> => {
    const { userId, deviceId } = victim;
    const { room_id: roomId } = await server.must(victim, 'POST', '/createRoom', { name: SECRET, topic: SECRET });
    const content = { msgtype: 'm.text', body: SECRET };
    const { event_id: root } = await server.must(victim, 'PUT', `/rooms/${roomId}/send/m.room.message/1`, content);
    const inThread = { ...content, 'm.relates_to': { rel_type: 'm.thread', event_id: root } };
    const { event_id: reply } = await server.must(victim, 'PUT', `/rooms/${roomId}/send/m.room.message/2`, inThread);
    await server.must(victim, 'PUT', `/rooms/${roomId}/state/org.secret/`, { text: SECRET });
    await server.must(victim, 'PUT', `/user/${userId}/account_data/org.secret`, { text: SECRET });
    await server.must(victim, 'PUT', `/user/${userId}/rooms/${roomId}/account_data/org.secret`, { text: SECRET });
    await server.must(victim, 'PUT', `/user/${userId}/rooms/${roomId}/tags/u.secret`, { [SECRET]: true });
    const { filter_id: filterId } = await server.must(victim, 'POST', `/user/${userId}/filter`, {
      room: { timeline: { types: [SECRET] } },
    });
    await server.must(victim, 'PUT', '/pushrules/global/content/org.secret', { pattern: SECRET, actions: ['notify'] });
    await server.must(victim, 'POST', '/keys/upload', { device_keys: deviceKeysOf(victim, keyOf(1)) });
    await server.must(victim, 'PUT', `/sendToDevice/org.secret/1`, {
      messages: { [userId]: { [deviceId]: { text: SECRET } } },
    });
    const auth = { [SECRET]: true };
    const { version } = await server.must(victim, 'POST', '/room_keys/version', {
      algorithm: 'm.megolm_backup.v1.curve25519-aes-sha2',
      auth_data: auth,
    });
    const session = { first_message_index: 0, forwarded_count: 0, is_verified: true, session_data: { text: SECRET } };
    await server.must(victim, 'PUT', `/room_keys/keys/${roomId}/session?version=${version}`, session);
    await server.must(
      victim,
      'PUT',
      `/_matrix/client/unstable/io.element.msc4306/rooms/${roomId}/thread/${root}/subscription`,
      {},
    );
    await server.must(victim, 'PUT', `/rooms/${roomId}/send/org.secret/3?org.matrix.msc4140.delay=86400000`, content);
    const rooms = [roomId, '!nowhere:localhost'];
    const events = [root, reply, '$nothing'];
    const users = [userId, '@nobody:localhost', '@remote:remote.test'];
    const devices = [deviceId, 'NODEVICE'];
    const { next_batch: token } = await server.sync(victim);
    const tokens = [token, 't1_1_1', 'h1_1', 's'];
    return {
      roomId: rooms,
      room_id: rooms,
      rooms,
      roomIdOrAlias: [...rooms, '#nowhere:localhost'],
      roomAlias: ['#nowhere:localhost', '#x:remote.test'],
      room_alias_name: ['taken', 'free'],
      eventId: events,
      event_id: events,
      parentEventId: events,
      threadRootId: events,
      automatic: events,
      userId: users,
      user_id: users,
      user: users,
      invite: users,
      deviceId: devices,
      device_id: devices,
      version: [version, '1', '999'],
      sessionId: ['session', 'other'],
      filterId: [filterId, '0'],
      filter: [filterId, '{"room":{"timeline":{"limit":5}}}', '{'],
      eventType: ['m.room.message', 'm.room.member', 'm.room.power_levels', 'm.room.name', 'org.secret'],
      type: ['org.secret', 'm.direct', 'm.push_rules', 'm.ignored_user_list'],
      stateKey: ['', userId],
      state_key: ['', userId],
      txnId: ['1', '2'],
      from: tokens,
      to: tokens,
      since: tokens,
      pos: tokens,
      at: tokens,
      dir: ['b', 'f'],
      keyName: ['displayname', 'avatar_url', 'org.secret.field'],
      kind: ['override', 'content', 'postcontent', 'room', 'sender', 'underride'],
      ruleId: ['.m.rule.master', 'org.secret', '.io.element.msc4306.rule.subscribed_thread'],
      receiptType: ['m.read', 'm.read.private', 'm.fully_read'],
      relType: ['m.thread', 'm.replace', 'm.annotation'],
      tag: ['u.secret', 'm.favourite'],
      algorithm: ['m.megolm_backup.v1.curve25519-aes-sha2', 'm.olm.v1.curve25519-aes-sha2'],
      search_term: [SECRET.slice(0, 6), 'x'],
      serverName: ['localhost', 'remote.test'],
      mediaId: ['nothing'],
      presence: ['online', 'offline'],
      membership: ['join', 'leave', 'invite'],
      username: ['victim', 'somebody'],
      password: ['guessed'],
    };
  };

  /** The intruder, with a session of their own again, whatever became of the last one. */
  const begin = async (): Promise<void> => {
    intruder = await server.register(`intruder${(names += 1)}`);
  };

  const answerTo = async ({ method, path, body }: RandomRequest): Promise<{ status: number; text: string }> => {
    const response = await fetch(server.address + path, {
      method,
      headers: { Authorization: `Bearer ${intruder.token}`, 'Content-Type': 'application/json' },
      redirect: 'manual',
      signal: AbortSignal.timeout(MAX_MS),
      ...(body === undefined ? {} : { body }),
    });
    return { status: response.status, text: await response.text() };
  };

  const isMeant = (text: string): boolean => MEANT.has((JSON.parse(text) as { errcode: string }).errcode);

  for (const endpoint of ENDPOINTS.filter(isAsked))
    it(`${endpoint.operationId} breaks at nothing, and tells nothing that is another user's`, async () => {
      await fc.assert(
        fc.asyncProperty(requestsOf(endpoint as Endpoint, things), async (request) => {
          const { status, text } = await answerTo(request);
          if (status === 401) await begin();
          expect(status < 500 || isMeant(text), `${status} ${text.slice(0, 500)}`).to.equal(true);
          // What one said oneself comes back in complaints about it.
          const said = `${decodeURIComponent(request.path)} ${String(request.body)}`;
          if (!said.includes(SECRET)) expect(text).not.to.include(SECRET);
        }),
        { numRuns: RUNS, seed: SEED, endOnFailure: true },
      );
    });

  it('have left everything of the victim as it was', async () => {
    const { rooms, account_data: data, to_device: messages } = await server.sync(victim);
    const [room] = Object.values<{ timeline: { events: { content: { body?: string } }[] } }>(rooms.join);
    expect(room?.timeline.events.filter(({ content }) => content.body === SECRET)).to.have.length(2);
    expect(JSON.stringify(data)).to.include(SECRET);
    expect(JSON.stringify(messages)).to.include(SECRET);
    const { count } = await server.must(victim, 'GET', '/room_keys/version');
    expect(count).to.equal(1);
  });
});
