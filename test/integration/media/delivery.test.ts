import { expect } from 'chai';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { OpenMedia } from '#src/services/media/open-media.ts';
import { InProcessServer } from '#test/support/in-process-server.ts';
import { downloadMedia, fetchMedia, uploadMedia } from '#test/support/media.ts';
import { S3_BUCKET, S3_CREDENTIALS, S3Server } from '#test/support/stand-ins/s3-server.ts';

const HOUR_MS = 3_600_000;

describe('media, as HTTP hands them out', function () {
  let server: InProcessServer;
  let uri: string;
  let etag: string;
  before(async () => {
    server = await InProcessServer.start();
    uri = await uploadMedia(server, 'alice', '0123456789', 'text/plain', '数字.txt');
    etag = (await downloadMedia(server, 'bob', uri)).headers.get('etag')!;
  });
  after(() => server?.stop());

  const ask = (headers: Record<string, string>, method = 'GET') =>
    downloadMedia(server, 'bob', uri, { method, headers });

  it('have the same head for HEAD as for GET, whole and in part, and no body', async () => {
    for (const headers of [{}, { Range: 'bytes=2-4' }, { 'If-None-Match': etag }, { Range: 'bytes=50-' }]) {
      const [get, head] = [await ask(headers), await ask(headers, 'HEAD')];
      expect(head.bytes.length).to.equal(0);
      expect(head.status).to.equal(get.status);
      for (const name of [
        'content-type',
        'content-length',
        'content-range',
        'content-disposition',
        'etag',
        'cache-control',
      ])
        expect([name, head.headers.get(name)]).to.deep.equal([name, get.headers.get(name)]);
    }
  });

  it('are a part only of what the client has, if it says of which', async () => {
    const part = await ask({ Range: 'bytes=2-4', 'If-Range': etag });
    expect([part.status, part.bytes.toString()]).to.deep.equal([206, '234']);
    for (const other of ['"another"', `W/${etag}`, 'Wed, 21 Oct 2015 07:28:00 GMT', '']) {
      const whole = await ask({ Range: 'bytes=2-4', 'If-Range': other });
      expect([other, whole.status, whole.bytes.length]).to.deep.equal([other, 200, 10]);
    }
  });

  it('are not sent again to who has them, however the tag is spelled', async () => {
    for (const tag of [etag, `W/${etag}`, `"a", ${etag}`, '*']) {
      const answer = await ask({ 'If-None-Match': tag });
      expect([tag, answer.status, answer.headers.get('etag')]).to.deep.equal([tag, 304, etag]);
    }
    expect((await ask({ 'If-None-Match': '"other"' })).status).to.equal(200);
  });

  it('say how they are to be kept, shown and shared, whole and in part', async () => {
    for (const headers of [{}, { Range: 'bytes=1-2' }]) {
      const answer = await ask(headers);
      expect(answer.headers.get('content-disposition')).to.equal("inline; filename*=utf-8''%E6%95%B0%E5%AD%97.txt");
      expect(answer.headers.get('content-security-policy')).to.equal(
        "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; style-src 'unsafe-inline'; object-src 'self';",
      );
      expect(answer.headers.get('x-content-type-options')).to.equal('nosniff');
      expect(answer.headers.get('cross-origin-resource-policy')).to.equal('cross-origin');
      expect(answer.headers.get('access-control-allow-origin')).to.equal('*');
      expect(answer.headers.get('accept-ranges')).to.equal('bytes');
      expect(answer.headers.get('cache-control')).to.equal('private, max-age=31536000, immutable');
    }
  });

  it('of names that are none are not found, whatever is asked for beside it', async () => {
    for (const path of ['test/none', 'test/%2e%2e%2fsession.key', `test/${'a'.repeat(300)}`]) {
      for (const query of ['', '?timeout_ms=0', '?timeout_ms=-5', '?timeout_ms=99999999']) {
        const { status, errcode } = await downloadMedia(server, 'bob', `mxc://${path}`, {}, query);
        expect([path, query, status, errcode]).to.deep.equal([path, query, 404, 'M_NOT_FOUND']);
      }
    }
    const bad = await downloadMedia(server, 'bob', uri, {}, '?timeout_ms=soon');
    expect([bad.status, bad.errcode]).to.deep.equal([400, 'M_INVALID_PARAM']);
  });

  it('that were announced are waited for as long as the client says, and not at all once their time is over', async () => {
    const created = await server.must('alice', 'POST', '/_matrix/media/v1/create');
    const waiting = downloadMedia(server, 'bob', created.content_uri, {}, '?timeout_ms=5000');
    let isDone = false;
    const answer = waiting.finally(() => (isDone = true));
    while (!isDone) await server.clock.advance(500);
    const { status, errcode } = await answer;
    expect([status, errcode]).to.deep.equal([504, 'M_NOT_YET_UPLOADED']);
    expect(created.unused_expires_at).to.be.above(server.clock.now());
    server.clock.set(25 * HOUR_MS);
    expect((await downloadMedia(server, 'bob', created.content_uri, {}, '?timeout_ms=0')).status).to.equal(404);
    const late = await fetchMedia(server, 'alice', `/_matrix/media/v3/upload/${created.content_uri.slice(6)}`, {
      method: 'PUT',
      body: 'late',
    });
    expect([late.status, late.errcode]).to.deep.equal([404, 'M_NOT_FOUND']);
  });

  it('come to the second of two uploads to one name as a refusal, also when both come at once', async () => {
    const { content_uri: name } = await server.must('alice', 'POST', '/_matrix/media/v1/create');
    const put = (body: string) =>
      fetchMedia(server, 'alice', `/_matrix/media/v3/upload/${name.slice(6)}`, { method: 'PUT', body });
    const answers = await Promise.all([put('first'), put('second'), put('')]);
    expect(answers.map(({ status }) => status).toSorted()).to.deep.equal([200, 409, 409]);
    for (const { status, errcode } of answers) if (status !== 200) expect(errcode).to.equal('M_CANNOT_OVERWRITE_MEDIA');
    // The one that all of these tests read, and this one.
    const { media } = await server.services.mediaModeration.ofUser('@alice:test', {
      order: 'created_ts',
      direction: 'f',
      from: 0,
      limit: 100,
    });
    expect(media.filter(({ blob }) => blob !== null)).to.have.length(2);
  });

  it('cannot be written while files cannot be: uploads answer 503, and messages go on', async () => {
    const blocked = await InProcessServer.start();
    try {
      // A file where the folder should be.
      await rm(join(blocked.folder, 'media'), { recursive: true, force: true });
      await writeFile(join(blocked.folder, 'media'), '');
      const { status, errcode, headers } = await fetchMedia(blocked, 'alice', '/_matrix/media/v3/upload', {
        method: 'POST',
        body: 'x',
      });
      expect([status, errcode, headers.get('retry-after')]).to.deep.equal([503, 'M_UNKNOWN', '30']);
      await blocked.say('alice', await blocked.room('alice'), 'still here');
    } finally {
      await blocked.stop();
    }
  });

  it('are bounded in number for each user, and in bytes for all together', async () => {
    const small = await InProcessServer.start({ config: { media: { maxUserFiles: 2, maxTotalBytes: 2_000 } } });
    try {
      for (let n = 0; n < 2; n++) await uploadMedia(small, 'alice', `file ${n}`);
      const post = (token: string, body: string) =>
        fetchMedia(small, token, '/_matrix/media/v3/upload', { method: 'POST', body });
      const third = await post('alice', 'file 3');
      expect([third.status, third.errcode]).to.deep.equal([403, 'M_FORBIDDEN']);
      const over = await post('bob', 'b'.repeat(1_989));
      expect([over.status, over.errcode]).to.deep.equal([413, 'M_TOO_LARGE']);
      await uploadMedia(small, 'bob', 'b'.repeat(1_988));
      const full = await post('carol', 'x');
      expect([full.status, full.errcode]).to.deep.equal([413, 'M_TOO_LARGE']);
    } finally {
      await small.stop();
    }
  });
});

describe('media without a token', function () {
  const openly = (server: InProcessServer, uri: string, more = '') =>
    fetchMedia(server, undefined, `/_matrix/media/v3/download/${uri.slice(6)}${more}`);

  it('are those from before it was switched on for the first time; what comes later has a token asked for it', async () => {
    const server = await InProcessServer.start({ config: { media: { unauthenticatedDownloads: true } } });
    try {
      const switchedOn = server.clock.now();
      const later = await uploadMedia(server, 'alice', 'later');
      const refused = await openly(server, later);
      expect([refused.status, refused.errcode]).to.deep.equal([404, 'M_NOT_FOUND']);
      expect((await downloadMedia(server, 'bob', later)).status).to.equal(200);
      // The next process, an hour later: the moment does not move.
      server.clock.set(HOUR_MS);
      const { clock, database } = server.services;
      const next = new OpenMedia({ database, clock, isOn: true, before: null });
      await next.start();
      next.assertOpen({ createdTs: switchedOn - 1 });
      expect(() => next.assertOpen({ createdTs: switchedOn })).to.throw(MatrixError, 'with an access token');
    } finally {
      await server.stop();
    }
  });

  it('are those from before a time that the operator says', async () => {
    const far = Date.UTC(2100, 0, 1);
    const config = { media: { unauthenticatedDownloads: true, unauthenticatedBeforeTs: far } };
    const server = await InProcessServer.start({ config });
    try {
      const uri = await uploadMedia(server, 'alice', 'for all');
      for (const path of ['v3', 'r0', 'v1']) {
        const named = `/_matrix/media/${path}/download/${uri.slice(6)}/name.txt?allow_remote=false`;
        const answer = await fetchMedia(server, undefined, named);
        expect([path, answer.status, answer.bytes.toString()]).to.deep.equal([path, 200, 'for all']);
        expect(answer.headers.get('content-disposition')).to.equal('inline; filename=name.txt');
      }
      const { status, errcode } = await fetchMedia(
        server,
        undefined,
        `/_matrix/media/v3/thumbnail/${uri.slice(6)}?width=32&height=32`,
      );
      expect([status, errcode]).to.deep.equal([400, 'M_UNKNOWN']);
    } finally {
      await server.stop();
    }
  });

  it('are a redirect only for a client that says that it follows one', async () => {
    const s3 = await S3Server.start();
    const server = await InProcessServer.start({
      config: {
        media: {
          unauthenticatedDownloads: true,
          unauthenticatedBeforeTs: Date.UTC(2100, 0, 1),
          store: 's3',
          s3: { endpoint: s3.endpoint, bucket: S3_BUCKET, ...S3_CREDENTIALS, redirectDownloads: true },
        },
      },
    });
    try {
      const uri = await uploadMedia(server, 'alice', 'in the bucket');
      expect((await openly(server, uri)).bytes.toString()).to.equal('in the bucket');
      expect((await openly(server, uri, '?allow_redirect=false')).status).to.equal(200);
      const redirected = await openly(server, uri, '?allow_redirect=true');
      expect(redirected.status).to.equal(307);
      expect(await (await fetch(redirected.headers.get('location')!)).text()).to.equal('in the bucket');
    } finally {
      await server.stop();
      await s3.stop();
    }
  });
});

describe('what names media', function () {
  let server: InProcessServer;
  before(async () => {
    server = await InProcessServer.start();
  });
  after(() => server?.stop());

  it('may be as long and as strange as it likes: account data and profiles are kept all the same', async () => {
    const { userId } = await server.session('alice');
    for (const url of [
      `mxc://${'a'.repeat(6_000)}/x`,
      `mxc://a/${'b'.repeat(6_000)}`,
      'mxc://'.repeat(3_000),
      `mxc://${'日'.repeat(255)}/x`,
      'mxc://a/b\\"\u0001',
    ]) {
      await server.must('alice', 'PUT', `/user/${userId}/account_data/org.example.odd`, { url });
      await server.must('alice', 'PUT', `/profile/${userId}/org.example.odd`, { 'org.example.odd': url });
    }
    const many = Array.from({ length: 1_500 }, (_, n) => `mxc://a/${n}`);
    await server.must('alice', 'PUT', `/user/${userId}/account_data/org.example.many`, { many });
  });

  it('is kept where users say what media they want to see (MSC4278), under its stable and its unstable name', async () => {
    const { userId } = await server.session('bob');
    for (const type of ['m.media_preview_config', 'io.element.msc4278.media_preview_config']) {
      const config = { media_previews: 'private', invite_avatars: 'off' };
      await server.must('bob', 'PUT', `/user/${userId}/account_data/${type}`, config);
      expect(await server.must('bob', 'GET', `/user/${userId}/account_data/${type}`)).to.deep.equal(config);
      const sync = await server.must('bob', 'GET', '/sync?timeout=0');
      expect(sync.account_data.events.find((event: { type: string }) => event.type === type)?.content).to.deep.equal(
        config,
      );
    }
  });
});
