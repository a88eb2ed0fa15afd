import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import sharp from 'sharp';
import { EncryptionServer, type TestDevice } from '#test/integration/e2ee/encryption-server.ts';

interface Served {
  readonly status: number;
  readonly headers: Headers;
  readonly bytes: Buffer;
  // What a test expects in a body it says itself.
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly body: any;
}

describe('media', function () {
  this.timeout(60_000);
  let server: EncryptionServer;
  let alice: TestDevice;
  let bob: TestDevice;

  before(async () => {
    server = await EncryptionServer.start({
      TSUDOI_MEDIA__MAX_UPLOAD_BYTES: '3000000',
      TSUDOI_MEDIA__MAX_USER_BYTES: '8000000',
      TSUDOI_MEDIA__MAX_PENDING_UPLOADS: '2',
    });
  });
  after(() => server.stop());
  beforeEach(async () => {
    alice = await server.register();
    bob = await server.register();
  });

  const fetchFrom = async (
    device: TestDevice | undefined,
    path: string,
    init: { method?: string; headers?: Record<string, string>; body?: Uint8Array<ArrayBuffer> | string } = {},
  ): Promise<Served> => {
    const authorization = device === undefined ? {} : { Authorization: `Bearer ${device.token}` };
    const response = await fetch(server.address + path, { ...init, headers: { ...authorization, ...init.headers } });
    const bytes = Buffer.from(await response.arrayBuffer());
    const isJson = response.headers.get('content-type')?.startsWith('application/json') === true;
    return {
      status: response.status,
      headers: response.headers,
      bytes,
      body: isJson ? JSON.parse(bytes.toString()) : undefined,
    };
  };
  const upload = async (
    device: TestDevice,
    content: Uint8Array<ArrayBuffer> | string,
    type = 'text/plain',
    name?: string,
  ): Promise<Served> =>
    fetchFrom(device, `/_matrix/media/v3/upload${name === undefined ? '' : `?filename=${encodeURIComponent(name)}`}`, {
      method: 'POST',
      headers: { 'Content-Type': type },
      body: content,
    });
  const pathOf = (uri: string): string => uri.replace('mxc://', '');
  const uploaded = async (...args: Parameters<typeof upload>): Promise<string> =>
    pathOf((await upload(...args)).body.content_uri);
  const download = (path: string, headers: Record<string, string> = {}, more = ''): Promise<Served> =>
    fetchFrom(bob, `/_matrix/client/v1/media/download/${path}${more}`, { headers });
  const picture = async (width: number, height: number): Promise<Uint8Array<ArrayBuffer>> =>
    new Uint8Array(
      await sharp({ create: { width, height, channels: 3, background: { r: 200, g: 30, b: 90 } } })
        .png()
        .toBuffer(),
    );

  it('comes back as it was uploaded, with its type and name, and says that it never changes', async () => {
    const path = await uploaded(alice, 'こんにちは', 'text/plain; charset=utf-8', '挨拶 1;.txt');
    const { status, bytes, headers } = await download(path);
    expect([status, bytes.toString()]).to.deep.equal([200, 'こんにちは']);
    expect(headers.get('content-type')).to.equal('text/plain; charset=utf-8');
    expect(headers.get('content-disposition')).to.equal("inline; filename*=utf-8''%E6%8C%A8%E6%8B%B6%201%3B.txt");
    expect(headers.get('cache-control')).to.include('immutable');
    expect(headers.get('cross-origin-resource-policy')).to.equal('cross-origin');
    expect(headers.get('content-security-policy')).to.match(/^sandbox; default-src 'none'/);
    expect(headers.get('content-length')).to.equal(String(Buffer.byteLength('こんにちは')));
  });

  it('is named by the path when that names it, and is an attachment when a browser could run it', async () => {
    const path = await uploaded(alice, '<script>1</script>', 'text/html', 'page.html');
    expect((await download(path)).headers.get('content-disposition')).to.equal('attachment; filename=page.html');
    const named = await download(path, {}, '/other%20name.html');
    expect(named.headers.get('content-disposition')).to.equal('attachment; filename="other name.html"');
    const svg = await uploaded(alice, '<svg/>', 'image/svg+xml');
    expect((await download(svg)).headers.get('content-disposition')).to.equal('attachment');
    const odd = await uploaded(alice, 'x', 'img/png');
    expect((await download(odd)).headers.get('content-type')).to.equal('img/png');
  });

  it('is not handed out without a token, nor under the old paths unless that is switched on', async () => {
    const path = await uploaded(alice, 'x');
    const refused = await fetchFrom(undefined, `/_matrix/client/v1/media/download/${path}`);
    expect([refused.status, refused.body.errcode]).to.deep.equal([401, 'M_MISSING_TOKEN']);
    const old = await fetchFrom(undefined, `/_matrix/media/v3/download/${path}`);
    expect([old.status, old.body.errcode]).to.deep.equal([404, 'M_NOT_FOUND']);
  });

  it('comes in parts, and not again to who has it', async () => {
    const path = await uploaded(alice, '0123456789');
    const part = await download(path, { Range: 'bytes=2-4' });
    expect([part.status, part.bytes.toString()]).to.deep.equal([206, '234']);
    expect(part.headers.get('content-range')).to.equal('bytes 2-4/10');
    expect((await download(path, { Range: 'bytes=-3' })).bytes.toString()).to.equal('789');
    expect((await download(path, { Range: 'bytes=8-' })).bytes.toString()).to.equal('89');
    const behind = await download(path, { Range: 'bytes=10-' });
    expect([behind.status, behind.headers.get('content-range')]).to.deep.equal([416, 'bytes */10']);
    const whole = await download(path, { Range: 'bytes=0-1,3-4' });
    expect([whole.status, whole.bytes.length]).to.deep.equal([200, 10]);
    const etag = whole.headers.get('etag') ?? '';
    const again = await download(path, { 'If-None-Match': etag });
    expect([again.status, again.bytes.length]).to.deep.equal([304, 0]);
  });

  it('that does not exist is not found, nor what is at an address that is not asked; odd names reach nothing', async () => {
    for (const path of ['localhost/none', 'no server/abc', 'localhost/..%2f..%2fsession.key', 'localhost/a.b']) {
      const { status, body } = await download(path);
      expect([path, status, body.errcode]).to.deep.equal([path, 404, 'M_NOT_FOUND']);
    }
    const { status, body } = await download('127.0.0.1:1/abc');
    expect([status, body.errcode]).to.deep.equal([403, 'M_FORBIDDEN']);
  });

  it('is refused when it is too large, or the user’s space is used up, and leaves nothing behind', async () => {
    const large = await upload(alice, new Uint8Array(3_000_001));
    expect([large.status, large.body.errcode]).to.deep.equal([413, 'M_TOO_LARGE']);
    const before = (await filesIn(join(server.folder, 'media'))).length;
    for (let n = 1; n < 3; n++) expect((await upload(alice, new Uint8Array(2_900_000).fill(n))).status).to.equal(200);
    for (const bytes of [2_900_000, 2_200_001]) {
      const full = await upload(alice, new Uint8Array(bytes).fill(3));
      expect([full.status, full.body.errcode]).to.deep.equal([403, 'M_FORBIDDEN']);
    }
    expect((await upload(alice, new Uint8Array(2_200_000).fill(4))).status).to.equal(200);
    const full = await upload(alice, 'x');
    expect([full.status, full.body.errcode]).to.deep.equal([403, 'M_FORBIDDEN']);
    expect(await filesIn(join(server.folder, 'media'))).to.have.length(before + 3);
    const { body } = await fetchFrom(alice, '/_matrix/media/v3/config');
    expect(body).to.deep.equal({ 'm.upload.size': 3_000_000 });
    expect((await fetchFrom(alice, '/_matrix/client/v1/media/config')).body).to.deep.equal(body);
  });

  it('is kept once for the same content, in files that nobody else can read', async () => {
    const content = `same ${alice.userId}`;
    const before = await filesIn(join(server.folder, 'media'));
    await uploaded(alice, content);
    await uploaded(bob, content);
    const files = (await filesIn(join(server.folder, 'media'))).filter((file) => !before.includes(file));
    expect(files).to.have.length(1);
    expect((await stat(files[0] as string)).mode & 0o777).to.equal(0o600);
    expect((await stat(join(server.folder, 'media'))).mode & 0o777).to.equal(0o700);
  });

  it('can be named before it comes: whoever asks waits for it, and it comes once, from who asked for the name', async () => {
    const created = (await fetchFrom(alice, '/_matrix/media/v1/create', { method: 'POST' })).body;
    expect(created.unused_expires_at).to.be.greaterThan(0);
    const path = pathOf(created.content_uri);
    const early = await download(path, {}, '?timeout_ms=0');
    expect([early.status, early.body.errcode]).to.deep.equal([504, 'M_NOT_YET_UPLOADED']);
    const put = (device: TestDevice, body: string): Promise<Served> =>
      fetchFrom(device, `/_matrix/media/v3/upload/${path}`, {
        method: 'PUT',
        body,
        headers: { 'Content-Type': 'text/plain' },
      });
    const stranger = await put(bob, 'no');
    expect([stranger.status, stranger.body.errcode]).to.deep.equal([403, 'M_FORBIDDEN']);
    const waiting = download(path, {}, '?timeout_ms=20000');
    expect((await put(alice, 'here')).status).to.equal(200);
    expect((await waiting).bytes.toString()).to.equal('here');
    const again = await put(alice, '');
    expect([again.status, again.body.errcode]).to.deep.equal([409, 'M_CANNOT_OVERWRITE_MEDIA']);
    const unknown = await fetchFrom(alice, '/_matrix/media/v3/upload/localhost/none', { method: 'PUT', body: 'x' });
    expect([unknown.status, unknown.body.errcode]).to.deep.equal([404, 'M_NOT_FOUND']);
    const create = (): Promise<Served> => fetchFrom(alice, '/_matrix/media/v1/create', { method: 'POST' });
    await create();
    await create();
    const third = await create();
    expect([third.status, third.body.errcode]).to.deep.equal([429, 'M_LIMIT_EXCEEDED']);
  });

  const thumbnail = (path: string, query: string): Promise<Served> =>
    fetchFrom(bob, `/_matrix/client/v1/media/thumbnail/${path}?${query}`);
  const sizeOf = async ({ bytes }: Served): Promise<readonly [number, number]> => {
    const { width, height } = await sharp(bytes).metadata();
    return [width, height];
  };

  it('has thumbnails that are at least as large as what is asked for, and never larger than it is', async () => {
    const path = await uploaded(alice, await picture(1600, 800), 'image/png');
    const scaled = await thumbnail(path, 'width=300&height=200&method=scale');
    expect([scaled.status, scaled.headers.get('content-type')]).to.deep.equal([200, 'image/png']);
    expect(await sizeOf(scaled)).to.deep.equal([320, 160]);
    expect(await sizeOf(await thumbnail(path, 'width=60&height=60&method=crop'))).to.deep.equal([96, 96]);
    expect(await sizeOf(await thumbnail(path, 'width=9000&height=9000'))).to.deep.equal([1600, 800]);
    expect(await sizeOf(await thumbnail(path, 'width=200&height=100&method=crop'))).to.deep.equal([320, 160]);
    expect(await sizeOf(await thumbnail(path, 'width=90&height=160&method=crop'))).to.deep.equal([90, 160]);
    const small = await uploaded(alice, await picture(20, 10), 'image/png');
    expect(await sizeOf(await thumbnail(small, 'width=96&height=96&method=crop'))).to.deep.equal([20, 10]);
  });

  it('has thumbnails that stand upright, and keep nothing of where they were taken', async () => {
    const turned = await sharp({ create: { width: 800, height: 400, channels: 3, background: 'red' } })
      .withExif({ IFD0: { Copyright: 'secret place' }, IFD3: { GPSLatitude: '35/1 40/1 0/1' } })
      .withMetadata({ orientation: 6 })
      .jpeg()
      .toBuffer();
    const path = await uploaded(alice, new Uint8Array(turned), 'image/jpeg');
    const made = await thumbnail(path, 'width=320&height=240');
    expect(await sizeOf(made)).to.deep.equal([120, 240]);
    expect((await sharp(made.bytes).metadata()).exif).to.equal(undefined);
  });

  it('moves in its thumbnail when that is asked for', async () => {
    const frames = await Promise.all(
      ['red', 'green', 'blue'].map((background) =>
        sharp({ create: { width: 400, height: 400, channels: 3, background } })
          .png()
          .toBuffer(),
      ),
    );
    const gif = await sharp(frames, { join: { animated: true } })
      .gif()
      .toBuffer();
    const path = await uploaded(alice, new Uint8Array(gif), 'image/gif');
    const moving = await thumbnail(path, 'width=96&height=96&method=crop&animated=true');
    expect(moving.headers.get('content-type')).to.equal('image/webp');
    expect((await sharp(moving.bytes).metadata()).pages).to.equal(3);
    const still = await thumbnail(path, 'width=96&height=96&method=crop');
    expect((await sharp(still.bytes).metadata()).pages ?? 1).to.equal(1);
  });

  it('that is no image, a broken one or a bomb has no thumbnail, and the server continues', async () => {
    const text = await uploaded(alice, 'no image', 'image/png');
    const svg = await uploaded(
      alice,
      '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
      'image/svg+xml',
    );
    const broken = await uploaded(alice, (await picture(1600, 800)).slice(0, 2_000), 'image/png');
    for (const path of [text, svg, broken]) {
      const { status, body } = await thumbnail(path, 'width=32&height=32');
      expect([status, body.errcode]).to.deep.equal([400, 'M_UNKNOWN']);
    }
    const bomb = await sharp({
      create: { width: 12_000, height: 12_000, channels: 3, background: 'black' },
      limitInputPixels: false,
    })
      .png({ compressionLevel: 9 })
      .toBuffer();
    const path = await uploaded(alice, new Uint8Array(bomb), 'image/png');
    const { status, body } = await thumbnail(path, 'width=32&height=32');
    expect([status, body.errcode]).to.deep.equal([413, 'M_TOO_LARGE']);
    expect((await thumbnail(path, 'width=0&height=1')).body.errcode).to.equal('M_INVALID_PARAM');
    expect((await thumbnail(path, 'width=x&height=1')).status).to.equal(400);
  });
});

async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}
