import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { expect } from 'chai';
import type { BlobStore } from '#src/blobs/blob-store.ts';
import { FileBlobStore } from '#src/blobs/file-blob-store.ts';
import { S3BlobStore } from '#src/blobs/s3-blob-store.ts';
import { systemTimers } from '#src/kernel/timers.ts';
import { filesIn } from '#test/support/media.ts';
import { S3_BUCKET, S3_CREDENTIALS, S3Server } from '#test/support/stand-ins/s3-server.ts';

const PART = 5 * 1024 * 1024;

interface Subject {
  readonly store: BlobStore;
  /** How many objects there are. */
  readonly count: () => Promise<number>;
  /** How many traces there are of what was begun and not finished. */
  readonly begun: () => Promise<number>;
  readonly stop: () => Promise<void>;
}

const files = async (): Promise<Subject> => {
  const folder = await mkdtemp(join(tmpdir(), 'tsudoi-test-blobs-'));
  return {
    store: new FileBlobStore(folder),
    count: async () => (await filesIn(folder)).length,
    begun: () => Promise.resolve(0),
    stop: () => rm(folder, { recursive: true, force: true }),
  };
};

const bucket = async (): Promise<Subject> => {
  const server = await S3Server.start();
  const store = new S3BlobStore({
    endpoint: server.endpoint,
    region: 'us-east-1',
    bucket: S3_BUCKET,
    prefix: 'some/where/',
    ...S3_CREDENTIALS,
    pathStyle: true,
    givesLinks: false,
    timers: systemTimers,
  });
  return {
    store,
    count: async () => (await server.objects()).length,
    begun: () => server.pieces(),
    async stop() {
      await store.close();
      await server.stop();
    },
  };
};

const bytesOf = (size: number): Buffer => {
  const bytes = Buffer.alloc(size);
  for (let at = 0; at + 4 <= size; at += 1_024) bytes.writeUInt32LE(at, at);
  return bytes;
};
const pieces = (bytes: Buffer, size = 100_000): Readable =>
  Readable.from(
    (function* () {
      for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
    })(),
    { objectMode: false },
  );

for (const [title, begin] of [
  ['a store of files', files],
  ['a store in a bucket', bucket],
] as const) {
  describe(title, function () {
    let subject: Subject;
    let names = 0;
    const nextName = (): string => `object${String((names += 1)).padStart(10, '0')}`;
    before(async () => {
      subject = await begin();
    });
    after(() => subject?.stop());

    for (const size of [0, 1, 100_000, PART - 1, PART, PART + 1, 3 * PART + 7]) {
      it(`gives ${size} bytes back as they came, and says their number and digest`, async () => {
        const bytes = bytesOf(size);
        const name = nextName();
        const digest = createHash('sha256').update(bytes).digest('hex');
        expect(await subject.store.put(name, pieces(bytes))).to.deep.equal({ digest, size });
        const content = await subject.store.open(name);
        expect((await buffer(content!)).equals(bytes)).to.equal(true);
      });
    }

    it('gives parts of an object', async () => {
      const name = nextName();
      await subject.store.put(name, Readable.from([Buffer.from('0123456789')]));
      const part = async (first: number, last: number): Promise<string> =>
        (await buffer((await subject.store.open(name, { first, last }))!)).toString();
      expect([await part(0, 1), await part(2, 4), await part(9, 9), await part(0, 9)]).to.deep.equal([
        '01',
        '234',
        '9',
        '0123456789',
      ]);
    });

    it('has no object of a name that was never written, or was removed', async () => {
      const name = nextName();
      expect(await subject.store.open(name)).to.equal(undefined);
      await subject.store.put(name, Readable.from([Buffer.from('x')]));
      await subject.store.remove([name, nextName()]);
      expect(await subject.store.open(name)).to.equal(undefined);
      await subject.store.remove([name]);
      await subject.store.abandon([name]);
    });

    it('removes many at once', async () => {
      const before = await subject.count();
      const many = Array.from({ length: 40 }, nextName);
      await Promise.all(many.map((name) => subject.store.put(name, Readable.from([Buffer.from(name)]))));
      expect(await subject.count()).to.equal(before + 40);
      await subject.store.remove(many);
      expect(await subject.count()).to.equal(before);
    });

    for (const sent of [10, 2 * PART + 5]) {
      it(`keeps nothing of a stream that breaks after ${sent} bytes, and fails as it did`, async () => {
        const before = await subject.count();
        const broken = Readable.from(
          (async function* () {
            yield bytesOf(sent);
            await Promise.resolve();
            throw new Error('the client went away');
          })(),
          { objectMode: false },
        );
        let failure: unknown;
        await subject.store.put(nextName(), broken).catch((error: unknown) => (failure = error));
        expect((failure as Error).message).to.equal('the client went away');
        expect([await subject.count(), await subject.begun()]).to.deep.equal([before, 0]);
      });
    }

    it('takes no name that leads out of it', async () => {
      for (const name of [
        '../../../etc/passwd',
        'short',
        'with/slash/in/it',
        'UPPERCASE0',
        '',
        'a'.repeat(65),
        'nul\0nul00',
      ]) {
        const works: (() => Promise<unknown>)[] = [
          () => subject.store.put(name, Readable.from([])),
          () => subject.store.open(name),
          () => subject.store.remove([name]),
        ];
        for (const work of works) {
          let failure: unknown;
          await Promise.resolve()
            .then(work)
            .catch((error: unknown) => (failure = error));
          expect(failure, name).to.be.instanceOf(TypeError);
        }
      }
    });
  });
}
