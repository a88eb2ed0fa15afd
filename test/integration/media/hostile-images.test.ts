import { deflateSync } from 'node:zlib';
import { crc32 } from 'node:zlib';
import { expect } from 'chai';
import sharp from 'sharp';
import { InProcessServer } from '#test/support/in-process-server.ts';
import { downloadMedia, type Fetched, fetchMedia, uploadMedia } from '#test/support/media.ts';

type Bytes = Uint8Array<ArrayBuffer>;

const bytesOf = (...parts: readonly (string | Buffer)[]): Bytes =>
  new Uint8Array(Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part, 'latin1') : part))));

const chunk = (type: string, data: Buffer): Buffer => {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const head = Buffer.alloc(4);
  head.writeUInt32BE(data.length);
  const tail = Buffer.alloc(4);
  tail.writeUInt32BE(crc32(body));
  return Buffer.concat([head, body, tail]);
};

/** A PNG that says that it is of a size, with as much of its pixels as one likes. */
const png = (width: number, height: number, pixels: Buffer, more: readonly Buffer[] = []): Bytes => {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 0, 0, 0, 0], 8);
  return bytesOf(
    '\x89PNG\r\n\x1a\n',
    chunk('IHDR', header),
    ...more,
    chunk('IDAT', deflateSync(pixels)),
    chunk('IEND', Buffer.alloc(0)),
  );
};

/** A GIF of many frames. */
const gif = (side: number, frames: number): Bytes => {
  const head = Buffer.from('GIF89a\0\0\0\0\x80\0\0\0\0\0\xff\xff\xff', 'latin1');
  head.writeUInt16LE(side, 6);
  head.writeUInt16LE(side, 8);
  const frame = Buffer.from('\x21\xf9\x04\0\x01\0\0\0\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0', 'latin1');
  return bytesOf(head, ...Array.from({ length: frames }, () => frame), '\x3b');
};

describe('a hostile image', function () {
  let server: InProcessServer;
  let good: Bytes;
  before(async () => {
    server = await InProcessServer.start();
    good = new Uint8Array(
      await sharp({ create: { width: 400, height: 400, channels: 3, background: 'olive' } })
        .jpeg()
        .toBuffer(),
    );
  });
  after(() => server?.stop());

  const thumbnail = async (content: Bytes, type: string, query = 'width=64&height=64'): Promise<Fetched> => {
    const uri = await uploadMedia(server, 'mallory', content, type);
    return fetchMedia(server, 'bob', `/_matrix/client/v1/media/thumbnail/${uri.slice(6)}?${query}`);
  };
  /** Refused as the specification has it, and nobody else is the worse for it. */
  const expectRefused = async (answer: Fetched, status = 400, errcode = 'M_UNKNOWN'): Promise<void> => {
    expect([answer.status, answer.errcode]).to.deep.equal([status, errcode]);
    expect((await thumbnail(good, 'image/jpeg')).status).to.equal(200);
  };

  it('that says that it is huge is refused by what it says, before a pixel of it is unpacked', async () => {
    const { status, errcode } = await thumbnail(png(60_000, 60_000, Buffer.alloc(1_000)), 'image/png');
    expect([status, errcode]).to.deep.equal([413, 'M_TOO_LARGE']);
    for (const [width, height] of [
      [2_147_483_647, 1],
      [1, 2_147_483_647],
      [4_294_967_295, 4_294_967_295],
      [0, 0],
    ] as const)
      await expectRefused(await thumbnail(png(width, height, Buffer.alloc(10)), 'image/png'));
    await expectRefused(await thumbnail(png(100_000, 100_000, Buffer.alloc(10)), 'image/png'), 413, 'M_TOO_LARGE');
  });

  it('that is broken off anywhere is refused', async () => {
    for (const length of [0, 1, 2, 10, 200, good.length - 300])
      await expectRefused(await thumbnail(good.slice(0, length), 'image/jpeg', 'width=96&height=96&method=crop'));
    await expectRefused(await thumbnail(png(500, 500, Buffer.alloc(300)), 'image/png'));
  });

  it('is judged by its bytes, whatever type it says: what is no image has no thumbnail, and an image has one', async () => {
    for (const type of ['text/plain', 'image/svg+xml', 'application/pdf', 'video/mp4', '']) {
      const { status, headers } = await thumbnail(good, type);
      expect([type, status, headers.get('content-type')]).to.deep.equal([type, 200, 'image/jpeg']);
    }
    for (const content of [
      '<!doctype html><script>alert(1)</script>',
      '%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj',
      'RIFF\x24\0\0\0WAVEfmt ',
      '\0\0\0\x18ftypmp42\0\0\0\0mp42isom',
      'ID3\x04\0\0\0\0\0\0',
      '#EXTM3U\nfile:///etc/passwd',
      '/* XPM */ static char *x[]={"1 1 1 1","a c red","a"};',
      'P5 1 1 255 x',
      '\0\0\x01\0\x01\0',
      'BM\x46\0\0\0\0\0\0\0\x36\0\0\0',
    ])
      await expectRefused(await thumbnail(bytesOf(content), 'image/png'));
  });

  it('that is a drawing with a program in it is never opened here, and never shown by a browser', async () => {
    for (const svg of [
      '<svg xmlns="http://www.w3.org/2000/svg" width="900" height="900"><script>alert(1)</script></svg>',
      '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><svg xmlns="http://www.w3.org/2000/svg" width="900" height="900"><text>&a;</text></svg>',
      '<svg xmlns="http://www.w3.org/2000/svg" width="900" height="900"><image href="http://127.0.0.1:1/x"/></svg>',
      `<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aaaa">${Array.from({ length: 20 }, (_, n) => `<!ENTITY a${n} "${`&a${n === 0 ? '' : n - 1};`.repeat(10)}">`).join('')}]><svg xmlns="http://www.w3.org/2000/svg" width="900" height="900"><text>&a19;</text></svg>`,
    ]) {
      await expectRefused(await thumbnail(bytesOf(svg), 'image/svg+xml'));
      await expectRefused(await thumbnail(bytesOf(svg), 'image/png'));
      const uri = await uploadMedia(server, 'mallory', bytesOf(svg), 'image/svg+xml');
      const answer = await downloadMedia(server, 'bob', uri);
      expect(answer.headers.get('content-disposition')).to.equal('attachment');
      expect(answer.headers.get('content-security-policy')).to.match(/^sandbox; default-src 'none'; script-src 'none'/);
      expect(answer.headers.get('x-content-type-options')).to.equal('nosniff');
    }
  });

  it('that is two things at once gives a thumbnail that is one thing alone', async () => {
    const script = '*/=1;alert(document.domain);/*<script>alert(1)</script>';
    const text = chunk('tEXt', Buffer.from(`Comment\0${script}`, 'latin1'));
    const both = [
      png(300, 300, Buffer.alloc(300 * 301), [text]),
      bytesOf(Buffer.from(good), script),
      bytesOf(Buffer.from(gif(300, 1)), script),
    ];
    for (const content of both) {
      const { status, bytes } = await thumbnail(content, 'text/html');
      expect(status).to.equal(200);
      expect(bytes.includes('alert')).to.equal(false);
    }
  });

  it('of ten thousand frames is shown by its first one', async () => {
    for (const query of ['width=64&height=64&animated=true', 'width=64&height=64&method=crop']) {
      const many = await thumbnail(gif(300, 10_000), 'image/gif', query);
      expect(many.status).to.equal(200);
      expect((await sharp(many.bytes).metadata()).pages ?? 1).to.equal(1);
    }
    const large = await thumbnail(gif(8_000, 150), 'image/gif', 'width=64&height=64&animated=true');
    expect([200, 413]).to.include(large.status);
  });

  it('is looked at once: that it is none is remembered', async () => {
    const uri = await uploadMedia(server, 'mallory', bytesOf('no image at all'), 'image/png');
    const ask = (size: number): Promise<Fetched> =>
      fetchMedia(server, 'bob', `/_matrix/client/v1/media/thumbnail/${uri.slice(6)}?width=${size}&height=${size}`);
    const { imageScaler } = server.services;
    let scaled = 0;
    const scale = imageScaler.scale.bind(imageScaler);
    imageScaler.scale = (...args) => {
      scaled += 1;
      return scale(...args);
    };
    for (const size of [32, 64, 96, 500]) await expectRefusedAlone(await ask(size));
    imageScaler.scale = scale;
    expect(scaled).to.equal(1);
  });
  const expectRefusedAlone = async ({ errcode }: Fetched): Promise<void> => void expect(errcode).to.equal('M_UNKNOWN');

  it('does not keep others waiting: who asks for many is in line behind themselves', async () => {
    const { imageScaler } = server.services;
    const scale = imageScaler.scale.bind(imageScaler);
    const release = Promise.withResolvers<void>();
    let running = 0;
    let most = 0;
    imageScaler.scale = async (...args) => {
      running += 1;
      most = Math.max(most, running);
      await release.promise;
      running -= 1;
      return scale(...args);
    };
    try {
      const picture = async (n: number): Promise<string> => {
        const background = { r: n, g: 1, b: 2 };
        const content = await sharp({ create: { width: 50, height: 200, channels: 3, background } })
          .png()
          .toBuffer();
        return uploadMedia(server, 'alice', new Uint8Array(content), 'image/png');
      };
      const uris = await Promise.all(Array.from({ length: 5 }, (_, n) => picture(n)));
      const asked = uris.map((uri) =>
        fetchMedia(server, 'mallory', `/_matrix/client/v1/media/thumbnail/${uri.slice(6)}?width=32&height=32`),
      );
      release.resolve();
      expect((await Promise.all(asked)).map(({ status }) => status)).to.deep.equal([200, 200, 200, 200, 200]);
      expect(most).to.be.at.most(2);
    } finally {
      imageScaler.scale = scale;
    }
  });
});
