import { expect } from 'chai';
import { type Body, ConformanceServer, type Person } from './conformance-server.ts';

describe('the protocol keeps its promises', function () {
  this.timeout(60_000);
  let server: ConformanceServer;
  let alice: Person;
  let bob: Person;

  before(async () => {
    server = await ConformanceServer.start();
    [alice, bob] = await server.people();
  });
  after(() => server?.stop());

  const answers = async (method: string, path: string, body?: unknown): Promise<[number, string]> => {
    const answer = await server.ask(alice, method, path, body);
    return [answer.status, answer.body.errcode];
  };

  for (const namespace of ['client', 'media', 'federation', 'key', 'client/v3/rooms/!a:b/nothing', 'unknown']) {
    it(`answers 404 M_UNRECOGNIZED for unknown paths under /_matrix/${namespace}`, async () => {
      for (const method of ['GET', 'POST', 'PUT', 'DELETE', 'PATCH']) {
        expect(await answers(method, `/_matrix/${namespace}/no/such/path`), method).to.deep.equal([
          404,
          'M_UNRECOGNIZED',
        ]);
      }
    });
  }

  it('answers 405 M_UNRECOGNIZED for known paths with another method', async () => {
    for (const [method, path] of [
      ['PUT', '/login'],
      ['DELETE', '/sync'],
      ['PATCH', '/createRoom'],
      ['POST', '/_matrix/client/versions'],
      ['DELETE', `/profile/${alice.userId}`],
    ] as const) {
      expect(await answers(method, path), path).to.deep.equal([405, 'M_UNRECOGNIZED']);
    }
  });

  it('answers 400 M_NOT_JSON for what is not JSON, and M_BAD_JSON for JSON that is no object, everywhere', async () => {
    const paths = [
      ['POST', '/createRoom'],
      ['POST', '/login'],
      ['POST', '/register'],
      ['PUT', `/profile/${alice.userId}/displayname`],
      ['PUT', `/user/${alice.userId}/account_data/org.tsudoi.test`],
      ['POST', `/user/${alice.userId}/filter`],
      ['PUT', '/pushrules/global/content/x'],
    ] as const;
    for (const [method, path] of paths) {
      for (const [raw, errcode] of [
        ['{"a":', 'M_NOT_JSON'],
        [new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), 'M_NOT_JSON'],
        ['"text"', 'M_BAD_JSON'],
        ['[]', 'M_BAD_JSON'],
        ['null', 'M_BAD_JSON'],
      ] as const) {
        const { status, body } = await server.ask(alice, method, path, undefined, { raw: raw as string });
        expect([status, body.errcode], `${path} ${String(raw)}`).to.deep.equal([400, errcode]);
      }
    }
  });

  it('refuses filters that are none with 4xx, in POST /filter and in the query', async () => {
    const wrong: unknown[] = [
      { room: 'x' },
      { room: { timeline: [] } },
      { room: { rooms: 'x' } },
      { room: { rooms: ['not a room'] } },
      { room: { not_rooms: ['#alias:localhost'] } },
      { room: { timeline: { types: ['m.room.message', 1] } } },
      { room: { timeline: { types: 'm.room.message' } } },
      { room: { state: { senders: ['nobody'] } } },
      { room: { timeline: { not_senders: [1] } } },
      { room: { state: { lazy_load_members: 'true' } } },
      { room: { state: { lazy_load_members: 1 } } },
      { room: { include_leave: 'yes' } },
      { room: { timeline: { limit: 'ten' } } },
      { presence: { senders: ['nobody'] } },
      { account_data: 'none' },
      { event_fields: 'type' },
      { event_fields: [1] },
      { event_format: 'xml' },
    ];
    for (const filter of wrong) {
      const stored = await server.ask(alice, 'POST', `/user/${alice.userId}/filter`, filter);
      expect(stored.status, JSON.stringify(filter)).to.be.within(400, 499);
      const given = await server.ask(alice, 'GET', `/sync?filter=${encodeURIComponent(JSON.stringify(filter))}`);
      expect(given.status, `in the query: ${JSON.stringify(filter)}`).to.be.within(400, 499);
    }
  });

  it('answers 413 M_TOO_LARGE for events over 64 KiB, to send and to state', async () => {
    const roomId = await server.room(alice);
    const body = { msgtype: 'm.text', body: 'あ'.repeat(22_000) };
    expect(await answers('PUT', `/rooms/${roomId}/send/m.room.message/big`, body)).to.deep.equal([413, 'M_TOO_LARGE']);
    expect(await answers('PUT', `/rooms/${roomId}/state/org.tsudoi.big/`, body)).to.deep.equal([413, 'M_TOO_LARGE']);
  });

  it('makes one event for a transaction, also after a refresh of the token and a login on the same device', async () => {
    const person = await server.register({ refresh_token: true });
    const roomId = await server.room(person);
    const send = async (by: Person, body: string): Promise<string> =>
      (await server.must(by, 'PUT', `/rooms/${roomId}/send/m.room.message/same`, { msgtype: 'm.text', body })).event_id;
    const first = await send(person, '一');
    expect(await send(person, '二')).to.equal(first);
    const { access_token: token } = await server.must(undefined, 'POST', '/refresh', {
      refresh_token: person.refreshToken,
    });
    expect(await send({ ...person, token }, '三')).to.equal(first);
    const again = await server.logIn(person.userId, person.deviceId);
    expect(await send(again, '四')).to.equal(first);
    expect((await server.must(again, 'GET', `/rooms/${roomId}/event/${first}`)).unsigned.transaction_id).to.equal(
      'same',
    );
    const other = await server.logIn(person.userId);
    expect((await server.must(other, 'GET', `/rooms/${roomId}/event/${first}`)).unsigned).not.to.have.property(
      'transaction_id',
    );
    expect(await send(other, '五')).not.to.equal(first);
    const otherRoom = await server.room(again);
    const inOther = await server.must(again, 'PUT', `/rooms/${otherRoom}/send/m.room.message/same`, {
      msgtype: 'm.text',
      body: '六',
    });
    expect(inOther.event_id).not.to.equal(first);
  });

  it('answers a profile to anybody, a presence to oneself before it was set, and 404 for whom it does not know', async () => {
    await server.must(alice, 'PUT', `/profile/${alice.userId}/displayname`, { displayname: '亜里' });
    expect((await server.ask(undefined, 'GET', `/profile/${alice.userId}/displayname`)).body).to.deep.equal({
      displayname: '亜里',
    });
    expect((await server.ask(bob, 'GET', `/presence/${bob.userId}/status`)).status).to.equal(200);
    expect(await answers('GET', `/profile/@nobody:${alice.userId.slice(alice.userId.indexOf(':') + 1)}`)).to.deep.equal(
      [404, 'M_NOT_FOUND'],
    );
  });

  it('does not do in the name of others what only they may do', async () => {
    for (const [method, path, body] of [
      ['PUT', `/profile/${bob.userId}/displayname`, { displayname: '偽' }],
      ['PUT', `/user/${bob.userId}/account_data/org.tsudoi.test`, {}],
      ['GET', `/user/${bob.userId}/account_data/org.tsudoi.test`, undefined],
      ['POST', `/user/${bob.userId}/filter`, {}],
      ['PUT', `/user/${bob.userId}/rooms/!a:localhost/tags/u.x`, {}],
      ['PUT', `/presence/${bob.userId}/status`, { presence: 'online' }],
    ] as const) {
      expect(await answers(method, path, body), path).to.deep.equal([403, 'M_FORBIDDEN']);
    }
  });

  it('knows every endpoint under r0 too', async () => {
    for (const path of [
      'account/whoami',
      'sync',
      'joined_rooms',
      'capabilities',
      'devices',
      'pushrules/',
      'publicRooms',
    ]) {
      const { status, body } = await server.ask(alice, 'GET', `/_matrix/client/r0/${path}`);
      expect(status, `${path}: ${JSON.stringify(body as Body)}`).to.equal(200);
    }
  });

  it('logs a deleted device out at once', async () => {
    const phone = await server.logIn(bob.userId);
    const auth = {
      type: 'm.login.password',
      identifier: { type: 'm.id.user', user: bob.userId },
      password: 'correct horse battery staple',
    };
    const asked = await server.ask(bob, 'DELETE', `/devices/${phone.deviceId}`, {});
    expect(asked.status).to.equal(401);
    expect(asked.body).to.have.all.keys('flows', 'params', 'session');
    const wrong = await server.ask(bob, 'DELETE', `/devices/${phone.deviceId}`, {
      auth: { ...auth, password: 'wrong', session: asked.body.session },
    });
    expect([wrong.status, wrong.body.errcode]).to.deep.equal([401, 'M_FORBIDDEN']);
    expect(wrong.body).to.include.all.keys('flows', 'params', 'session', 'error');
    await server.must(bob, 'DELETE', `/devices/${phone.deviceId}`, { auth });
    const dead = await server.ask(phone, 'GET', '/account/whoami');
    expect([dead.status, dead.body.errcode]).to.deep.equal([401, 'M_UNKNOWN_TOKEN']);
  });
});
