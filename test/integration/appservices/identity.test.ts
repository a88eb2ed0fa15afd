import { OPERATOR } from '#src/services/audit/actor.ts';
import { expect } from 'chai';
import { WEBSOCKET_PATH } from '#src/ws/web-socket-api.ts';
import { registrationOf } from '#test/support/stand-ins/application-service.ts';
import { InProcessServer } from '#test/support/in-process-server.ts';
import { Refused, StreamClient } from '#test/ws/stream-client.ts';

/** Owns `@_irc_...`. */
const IRC = registrationOf('irc');
/** Gives bridges the accounts of all users. */
const PUPPET = registrationOf('puppet', { namespaces: { users: [{ exclusive: false, regex: '@.*:test' }] } });
const LIMITED = registrationOf('limited', { rate_limited: true });
/** Another one that acts as everybody. */
const SHADOW = registrationOf('shadow', { namespaces: { users: [{ exclusive: false, regex: '@.*:test' }] } });

describe('application services as users', () => {
  let server: InProcessServer;
  before(async () => {
    server = await InProcessServer.start({
      appservices: [IRC, PUPPET, LIMITED, SHADOW],
      rateLimits: { default: { perSecond: 0.001, burst: 20 }, message: { perSecond: 0.001, burst: 3 } },
    });
    await server.account(
      '_irc_nick',
      '_irc_locked',
      '_irc_gone',
      '_limited_nick',
      'alice',
      'admin-ann',
      'suspended-sue',
    );
    const { accounts, userAdministration } = server.services;
    await userAdministration.lock(OPERATOR, '@_irc_locked:test', true);
    await accounts.deactivate('@_irc_gone:test', false);
  });
  after(() => server.stop());

  const whoAmI = (query: string, token: string = IRC.as_token) => server.ask(token, 'GET', `/account/whoami${query}`);

  it('are their sender, who is there from the start, unless they say otherwise', async () => {
    expect((await whoAmI('')).body).to.deep.equal({ user_id: '@_irc_bot:test', is_guest: false });
    expect((await whoAmI('?user_id=')).body.user_id).to.equal('@_irc_bot:test');
  });

  it('act as a user of their namespaces, by a token in the header or in the query', async () => {
    expect((await whoAmI('?user_id=@_irc_nick:test')).body.user_id).to.equal('@_irc_nick:test');
    const inQuery = await server.ask(
      undefined,
      'GET',
      `/account/whoami?access_token=${IRC.as_token}&user_id=@_irc_nick:test`,
    );
    expect(inQuery.body.user_id).to.equal('@_irc_nick:test');
  });

  it('act as nobody else: not outside their namespaces, not as users of other servers, not as users that are not there', async () => {
    for (const user of [
      '@alice:test',
      '@_irc_nick:elsewhere',
      '@_puppet_bot:test',
      '@_irc_nobody:test',
      'nonsense',
      '@%00:test',
    ]) {
      const { status, body } = await whoAmI(`?user_id=${user}`);
      expect([status, body.errcode], user).to.deep.equal([403, 'M_FORBIDDEN']);
    }
  });

  it('are refused with the token of the homeserver, or with one that only looks like theirs', async () => {
    for (const token of [IRC.hs_token, `${IRC.as_token}x`, IRC.as_token.toUpperCase()])
      expect((await whoAmI('', token)).body.errcode, token).to.equal('M_UNKNOWN_TOKEN');
  });

  it('cannot act as accounts that are locked or deactivated', async () => {
    expect((await whoAmI('?user_id=@_irc_locked:test')).body).to.include({
      errcode: 'M_USER_LOCKED',
      soft_logout: true,
    });
    expect((await whoAmI('?user_id=@_irc_gone:test')).body.errcode).to.equal('M_USER_DEACTIVATED');
  });

  it('are suspended with the user that they act as', async () => {
    const path = '/createRoom?user_id=@suspended-sue:test';
    expect((await server.ask(PUPPET.as_token, 'POST', path, {})).body.errcode).to.equal('M_USER_SUSPENDED');
  });

  it('act on a device of the user, under both names of the parameter, and on no other one', async () => {
    await server.session('_irc_nick/BRIDGE');
    const user = '?user_id=@_irc_nick:test';
    for (const name of ['device_id', 'org.matrix.msc3202.device_id']) {
      expect((await whoAmI(`${user}&${name}=BRIDGE`)).body.device_id, name).to.equal('BRIDGE');
      const unknown = await whoAmI(`${user}&${name}=OTHER`);
      expect([unknown.status, unknown.body.errcode], name).to.deep.equal([400, 'M_UNKNOWN_DEVICE']);
    }
    expect((await whoAmI('?device_id=BRIDGE')).body.errcode).to.equal('M_UNKNOWN_DEVICE');
    await server.services.sessions.revokeDevices('@_irc_nick:test', ['BRIDGE'], 'device_deleted');
    expect((await whoAmI(`${user}&device_id=BRIDGE`)).body.errcode).to.equal('M_UNKNOWN_DEVICE');
  });

  it('have the rights of an administrator only as a user of their own', async () => {
    const ask = (token: string, user: string) =>
      server.ask(token, 'GET', `/_matrix/client/v3/admin/whois/@alice:test?user_id=${user}`);
    expect((await ask(PUPPET.as_token, '@admin-ann:test')).body.errcode).to.equal('M_FORBIDDEN');
    await server.services.userAdministration.setAdmin(OPERATOR, '@_irc_nick:test', true);
    expect((await ask(IRC.as_token, '@_irc_nick:test')).status).to.equal(200);
    await server.services.userAdministration.setAdmin(OPERATOR, '@_irc_nick:test', false);
  });

  it('are told of mutual rooms with the user whom the endpoint itself calls user_id', async () => {
    const path = '/v1/mutual_rooms';
    const one = await server.ask(PUPPET.as_token, 'GET', `${path}?user_id=@alice:test`);
    expect([one.status, one.body.joined]).to.deep.equal([200, []]);
    const itself = await server.ask(PUPPET.as_token, 'GET', `${path}?user_id=@alice:test&user_id=@_puppet_bot:test`);
    expect(itself.status).to.equal(200);
  });

  it('are held by no rate limit, unless their registration wants it so: never the sender', async () => {
    const asked = async (token: string, user: string): Promise<number[]> => {
      const room = (await server.must(token, 'POST', `/createRoom?user_id=${user}`, {})).room_id;
      const statuses: number[] = [];
      for (let count = 0; count < 6; count++) {
        const path = `/rooms/${room}/send/m.room.message/${count}?user_id=${user}`;
        statuses.push((await server.ask(token, 'PUT', path, { msgtype: 'm.text', body: 'x' })).status);
      }
      return statuses;
    };
    expect(await asked(IRC.as_token, '@_irc_nick:test')).to.deep.equal([200, 200, 200, 200, 200, 200]);
    expect(await asked(LIMITED.as_token, LIMITED.sender_localpart.replace(/.*/, '@$&:test'))).not.to.include(429);
    expect(await asked(LIMITED.as_token, '@_limited_nick:test')).to.deep.equal([200, 200, 200, 429, 429, 429]);
  });

  it('cost no statement when they and their users are known', async () => {
    await server.session('_irc_nick/WARM');
    const path = '?user_id=@_irc_nick:test&device_id=WARM';
    await whoAmI(path);
    expect(await server.statements(() => whoAmI(path))).to.equal(0);
  });

  it('send a message in the name of a user with as few statements as that user', async () => {
    const room = await server.room(IRC.as_token);
    const send = (txn: string) =>
      server.ask(IRC.as_token, 'PUT', `/rooms/${room}/send/m.room.message/${txn}`, { msgtype: 'm.text', body: 'x' });
    await send('first');
    expect(await server.statements(() => send('second'))).to.equal(1);
  });

  it('choose when their events were sent, and users do not', async () => {
    const room = await server.room('alice');
    await server.join(`alice`, room);
    const stamp = async (token: string, path: string): Promise<number> => {
      const sent = await server.must(token, 'PUT', `/rooms/${room}${path}`, { msgtype: 'm.text', body: 'x' });
      return (await server.must('alice', 'GET', `/rooms/${room}/event/${sent.event_id}`)).origin_server_ts;
    };
    const as = 'ts=1234&user_id=@alice:test';
    expect(await stamp(PUPPET.as_token, `/send/m.room.message/ts1?${as}`)).to.equal(1234);
    expect(await stamp(PUPPET.as_token, `/state/org.example.x/?${as}`)).to.equal(1234);
    expect(await stamp('alice', `/send/m.room.message/ts2?${as}`)).to.equal(server.clock.now());
    for (const ts of ['-1', 'x', '9007199254740992', '1.5']) {
      const path = `/rooms/${room}/send/m.room.message/bad?user_id=@alice:test&ts=${ts}`;
      expect((await server.ask(PUPPET.as_token, 'PUT', path, {})).status, ts).to.equal(400);
    }
  });

  it('have transaction ids of their own, beside those of the user and of other services', async () => {
    const room = await server.room('alice');
    await server.account('_irc_txn');
    const send = async (token: string, query: string): Promise<string> => {
      const path = `/rooms/${room}/send/m.room.message/same${query}`;
      return (await server.must(token, 'PUT', path, { msgtype: 'm.text', body: 'x' })).event_id;
    };
    const own = await send('alice', '');
    const bridged = await send(PUPPET.as_token, '?user_id=@alice:test');
    expect(bridged).not.to.equal(own);
    expect(await send(PUPPET.as_token, '?user_id=@alice:test')).to.equal(bridged);
    const byAnother = await send(SHADOW.as_token, '?user_id=@alice:test');
    expect([own, bridged]).not.to.include(byAnother);
    expect(await send(SHADOW.as_token, '?user_id=@alice:test')).to.equal(byAnother);
    const onDevice = await send(PUPPET.as_token, '?user_id=@alice:test&device_id=DEVICE');
    expect(onDevice).to.equal(own);
  });

  describe('reading along', () => {
    const sync = (query: string) => server.must(PUPPET.as_token, 'GET', `/sync?${query}&user_id=@alice:test`);
    const open = (query: string): Promise<StreamClient> =>
      StreamClient.open(`${server.url.replace('http', 'ws')}${WEBSOCKET_PATH}`, { query, token: PUPPET.as_token });

    it('is for the user whom they act as: over sync, with a long poll', async () => {
      const room = await server.room('alice');
      const { next_batch: since, rooms } = await sync('timeout=0');
      expect(Object.keys(rooms.join)).to.include(room);
      const poll = sync(`timeout=30000&since=${since}`);
      await server.say('alice', room, 'news');
      const [told] = (await poll).rooms.join[room].timeline.events;
      expect(told.content.body).to.equal('news');
    });

    it('is for the user whom they act as: over a WebSocket, said in its query or its first frame', async () => {
      const room = await server.room('alice');
      const byQuery = await open('user_id=@alice:test&device_id=DEVICE');
      expect(Object.keys((await byQuery.sync()).rooms.join)).to.include(room);
      await byQuery.end();
      const byFrame = await StreamClient.open(`${server.url.replace('http', 'ws')}${WEBSOCKET_PATH}`, {});
      byFrame.send({ id: 1, method: 'auth', params: { token: PUPPET.as_token, user_id: '@alice:test' } });
      expect((await byFrame.response(1)).result.user_id).to.equal('@alice:test');
      await byFrame.end();
    });

    it('is refused over a WebSocket as it is over HTTP', async () => {
      for (const [query, status, errcode] of [
        ['user_id=@alice:elsewhere', 403, 'M_FORBIDDEN'],
        ['user_id=@alice:test&device_id=NOWHERE', 400, 'M_UNKNOWN_DEVICE'],
      ] as const) {
        const refused = await open(query).then(
          () => undefined,
          (error: unknown) => error,
        );
        if (!(refused instanceof Refused)) throw new Error('The handshake was not refused.', { cause: refused });
        expect([refused.status, refused.body.errcode], query).to.deep.equal([status, errcode]);
      }
    });
  });
});
