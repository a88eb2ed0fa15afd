import { expect } from 'chai';
import { registrationOf } from '#test/support/stand-ins/application-service.ts';
import { query } from '#test/support/database.ts';
import { InProcessServer } from '#test/support/in-process-server.ts';

const ADMIN = 'admin-ann';
const ROOT = '/_tsudoi/admin/v1/appservices';
const OF_FILE = registrationOf('filed');

describe('registering application services while the server runs', () => {
  let server: InProcessServer;
  before(async () => {
    server = await InProcessServer.start({ appservices: [OF_FILE] });
  });
  after(() => server.stop());

  const add = (registration: object) => server.ask(ADMIN, 'POST', ROOT, registration);
  const whoIs = async (token: string): Promise<string> =>
    (await server.ask(token, 'GET', '/account/whoami')).body.user_id;
  const listed = async (): Promise<string[]> =>
    (await server.must(ADMIN, 'GET', ROOT)).appservices.map(({ id }: { id: string }) => id);
  const actions = async (): Promise<string[]> =>
    (await server.services.auditLog.list({ target: undefined }, { limit: 100 })).records.map(
      ({ entry }) => entry.action,
    );

  it('puts a registration of an administrator into force at once, and keeps it over a restart', async () => {
    const irc = registrationOf('irc', { 'io.element.msc4190': true, url: 'http://127.0.0.1:1/' });
    const made = await add(irc);
    expect(made.body).to.include({
      id: 'irc',
      url: 'http://127.0.0.1:1',
      sender: '@_irc_bot:test',
      source: 'database',
    });
    expect(await whoIs(irc.as_token)).to.equal('@_irc_bot:test');
    await server.restart();
    expect(await whoIs(irc.as_token)).to.equal('@_irc_bot:test');
    expect(await listed()).to.deep.equal(['filed', 'irc']);
  });

  it('shows no token, neither in answers nor in the audit log nor in the database', async () => {
    const answers = [
      await server.must(ADMIN, 'GET', ROOT),
      await server.must(ADMIN, 'GET', `${ROOT}/irc`),
      (await server.services.auditLog.list({ target: 'irc' }, { limit: 10 })).records,
    ];
    expect(JSON.stringify(answers))
      .to.include('@_irc_')
      .and.not.to.match(/[ah]s_token/);
    expect(JSON.stringify(await query(server.databaseUrl, 'select * from appservices'))).not.to.include('as_token_of');
  });

  it('replaces one, whose token of before is good for nothing then', async () => {
    const irc = registrationOf('irc', { as_token: 'another_as_token' });
    const replaced = await server.ask(ADMIN, 'PUT', `${ROOT}/irc`, irc);
    expect(replaced.body).to.include({ id: 'irc', url: null });
    expect(await whoIs('another_as_token')).to.equal('@_irc_bot:test');
    expect((await server.ask('as_token_of_irc', 'GET', '/account/whoami')).body.errcode).to.equal('M_UNKNOWN_TOKEN');
  });

  it('refuses what cannot be used, and what is in the way of others, with a sentence', async () => {
    for (const [registration, part] of [
      [{ ...registrationOf('bad'), hs_token: 5 }, 'hs_token must be'],
      [{ ...registrationOf('bad'), as_token: undefined }, 'as_token must be'],
      [
        { ...registrationOf('bad'), namespaces: { users: [{ exclusive: true, regex: '@(' }] } },
        'namespaces.users[0].regex',
      ],
      [registrationOf('irc'), 'replace it'],
      [registrationOf('filed', { as_token: 'x', sender_localpart: 'y' }), 'registered by the file'],
      [{ ...registrationOf('bad'), as_token: 'another_as_token' }, 'have the same as_token'],
      [
        { ...registrationOf('bad'), namespaces: { users: [{ exclusive: true, regex: '@_filed_.*' }] } },
        'for themselves alone',
      ],
    ] as const) {
      const { status, body } = await add(registration);
      expect([status, body.errcode], part).to.deep.equal([400, 'M_INVALID_PARAM']);
      expect(body.error).to.include(part);
    }
    const other = await server.ask(ADMIN, 'PUT', `${ROOT}/other`, registrationOf('third'));
    expect(other.body.errcode).to.equal('M_INVALID_PARAM');
    expect(await listed()).to.deep.equal(['filed', 'irc']);
  });

  it('takes one away, but none of a file, and leaves the users that it made', async () => {
    expect((await server.ask(ADMIN, 'DELETE', `${ROOT}/irc`)).status).to.equal(200);
    expect((await server.ask('another_as_token', 'GET', '/account/whoami')).body.errcode).to.equal('M_UNKNOWN_TOKEN');
    expect(await server.services.users.exists('@_irc_bot:test')).to.equal(true);
    expect((await server.ask(ADMIN, 'DELETE', `${ROOT}/irc`)).body.errcode).to.equal('M_NOT_FOUND');
    expect((await server.ask(ADMIN, 'DELETE', `${ROOT}/filed`)).body.error).to.include('registered by the file');
    expect((await server.ask(ADMIN, 'GET', `${ROOT}/irc`)).body.errcode).to.equal('M_NOT_FOUND');
  });

  it('leaves an entry in the audit log for each change', async () => {
    expect(await actions()).to.include.members(['appservice.add', 'appservice.replace', 'appservice.remove']);
  });

  it('reads the files again when the server is told to, by a signal or by an administrator', async () => {
    await server.registerAppservices([OF_FILE, registrationOf('xmpp')]);
    await server.reload();
    expect(await whoIs('as_token_of_xmpp')).to.equal('@_xmpp_bot:test');
    await server.registerAppservices([registrationOf('sms')]);
    const reloaded = await server.must(ADMIN, 'POST', `/_tsudoi/admin/v1/reload_appservices`);
    expect(reloaded.appservices.map(({ id }: { id: string }) => id)).to.deep.equal(['sms']);
    expect((await server.ask('as_token_of_xmpp', 'GET', '/account/whoami')).body.errcode).to.equal('M_UNKNOWN_TOKEN');
    expect(await actions()).to.include('appservice.reload');
  });

  it('leaves all as it was when one of the files cannot be used', async () => {
    await server.registerAppservices([registrationOf('one'), { id: 'broken' }]);
    const { body } = await server.ask(ADMIN, 'POST', `/_tsudoi/admin/v1/reload_appservices`);
    expect(body.errcode).to.equal('M_INVALID_PARAM');
    expect(body.error).to.include('as_token must be').and.to.include('.yaml');
    expect(await listed()).to.deep.equal(['sms']);
    let failure: unknown;
    await server.reload().catch((error: unknown) => (failure = error));
    expect(String(failure)).to.include('as_token must be');
    expect(await listed()).to.deep.equal(['sms']);
    expect((await add(registrationOf('added'))).status).to.equal(200);
    expect(await listed()).to.deep.equal(['sms', 'added']);
  });
});
