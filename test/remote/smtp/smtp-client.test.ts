import { readFileSync } from 'node:fs';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { expect } from 'chai';
import { systemTimers } from '#src/kernel/timers.ts';
import { type OutgoingMail, SmtpClient, type SmtpOptions, type SmtpOutcome } from '#src/remote/smtp/smtp-client.ts';
import { LOOPBACK_CA_FILE } from '#test/support/stand-ins/identity-server.ts';
import { MailServer, type MailServerOptions } from '#test/support/stand-ins/mail-server.ts';

const CA = readFileSync(LOOPBACK_CA_FILE, 'utf8');

const mail = (more: Partial<OutgoingMail> = {}): OutgoingMail => ({
  messageId: '<one@tsudoi.test>',
  from: { name: '集い', address: 'noreply@tsudoi.test' },
  envelopeFrom: 'bounces@tsudoi.test',
  to: { name: '', address: 'bob@mail.test' },
  subject: 'メールの件名 – subject',
  text: 'text',
  html: '<p>html</p>',
  ts: 1_764_443_820_000,
  headers: { 'X-Test': 'yes' },
  ...more,
});

describe('the SMTP client', function () {
  this.timeout(60_000);
  const open: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const close of open.splice(0).reverse()) await close();
  });

  const client = (url: string, more: Partial<SmtpOptions> = {}): SmtpClient => {
    const made = new SmtpClient(
      {
        url,
        username: null,
        password: null,
        starttls: 'none',
        verifyCertificate: true,
        certificateAuthorities: [CA],
        timeoutMs: 20_000,
        maxConnections: 2,
        maxPerSecond: 1_000,
        ownName: 'tsudoi.test',
        ...more,
      },
      systemTimers,
    );
    open.push(() => made.close());
    return made;
  };
  const server = async (options: MailServerOptions = {}): Promise<MailServer> => {
    const started = await MailServer.start(options);
    open.push(() => started.stop());
    return started;
  };
  const kindOf = async (outcome: Promise<SmtpOutcome>): Promise<string> => (await outcome).kind;

  it('hands a mail over as it was given: envelope, names and subjects of any script, time and headers', async () => {
    const to = await server();
    expect(await client(to.url).send(mail())).to.deep.equal({ kind: 'sent' });
    const got = to.one();
    expect([got.from, got.to]).to.deep.equal(['bounces@tsudoi.test', ['bob@mail.test']]);
    expect(got.parsed.subject).to.equal('メールの件名 – subject');
    expect(got.parsed.from?.value).to.deep.equal([{ name: '集い', address: 'noreply@tsudoi.test' }]);
    expect(got.parsed.messageId).to.equal('<one@tsudoi.test>');
    expect(got.parsed.date?.getTime()).to.equal(1_764_443_820_000);
    expect(got.parsed.headers.get('x-test')).to.equal('yes');
    expect([got.parsed.text?.trim(), got.parsed.html]).to.deep.equal(['text', '<p>html</p>']);
    expect(got.raw).to.match(/^Subject: =\?UTF-8\?/m);
    // oxlint-disable-next-line no-control-regex
    expect(got.raw).to.match(/^[\x00-\x7f]*$/);
  });

  it('lets nobody write headers or recipients of their own', async () => {
    const to = await server();
    const evil = 'x\r\nBcc: victim@mail.test\r\n\r\nbody';
    await client(to.url).send(
      mail({ subject: evil, from: { name: evil, address: 'noreply@tsudoi.test' }, headers: { 'X-Evil': evil } }),
    );
    const got = to.one();
    expect(got.to).to.deep.equal(['bob@mail.test']);
    expect(got.parsed.bcc).to.equal(undefined);
    expect(got.raw).to.not.match(/^bcc:/im);
    for (const address of [
      'bob@mail.test\r\nRCPT TO:<victim@mail.test>',
      'bob@mail.test>\r\nX: y',
      'bob@mail.test, victim@mail.test',
    ]) {
      await client(to.url).send(mail({ to: { name: '', address } }));
      for (const { to: recipients } of to.take()) expect(recipients).to.not.include('victim@mail.test');
    }
  });

  it('sends to domains of any script, as every server understands them', async () => {
    const to = await server();
    expect(await kindOf(client(to.url).send(mail({ to: { name: '', address: 'bob@bücher.example' } })))).to.equal(
      'sent',
    );
    const [mailTo, ...others] = to.one().raw.match(/^To: .*$/gm) ?? [];
    expect([mailTo?.trim(), others]).to.deep.equal(['To: bob@xn--bcher-kva.example', []]);
  });

  for (const [tls, scheme] of [
    ['starttls', 'smtp'],
    ['implicit', 'smtps'],
  ] as const) {
    it(`encrypts what it sends (${tls}), and logs in`, async () => {
      const login = { username: 'tsudoi', password: 'pass word: ü%' };
      const to = await server({ tls, login });
      const url = `${scheme}://localhost:${to.port}`;
      expect(await client(url, { starttls: 'required', ...login }).send(mail())).to.deep.equal({ kind: 'sent' });
      expect(to.one().isSecure).to.equal(true);
      const inUrl = `${scheme}://${login.username}:${encodeURIComponent(login.password)}@localhost:${to.port}`;
      expect(await kindOf(client(inUrl, { starttls: 'required' }).send(mail()))).to.equal('sent');
      const wrong = await client(url, { starttls: 'required', ...login, password: 'wrong' }).send(mail());
      expect(wrong, 'the mail is not to blame').to.include({ kind: 'failed' });
      expect(JSON.stringify(wrong)).to.not.include('wrong');
    });

    it(`sends nothing to whoever has a certificate that nobody vouches for (${tls}), unless it is told to`, async () => {
      const to = await server({ tls });
      const url = `${scheme}://localhost:${to.port}`;
      const unknown = { starttls: 'required', certificateAuthorities: undefined } as const;
      expect(await kindOf(client(url, unknown).send(mail()))).to.equal('failed');
      expect(to.take()).to.deep.equal([]);
      expect(await kindOf(client(url, { ...unknown, verifyCertificate: false }).send(mail()))).to.equal('sent');
    });
  }

  it('sends nothing in the clear where STARTTLS is required, and does where it is only preferred', async () => {
    const to = await server();
    expect(await kindOf(client(to.url, { starttls: 'required' }).send(mail()))).to.equal('failed');
    expect(to.take()).to.deep.equal([]);
    expect(await kindOf(client(to.url, { starttls: 'opportunistic' }).send(mail()))).to.equal('sent');
    const better = await server({ tls: 'starttls' });
    expect(await kindOf(client(better.url, { starttls: 'opportunistic' }).send(mail()))).to.equal('sent');
    expect([to.one().isSecure, better.one().isSecure]).to.deep.equal([false, true]);
  });

  for (const [step, code, kind] of [
    ['mail', 451, 'failed'],
    ['mail', 550, 'refused'],
    ['rcpt', 450, 'failed'],
    ['rcpt', 452, 'failed'],
    ['rcpt', 550, 'refused'],
    ['data', 421, 'failed'],
    ['data', 554, 'refused'],
  ] as const)
    it(`takes ${code} to ${step} for what is ${kind === 'refused' ? 'refused for good' : 'to be tried again'}`, async () => {
      const to = await server();
      to.refusals.push({ step, code });
      const outcome = await client(to.url).send(mail());
      expect(outcome.kind).to.equal(kind);
      expect(JSON.stringify(outcome), 'an outcome is logged').to.not.include('bob@mail.test');
      expect(await kindOf(client(to.url).send(mail()))).to.equal('sent');
    });

  it('opens no more connections than it may, however much there is to send, and uses them again', async () => {
    const to = await server();
    const { url } = to;
    const one = client(url);
    const outcomes = await Promise.all(Array.from({ length: 30 }, () => one.send(mail())));
    expect(outcomes.filter(({ kind }) => kind === 'sent')).to.have.length(30);
    expect(to.connections).to.be.at.most(2);
  });

  describe('facing a server that', () => {
    const strange = async (speak: Parameters<typeof createServer>[1]): Promise<string> => {
      const listening: Server = createServer((socket) => {
        socket.on('error', () => undefined);
        speak?.(socket);
      });
      await new Promise<void>((resolve) => {
        listening.listen(0, '127.0.0.1', resolve);
      });
      const sockets = new Set<{ destroy(): void }>();
      listening.on('connection', (socket) => sockets.add(socket));
      open.push(async () => {
        for (const socket of sockets) socket.destroy();
        listening.close();
      });
      return `smtp://127.0.0.1:${(listening.address() as AddressInfo).port}`;
    };

    it('says nothing, waits no longer than it may', async () => {
      const url = await strange(() => undefined);
      expect(await kindOf(client(url, { timeoutMs: 300 }).send(mail()))).to.equal('failed');
    });
    it('speaks a byte now and then for ever, waits no longer than it may', async () => {
      const url = await strange((socket) => {
        const timer = setInterval(() => socket.write('2'), 50);
        socket.on('close', () => clearInterval(timer));
      });
      expect(await kindOf(client(url, { timeoutMs: 300 }).send(mail()))).to.equal('failed');
    });
    it('speaks without end, reads no more than it may', async () => {
      const url = await strange((socket) => {
        const more = (): void => {
          while (socket.write('220-'.padEnd(16_384, 'x')));
        };
        socket.on('drain', more);
        more();
      });
      expect(await kindOf(client(url, { timeoutMs: 5_000 }).send(mail()))).to.equal('failed');
    });
    it('hangs up, or is not there, says so', async () => {
      const url = await strange((socket) => socket.destroy());
      expect(await kindOf(client(url).send(mail()))).to.equal('failed');
      expect(await kindOf(client('smtp://127.0.0.1:1').send(mail()))).to.equal('failed');
    });
  });

  it('says what is wrong when it is probed', async () => {
    const to = await server({ login: { username: 'a', password: 'b' } });
    await client(to.url, { username: 'a', password: 'b' }).probe();
    const error = await client(to.url, { username: 'a', password: 'c' })
      .probe()
      .catch((reason: unknown) => reason);
    expect(error).to.be.an.instanceOf(Error);
  });
});
