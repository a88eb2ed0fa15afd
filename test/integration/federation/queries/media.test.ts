import { expect } from 'chai';
import sharp from 'sharp';
import { type Federation, startFederation } from '#test/support/federation/federation.ts';
import type { InProcessServer } from '../../../support/in-process-server.ts';
import type { PartnerAnswer, PartnerRequest, RemotePartner } from '#test/support/federation/remote-partner.ts';
import { type Fetched, fetchMedia, uploadMedia } from '../../../support/media.ts';

const DOWNLOAD = '/_matrix/federation/v1/media/download/*';
const MAX_SIZE = 200_000;

describe('files of other servers', function () {
  this.timeout(120_000);
  let federation: Federation;
  let a: InProcessServer;
  let b: InProcessServer;
  let partner: RemotePartner;
  let png: Uint8Array<ArrayBuffer>;

  before(async () => {
    federation = await startFederation(['a.test', 'b.test'], {
      partners: ['p.test', 'o.test'],
      server: { config: { media: { maxRemoteBytes: MAX_SIZE } } },
    });
    a = federation.server('a.test');
    b = federation.server('b.test');
    partner = federation.partner('p.test');
    const image = sharp({ create: { width: 300, height: 300, channels: 3, background: 'red' } });
    png = new Uint8Array(await image.png().toBuffer());
  });
  after(() => federation?.stop());

  const download = (path: string, user = 'alice'): Promise<Fetched> =>
    fetchMedia(a, user, `/_matrix/client/v1/media/download/${path}`);
  const upload = async (bytes: string | Uint8Array<ArrayBuffer>, type: string, name: string): Promise<string> =>
    (await uploadMedia(b, 'bob', bytes, type, name)).slice('mxc://'.length);

  /** What comes of waiting for no time at all. */
  const atOnce = async <T>(work: Promise<T>): Promise<T> => {
    await federation.clock.runDueUntil(work.then(() => undefined));
    return work;
  };

  /** A part as a server should write it, or as a test wants it. */
  const mixed = (
    content: string | Buffer,
    { headers = 'Content-Type: text/plain', end = '\r\n--b--\r\n' } = {},
  ): PartnerAnswer => ({
    headers: { 'content-type': 'multipart/mixed; boundary=b' },
    body: Buffer.concat([
      Buffer.from(`--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b\r\n${headers}\r\n\r\n`),
      Buffer.from(content),
      Buffer.from(end),
    ]),
  });
  const answering = (route: (request: PartnerRequest) => PartnerAnswer | Promise<PartnerAnswer>): void =>
    partner.on('GET', DOWNLOAD, route);
  const asked = (): number => partner.requests('GET', /\/media\/download\//).length;

  it('are downloaded as they were uploaded, with type and name, and fetched once', async () => {
    const path = await upload('こんにちは', 'text/plain', '挨拶 "1";.txt');
    const first = await download(path);
    expect([first.status, first.bytes.toString()]).to.deep.equal([200, 'こんにちは']);
    expect(first.headers.get('content-type')).to.equal('text/plain');
    expect(first.headers.get('content-disposition')).to.equal(
      `inline; filename*=utf-8''${encodeURIComponent('挨拶 "1";.txt')}`,
    );
    federation.cut('a.test', 'b.test');
    try {
      expect((await download(path, 'carol')).bytes.toString()).to.equal('こんにちは');
    } finally {
      federation.heal('a.test', 'b.test');
    }
  });

  it('have thumbnails, which are made here', async () => {
    const path = await upload(png, 'image/png', 'face.png');
    const { status, headers } = await fetchMedia(
      a,
      'alice',
      `/_matrix/client/v1/media/thumbnail/${path}?width=32&height=32&method=crop`,
    );
    expect([status, headers.get('content-type')]).to.deep.equal([200, 'image/png']);
  });

  it('are not found where their server has none of that name', async () => {
    const { status, errcode } = await download('b.test/nothing');
    expect([status, errcode]).to.deep.equal([404, 'M_NOT_FOUND']);
    answering(() => ({ status: 404, body: { errcode: 'M_NOT_FOUND', error: 'no' } }));
    const before = asked();
    for (let count = 0; count < 3; count++) expect((await download('p.test/nothing')).status).to.equal(404);
    expect(asked() - before).to.equal(1);
  });

  it('are waited for by their server when they are yet to come', async () => {
    const { content_uri: uri } = await b.must('bob', 'POST', '/_matrix/media/v1/create');
    const { status, errcode } = await atOnce(download(`${uri.slice(6)}?timeout_ms=0`));
    expect([status, errcode]).to.deep.equal([504, 'M_NOT_YET_UPLOADED']);
    const { token } = await b.session('bob');
    await fetch(`${b.url}/_matrix/media/v3/upload/${uri.slice(6)}`, {
      method: 'PUT',
      headers: { authorization: `Bearer ${token}` },
      body: 'come',
    });
    expect((await download(uri.slice(6))).bytes.toString()).to.equal('come');
  });

  it('are fetched once however many want them at the same time', async () => {
    let release = (): void => undefined;
    const released = new Promise<void>((resolve) => (release = resolve));
    answering(async () => {
      await released;
      return mixed('shared');
    });
    const before = asked();
    const all = Array.from({ length: 10 }, (_, at) => download('p.test/shared', `user${at % 3}`));
    await partner.request('GET', /\/media\/download\/shared$/);
    release();
    expect(new Set((await Promise.all(all)).map(({ bytes }) => bytes.toString()))).to.deep.equal(new Set(['shared']));
    expect(asked() - before).to.equal(1);
  });

  it('come by the way of before v1.11 from servers that know no other', async () => {
    const old = federation.partner('o.test');
    old.on('GET', '/_matrix/media/v3/download/*/*', ({ query }) => ({
      headers: { 'content-type': 'image/png', 'content-disposition': 'inline; filename="../old.png"' },
      body: query.get('allow_remote') === 'false' ? 'old' : 'asked again',
    }));
    const { bytes, headers } = await download('o.test/picture');
    expect(bytes.toString()).to.equal('old');
    expect(headers.get('content-disposition')).to.equal('inline; filename=old.png');
    const [request] = old.requests('GET', /\/media\/v3\/download\//);
    expect(request?.path).to.equal('/_matrix/media/v3/download/o.test/picture');
  });

  it('are not fetched from where this server must not go, whoever sends it there', async () => {
    const inside = [
      ['https://10.0.0.1/secret', 403],
      ['http://127.0.0.1/x', 502],
      ['file:///etc/passwd', 502],
      ['https://user:pass@example.org/x', 502],
      ['nonsense', 502],
    ] as const;
    for (const [at, [location, expected]] of inside.entries()) {
      answering(() => mixed('', { headers: `Location: ${location}` }));
      const { status } = await download(`p.test/redirect${at}`);
      expect(status, location).to.equal(expected);
    }
  });

  it('are fetched from where their server leads, without saying who fetches them', async () => {
    let headers: object = {};
    partner.on('GET', '/elsewhere/file', (asked) => {
      ({ headers } = asked);
      return {
        headers: { 'content-type': 'image/gif', 'content-disposition': 'attachment; filename=led.gif' },
        body: 'led',
      };
    });
    const place = federation.urlOf('p.test');
    answering(() => mixed('', { headers: `Location: ${place}/elsewhere/file` }));
    const { bytes, headers: told } = await download('p.test/led');
    expect([bytes.toString(), told.get('content-type')]).to.deep.equal(['led', 'image/gif']);
    expect(told.get('content-disposition')).to.equal('inline; filename=led.gif');
    expect(headers).not.to.have.property('authorization');
    answering(() => mixed('', { headers: `Location: ${place}/missing` }));
    expect((await download('p.test/led2')).status).to.equal(502);
  });

  it('are refused when they are too large, and nothing of them is kept', async () => {
    answering(() => mixed(Buffer.alloc(MAX_SIZE + 1)));
    const { status, errcode } = await download('p.test/large');
    expect([status, errcode]).to.deep.equal([502, 'M_TOO_LARGE']);
    answering(() => mixed(Buffer.alloc(MAX_SIZE)));
    expect((await download('p.test/largest')).bytes.length).to.equal(MAX_SIZE);
    answering(({ response }) => {
      response.writeHead(200, { 'content-type': 'multipart/mixed; boundary=b' });
      response.write('--b\r\n\r\n{}\r\n--b\r\n\r\n');
      const more = (): void => {
        while (response.write('x'.repeat(65_536)) && !response.destroyed);
      };
      response.on('drain', more);
      response.on('error', () => undefined);
      more();
      return undefined;
    });
    const endless = await download('p.test/endless');
    expect([endless.status, endless.errcode]).to.deep.equal([502, 'M_TOO_LARGE']);
    await a.idle();
    const [{ count }] = (await a.services.database.query(
      { name: 'test_kept', text: `select count(*)::int as count from media where media_id in ('large', 'endless')` },
      [],
    )) as [{ count: number }];
    expect(count).to.equal(0);
  });

  it('are not kept when they break off, or are no multipart/mixed with two parts', async () => {
    const faulty: PartnerAnswer[] = [
      mixed('half', { end: '' }),
      { headers: { 'content-type': 'multipart/mixed; boundary=b' }, body: '--b\r\n\r\n{}\r\n--b--' },
      { headers: { 'content-type': 'multipart/mixed; boundary=c' }, body: '--b\r\n\r\n{}\r\n--b\r\n\r\nx\r\n--b--' },
      { headers: { 'content-type': 'multipart/mixed' }, body: '--b--' },
      { headers: { 'content-type': 'text/plain' }, body: 'just text' },
      {
        headers: { 'content-type': 'multipart/mixed; boundary=b' },
        body: `--b\r\n\r\n${'{'.repeat(60_000)}\r\n--b\r\n\r\nx\r\n--b--`,
      },
      {
        headers: { 'content-type': 'multipart/mixed; boundary=b' },
        body: `--b\r\n${'A: b\r\n'.repeat(5_000)}\r\n\r\nx\r\n--b--`,
      },
      { headers: { 'content-type': 'multipart/mixed; boundary=b' }, body: '' },
    ];
    for (const [at, answer] of faulty.entries()) {
      answering(() => answer);
      const { status, errcode } = await download(`p.test/faulty${at}`);
      expect([at, status, errcode]).to.deep.equal([at, 502, 'M_CONNECTION_FAILED']);
    }
  });

  it('show types and names that are no headers of their own, whatever their server says', async () => {
    const odd = [
      'Content-Type: text/html\r\nContent-Disposition: inline; filename="a\u0001.html"',
      `Content-Type: ${'x'.repeat(300)}`,
      'Content-Type: text/plain\r\n folded: yes',
      'X-Other: 1',
    ];
    for (const [at, headers] of odd.entries()) {
      answering(() => mixed('<script>', { headers }));
      const { status, headers: told, bytes } = await download(`p.test/odd${at}`);
      expect([status, bytes.toString()]).to.deep.equal([200, '<script>']);
      expect(told.get('content-security-policy')).to.contain('sandbox');
      if (told.get('content-type') === 'text/html') expect(told.get('content-disposition')).to.match(/^attachment/);
    }
  });

  it('stay away when they are quarantined here, and may go by themselves', async () => {
    answering(() => mixed('bad'));
    expect((await download('p.test/bad')).status).to.equal(200);
    const name = { serverName: 'p.test', mediaId: 'bad' };
    await a.services.mediaModeration.quarantine(name, { userId: '@admin:a.test', via: 'http' });
    expect((await download('p.test/bad')).status).to.equal(404);
    // The same bytes under another name are what was quarantined.
    expect((await download('p.test/bad2')).status).to.equal(404);
  });

  it('are not fetched for strangers, nor by names that are none', async () => {
    const before = asked();
    const stranger = await fetch(`${a.url}/_matrix/media/v3/download/p.test/stranger`);
    expect(stranger.status).to.equal(404);
    for (const path of [
      'p.test/..%2fx',
      'p.test/a%20b',
      `p.test/${'x'.repeat(300)}`,
      'no%20server/abc',
      'p.test:99999/abc',
    ])
      expect((await download(path)).status, path).to.equal(404);
    expect(asked()).to.equal(before);
  });

  it('leave no request open, however they end', async () => {
    await a.idle();
    await a.services.federationClient.idle();
  });

  describe('of this one', () => {
    const get = (path: string) => partner.send('b.test', 'GET', `/_matrix/federation/v1/media/${path}`);

    it('are told to other servers in two parts, the second of which is the file', async () => {
      const path = await upload('ours', 'text/plain', 'ours.txt');
      const { status, body, headers } = await get(`download/${path.split('/')[1]}`);
      const boundary = /^multipart\/mixed; boundary=(\w+)$/.exec(headers.get('content-type') ?? '')?.[1];
      expect([status, body]).to.deep.equal([
        200,
        `--${boundary}\r\nContent-Type: application/json\r\n\r\n{}\r\n--${boundary}\r\nContent-Type: text/plain\r\n` +
          `Content-Disposition: inline; filename=ours.txt\r\n\r\nours\r\n--${boundary}--\r\n`,
      ]);
      expect(headers.get('content-length')).to.equal(String(body.length));
    });

    it('are told as thumbnails too', async () => {
      const path = await upload(png, 'image/png', 'p.png');
      const { status, body } = await get(`thumbnail/${path.split('/')[1]}?width=32&height=32&method=crop`);
      expect(status).to.equal(200);
      expect(body).to.contain('Content-Type: image/png\r\nContent-Disposition: inline; filename=thumbnail\r\n\r\n');
    });

    it('are all that is told: nothing that is of others, yet to come, quarantined or no file', async () => {
      answering(() => mixed('theirs'));
      await fetchMedia(b, 'bob', '/_matrix/client/v1/media/download/p.test/theirs');
      const { content_uri: uri } = await b.must('bob', 'POST', '/_matrix/media/v1/create');
      for (const [path, status, errcode] of [
        ['download/theirs', 404, 'M_NOT_FOUND'],
        ['download/nothing', 404, 'M_NOT_FOUND'],
        ['download/..%2f..', 404, 'M_NOT_FOUND'],
        [`download/${uri.split('/').at(-1)}?timeout_ms=0`, 504, 'M_NOT_YET_UPLOADED'],
        ['thumbnail/nothing?width=0&height=32', 404, 'M_NOT_FOUND'],
        ['thumbnail/nothing', 400, 'M_MISSING_PARAM'],
      ] as const) {
        const answer = await atOnce(get(path));
        expect([path, answer.status, answer.body.errcode]).to.deep.equal([path, status, errcode]);
      }
    });
  });
});
