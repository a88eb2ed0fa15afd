import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { inspect } from 'node:util';
import { expect } from 'chai';
import { BlobStoreError } from '#src/blobs/blob-store.ts';
import { S3BlobStore, type S3BlobStoreOptions } from '#src/blobs/s3-blob-store.ts';
import { systemTimers, type Timers } from '#src/kernel/timers.ts';
import { OddServer, S3_BUCKET, S3_CREDENTIALS, S3Server } from '#test/support/stand-ins/s3-server.ts';
import { until } from '#test/support/until.ts';

const NAME = 'object0001';
const SECRET = 'a-secret-that-nobody-sees';
/** Pauses between tries take no time. */
const HASTY: Timers = { ...systemTimers, sleep: () => Promise.resolve() };

describe('a store in a bucket, when the bucket is odd', function () {
  let odd: OddServer;
  let store: S3BlobStore;
  afterEach(async () => {
    await store?.close();
    await odd?.stop();
  });

  const storeAt = (endpoint: string, more: Partial<S3BlobStoreOptions> = {}): S3BlobStore =>
    new S3BlobStore({
      endpoint,
      region: 'eu-central-1',
      bucket: S3_BUCKET,
      prefix: '',
      accessKeyId: 'KEYID',
      secretAccessKey: SECRET,
      pathStyle: true,
      givesLinks: true,
      timers: HASTY,
      ...more,
    });
  const begin = async (
    answer: (request: IncomingMessage, response: ServerResponse) => void,
    more: Partial<S3BlobStoreOptions> = {},
  ): Promise<void> => {
    odd = await OddServer.start((request, response) => {
      request.resume();
      answer(request, response);
    });
    store = storeAt(odd.url, more);
  };
  const failureOf = async (work: Promise<unknown>): Promise<BlobStoreError> => {
    let failure: unknown;
    await work.catch((error: unknown) => (failure = error));
    expect(failure).to.be.instanceOf(BlobStoreError);
    return failure as BlobStoreError;
  };
  const put = (text = 'x'): Promise<unknown> => store.put(NAME, Readable.from([Buffer.from(text)]));

  it('asks again when it is told to come back later, and gives up after four times', async () => {
    let left = 3;
    await begin((_request, response) => {
      response.writeHead(left-- > 0 ? 503 : 200).end();
    });
    await put();
    expect(odd.asked).to.deep.equal(Array.from({ length: 4 }, () => `PUT /${S3_BUCKET}/${NAME}`));
    left = 100;
    expect((await failureOf(put())).kind).to.equal('unreachable');
    expect(odd.asked).to.have.length(8);
  });

  it('asks again when the connection breaks', async () => {
    let left = 2;
    await begin((request, response) => {
      if (left-- > 0) request.socket.destroy();
      else response.writeHead(200).end();
    });
    await put();
    expect(left).to.equal(-1);
  });

  it('does not wait for ever for an answer', async () => {
    await begin(() => undefined, { answerMs: 200 });
    expect((await failureOf(put())).message).to.include('does not answer');
  });

  it('is not sent elsewhere: no redirect is followed, inward or outward', async () => {
    const elsewhere = await OddServer.start(
      (_request, response) => void response.end('the secrets of another service'),
    );
    try {
      for (const status of [301, 302, 307, 308]) {
        await begin((_request, response) => {
          response.writeHead(status, { Location: `${elsewhere.url}/latest/meta-data` }).end();
        });
        await failureOf(put());
        await failureOf(store.open(NAME));
        await failureOf(store.remove([NAME]));
        await store.close();
        await odd.stop();
      }
      expect(elsewhere.asked).to.deep.equal([]);
    } finally {
      await elsewhere.stop();
    }
  });

  it('says when it is full', async () => {
    await begin((_request, response) => {
      response.writeHead(403).end('<Error><Code>QuotaExceeded</Code></Error>');
    });
    expect((await failureOf(put())).kind).to.equal('full');
  });

  it('never tells its credentials or signatures, whatever goes wrong', async () => {
    const answers: ((response: ServerResponse) => void)[] = [
      (response) => response.writeHead(403).end(`<Error><Code>AccessDenied</Code><Message>${SECRET}</Message></Error>`),
      (response) => response.writeHead(200).end('x'.repeat(3_000_000)),
      (response) => void response.socket?.destroy(),
    ];
    for (const answer of answers) {
      await begin((_request, response) => answer(response), { answerMs: 500 });
      const failures = await Promise.all([
        failureOf(store.put(NAME, Readable.from([Buffer.alloc(12_000_000)]))),
        failureOf(store.open(NAME, { first: 0, last: 1 })),
      ]);
      const told = inspect(failures, { depth: 10, showHidden: true });
      for (const secret of [SECRET, 'KEYID', 'Signature', 'AWS4-HMAC']) expect(told).not.to.include(secret);
      await store.close();
      await odd.stop();
    }
  });

  it('loses no object to an upload that it says it took and then says it did not', async () => {
    await begin((request, response) => {
      if (request.method === 'POST' && request.url?.includes('uploads') === true)
        response
          .writeHead(200)
          .end('<InitiateMultipartUploadResult><UploadId>u&amp;1</UploadId></InitiateMultipartUploadResult>');
      else if (request.method === 'POST') response.writeHead(200).end('<Error><Code>InternalError</Code></Error>');
      else response.writeHead(request.method === 'DELETE' ? 204 : 200, { ETag: '"tag"' }).end();
    });
    const failure = await failureOf(store.put(NAME, Readable.from([Buffer.alloc(11_000_000)])));
    expect(failure.message).to.include('InternalError');
    expect(odd.asked.at(-1)).to.equal(`DELETE /${S3_BUCKET}/${NAME}?uploadId=u%261`);
  });

  it('has no more of an upload in memory than three pieces, however slow it is', async () => {
    const release = Promise.withResolvers<void>();
    const partBytes = 1_000_000;
    let pieces = 0;
    await begin(
      (request, response) => {
        if (request.method === 'POST') {
          response.writeHead(200).end('<R><UploadId>u</UploadId></R>');
          return;
        }
        pieces += 1;
        void release.promise.then(() => response.writeHead(200, { ETag: `"${pieces}"` }).end());
      },
      { partBytes },
    );
    let produced = 0;
    const content = Readable.from(
      (function* () {
        for (let n = 0; n < 400; n++) {
          produced += 50_000;
          yield Buffer.alloc(50_000);
        }
      })(),
      { objectMode: false, highWaterMark: 50_000 },
    );
    const done = store.put(NAME, content);
    await until('the first piece is on its way', () => pieces === 1);
    // Whatever could be read by now was read: the stream has had its turns while the piece travelled.
    for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(produced).to.be.at.most(3 * partBytes + 200_000);
    release.resolve();
    await done;
    expect([produced, pieces]).to.deep.equal([20_000_000, 20]);
  });

  it('hands out links that are good without credentials, and say how a browser is to treat what it gets', async () => {
    const server = await S3Server.start();
    try {
      store = storeAt(server.endpoint, S3_CREDENTIALS);
      await put('linked');
      const headers = {
        contentType: 'text/plain; charset=utf-8',
        // The server of these tests signs asterisks and apostrophes otherwise than RFC 3986 has them.
        contentDisposition: 'attachment; filename="a name+%.txt"',
        cacheControl: 'private',
      };
      const link = (await store.link(NAME, headers))!;
      const answer = await fetch(link);
      expect([answer.status, await answer.text()]).to.deep.equal([200, 'linked']);
      expect(answer.headers.get('content-disposition')).to.equal(headers.contentDisposition);
      expect(answer.headers.get('content-type')).to.equal(headers.contentType);
      expect((await fetch(link.replace(NAME, 'object0002'))).status).to.equal(403);
      expect(link).not.to.include(`secret`);
      await store.close();
      store = storeAt(server.endpoint, { ...S3_CREDENTIALS, givesLinks: false });
      expect(await store.link(NAME, headers)).to.equal(undefined);
    } finally {
      await server.stop();
    }
  });

  it('refuses wrong credentials, and whoever stores something learns why', async () => {
    const server = await S3Server.start();
    try {
      store = storeAt(server.endpoint, { accessKeyId: S3_CREDENTIALS.accessKeyId });
      expect((await failureOf(put())).message).to.include('403 SignatureDoesNotMatch');
    } finally {
      await server.stop();
    }
  });

  it('is spoken to by its name in the host where that is wanted', async () => {
    const headers = { contentType: 'text/plain', contentDisposition: 'inline', cacheControl: 'private' };
    await begin((_request, response) => void response.end());
    await store.close();
    store = storeAt('https://s3.example.org/base/', { pathStyle: false, prefix: 'p/' });
    expect(await store.link(NAME, headers)).to.match(/^https:\/\/media\.s3\.example\.org\/base\/p\/object0001\?/);
  });
});
