import { expect } from 'chai';
import type { Answer } from '#test/support/in-process-server.ts';
import { linkOf, linksOf } from '#test/support/stand-ins/mail-server.ts';
import { MailWorld, PASSWORD } from './mail-world.ts';

const CONFIRM = '/_tsudoi/email/confirm';

describe('mail addresses of accounts', function () {
  this.timeout(60_000);
  let world: MailWorld;
  before(async () => {
    world = await MailWorld.start();
  });
  after(() => world?.stop());

  const errcode = ({ status, body }: Answer): unknown => [status, body.errcode];

  describe('the mail with a link', () => {
    for (const [language, subject, word] of [
      ['en', 'Confirm your address for test', 'Confirm'],
      ['ja', '【test】メールアドレスの確認', '確認する'],
    ] as const) {
      it(`comes in the language of the request (${language}), as text and HTML, and its link leads to a page in that language`, async () => {
        const email = world.address();
        const headers = { 'Accept-Language': `${language}-JP, fr;q=0.9` };
        expect((await world.requestToken('register', email, {}, headers)).status).to.equal(200);
        expect(world.mail.take(), 'nothing is sent within the request').to.deep.equal([]);
        await world.app.idle();
        const mail = world.mail.one();
        expect([mail.from, mail.to]).to.deep.equal(['noreply@tsudoi.test', [email]]);
        expect(mail.parsed.subject).to.equal(subject);
        expect(mail.parsed.from?.text).to.equal('"Tsudoi" <noreply@tsudoi.test>');
        expect(mail.parsed.headers.get('content-language')).to.equal(language);
        expect(mail.parsed.headers.get('auto-submitted')).to.equal('auto-generated');
        expect(String(mail.parsed.html)).to.include(`<html lang="${language}"`);
        const { page, done } = await world.follow(mail, headers);
        expect(page).to.include(`<html lang="${language}">`).and.include(word).and.include(email);
        expect(done.status).to.equal(200);
        expect(await done.text()).to.include(`<html lang="${language}">`);
      });
    }

    it('validates nothing by being opened, as programs that look at mails do: only by its button', async () => {
      const email = world.address();
      const person = await world.register('opened');
      const { body } = await world.requestToken('account/3pid', email);
      await world.app.idle();
      const mail = world.mail.one();
      const link = linkOf(mail, CONFIRM);
      for (const method of ['GET', 'HEAD']) await fetch(world.app.url + link.pathname + link.search, { method });
      const add = { sid: body.sid, client_secret: `secret_${email.replace(/[^a-z0-9]/g, '')}` };
      const auth = world.passwordAuth(person.userId);
      const early = await world.app.ask(person.token, 'POST', '/account/3pid/add', { ...add, auth });
      expect(errcode(early)).to.deep.equal([403, 'M_THREEPID_AUTH_FAILED']);
      await world.follow(mail);
      await world.app.must(person.token, 'POST', '/account/3pid/add', { ...add, auth });
      const [threepid, ...others] = await world.threepids(person.token);
      expect(others).to.deep.equal([]);
      expect(threepid).to.include({ medium: 'email', address: email });
      expect(threepid.validated_at).to.be.a('number').and.at.most(threepid.added_at);
    });

    it('has a page that runs and loads nothing, and that no other page can show in a frame', async () => {
      await world.requestToken('register', world.address());
      await world.app.idle();
      const link = linkOf(world.mail.one(), CONFIRM);
      const page = await fetch(world.app.url + link.pathname + link.search);
      const policy = page.headers.get('content-security-policy');
      expect(policy)
        .to.include("default-src 'none'")
        .and.include("form-action 'self'")
        .and.include("frame-ancestors 'none'");
      expect(page.headers.get('referrer-policy')).to.equal('no-referrer');
      expect(page.headers.get('cache-control')).to.equal('no-store');
      expect(await page.text()).to.not.match(/<script|<img|<link/);
    });

    it('is sent again for a greater send_attempt only, with the same session and the same link', async () => {
      const email = world.address();
      const sids: unknown[] = [];
      const links: string[] = [];
      for (const [attempt, mails] of [
        [5, 1],
        [5, 0],
        [4, 0],
        [-1, 0],
        [6, 1],
      ] as const) {
        sids.push((await world.requestToken('register', email, { send_attempt: attempt })).body.sid);
        await world.app.idle();
        const came = world.mail.take();
        expect(came, `attempt ${attempt}`).to.have.length(mails);
        links.push(...came.map((mail) => linkOf(mail, CONFIRM).href));
      }
      expect(new Set(sids)).to.have.property('size', 1);
      expect(new Set(links)).to.have.property('size', 1);
      const other = await world.requestToken('register', email, { client_secret: 'another', send_attempt: 1 });
      expect(other.body.sid).to.not.equal(sids[0]);
      await world.app.idle();
      expect(linkOf(world.mail.one(), CONFIRM).href).to.not.equal(links[0]);
    });

    it('is one mail when the same request comes several times at once', async () => {
      const email = world.address();
      const answers = await Promise.all([1, 2, 3, 4, 5].map(() => world.requestToken('register', email)));
      expect(new Set(answers.map(({ body }) => body.sid))).to.have.property('size', 1);
      await world.app.idle();
      world.mail.one();
    });

    it('is good for an hour, and not for a moment longer', async () => {
      const email = world.address();
      await world.requestToken('register', email);
      await world.app.idle();
      const link = linkOf(world.mail.one(), CONFIRM);
      world.app.clock.set(3_599_999);
      expect((await fetch(world.app.url + link.pathname + link.search)).status).to.equal(200);
      world.app.clock.set(1);
      const late = await fetch(world.app.url + link.pathname + link.search, { headers: { 'Accept-Language': 'ja' } });
      expect(late.status).to.equal(400);
      expect(await late.text()).to.include('有効期限');
    });

    it('leaves nothing behind once it has expired, and the mail is long gone', async () => {
      await world.requestToken('register', world.address());
      await world.app.idle();
      world.mail.one();
      const rows = async (): Promise<number[]> => {
        const [row] = await world.app.services.database.query<{ sessions: number; mails: number }>({
          name: 'test_rows_of_mail',
          text: 'select (select count(*) from threepid_validations)::int as sessions, (select count(*) from mails_sent)::int as mails',
        });
        return [row?.sessions ?? 0, row?.mails ?? 0];
      };
      const clean = () => world.app.services.streamCleaner.clean(new AbortController().signal);
      world.app.clock.set(86_400_000);
      await clean();
      const [sessions, mails = 0] = await rows();
      expect(sessions).to.equal(0);
      expect(mails).to.be.above(0);
      world.app.clock.set(15 * 86_400_000);
      await clean();
      expect(await rows()).to.deep.equal([0, 0]);
    });

    it('is good no more after ten wrong tokens', async () => {
      await world.requestToken('register', world.address());
      await world.app.idle();
      const link = linkOf(world.mail.one(), CONFIRM);
      const wrong = new URL(link);
      wrong.searchParams.set('token', 'x'.repeat(32));
      const open = async (at: URL): Promise<number> => (await fetch(world.app.url + at.pathname + at.search)).status;
      for (let count = 0; count < 9; count++) expect(await open(wrong)).to.equal(400);
      expect(await open(link)).to.equal(200);
      expect(await open(wrong)).to.equal(400);
      expect(await open(link)).to.equal(400);
    });

    it('says nothing in the database of its token, or of the secret of the client', async () => {
      const email = world.address();
      await world.requestToken('register', email, { client_secret: 'the_secret_of_the_client' });
      const token = async (): Promise<string> => linkOf(world.mail.one(), CONFIRM).searchParams.get('token') ?? '';
      await world.app.idle();
      const secrets = [await token(), 'the_secret_of_the_client'];
      const rows = await world.app.services.database.query<{ row: string }>({
        name: 'test_everything_of_validations',
        text: `select row_to_json(v)::text as row from threepid_validations v
          union all select row_to_json(o)::text from outbox o union all select row_to_json(m)::text from mails_sent m
          union all select row_to_json(j)::text from bullmq.job j`,
      });
      expect(rows.some(({ row }) => row.includes(email))).to.equal(true);
      for (const secret of secrets) expect(rows.filter(({ row }) => row.includes(secret))).to.deep.equal([]);
      for (const secret of secrets)
        expect(world.app.lines.filter((line) => JSON.stringify(line).includes(secret))).to.deep.equal([]);
    });
  });

  describe('next_link', () => {
    const finish = async (nextLink: string): Promise<Response> => {
      expect((await world.requestToken('register', world.address(), { next_link: nextLink })).status).to.equal(200);
      await world.app.idle();
      return (await world.follow(world.mail.one())).done;
    };

    it('leads on by a link that shows its host, where no hosts are configured', async () => {
      const done = await finish('https://app.test/#/register?x=1&y="><script>');
      expect(done.status).to.equal(200);
      const page = await done.text();
      expect(page).to.include('app.test</a>').and.not.include('<script>');
    });

    it('is refused where it is no web address, or has a user name that could pass for a host', async () => {
      for (const link of [
        'javascript:alert(1)',
        'ftp://app.test/',
        '//app.test',
        'https://bank.test@evil.test/',
        'x'.repeat(3_000),
      ]) {
        const answer = await world.requestToken('register', world.address(), { next_link: link });
        expect(errcode(answer), link).to.deep.equal([400, 'M_INVALID_PARAM']);
      }
    });

    it('is redirected to where its host is configured, and others are refused', async () => {
      const strict = await MailWorld.start({ email: { nextLinkHosts: ['app.test'] } });
      try {
        await strict.requestToken('register', 'a@mail.test', { next_link: 'https://app.test/next' });
        await strict.app.idle();
        const { page, done } = await strict.follow(strict.mail.one());
        expect([done.status, done.headers.get('location')]).to.deep.equal([303, 'https://app.test/next']);
        expect(page).to.include('<form');
        const other = await strict.requestToken('register', 'b@mail.test', { next_link: 'https://evil.test/' });
        expect(errcode(other)).to.deep.equal([400, 'M_INVALID_PARAM']);
      } finally {
        await strict.stop();
      }
    });
  });

  describe('what is wrong with a request', () => {
    it('is said for secrets and addresses that break their grammar, and never sent to anybody', async () => {
      for (const secret of ['', 'a b', 'ü', 'x'.repeat(256), 'a\nb']) {
        const answer = await world.requestToken('register', world.address(), { client_secret: secret });
        expect(errcode(answer), secret).to.deep.equal([400, 'M_INVALID_PARAM']);
      }
      for (const email of [
        '',
        'nobody',
        '@mail.test',
        'a@',
        'a@b@c',
        'a b@mail.test',
        'a@mail.test\nBcc: victim@mail.test',
        'a@mail.test\r\nRCPT TO:<victim@mail.test>',
        'a@mail.test,b@mail.test',
        'Name <a@mail.test>',
        '"a"@mail.test',
        `${'x'.repeat(65)}@mail.test`,
        `a@${'x'.repeat(250)}.test`,
        'a@-mail.test',
        'a@mail..test',
        'a@\u202email.test',
      ]) {
        const answer = await world.requestToken('register', email);
        expect(errcode(answer), JSON.stringify(email)).to.deep.equal([400, 'M_INVALID_PARAM']);
      }
      for (const attempt of [1.5, 'one', 1e300, null])
        expect((await world.requestToken('register', world.address(), { send_attempt: attempt })).status).to.equal(400);
      await world.app.idle();
      expect(world.mail.take()).to.deep.equal([]);
    });

    it('is said for telephone numbers, to which nothing is sent', async () => {
      const body = { client_secret: 'secret', country: 'GB', phone_number: '07700900001', send_attempt: 1 };
      for (const kind of ['register', 'account/3pid', 'account/password'])
        expect(errcode(await world.app.ask(undefined, 'POST', `/${kind}/msisdn/requestToken`, body))).to.deep.equal([
          400,
          'M_THREEPID_MEDIUM_NOT_SUPPORTED',
        ]);
    });

    it('is said for domains that are not wanted', async () => {
      const picky = await MailWorld.start({
        email: { allowedDomains: ['*.test', 'bücher.example'], deniedDomains: ['*bad.test'] },
      });
      try {
        const statusOf = async (email: string): Promise<unknown> =>
          errcode(await picky.requestToken('register', email));
        expect(await statusOf('a@mail.example')).to.deep.equal([403, 'M_THREEPID_DENIED']);
        expect(await statusOf('a@very.BAD.test')).to.deep.equal([403, 'M_THREEPID_DENIED']);
        expect(await statusOf('a@mail.test')).to.deep.equal([200, undefined]);
        expect(await statusOf('a@xn--bcher-kva.example')).to.deep.equal([200, undefined]);
      } finally {
        await picky.stop();
      }
    });
  });

  it('are the same however they are written: capitals, and domains in either alphabet', async () => {
    const [first, second] = [await world.register('writes-one'), await world.register('writes-other')];
    await world.add(first, 'Bücher.Wurm@BÜCHER.example');
    expect((await world.threepids(first.token)).map(({ address }) => address)).to.deep.equal([
      'bücher.wurm@bücher.example',
    ]);
    await world.requestToken('account/3pid', 'BÜCHER.wurm@xn--bcher-kva.example', { client_secret: 'other' });
    await world.app.idle();
    expect(world.mail.one().parsed.subject).to.equal('You have an account on test already');
    expect(await world.threepids(second.token)).to.deep.equal([]);
  });

  describe('of which nobody is told whose they are', () => {
    it('get the same answer for every address, and their owners a mail that says how it is', async () => {
      const email = world.address();
      const owner = await world.register('owner');
      await world.add(owner, email);
      for (const kind of ['register', 'account/3pid']) {
        const [free, taken] = [
          await world.requestToken(kind, world.address()),
          await world.requestToken(kind, email, { client_secret: kind.replace('/', '.') }),
        ];
        expect([free.status, taken.status]).to.deep.equal([200, 200]);
        expect(Object.keys(taken.body)).to.deep.equal(Object.keys(free.body));
        expect(taken.body.sid).to.have.length(free.body.sid.length);
        await world.app.idle();
        const mail = world.mail.take().find(({ to }) => to.includes(email));
        expect(mail?.parsed.subject).to.equal('You have an account on test already');
        expect(mail?.parsed.text).to.include(owner.userId);
        expect(linksOf(mail!).filter((link) => link.includes(CONFIRM))).to.deep.equal([]);
      }
      const [known, unknown] = [
        await world.requestToken('account/password', email),
        await world.requestToken('account/password', world.address()),
      ];
      expect([known.status, unknown.status]).to.deep.equal([200, 200]);
      await world.app.idle();
      expect(world.mail.one().to).to.deep.equal([email]);
    });

    it('cost the same statements, whether they belong to an account or not', async () => {
      const email = world.address();
      await world.add(await world.register('measured'), email);
      const { database } = world.app.services;
      const write = database.write.bind(database);
      const read = database.query.bind(database);
      /** What a request does with addresses; what goes on beside it does nothing with them. */
      const statementsOf = async (kind: string, address: string, secret: string): Promise<string[]> => {
        const names: string[] = [];
        // Up to the commit: what follows from it is for the job.
        let isOver = false;
        database.query = (statement, values) => {
          if (!isOver) names.push(statement.name);
          return read(statement, values);
        };
        database.write = (use) =>
          write((tx) => {
            const query = tx.query.bind(tx);
            tx.query = (statement, values) => {
              names.push(statement.name);
              return query(statement, values);
            };
            return use(tx);
          }).finally(() => (isOver = true));
        await world.requestToken(kind, address, { client_secret: secret });
        Object.assign(database, { query: read, write });
        return names.filter((name) => name.startsWith('threepid'));
      };
      for (const kind of ['register', 'account/3pid', 'account/password']) {
        await world.app.idle();
        const known = await statementsOf(kind, email, `known.${kind.length}`);
        expect(known).to.deep.equal(['threepid_validation_forget', 'threepid_validation_ask']);
        await world.app.idle();
        expect(await statementsOf(kind, world.address(), `unknown.${kind.length}`), kind).to.deep.equal(known);
      }
      await world.app.idle();
      world.mail.take();
    });

    it('are told where the operator wants clients to know: M_THREEPID_IN_USE and M_THREEPID_NOT_FOUND', async () => {
      const open = await MailWorld.start({ email: { hideAccounts: false } });
      try {
        await open.add(await open.register('owner'), 'taken@mail.test');
        for (const kind of ['register', 'account/3pid'])
          expect(errcode(await open.requestToken(kind, 'TAKEN@mail.test'))).to.deep.equal([400, 'M_THREEPID_IN_USE']);
        expect(errcode(await open.requestToken('account/password', 'free@mail.test'))).to.deep.equal([
          400,
          'M_THREEPID_NOT_FOUND',
        ]);
        expect((await open.requestToken('account/password', 'taken@mail.test')).status).to.equal(200);
      } finally {
        await open.stop();
      }
    });
  });

  describe('added and removed by their owners', () => {
    it('need the password of the account', async () => {
      const person = await world.register('adds');
      const credentials = await world.validated('account/3pid', world.address());
      const asked = await world.app.ask(person.token, 'POST', '/account/3pid/add', credentials);
      expect(asked.status).to.equal(401);
      expect(asked.body.flows).to.deep.equal([{ stages: ['m.login.password'] }]);
      const { session } = asked.body;
      const auth = { ...world.passwordAuth(person.userId), session };
      const wrong = { ...auth, password: 'wrong' };
      expect(
        errcode(await world.app.ask(person.token, 'POST', '/account/3pid/add', { ...credentials, auth: wrong })),
      ).to.deep.equal([401, 'M_FORBIDDEN']);
      await world.app.must(person.token, 'POST', '/account/3pid/add', { ...credentials, auth });
      expect(await world.threepids(person.token)).to.have.length(1);
    });

    it('are added once for each validation', async () => {
      const [first, second] = [await world.register('once-a'), await world.register('once-b')];
      const credentials = await world.validated('account/3pid', world.address());
      const add = (person: typeof first): Promise<Answer> =>
        world.app.ask(person.token, 'POST', '/account/3pid/add', {
          ...credentials,
          auth: world.passwordAuth(person.userId),
        });
      const statuses = (await Promise.all([add(first), add(second)])).map(({ status }) => status);
      expect(statuses.sort()).to.deep.equal([200, 403]);
    });

    it('belong to one account at most, however many validate them at once', async () => {
      const email = world.address();
      const people = [await world.register('race-a'), await world.register('race-b')];
      const sessions: object[] = [];
      for (const [index] of people.entries()) {
        const secret = { client_secret: `race_${index}` };
        const { body } = await world.requestToken('account/3pid', email, secret);
        await world.app.idle();
        await world.follow(world.mail.one());
        sessions.push({ sid: body.sid, ...secret });
      }
      const answers = await Promise.all(
        people.map(({ token, userId }, index) =>
          world.app.ask(token, 'POST', '/account/3pid/add', { ...sessions[index], auth: world.passwordAuth(userId) }),
        ),
      );
      expect(answers.map(({ status }) => status).sort()).to.deep.equal([200, 400]);
      expect(answers.find(({ status }) => status === 400)?.body.errcode).to.equal('M_THREEPID_IN_USE');
    });

    it('are refused with the secret of another, or for another purpose', async () => {
      const person = await world.register('purposes');
      const auth = world.passwordAuth(person.userId);
      const { sid } = await world.validated('account/3pid', world.address());
      const stolen = { sid, client_secret: 'guessed', auth };
      expect(errcode(await world.app.ask(person.token, 'POST', '/account/3pid/add', stolen))).to.deep.equal([
        403,
        'M_THREEPID_AUTH_FAILED',
      ]);
      const registered = await world.validated('register', world.address());
      expect(
        errcode(await world.app.ask(person.token, 'POST', '/account/3pid/add', { ...registered, auth })),
      ).to.deep.equal([403, 'M_THREEPID_AUTH_FAILED']);
    });

    it('are removed, however they are written, and again is fine', async () => {
      const person = await world.register('removes');
      const email = world.address();
      await world.add(person, email);
      for (let times = 0; times < 2; times++) {
        const removed = await world.app.must(person.token, 'POST', '/account/3pid/delete', {
          medium: 'email',
          address: email.toUpperCase(),
        });
        expect(removed).to.deep.equal({ id_server_unbind_result: 'no-support' });
      }
      expect(await world.threepids(person.token)).to.deep.equal([]);
      await world.add(await world.register('inherits'), email);
    });

    it('are not more than the operator allows', async () => {
      const few = await MailWorld.start({ quotas: { threepids: 1 } });
      try {
        const person = await few.register('greedy');
        await few.add(person, few.address());
        const credentials = await few.validated('account/3pid', few.address());
        const second = await few.app.ask(person.token, 'POST', '/account/3pid/add', {
          ...credentials,
          auth: few.passwordAuth(person.userId),
        });
        expect(errcode(second)).to.deep.equal([413, 'M_TOO_LARGE']);
      } finally {
        await few.stop();
      }
    });
  });

  it('are advertised as something that users can change', async () => {
    const person = await world.register('capable');
    const { capabilities } = await world.app.must(person.token, 'GET', '/capabilities');
    expect(capabilities['m.3pid_changes']).to.deep.equal({ enabled: true });
  });

  describe('asked for too often', () => {
    it('are mailed a few times and no more, whoever asks, while other addresses are', async () => {
      const limited = await MailWorld.start({}, { rateLimits: { mail_address: { perSecond: 0.001, burst: 3 } } });
      try {
        const flood = async (secret: string): Promise<Answer> =>
          limited.requestToken('account/password', 'victim@mail.test', { client_secret: secret });
        for (let count = 0; count < 3; count++) expect((await flood(`secret${count}`)).status).to.equal(200);
        const refused = await flood('one.more');
        expect(errcode(refused)).to.deep.equal([429, 'M_LIMIT_EXCEEDED']);
        expect(refused.body.retry_after_ms).to.be.a('number').and.greaterThan(0);
        expect((await flood('secret0')).status, 'a request that is repeated sends nothing').to.equal(200);
        expect((await limited.requestToken('account/password', 'other@mail.test')).status).to.equal(200);
      } finally {
        await limited.stop();
      }
    });

    it('are refused by whoever asks for too many', async () => {
      const limited = await MailWorld.start({}, { rateLimits: { mail_request: { perSecond: 0.001, burst: 2 } } });
      try {
        const statuses: number[] = [];
        for (let count = 0; count < 3; count++)
          statuses.push((await limited.requestToken('register', limited.address())).status);
        expect(statuses).to.deep.equal([200, 200, 429]);
      } finally {
        await limited.stop();
      }
    });
  });

  it('cannot be added where no mail is sent', async () => {
    const silent = await MailWorld.start({ email: { smtpUrl: null } });
    try {
      for (const kind of ['register', 'account/3pid', 'account/password'])
        expect(errcode(await silent.requestToken(kind, 'a@mail.test'))).to.deep.equal([
          400,
          'M_THREEPID_MEDIUM_NOT_SUPPORTED',
        ]);
      const reset = { new_password: PASSWORD, auth: { type: 'm.login.email.identity' } };
      expect(errcode(await silent.app.ask(undefined, 'POST', '/account/password', reset))).to.deep.equal([
        401,
        'M_MISSING_TOKEN',
      ]);
      const person = await silent.register('silent');
      const { capabilities } = await silent.app.must(person.token, 'GET', '/capabilities');
      expect(capabilities['m.3pid_changes']).to.deep.equal({ enabled: false });
    } finally {
      await silent.stop();
    }
  });
});
