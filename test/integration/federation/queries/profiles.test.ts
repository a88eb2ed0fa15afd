import { expect } from 'chai';
import { type Federation, startFederation } from '#test/support/federation/federation.ts';
import type { InProcessServer } from '../../../support/in-process-server.ts';
import type { RemotePartner } from '#test/support/federation/remote-partner.ts';

const PATH = '/_matrix/federation/v1/query/profile';

describe("profiles of other servers' users", function () {
  this.timeout(120_000);
  let federation: Federation;
  let a: InProcessServer;
  let b: InProcessServer;
  let partner: RemotePartner;

  before(async () => {
    federation = await startFederation(['a.test', 'b.test'], { partners: ['p.test'] });
    a = federation.server('a.test');
    b = federation.server('b.test');
    partner = federation.partner('p.test');
  });
  after(() => federation?.stop());

  const asked = (): number => partner.requests('GET', /\/query\/profile$/).length;

  it('are told to anybody who asks the own server, with all their fields', async () => {
    await b.must('bob', 'PUT', '/profile/@bob:b.test/displayname', { displayname: 'Bob ボブ' });
    await b.must('bob', 'PUT', '/profile/@bob:b.test/avatar_url', { avatar_url: 'mxc://b.test/face' });
    await b.must('bob', 'PUT', '/profile/@bob:b.test/org.example.colour', { 'org.example.colour': { name: 'blue' } });
    expect(await a.must(undefined, 'GET', '/profile/@bob:b.test')).to.deep.equal({
      displayname: 'Bob ボブ',
      avatar_url: 'mxc://b.test/face',
      'org.example.colour': { name: 'blue' },
    });
    expect(await a.must(undefined, 'GET', '/profile/@bob:b.test/displayname')).to.deep.equal({
      displayname: 'Bob ボブ',
    });
    const missing = await a.ask(undefined, 'GET', '/profile/@bob:b.test/m.tz');
    expect([missing.status, missing.body.errcode]).to.deep.equal([404, 'M_NOT_FOUND']);
  });

  it('are not found where their server has no such user', async () => {
    const { status, body } = await a.ask(undefined, 'GET', '/profile/@nobody:b.test');
    expect([status, body.errcode]).to.deep.equal([404, 'M_NOT_FOUND']);
  });

  it('are not asked for when the user id is none: a port that is no number is 400', async () => {
    for (const userId of ['@bob:b.test:http', 'bob', '@bob', '@bob:b..test:99999999']) {
      const { status, body } = await a.ask(undefined, 'GET', `/profile/${encodeURIComponent(userId)}`);
      expect([userId, status, body.errcode]).to.deep.equal([userId, 400, 'M_INVALID_PARAM']);
      const query = `${PATH}?user_id=${encodeURIComponent(userId)}`;
      const told = await partner.send('a.test', 'GET', query);
      expect([userId, told.status, told.body.errcode]).to.deep.equal([userId, 400, 'M_INVALID_PARAM']);
    }
  });

  it('are remembered for five minutes, and asked for once by many at the same time', async () => {
    let name = 'One';
    partner.on('GET', PATH, ({ query }) => ({ body: { displayname: `${name} ${query.get('user_id')}` } }));
    const read = (): Promise<unknown> => a.must(undefined, 'GET', '/profile/@x:p.test/displayname');
    const before = asked();
    const answers = await Promise.all(Array.from({ length: 10 }, read));
    expect(new Set(answers.map((one) => JSON.stringify(one)))).to.have.length(1);
    expect(asked() - before).to.equal(1);
    name = 'Two';
    await federation.clock.advance(299_000);
    expect(await read()).to.deep.equal({ displayname: 'One @x:p.test' });
    await federation.clock.advance(2_000);
    expect(await read()).to.deep.equal({ displayname: 'Two @x:p.test' });
  });

  it('are what they were when their server cannot be reached', async () => {
    partner.on('GET', PATH, () => ({ body: { displayname: 'Still here' } }));
    await a.must(undefined, 'GET', '/profile/@y:p.test');
    partner.on('GET', PATH, () => ({ status: 500, body: 'broken' }));
    await federation.clock.advance(301_000);
    expect(await a.must(undefined, 'GET', '/profile/@y:p.test')).to.deep.equal({ displayname: 'Still here' });
    const { status, body } = await a.ask(undefined, 'GET', '/profile/@z:p.test');
    expect([status, body.errcode]).to.deep.equal([502, 'M_CONNECTION_FAILED']);
  });

  it('are not told when their server does not want it', async () => {
    partner.on('GET', PATH, () => ({ status: 403, body: { errcode: 'M_FORBIDDEN', error: 'no' } }));
    const { status, body } = await a.ask(undefined, 'GET', '/profile/@secret:p.test');
    expect([status, body.errcode]).to.deep.equal([403, 'M_FORBIDDEN']);
  });

  it('hold nothing that a profile cannot hold, whatever a hostile server says', async () => {
    partner.on('GET', PATH, () => ({
      body: {
        displayname: ['x'],
        avatar_url: 'javascript:alert(1)',
        'm.tz': 7,
        ['k'.repeat(300)]: 1,
        'org.example.a': 1,
      },
    }));
    expect(await a.must(undefined, 'GET', '/profile/@odd:p.test')).to.deep.equal({ 'org.example.a': 1 });
    const huge: unknown[] = [
      `{"displayname":"${'x'.repeat(300_000)}"}`,
      '[1,2,3]',
      'no json',
      `{"a":${'['.repeat(5_000)}${']'.repeat(5_000)}}`,
    ];
    for (const [index, body] of huge.entries()) {
      partner.on('GET', PATH, () => ({ body }));
      const answer = await a.ask(undefined, 'GET', `/profile/@huge${index}:p.test`);
      expect([index, answer.status, answer.body.errcode]).to.deep.equal([index, 502, 'M_CONNECTION_FAILED']);
    }
  });

  it('are told field by field to servers that ask, and only of users that are here', async () => {
    await a.must('alice', 'PUT', '/profile/@alice:a.test/displayname', { displayname: 'Alice' });
    const ask = (query: string) => partner.send('a.test', 'GET', query === '' ? PATH : `${PATH}?${query}`);
    expect((await ask('user_id=@alice:a.test')).body).to.deep.equal({ displayname: 'Alice' });
    expect((await ask('user_id=@alice:a.test&field=displayname')).body).to.deep.equal({ displayname: 'Alice' });
    expect((await ask('user_id=@alice:a.test&field=avatar_url')).body).to.deep.equal({});
    expect((await ask('user_id=@alice:a.test&field=__proto__')).body).to.deep.equal({});
    for (const [query, status, errcode] of [
      ['user_id=@nobody:a.test', 404, 'M_NOT_FOUND'],
      ['user_id=@bob:b.test', 400, 'M_INVALID_PARAM'],
      ['', 400, 'M_MISSING_PARAM'],
    ] as const) {
      const answer = await ask(query);
      expect([query, answer.status, answer.body.errcode]).to.deep.equal([query, status, errcode]);
    }
  });

  it('come with an invite, as far as their server tells them in time', async () => {
    await b.setProfile('bob', { displayname: 'Bob' });
    const { services } = a;
    expect(await services.membership.inviteContent({ target: '@bob:b.test' })).to.deep.include({ displayname: 'Bob' });
    expect(await services.membership.inviteContent({ target: '@nobody:b.test' })).to.deep.equal({
      membership: 'invite',
    });
  });

  it('are not asked about with queries that nobody knows', async () => {
    for (const kind of ['weather', 'profile%2F..', 'client_versions']) {
      const { status, body } = await partner.send('a.test', 'GET', `/_matrix/federation/v1/query/${kind}`);
      expect([kind, status, body.errcode]).to.deep.equal([kind, 404, 'M_UNRECOGNIZED']);
    }
  });
});
