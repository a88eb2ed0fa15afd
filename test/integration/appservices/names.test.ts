import { expect } from 'chai';
import { registrationOf, StubAppservice } from '#test/support/stand-ins/application-service.ts';
import { InProcessServer } from '#test/support/in-process-server.ts';

const errcode = ({ body, status }: { readonly body: { readonly errcode?: string }; readonly status: number }) =>
  [status, body.errcode] as const;

describe('aliases of application services', () => {
  const IRC = registrationOf('irc');
  const XMPP = registrationOf('xmpp', {
    namespaces: { aliases: [{ exclusive: false, regex: '#_xmpp_' }], users: [{ exclusive: false, regex: '@.*:test' }] },
  });
  let server: InProcessServer;
  before(async () => {
    server = await InProcessServer.start({ appservices: [IRC, XMPP], config: { quotas: { aliases: 2 } } });
  });
  after(() => server.stop());

  const put = (token: string, alias: string, room: string) =>
    server.ask(token, 'PUT', `/directory/room/${encodeURIComponent(alias)}`, { room_id: room });
  const take = (token: string, alias: string) =>
    server.ask(token, 'DELETE', `/directory/room/${encodeURIComponent(alias)}`);

  it('are made by nobody else where the namespace is exclusive, along with a room or later', async () => {
    const room = await server.room('alice');
    expect(errcode(await put('alice', '#_irc_tsudoi:test', room))).to.deep.equal([400, 'M_EXCLUSIVE']);
    const made = await server.ask('alice', 'POST', '/createRoom', { room_alias_name: '_irc_tsudoi' });
    expect(errcode(made)).to.deep.equal([400, 'M_EXCLUSIVE']);
    expect((await put('alice', '#_xmpp_tsudoi:test', room)).status).to.equal(200);
  });

  it('are made by the service in its namespaces alone, as many as it likes', async () => {
    const room = await server.room(IRC.as_token, { room_alias_name: '_irc_one' });
    for (const name of ['two', 'three', 'four'])
      expect((await put(IRC.as_token, `#_irc_${name}:test`, room)).status).to.equal(200);
    for (const alias of ['#_xmpp_one:test', '#one:test'])
      expect(errcode(await put(IRC.as_token, alias, room)), alias).to.deep.equal([400, 'M_EXCLUSIVE']);
    const outside = await server.ask(IRC.as_token, 'POST', '/createRoom', { room_alias_name: 'outside' });
    expect(errcode(outside)).to.deep.equal([400, 'M_EXCLUSIVE']);
    expect(
      errcode(await server.ask(IRC.as_token, 'PUT', '/directory/room/%23_irc_x:elsewhere', { room_id: room })),
    ).to.deep.equal([400, 'M_INVALID_PARAM']);
  });

  it('are taken away by nobody else, not even operators of the room, but by every user of the service', async () => {
    const room = await server.room(IRC.as_token, { room_alias_name: '_irc_gone', invite: ['@alice:test'] });
    await server.join('alice', room);
    await server.must(IRC.as_token, 'PUT', `/rooms/${room}/state/m.room.power_levels/`, {
      users: { '@alice:test': 100 },
    });
    expect(errcode(await take('alice', '#_irc_gone:test'))).to.deep.equal([400, 'M_EXCLUSIVE']);
    await server.must(IRC.as_token, 'POST', '/register', {
      type: 'm.login.application_service',
      username: '_irc_x',
      inhibit_login: true,
    });
    const byOther = await server.ask(IRC.as_token, 'DELETE', '/directory/room/%23_irc_gone:test?user_id=@_irc_x:test');
    expect(byOther.status).to.equal(200);
  });
});

describe('queries of application services', () => {
  let stub: StubAppservice;
  let irc: ReturnType<typeof registrationOf>;
  let server: InProcessServer;
  let count = 0;
  before(async () => {
    stub = await StubAppservice.start();
    irc = registrationOf('irc', { url: `${stub.url}/base/` });
    server = await InProcessServer.start({
      appservices: [
        irc,
        registrationOf('silent'),
        registrationOf('other', { url: stub.url, namespaces: { users: [] } }),
      ],
    });
  });
  beforeEach(async () => {
    stub.answer = () => [404, { errcode: 'M_NOT_FOUND' }];
    await server.idle();
    stub.take();
    count += 1;
  });
  after(async () => {
    await server.stop();
    await stub.stop();
  });

  const register = (username: string) =>
    server.must(irc.as_token, 'POST', '/register', {
      type: 'm.login.application_service',
      username,
      inhibit_login: true,
    });
  /** What it was asked, apart from transactions. */
  const asked = (): string[] => stub.take().flatMap(({ path }) => (path.includes('/transactions/') ? [] : [path]));

  it('ask for a user whose profile somebody wants, and who may be made then', async () => {
    const name = `_irc_asked${count}`;
    stub.answer = async ({ path, headers, query }) => {
      if (path !== `/base/_matrix/app/v1/users/@${name}:test`) return [404, {}];
      expect(headers.authorization).to.equal(`Bearer ${irc.hs_token}`);
      expect(query.size).to.equal(0);
      await register(name);
      await server.must(irc.as_token, 'PUT', `/profile/@${name}:test/displayname?user_id=@${name}:test`, {
        displayname: 'Nick',
      });
      return [200, {}];
    };
    expect((await server.must('alice', 'GET', `/profile/@${name}:test`)).displayname).to.equal('Nick');
    stub.take();
    await server.must('alice', 'GET', `/profile/@${name}:test`);
    expect(asked()).to.deep.equal([]);
  });

  it('ask for users of a namespace only, and for their own sender not at all', async () => {
    for (const user of ['@nobody:test', '@_silent_x:test', '@_irc_x:elsewhere'])
      await server.ask('alice', 'GET', `/profile/${user}`);
    await server.must('alice', 'GET', `/profile/@_irc_bot:test`);
    expect(asked()).to.deep.equal([]);
  });

  it('go to the way of before where a service does not know the one of today', async () => {
    const alias = `#_irc_old${count}:test`;
    stub.answer = async ({ path }) => {
      if (path !== `/base/rooms/${alias}`) return [404, {}];
      await server.room(irc.as_token, { room_alias_name: `_irc_old${count}` });
      return [200, {}];
    };
    expect(await server.must('alice', 'GET', `/directory/room/${encodeURIComponent(alias)}`)).to.have.property(
      'room_id',
    );
    expect(asked()).to.deep.equal([`/base/_matrix/app/v1/rooms/${alias}`, `/base/rooms/${alias}`]);
  });

  it('make an alias that somebody joins by', async () => {
    const alias = `#_irc_join${count}:test`;
    stub.answer = async ({ path }) => {
      if (!path.endsWith(alias)) return [404, {}];
      await server.room(irc.as_token, { room_alias_name: `_irc_join${count}`, preset: 'public_chat' });
      return [200, {}];
    };
    const joined = await server.must('alice', 'POST', `/join/${encodeURIComponent(alias)}`, {});
    expect((await server.must('alice', 'GET', '/joined_rooms')).joined_rooms).to.include(joined.room_id);
  });

  it('make a user whom somebody invites, whose name the invite has then', async () => {
    const name = `_irc_guest${count}`;
    stub.answer = async ({ path }) => {
      if (!path.endsWith(`@${name}:test`)) return [200, {}];
      await register(name);
      await server.must(irc.as_token, 'PUT', `/profile/@${name}:test/displayname?user_id=@${name}:test`, {
        displayname: 'Nick',
      });
      return [200, {}];
    };
    const room = await server.room('alice');
    await server.must('alice', 'POST', `/rooms/${room}/invite`, { user_id: `@${name}:test` });
    const member = await server.must('alice', 'GET', `/rooms/${room}/state/m.room.member/@${name}:test`);
    expect(member).to.include({ membership: 'invite', displayname: 'Nick' });
  });

  it('are not repeated for a minute when there is nothing, nor asked twice at once', async () => {
    const path = `/profile/@_irc_none${count}:test`;
    const answers = await Promise.all([1, 2, 3].map(() => server.ask('alice', 'GET', path)));
    expect(answers.map(errcode)).to.deep.equal(answers.map(() => [404, 'M_NOT_FOUND']));
    await server.ask('alice', 'GET', path);
    expect(asked()).to.have.length(2); // the way of today, and that of before
    await server.clock.advance(61_000);
    await server.ask('alice', 'GET', path);
    expect(asked()).to.have.length(2);
  });

  it('end with 408 when the service does not answer, and are not waited for again at once', async () => {
    const alias = encodeURIComponent(`#_irc_hang${count}:test`);
    stub.answer = ({ path }) => (path.includes('hang') ? 'hang' : [200, {}]);
    const answer = server.ask('alice', 'GET', `/directory/room/${alias}`);
    await server.clock.runDueUntil(
      (async () => {
        while (stub.asked.filter(({ path }) => path.includes('hang')).length < 2) await server.clock.advance(6_000);
        await server.clock.advance(6_000);
        await answer;
      })(),
    );
    expect(errcode(await answer)).to.deep.equal([408, 'M_CONNECTION_TIMEOUT']);
    stub.take();
    expect((await server.ask('alice', 'GET', `/directory/room/${alias}`)).status).to.equal(408);
    expect(asked()).to.deep.equal([]);
  });

  it('do not keep somebody from inviting, even if the service does not answer', async () => {
    stub.answer = ({ path }) => (path.includes('/users/') ? [502, {}] : [200, {}]);
    const room = await server.room('alice');
    const invited = await server.ask('alice', 'POST', `/rooms/${room}/invite`, { user_id: `@_irc_down${count}:test` });
    expect(invited.status).to.equal(200);
  });
});
