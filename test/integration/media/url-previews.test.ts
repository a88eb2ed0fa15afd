import { gzipSync } from 'node:zlib';
import { expect } from 'chai';
import sharp from 'sharp';
import type { RateLimit } from '#src/kernel/limits/rate-limiter.ts';
import { type ConfigChanges, InProcessServer, type Json } from '#test/support/in-process-server.ts';
import { until } from '#test/support/until.ts';
import { WebServer } from '#test/support/stand-ins/web-server.ts';

const HOUR = 3_600_000;
const PATHS = [
  '/_matrix/client/v1/media/preview_url',
  '/_matrix/media/v3/preview_url',
  '/_matrix/media/r0/preview_url',
];
/** Where the web is; everything else on this machine is this server's own network. */
const WEB = '127.0.0.2';

describe('previews of URLs', function () {
  this.timeout(60_000);
  let web: WebServer;
  let server: InProcessServer;
  let png: Buffer;
  const servers: InProcessServer[] = [];

  const started = async (
    previews: ConfigChanges['previews'] = {},
    rateLimits?: Readonly<Record<string, RateLimit>>,
  ): Promise<InProcessServer> => {
    const made = await InProcessServer.start({
      config: { previews: { allowIpRanges: [`${WEB}/32`], ...previews } },
      ...(rateLimits === undefined ? {} : { rateLimits }),
    });
    servers.push(made);
    return made;
  };
  const ask = (url: string, of = server, who = 'alice'): Promise<Json> =>
    of.ask(who, 'GET', `${PATHS[0]}?url=${encodeURIComponent(url)}`);
  const shown = async (url: string, of = server): Promise<Json> => {
    const { status, body } = await ask(url, of);
    expect(status, JSON.stringify(body)).to.equal(200);
    return body;
  };
  const refusal = async (url: string, of = server): Promise<unknown> => {
    const { status, body } = await ask(url, of);
    return [status, body.errcode];
  };

  before(async () => {
    png = await sharp({ create: { width: 60, height: 40, channels: 3, background: 'teal' } })
      .png()
      .toBuffer();
    web = await WebServer.start(WEB);
    server = await started();
  });
  afterEach(async () => {
    web.asked.length = 0;
    await Promise.all(servers.splice(1).map((one) => one.stop()));
  });
  after(async () => {
    await server?.stop();
    await web?.stop();
  });

  it('tell what a page says of itself, with a picture that this server keeps, at both paths', async () => {
    web.serve('/pictures/a.png', png, 'image/png');
    const url = web.serve(
      '/page',
      '<meta property="og:title" content="集い"><meta property="og:image" content="pictures/a.png"><meta property="og:image:width" content="9">',
    );
    for (const path of PATHS) {
      const body = await server.must('alice', 'GET', `${path}?url=${encodeURIComponent(url)}&ts=1`);
      expect(body).to.deep.include({
        'og:title': '集い',
        'og:image:type': 'image/png',
        'og:image:width': 60,
        'og:image:height': 40,
        'matrix:image:size': png.length,
      });
      const [, id = ''] = /^mxc:\/\/test\/([\w-]+)$/.exec(body['og:image']) ?? [];
      const { token } = await server.session('alice');
      const file = await fetch(`${server.url}/_matrix/client/v1/media/download/test/${id}`, {
        headers: { Authorization: `Bearer ${token}` },
      });
      expect(Buffer.from(await file.arrayBuffer()).equals(png)).to.equal(true);
      expect(file.headers.get('content-type')).to.equal('image/png');
    }
    expect(web.count('/page')).to.equal(1);
    const { headers } = web.asked[0]!;
    expect(headers['user-agent']).to.match(/^Tsudoi\//);
    expect(headers['accept-language']).to.equal('ja,en;q=0.8');
    expect(headers).not.to.have.any.keys('cookie', 'authorization', 'referer', 'x-forwarded-for');
  });

  it('are asked for by users, not by strangers and guests', async () => {
    const path = `${PATHS[0]}?url=${web.url}/page`;
    expect((await server.ask(undefined, 'GET', path)).body.errcode).to.equal('M_MISSING_TOKEN');
    expect((await server.ask('guest-x', 'GET', path)).body.errcode).to.equal('M_GUEST_ACCESS_FORBIDDEN');
    expect((await server.ask('alice', 'GET', PATHS[0]!)).body.errcode).to.equal('M_MISSING_PARAM');
  });

  for (const [charset, hex] of [
    ['Shift_JIS', '8f5782a282cc93fa967b8cea8379815b8357814183658358836782c582b7'],
    ['EUC-JP', 'bdb8a4a4a4cec6fccbdcb8eca5daa1bca5b8a1a2a5c6a5b9a5c8a4c7a4b9'],
    ['ISO-2022-JP', '1b24423d382424244e467c4b5c386c255a213c25382122254625392548244724391b2842'],
  ] as const)
    it(`read pages in ${charset} right, whether the header, the page, or neither says it`, async () => {
      for (const [index, [head, type]] of [
        ['', `text/html; charset=${charset}`],
        [`<meta charset="${charset}">`, 'text/html'],
        ['', 'text/html'],
        [`<meta charset="${charset}">`, 'text/html; charset=UTF-8'],
      ].entries()) {
        const html = Buffer.concat([Buffer.from(`${head}<title>`), Buffer.from(hex, 'hex'), Buffer.from('</title>')]);
        const url = web.serve(`/${charset}-${index}`, html, type);
        expect((await shown(url))['og:title'], `${head} ${type}`).to.equal('集いの日本語ページ、テストです');
      }
    });

  it('are kept for an hour, and made anew after it', async () => {
    const url = web.serve('/kept', '<title>Before</title>');
    expect(await shown(url)).to.deep.equal({ 'og:title': 'Before' });
    web.serve('/kept', '<title>After</title>');
    await server.clock.advance(HOUR - 1);
    expect((await shown(`${url}#elsewhere`))['og:title']).to.equal('Before');
    await server.clock.advance(1);
    expect((await shown(url))['og:title']).to.equal('After');
    expect(web.count('/kept')).to.equal(2);
  });

  it('are not looked for again for five minutes where there was nothing', async () => {
    const url = `${web.url}/missing`;
    expect(await refusal(url)).to.deep.equal([404, 'M_NOT_FOUND']);
    await server.clock.advance(300_000 - 1);
    expect(await refusal(url)).to.deep.equal([404, 'M_NOT_FOUND']);
    expect(web.count('/missing')).to.equal(1);
    web.serve('/missing', '<title>There</title>');
    await server.clock.advance(1);
    expect((await shown(url))['og:title']).to.equal('There');
  });

  it('are fetched once for everybody who asks meanwhile, whoever goes away', async () => {
    let answer = (): void => undefined;
    web.routes.set('/slow', (_request, response) => {
      answer = () => void response.writeHead(200, { 'Content-Type': 'text/html' }).end('<title>Slow</title>');
    });
    const url = `${web.url}/slow`;
    const { token } = await server.session('alice');
    const gone = new AbortController();
    const first = fetch(`${server.url}${PATHS[0]}?url=${encodeURIComponent(url)}`, {
      headers: { Authorization: `Bearer ${token}` },
      signal: gone.signal,
    }).catch(() => 'gone');
    await until('the page was asked for', () => web.count('/slow') === 1);
    const others = Array.from({ length: 20 }, (_, n) => ask(url, server, `user-${n}`));
    await Promise.all(Array.from({ length: 20 }, (_, n) => server.session(`user-${n}`)));
    gone.abort();
    expect(await first).to.equal('gone');
    answer();
    for (const { status, body } of await Promise.all(others))
      expect([status, body['og:title']]).to.deep.equal([200, 'Slow']);
    expect(web.count('/slow')).to.equal(1);
  });

  describe('for many pages at once', () => {
    let few: InProcessServer;
    /** Requests that the site has and does not answer yet. */
    let held: { readonly path: string; answer(): void }[];
    const waiting = (): number => few.services.urlPreviews.waiting;
    const askMany = (count: number, who: string): Promise<Json>[] =>
      Array.from({ length: count }, (_, n) => {
        const path = `/held-${who}-${n}`;
        web.routes.set(path, (_request, response) => {
          const answer = (): void =>
            void response.writeHead(200, { 'Content-Type': 'text/html' }).end('<title>Held</title>');
          held.push({ path, answer });
        });
        return ask(web.url + path, few, who);
      });
    beforeEach(async () => {
      held = [];
      few = await started({ concurrency: 2 });
      await Promise.all([few.session('alice'), few.session('bob')]);
    });

    it('are made for two where two are allowed, and no user has both, however long their pages take', async () => {
      const alice = askMany(20, 'alice');
      await until('alice waits', () => waiting() === 19 && held.length === 1);
      const bob = askMany(2, 'bob');
      await until('a page of bob is asked for', () => waiting() === 20 && held.length === 2);
      expect(held.map(({ path }) => path.includes('bob'))).to.deep.equal([false, true]);
      for (let served = 0; served < 22; served++) {
        const next = await until('the next page', () => held.shift());
        next.answer();
      }
      for (const { status } of await Promise.all([...alice, ...bob])) expect(status).to.equal(200);
    });
    it('are refused with 429 when too many wait', async () => {
      let refused = 0;
      const asked = askMany(200, 'alice').map((one) =>
        one.then((answer) => {
          if (answer.status === 429) refused += 1;
          return answer;
        }),
      );
      await until('all are in line or refused', () => held.length === 1 && waiting() + refused === 199);
      expect(refused).to.be.least(100);
      const bob = askMany(1, 'bob');
      await until('the page of bob is asked for', () => held.length === 2);
      for (let served = 0; served < 201 - refused; served++)
        (await until('the next page', () => held.shift())).answer();
      expect((await bob[0]!).status).to.equal(200);
      await Promise.all(asked);
    });
  });

  describe('follow', () => {
    it('redirects, and start relative pictures from where they end', async () => {
      web.serve('/deep/er/pic.png', png, 'image/png');
      web.serve('/deep/er/end', '<title>End</title><meta property="og:image" content="pic.png">');
      web.redirect('/step', '/deep/er/end', 307);
      const body = await shown(web.redirect('/start', 'step', 301));
      expect(body['og:title']).to.equal('End');
      expect(body['og:image']).to.match(/^mxc:/);
    });
    it('no more redirects than five, and none in a circle', async () => {
      const url = web.redirect('/circle', '/circle');
      expect(await refusal(url)).to.deep.equal([404, 'M_NOT_FOUND']);
      expect(web.count('/circle')).to.equal(6);
    });
    it('no redirect to what is denied', async () => {
      const strict = await started({ deny: ['localhost', `${WEB}/secret/*`] });
      web.serve('/secret/page', '<title>Secret</title>');
      for (const url of [`${web.url}/secret/page`, web.redirect('/to-secret', '/secret/page')])
        expect(await refusal(url, strict), url).to.deep.equal([403, 'M_FORBIDDEN']);
      expect(web.count('/secret/page')).to.equal(0);
      // Its pictures neither.
      const page = web.serve('/with-secret', '<title>P</title><meta property="og:image" content="/secret/p.png">');
      expect(await shown(page, strict)).to.deep.equal({ 'og:title': 'P' });
      expect(web.count('/secret/p.png')).to.equal(0);
    });
  });

  it('are made of the allowed hosts only, however their names are written', async () => {
    const choosy = await started({ allow: ['*.allowed.test', '例え.test', `127.0.0.?/open/*`] });
    web.serve('/open/page', '<title>Open</title>');
    expect((await shown(`${web.url}/open/page`, choosy))['og:title']).to.equal('Open');
    expect(await refusal(web.serve('/closed', '<title>x</title>'), choosy)).to.deep.equal([403, 'M_FORBIDDEN']);
    for (const host of ['allowed.test', 'a.allowed.test.evil.test', 'evil.test/.allowed.test'])
      expect(await refusal(`http://${host}/`, choosy), host).to.deep.equal([403, 'M_FORBIDDEN']);
    // These are allowed, and are not there.
    for (const host of ['A.ALLOWED.test', 'a.allowed.test.', '例え.test', 'xn--r8jz45g.test'])
      expect(await refusal(`http://${host}:1/`, choosy), host).to.deep.equal([404, 'M_NOT_FOUND']);
    expect(web.count('/closed')).to.equal(0);
  });

  it('respect robots.txt where the operator wants that', async () => {
    web.serve('/robots.txt', 'User-agent: *\nDisallow: /private\n\nUser-agent: Tsudoi\nDisallow: /bots', 'text/plain');
    web.serve('/bots/page', '<title>Bots</title>');
    web.serve('/private', '<title>Private</title>');
    web.redirect('/around', '/bots/page');
    const polite = await started({ respectRobots: true });
    expect(await refusal(`${web.url}/bots/page`, polite)).to.deep.equal([403, 'M_FORBIDDEN']);
    expect(await refusal(`${web.url}/around`, polite)).to.deep.equal([403, 'M_FORBIDDEN']);
    expect((await shown(`${web.url}/private`, polite))['og:title']).to.equal('Private');
    expect(web.count('/robots.txt')).to.equal(1);
    expect(web.count('/bots/page')).to.equal(0);
    expect((await shown(`${web.url}/bots/page`))['og:title']).to.equal('Bots');
    web.routes.delete('/robots.txt');
    await polite.clock.advance(HOUR);
    expect((await shown(`${web.url}/bots/page`, polite))['og:title']).to.equal('Bots');
  });

  it('follow robots.txt to nothing that the operator does not want to be asked for', async () => {
    const polite = await started({ respectRobots: true, deny: [`${WEB}/secret`] });
    web.redirect('/robots.txt', '/secret');
    web.serve('/page', '<title>Page</title>');
    web.serve('/secret', 'User-agent: *\nDisallow:', 'text/plain');
    expect((await shown(`${web.url}/page`, polite))['og:title']).to.equal('Page');
    expect(web.count('/secret')).to.equal(0);
    web.routes.delete('/robots.txt');
  });

  it('are not made of sites whose robots.txt takes too long to be read', async () => {
    const polite = await started({ respectRobots: true });
    web.serve('/robots.txt', `User-agent: *\nDisallow: /${'*'.repeat(60_000)}b`, 'text/plain');
    web.serve('/page', '<title>Page</title>');
    expect(await refusal(`${web.url}/page?${'a'.repeat(1_500)}`, polite)).to.deep.equal([403, 'M_FORBIDDEN']);
    expect(web.count('/page')).to.equal(0);
    web.routes.delete('/robots.txt');
  });

  describe('of pages that lie or are huge', () => {
    it('read the beginning of a page without end, and no more', async () => {
      let sent = 0;
      web.routes.set('/endless', (_request, response) => {
        response.writeHead(200, { 'Content-Type': 'text/html', 'Content-Length': String(2 ** 40) });
        response.write('<title>Endless</title>');
        const chunk = '<p>And so on, and so on, without an end.</p>'.repeat(1_000);
        const more = (): void => {
          while (response.writable && !response.destroyed) {
            sent += chunk.length;
            if (!response.write(chunk)) return void response.once('drain', more);
          }
        };
        more();
      });
      expect((await shown(`${web.url}/endless`))['og:title']).to.equal('Endless');
      // What was in the buffers of the machine was sent as well.
      expect(sent).to.be.lessThan(32 * 1024 * 1024);
    });
    it('take nothing of a page that is shorter than it says', async () => {
      web.routes.set('/short', (_request, response) => {
        response.writeHead(200, { 'Content-Type': 'text/html', 'Content-Length': '1000' });
        response.write('<title>Short</title>', () => response.destroy());
      });
      expect(await refusal(`${web.url}/short`)).to.deep.equal([404, 'M_NOT_FOUND']);
    });
    it('understand what is compressed unasked, and are no victim of what explodes', async () => {
      const gzip = (path: string, html: string | Buffer): string => {
        web.routes.set(path, (_request, response) => {
          response.writeHead(200, { 'Content-Type': 'text/html', 'Content-Encoding': 'gzip' }).end(gzipSync(html));
        });
        return web.url + path;
      };
      expect((await shown(gzip('/gzip', '<title>Packed</title>')))['og:title']).to.equal('Packed');
      expect(await refusal(gzip('/bomb', Buffer.alloc(64 * 1024 * 1024)))).to.deep.equal([404, 'M_NOT_FOUND']);
      web.routes.set('/odd', (_request, response) => {
        response.writeHead(200, { 'Content-Type': 'text/html', 'Content-Encoding': 'constructor' }).end('<title>x');
      });
      expect(await refusal(`${web.url}/odd`)).to.deep.equal([404, 'M_NOT_FOUND']);
    });
    it('give up a page that does not come', async () => {
      web.routes.set('/never', () => undefined);
      const asked = ask(`${web.url}/never`);
      await until('it was asked for', () => web.count('/never') === 1);
      await server.clock.advance(10_000);
      const { status, body } = await asked;
      expect([status, body.errcode]).to.deep.equal([504, 'M_CONNECTION_TIMEOUT']);
    });
    it('tell the name of a file, and read none of it', async () => {
      let isRead = false;
      web.routes.set('/a%20film.mp4', (_request, response) => {
        response.writeHead(200, { 'Content-Type': 'video/mp4', 'Content-Length': String(2 ** 33) });
        response.write(Buffer.alloc(1024));
        response.on('close', () => (isRead = response.writableFinished));
      });
      expect(await shown(`${web.url}/a%20film.mp4`)).to.deep.equal({ 'og:title': 'a film.mp4' });
      expect(isRead).to.equal(false);
    });
    it('show no picture that is none, or a bomb, and then the next one', async () => {
      const bomb = await sharp({ create: { width: 16_000, height: 16_000, channels: 3, background: 'white' } })
        .png({ compressionLevel: 9 })
        .toBuffer();
      web.serve('/bomb.png', bomb, 'image/png');
      web.serve('/html.png', '<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>', 'image/png');
      web.serve('/good.png', png, 'text/plain');
      const page = web.serve(
        '/pictures',
        `<title>P</title><meta property="og:image" content="/bomb.png"><meta name="twitter:image" content="/html.png">
         <link rel="image_src" href="/good.png">`,
      );
      expect(await shown(page)).to.deep.include({ 'og:image:type': 'image/png', 'og:image:width': 60 });
      expect(await refusal(`${web.url}/bomb.png`)).to.deep.equal([404, 'M_NOT_FOUND']);
      expect(await refusal(`${web.url}/html.png`)).to.deep.equal([404, 'M_NOT_FOUND']);
    });
    it('refuse a picture that is too large', async () => {
      const small = await started({ maxImageBytes: 1_024 });
      web.serve('/large.png', Buffer.concat([png, Buffer.alloc(4_096)]), 'image/png');
      const page = web.serve('/with-large', '<title>L</title><meta property="og:image" content="/large.png">');
      expect(await shown(page, small)).to.deep.equal({ 'og:title': 'L' });
      expect(await refusal(`${web.url}/large.png`, small)).to.deep.equal([404, 'M_NOT_FOUND']);
    });
  });

  it('show a picture itself, turned as it is shown', async () => {
    const turned = await sharp({ create: { width: 60, height: 40, channels: 3, background: 'red' } })
      .withMetadata({ orientation: 6 })
      .jpeg()
      .toBuffer();
    const url = web.serve('/turned.jpg', turned, 'image/jpeg');
    expect(await shown(url)).to.deep.include({
      'og:title': 'turned.jpg',
      'og:image:type': 'image/jpeg',
      'og:image:width': 40,
      'og:image:height': 60,
    });
  });

  it('ask for an oEmbed document where the page says too little', async () => {
    web.serve('/thumb.png', png, 'image/png');
    web.serve(
      '/oembed?x=1',
      JSON.stringify({ type: 'video', title: 'Film', provider_name: 'Site', thumbnail_url: `${web.url}/thumb.png` }),
      'application/json',
    );
    const link = '<link rel="alternate" type="application/json+oembed" href="/oembed?x=1">';
    expect(await shown(web.serve('/film', link))).to.deep.include({
      'og:title': 'Film',
      'og:site_name': 'Site',
      'og:type': 'video.other',
      'og:image:width': 60,
    });
    web.serve('/rich', JSON.stringify({ type: 'rich', html: '<p>What somebody has said.</p><script>1</script>' }));
    const rich = web.serve('/saying', link.replace('/oembed?x=1', '/rich'));
    expect((await shown(rich))['og:title']).to.equal('What somebody has said.');
    const broken = web.serve('/broken', `<title>T</title>${link.replace('/oembed?x=1', '/none')}`);
    expect(await shown(broken)).to.deep.equal({ 'og:title': 'T' });
  });

  it('leave pictures that nobody comes to share to be deleted after their grace', async () => {
    web.serve('/leaving.png', await sharp(png).resize(30).png().toBuffer(), 'image/png');
    const { 'og:image': uri } = await shown(`${web.url}/leaving.png`);
    const path = `/_matrix/client/v1/media/download/${uri.slice('mxc://'.length)}`;
    const { token } = await server.session('alice');
    const status = async (): Promise<number> =>
      (await fetch(server.url + path, { headers: { Authorization: `Bearer ${token}` } })).status;
    expect(await status()).to.equal(200);
    server.clock.set(8 * 24 * HOUR);
    await server.services.mediaCleaner.clean(new AbortController().signal);
    expect(await status()).to.equal(404);
  });

  it('are not there where they are switched off, and clients are told so', async () => {
    const off = await started({ enabled: false });
    web.asked.length = 0;
    for (const path of PATHS) {
      const { status, body } = await off.ask('alice', 'GET', `${path}?url=${encodeURIComponent(`${web.url}/page`)}`);
      expect([status, body.errcode]).to.deep.equal([404, 'M_UNRECOGNIZED']);
    }
    expect(web.asked).to.deep.equal([]);
    const enabled = async (of: InProcessServer): Promise<unknown> =>
      (await of.must('alice', 'GET', '/capabilities')).capabilities['io.element.msc4452.preview_url'];
    expect(await enabled(off)).to.deep.equal({ enabled: false });
    expect(await enabled(server)).to.deep.equal({ enabled: true });
  });

  it('keep as many bytes of pictures as one user may have kept, and tell of the rest without', async () => {
    const limited = await started({}, { url_preview_bytes: { perSecond: 0.001, burst: png.length } });
    const picture = web.serve('/kept.png', png, 'image/png');
    const urls = ['one', 'two', 'three'].map((name) =>
      web.serve(`/${name}`, `<title>${name}</title><meta property="og:image" content="${picture}">`),
    );
    const first = (await ask(urls[0]!, limited)).body;
    expect([first['og:title'], first['matrix:image:size']]).to.deep.equal(['one', png.length]);
    expect((await ask(urls[1]!, limited)).body).to.deep.equal({ 'og:title': 'two' });
    expect((await ask(urls[2]!, limited, 'bob')).body['matrix:image:size']).to.equal(png.length);
  });

  it('are limited by user', async () => {
    const limited = await started({}, { url_preview: { perSecond: 0.001, burst: 2 } });
    const url = web.serve('/limited', '<title>L</title>');
    const statuses = [await ask(url, limited), await ask(url, limited), await ask(url, limited)].map(
      (one) => one.status,
    );
    expect(statuses).to.deep.equal([200, 200, 429]);
    expect((await ask(url, limited, 'bob')).status).to.equal(200);
  });
});
