import { usageOfUser } from '#src/storage/media/media.ts';
import { expect } from 'chai';
import { join } from 'node:path';
import sharp from 'sharp';
import { InProcessServer } from '#test/support/in-process-server.ts';
import { ADMIN, downloadMedia, fetchMedia, filesIn, uploadMedia } from '#test/support/media.ts';
import { S3_BUCKET, S3_CREDENTIALS, S3Server } from '#test/support/stand-ins/s3-server.ts';

const NEVER = new AbortController().signal;

describe('a server whose media lie in a bucket', function () {
  let s3: S3Server;
  let server: InProcessServer;
  let endpoint: string;

  before(async () => {
    s3 = await S3Server.start();
    endpoint = s3.endpoint;
    server = await begin({});
  });
  after(async () => {
    await server?.stop();
    await s3?.stop();
  });

  const begin = (more: object): Promise<InProcessServer> =>
    InProcessServer.start({
      config: {
        media: {
          store: 's3',
          s3: { endpoint, bucket: S3_BUCKET, prefix: 'tsudoi/', ...S3_CREDENTIALS, ...more },
        },
      },
    });

  it('keeps them there and nowhere else, hands them out whole and in parts, and makes thumbnails', async () => {
    const uri = await uploadMedia(server, 'alice', '0123456789', 'text/plain', 'digits.txt');
    const whole = await downloadMedia(server, 'bob', uri);
    expect([whole.status, whole.bytes.toString()]).to.deep.equal([200, '0123456789']);
    expect(whole.headers.get('content-disposition')).to.equal('inline; filename=digits.txt');
    const part = await downloadMedia(server, 'bob', uri, { headers: { Range: 'bytes=-3' } });
    expect([part.status, part.bytes.toString()]).to.deep.equal([206, '789']);
    const png = await sharp({ create: { width: 900, height: 900, channels: 3, background: 'red' } })
      .png()
      .toBuffer();
    const image = await uploadMedia(server, 'alice', new Uint8Array(png), 'image/png');
    const path = `/_matrix/client/v1/media/thumbnail/${image.slice(6)}?width=64&height=64&method=crop`;
    const thumbnail = await fetchMedia(server, 'bob', path);
    expect([thumbnail.status, (await sharp(thumbnail.bytes).metadata()).width]).to.deep.equal([200, 96]);
    expect(await s3.objects()).to.have.length(3);
    expect(await filesIn(join(server.folder, 'media'))).to.deep.equal([]);
    const again = await uploadMedia(server, 'bob', '0123456789');
    expect(again).not.to.equal(uri);
    expect(await s3.objects()).to.have.length(3);
    const { mediaModeration } = server.services;
    for (const one of [uri, again, image])
      await mediaModeration.delete({ serverName: 'test', mediaId: one.split('/').at(-1)! }, ADMIN);
    await server.services.mediaCleaner.clean(NEVER);
    expect(await s3.objects()).to.deep.equal([]);
  });

  it('sends clients to the bucket only where that is switched on, and those without a token only when they say so', async () => {
    const redirecting = await begin({ redirectDownloads: true });
    try {
      const uri = await uploadMedia(redirecting, 'alice', 'elsewhere', 'text/html', 'page.html');
      const answer = await downloadMedia(redirecting, 'bob', uri);
      expect(answer.status).to.equal(307);
      expect(answer.headers.get('cache-control')).to.equal('no-store');
      const followed = await fetch(answer.headers.get('location')!);
      expect([followed.status, await followed.text()]).to.deep.equal([200, 'elsewhere']);
      expect(followed.headers.get('content-disposition')).to.equal('attachment; filename=page.html');
      expect(JSON.stringify(redirecting.lines)).not.to.include('X-Amz-Signature');
    } finally {
      await redirecting.stop();
    }
    const uri = await uploadMedia(server, 'alice', 'here');
    expect((await downloadMedia(server, 'bob', uri)).status).to.equal(200);
  });

  it('answers 503 while the bucket is out of reach, keeps nothing, logs no credentials, and continues afterwards', async () => {
    const broken = await InProcessServer.start({
      config: {
        media: {
          store: 's3',
          s3: { endpoint: 'http://127.0.0.1:9', bucket: S3_BUCKET, accessKeyId: 'KEYID', secretAccessKey: 'SECRET' },
        },
      },
    });
    try {
      const uploading = fetchMedia(broken, 'alice', '/_matrix/media/v3/upload', { method: 'POST', body: 'x' });
      let isDone = false;
      const done = uploading.finally(() => (isDone = true));
      while (!isDone) await broken.clock.advance(1_000);
      const { status, errcode } = await done;
      expect([status, errcode]).to.deep.equal([503, 'M_UNKNOWN']);
      expect(broken.lines.some(({ message }) => message === 'the store of media fails')).to.equal(true);
      for (const secret of ['KEYID', 'SECRET']) expect(JSON.stringify(broken.lines)).not.to.include(secret);
      expect((await usageOfUser(broken.services.database, '@alice:test')).files).to.equal(0);
      await broken.say('alice', await broken.room('alice'), 'messages do not need files');
      for (const [path, said] of [
        ['/health', 'Degraded: media'],
        ['/readyz', 'OK'],
      ] as const) {
        const answer = await fetch(`${broken.url}${path}`);
        expect([answer.status, await answer.text()]).to.deep.equal([200, said]);
      }
    } finally {
      await broken.stop();
    }
  });
});
