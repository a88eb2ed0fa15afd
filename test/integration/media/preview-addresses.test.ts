import { expect } from 'chai';
import { AddressGuard } from '#src/remote/address-guard.ts';
import { OutboundHttp } from '#src/remote/outbound-http.ts';
import { PageFetcher } from '#src/services/media/previews/page-fetcher.ts';
import { UrlRules } from '#src/services/media/previews/url-rules.ts';
import { systemTimers } from '#src/kernel/timers.ts';
import { InProcessServer, type Json } from '#test/support/in-process-server.ts';
import { WebServer } from '#test/support/stand-ins/web-server.ts';

/** Where the web is; 127.0.0.1 is this server's own network. */
const WEB = '127.0.0.2';
const WISH = { accept: 'text/html', maxBytes: () => 1_000, cuts: true };

describe('previews of what lies inside the network of this server', function () {
  this.timeout(60_000);
  let inside: WebServer;
  let web: WebServer;
  let server: InProcessServer;
  before(async () => {
    inside = await WebServer.start('127.0.0.1');
    inside.serve('/', '<title>Inside</title>');
    inside.serve('/secret', '<title>Inside</title>');
    web = await WebServer.start(WEB);
    server = await InProcessServer.start({ config: { previews: { allowIpRanges: [`${WEB}/32`] } } });
  });
  afterEach(() => {
    expect(inside.asked, 'nobody was asked').to.deep.equal([]);
    expect(inside.connections, 'nobody was connected to').to.equal(0);
  });
  after(async () => {
    await server?.stop();
    await web?.stop();
    await inside?.stop();
  });
  const ask = (url: string): Promise<Json> =>
    server.ask('alice', 'GET', `/v1/media/preview_url?url=${encodeURIComponent(url)}`);
  const refusal = async (url: string): Promise<unknown> => {
    const { status, body } = await ask(url);
    return [status, body.errcode];
  };
  /** Every way to write the address that browsers and resolvers know. */
  const hosts = (): string[] => [
    '127.0.0.1',
    '127.1',
    '127.0.1',
    '0',
    '0.0.0.0',
    '2130706433',
    '0x7f000001',
    '0x7f.1',
    '017700000001',
    '0177.0.0.01',
    '127.0.0.1.',
    '%31%32%37.0.0.1',
    '127。0。0。1',
    '１２７.0.0.1',
    '①②⑦.0.0.1',
    '[::1]',
    '[::]',
    '[::ffff:127.0.0.1]',
    '[::ffff:7f00:1]',
    '[0:0:0:0:0:ffff:7f00:0001]',
    '[::127.0.0.1]',
    '[::ffff:0:127.0.0.1]',
    '[64:ff9b::7f00:1]',
    '[2002:7f00:1::]',
    'localhost',
    'LOCALHOST.',
    'x.localhost',
  ];

  it('are not made, however its address is written', async () => {
    for (const host of hosts())
      expect(await refusal(`http://${host}:${inside.port}/secret`), host).to.deep.equal([404, 'M_NOT_FOUND']);
    for (const host of [
      '10.0.0.1',
      '169.254.169.254',
      '[fd00::1]',
      '[fe80::1]',
      '192.168.0.1',
      '172.16.0.1',
      '100.64.0.1',
    ])
      expect(await refusal(`http://${host}/latest/meta-data/`), host).to.deep.equal([404, 'M_NOT_FOUND']);
  });

  it('are not made where a redirect, a picture, a base or an oEmbed document leads there', async () => {
    for (const [index, host] of hosts().entries()) {
      const url = `http://${host}:${inside.port}/secret`;
      expect(await refusal(web.redirect(`/redirect-${index}`, url)), host).to.deep.equal([404, 'M_NOT_FOUND']);
      const page = web.serve(
        `/page-${index}`,
        `<title>P</title><base href="http://${host}:${inside.port}/"><meta property="og:image" content="secret">
         <meta name="twitter:image" content="${url}"><link rel="alternate" type="application/json+oembed" href="${url}">`,
      );
      const { status, body } = await ask(page);
      expect([status, body], host).to.deep.equal([200, { 'og:title': 'P' }]);
    }
  });

  it('are not made where the operator lets other requests go inside', async () => {
    const open = await InProcessServer.start({ config: { federation: { allowIpRanges: ['127.0.0.0/8'] } } });
    try {
      const url = encodeURIComponent(`http://127.0.0.1:${inside.port}/secret`);
      const { status, body } = await open.ask('alice', 'GET', `/v1/media/preview_url?url=${url}`);
      expect([status, body.errcode]).to.deep.equal([404, 'M_NOT_FOUND']);
    } finally {
      await open.stop();
    }
  });

  it('do not tell a host that is inside from one that is nowhere', async () => {
    const answers = [
      await ask(`http://127.0.0.1:${inside.port}/secret`),
      await ask('http://127.0.0.1:1/'),
      await ask('http://nowhere.invalid/'),
      await ask(`${web.url}/nothing`),
    ];
    for (const { status, body } of answers) expect([status, body]).to.deep.equal([404, answers[0].body]);
  });

  it('are made of nothing but the web, and of no URL with a user in it', async () => {
    for (const url of [
      `http://web.test@127.0.0.1:${inside.port}/secret`,
      `http://user:word@${WEB}:${web.port}/`,
      `http://${WEB}%40127.0.0.1/`,
      `ftp://127.0.0.1:${inside.port}/`,
      `gopher://127.0.0.1:${inside.port}/_GET%20/secret`,
      'file:///etc/passwd',
      'data:text/html,<title>x</title>',
      'javascript:alert(1)',
      'mxc://test/x',
      `//127.0.0.1:${inside.port}/secret`,
      '/secret',
      'http://',
      'http://[::1',
      'http://127.0.0.1:99999/',
      '',
      ' ',
      `http://${'a.'.repeat(2_000)}test/`,
      'x'.repeat(4_000),
    ]) {
      const [status, errcode] = (await refusal(url)) as [number, string];
      expect(status, url).to.equal(400);
      expect(errcode, url).to.match(/^M_(INVALID|MISSING)_PARAM$/);
    }
    // Backslashes are slashes to browsers: what comes after the first one is a path.
    expect(await refusal(`http://${WEB}:${web.port}\\@127.0.0.1:${inside.port}/secret`)).to.deep.equal([
      404,
      'M_NOT_FOUND',
    ]);
  });

  describe('by names', () => {
    const fetcherOf = (answers: readonly string[][]): { fetcher: PageFetcher; asked: string[] } => {
      const asked: string[] = [];
      const outbound = new OutboundHttp({
        guard: new AddressGuard({ deny: ['127.0.0.0/8', '::/96', '::ffff:0:0/96'], allow: [`${WEB}/32`] }),
        timers: systemTimers,
        userAgent: 'Test',
        resolve: async (name) => {
          asked.push(name);
          const addresses = answers[Math.min(asked.length, answers.length) - 1] ?? [];
          return addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
        },
      });
      const options = { userAgent: 'Test', acceptLanguage: 'ja', maxRedirects: 5, timeoutMs: 10_000 };
      const rules = new UrlRules({ allow: null, deny: [] });
      return { fetcher: new PageFetcher({ outbound, rules, robots: undefined, ...options }), asked };
    };

    it('are not made where a name changes its address between being looked up and being connected to', async () => {
      web.serve('/named', '<title>Web</title>');
      const { fetcher, asked } = fetcherOf([[WEB], ['127.0.0.1']]);
      const first = await fetcher.fetch(new URL(`http://rebinding.test:${web.port}/named`), WISH);
      expect(first).to.be.an('object');
      // Looked up once for one connection: what was judged is what is used.
      expect(asked).to.deep.equal(['rebinding.test']);
      web.redirect('/away', `http://rebinding.test:${inside.port}/secret`);
      expect(await fetcher.fetch(new URL(`http://other.test:${inside.port}/secret`), WISH)).to.equal('nothing');
    });

    it('use only those addresses of a name that are outside', async () => {
      const { fetcher } = fetcherOf([['127.0.0.1', '::1', '::ffff:127.0.0.1', WEB]]);
      const fetched = await fetcher.fetch(new URL(`http://many.test:${web.port}/named`), WISH);
      expect(fetched).to.be.an('object');
      const { fetcher: closed } = fetcherOf([['127.0.0.1', '::1', '::ffff:7f00:1']]);
      expect(await closed.fetch(new URL(`http://many.test:${inside.port}/secret`), WISH)).to.equal('nothing');
    });
  });
});
