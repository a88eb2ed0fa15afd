import { expect } from 'chai';
import { type Account, StreamServer } from '#test/ws/stream-server.ts';

const MAX = 3;

describe('what is kept for one user', function () {
  this.timeout(60_000);
  let server: StreamServer;
  before(async () => {
    server = await StreamServer.start({
      config: {
        quotas: {
          devices: MAX,
          pushers: MAX,
          aliases: MAX,
          joinedRooms: MAX,
          profileFields: MAX,
          filters: { pieces: MAX },
          accountData: { pieces: MAX },
          threadSubscriptions: MAX,
        },
      },
    });
  });
  after(() => server.stop());

  const refused = async (account: Account | undefined, method: string, path: string, body?: unknown): Promise<void> => {
    const answer = await server.ask(account, method, path, body);
    expect([answer.status, answer.body.errcode], JSON.stringify(answer.body)).to.deep.equal([413, 'M_TOO_LARGE']);
    expect(answer.body.error).to.match(new RegExp(`at most ${MAX} `));
  };

  it('are so many devices; one that is there may log in again', async () => {
    await server.register('devices');
    const login = (deviceId: string): object => ({
      type: 'm.login.password',
      identifier: { type: 'm.id.user', user: 'devices' },
      password: 'correct horse battery',
      device_id: deviceId,
    });
    const second = await server.must(undefined, 'POST', '/login', login('SECOND'));
    await server.must(undefined, 'POST', '/login', login('THIRD'));
    await refused(undefined, 'POST', '/login', login('FOURTH'));
    await server.must(undefined, 'POST', '/login', login('THIRD'));
    await server.must({ token: second.access_token } as Account, 'POST', '/logout');
    await server.must(undefined, 'POST', '/login', login('FOURTH'));
  });

  it('are so many pushers; one that is there may be changed', async () => {
    const alice = await server.register();
    const pusher = (pushkey: string, more: object = {}): object => ({
      kind: 'http',
      app_id: 'test.app',
      pushkey,
      app_display_name: 'Test',
      device_display_name: 'Phone',
      lang: 'ja',
      data: { url: 'https://push.example.org/_matrix/push/v1/notify' },
      ...more,
    });
    for (let i = 0; i < MAX; i++) await server.must(alice, 'POST', '/pushers/set', pusher(`key${i}`));
    await refused(alice, 'POST', '/pushers/set', pusher('another'));
    await server.must(alice, 'POST', '/pushers/set', pusher('key1', { lang: 'en' }));
    await server.must(alice, 'POST', '/pushers/set', { kind: null, app_id: 'test.app', pushkey: 'key0' });
    await server.must(alice, 'POST', '/pushers/set', pusher('another'));
  });

  it('are so many aliases, made with a room or later', async () => {
    const alice = await server.register();
    const { room_id: roomId } = await server.must(alice, 'POST', '/createRoom', { room_alias_name: 'alias0' });
    const put = (n: number): [string, string, object] => [
      'PUT',
      `/directory/room/%23alias${n}:test`,
      { room_id: roomId },
    ];
    for (let i = 1; i < MAX; i++) await server.must(alice, ...put(i));
    await refused(alice, ...put(MAX));
    await refused(alice, 'POST', '/createRoom', { room_alias_name: 'another' });
    await server.must(alice, 'DELETE', '/directory/room/%23alias1:test');
    await server.must(alice, ...put(MAX));
  });

  it('are so many rooms at once, however one comes into them', async () => {
    const [alice, host] = [await server.register(), await server.register()];
    const rooms = [await server.room(host), await server.room(host)];
    for (const roomId of rooms) await server.must(alice, 'POST', `/join/${roomId}`, {});
    const own = await server.room(alice);
    const other = await server.register();
    const more = await server.room(other);
    await refused(alice, 'POST', `/join/${more}`, {});
    await refused(alice, 'POST', '/createRoom', {});
    await refused(alice, 'PUT', `/rooms/${more}/state/m.room.member/${alice.userId}`, { membership: 'join' });
    // Names may be changed where one is, and after a leave there is room for one more.
    await server.must(alice, 'PUT', `/rooms/${own}/state/m.room.member/${alice.userId}`, {
      membership: 'join',
      displayname: 'A',
    });
    await server.must(alice, 'POST', `/rooms/${own}/leave`, {});
    await server.app.clock.advance(1_000);
    await server.must(alice, 'POST', `/join/${more}`, {});
  });

  it('are so many fields of a profile', async () => {
    const alice = await server.register();
    const put = (field: string, value: unknown): [string, string, object] => [
      'PUT',
      `/profile/${alice.userId}/${field}`,
      { [field]: value },
    ];
    for (let i = 0; i < MAX; i++) await server.must(alice, ...put(`org.example.f${i}`, i));
    await refused(alice, ...put('org.example.another', 1));
    await server.must(alice, ...put('org.example.f1', 'changed'));
    await server.must(alice, 'DELETE', `/profile/${alice.userId}/org.example.f1`);
    await server.must(alice, ...put('org.example.another', 1));
  });

  it('is a status message of 2048 characters, whichever way it comes', async () => {
    const alice = await server.register();
    const path = `/presence/${alice.userId}/status`;
    const status = (length: number): object => ({ presence: 'online', status_msg: 'x'.repeat(length) });
    await server.must(alice, 'PUT', path, status(2_048));
    const answer = await server.ask(alice, 'PUT', path, status(2_049));
    expect([answer.status, answer.body.errcode]).to.deep.equal([400, 'M_INVALID_PARAM']);
    const socket = await server.connect(alice);
    const refusal = await socket.request('presence', status(120_000));
    expect(refusal.error.errcode).to.equal('M_INVALID_PARAM');
    expect((await server.must(alice, 'GET', path)).status_msg).to.have.length(2_048);
    await socket.end();
  });

  it('is named where it is full, to the client and in the metrics', async () => {
    const counted = async (): Promise<number> => {
      const text = await server.app.services.metrics.render();
      return Number(/^tsudoi_quota_refused_total\{quota="quotas\.account_data\.pieces"\} (\d+)$/m.exec(text)?.[1] ?? 0);
    };
    const alice = await server.register();
    const put = (n: number): ReturnType<StreamServer['ask']> =>
      server.ask(alice, 'PUT', `/user/${alice.userId}/account_data/org.example.named${n}`, { n });
    for (let n = 0; n < MAX; n++) expect((await put(n)).status).to.equal(200);
    const before = await counted();
    const answer = await put(MAX);
    expect([answer.status, answer.body['org.tsudoi.quota']]).to.deep.equal([413, 'quotas.account_data.pieces']);
    expect((await counted()) - before).to.equal(1);
  });

  describe('is no more when it is asked for at once', () => {
    const AT_ONCE = 12;

    /** How many of a great many requests that come together succeed; the others are refused as too many. */
    const succeeding = async (ask: (n: number) => ReturnType<StreamServer['ask']>): Promise<number> => {
      const answers = await Promise.all(Array.from({ length: AT_ONCE }, (_, n) => ask(n)));
      for (const { status, body } of answers)
        if (status !== 200) expect([status, body.errcode]).to.deep.equal([413, 'M_TOO_LARGE']);
      return answers.filter(({ status }) => status === 200).length;
    };

    it('devices', async () => {
      await server.register('manydevices');
      const login = (n: number): ReturnType<StreamServer['ask']> =>
        server.ask(undefined, 'POST', '/login', {
          type: 'm.login.password',
          identifier: { type: 'm.id.user', user: 'manydevices' },
          password: 'correct horse battery',
          device_id: `D${n}`,
        });
      expect(await succeeding(login)).to.equal(MAX - 1);
    });

    it('pushers', async () => {
      const alice = await server.register();
      const pusher = {
        kind: 'http',
        app_id: 'test.app',
        app_display_name: 'Test',
        device_display_name: 'Phone',
        lang: 'ja',
        data: { url: 'https://push.example.org/_matrix/push/v1/notify' },
      };
      expect(
        await succeeding((n) => server.ask(alice, 'POST', '/pushers/set', { ...pusher, pushkey: `k${n}` })),
      ).to.equal(MAX);
    });

    it('aliases', async () => {
      const alice = await server.register();
      const roomId = await server.room(alice);
      const put = (n: number): ReturnType<StreamServer['ask']> =>
        server.ask(alice, 'PUT', `/directory/room/%23together${n}:test`, { room_id: roomId });
      expect(await succeeding(put)).to.equal(MAX);
    });

    it('rooms', async () => {
      const [alice, ...hosts] = await Promise.all(Array.from({ length: 5 }, () => server.register()));
      const rooms: string[] = [];
      for (const host of hosts) for (let n = 0; n < MAX; n++) rooms.push(await server.room(host));
      expect(await succeeding((n) => server.ask(alice, 'POST', `/join/${rooms[n]}`, {}))).to.equal(MAX);
    });

    it('fields of a profile', async () => {
      const alice = await server.register();
      const put = (n: number): ReturnType<StreamServer['ask']> =>
        server.ask(alice, 'PUT', `/profile/${alice.userId}/org.example.at${n}`, { [`org.example.at${n}`]: n });
      expect(await succeeding(put)).to.equal(MAX);
    });

    it('account data', async () => {
      const alice = await server.register();
      const put = (n: number): ReturnType<StreamServer['ask']> =>
        server.ask(alice, 'PUT', `/user/${alice.userId}/account_data/org.example.at${n}`, { n });
      expect(await succeeding(put)).to.equal(MAX);
    });

    it('threads that are followed', async () => {
      const alice = await server.register();
      const roomId = await server.room(alice);
      const content = { msgtype: 'm.text', body: 'x' };
      const roots: string[] = [];
      for (let n = 0; n < AT_ONCE; n++) {
        const send = (txn: string, more: object = {}): Promise<{ event_id: string }> =>
          server.must(alice, 'PUT', `/rooms/${roomId}/send/m.room.message/${txn}`, { ...content, ...more });
        const { event_id: root } = await send(`root${n}`);
        await send(`reply${n}`, { 'm.relates_to': { rel_type: 'm.thread', event_id: root } });
        roots.push(root);
      }
      const follow = (n: number): ReturnType<StreamServer['ask']> => {
        const path = `/rooms/${roomId}/thread/${roots[n]}/subscription`;
        return server.ask(alice, 'PUT', `/_matrix/client/unstable/io.element.msc4306${path}`, {});
      };
      expect(await succeeding(follow)).to.equal(MAX);
    });

    it('filters', async () => {
      const alice = await server.register();
      const path = `/user/${alice.userId}/filter`;
      const define = (n: number): ReturnType<StreamServer['ask']> =>
        server.ask(alice, 'POST', path, { presence: { limit: n + 1 } });
      expect(await succeeding(define)).to.equal(MAX);
    });
  });
});
