import { expect } from 'chai';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { loadConfig } from '#src/app/config/load.ts';
import { moveMedia } from '#src/app/move-media.ts';
import { FileBlobStore } from '#src/blobs/file-blob-store.ts';
import { S3BlobStore } from '#src/blobs/s3-blob-store.ts';
import type { BlobStore } from '#src/blobs/blob-store.ts';
import { systemTimers } from '#src/kernel/timers.ts';
import { type ListedBlobStore, MediaMove } from '#src/services/media/media-move.ts';
import { beginBlob, completeBlob } from '#src/storage/media/blobs.ts';
import { cloneDatabase } from '#test/support/database.ts';
import { InProcessServer } from '#test/support/in-process-server.ts';
import { downloadMedia, filesIn, uploadMedia } from '#test/support/media.ts';
import { S3_BUCKET, S3_CREDENTIALS, S3Server } from '#test/support/stand-ins/s3-server.ts';

const NEVER = new AbortController().signal;

/** The process is gone: from now on nothing answers. */
class Killed extends Error {}

describe('media that move from files to a bucket', function () {
  let s3: S3Server;
  let server: InProcessServer;
  let bucket: S3BlobStore;

  beforeEach(async () => {
    s3 = await S3Server.start();
    const place = { endpoint: s3.endpoint, bucket: S3_BUCKET, prefix: '', ...S3_CREDENTIALS };
    server = await InProcessServer.start({ config: { media: { s3: place } } });
    bucket = new S3BlobStore({
      ...place,
      region: 'us-east-1',
      pathStyle: true,
      givesLinks: false,
      timers: systemTimers,
    });
  });
  afterEach(async () => {
    await bucket?.close();
    await server?.stop();
    await s3?.stop();
  });

  const upload = async (count: number): Promise<string[]> => {
    const uris: string[] = [];
    for (let n = 0; n < count; n++) uris.push(await uploadMedia(server, 'alice', `file ${n}`));
    return uris;
  };
  const texts = (uris: readonly string[]): Promise<string[]> =>
    Promise.all(uris.map(async (uri) => (await downloadMedia(server, 'bob', uri)).bytes.toString()));
  const files = (): Promise<string[]> => filesIn(join(server.folder, 'media'));
  const move = (change: (store: BlobStore) => BlobStore = (store) => store): MediaMove => {
    const folder = new FileBlobStore(join(server.folder, 'media'));
    const changed = change(folder);
    const from: ListedBlobStore = {
      put: (name, content) => changed.put(name, content),
      open: (name) => changed.open(name),
      remove: (names) => changed.remove(names),
      abandon: (names) => changed.abandon(names),
      link: (name, headers) => changed.link(name, headers),
      close: () => changed.close(),
      names: () => folder.names(),
    };
    return new MediaMove({
      database: server.services.database,
      from: { place: 'file', store: from },
      to: { place: 's3', store: change(bucket) },
    });
  };

  it('are served from where they lie, and lie in the bucket alone at the end', async () => {
    const uris = await upload(12);
    const expected = uris.map((_, n) => `file ${n}`);
    const ending = new AbortController();
    const first = await move().run(ending.signal, () => ending.abort());
    expect(first.moved).to.be.at.most(12);
    expect(await texts(uris)).to.deep.equal(expected);
    const { damaged, isDone } = await move().run(NEVER);
    expect([damaged, isDone]).to.deep.equal([[], true]);
    expect(await texts(uris)).to.deep.equal(expected);
    expect([await files(), (await s3.objects()).length]).to.deep.equal([[], 12]);
    expect((await move().run(NEVER)).moved).to.equal(0);
  });

  it('are all there whenever the move is killed, and the next one finishes it', async () => {
    const uris = await upload(5);
    const expected = uris.map((_, n) => `file ${n}`);
    for (let kill = 0; ; kill++) {
      let steps = 0;
      const dying = (store: BlobStore): BlobStore =>
        new Proxy(store, {
          get(target, name) {
            const member: unknown = Reflect.get(target, name, target);
            if (typeof member !== 'function') return member;
            return async (...args: unknown[]): Promise<unknown> => {
              if (steps === kill) {
                for (const arg of args) if (arg instanceof Readable) arg.destroy();
                throw new Killed();
              }
              steps += 1;
              return (member as (...all: unknown[]) => Promise<unknown>).apply(target, args);
            };
          },
        });
      const wasKilled = await move(dying)
        .run(NEVER)
        .then(
          () => false,
          () => true,
        );
      expect(await texts(uris), `killed at step ${kill}`).to.deep.equal(expected);
      if (!wasKilled) break;
    }
    await move().run(NEVER);
    expect([await files(), (await s3.objects()).length]).to.deep.equal([[], 5]);
  });

  it('are all there when two processes move them at once', async () => {
    const uris = await upload(12);
    const outcomes = await Promise.all([move().run(NEVER), move().run(NEVER)]);
    expect(outcomes.flatMap(({ damaged }) => damaged)).to.deep.equal([]);
    expect([await files(), (await s3.objects()).length]).to.deep.equal([[], 12]);
    expect(await texts(uris)).to.deep.equal(uris.map((_, n) => `file ${n}`));
  });

  it('stay where they are when they are not what was uploaded, and the others move', async () => {
    const uris = await upload(3);
    const [first = ''] = await files();
    await writeFile(first, 'something else');
    const { moved, damaged } = await move().run(NEVER);
    expect([moved, damaged]).to.deep.equal([2, [first.split('/').at(-1)]]);
    expect([(await files()).length, (await s3.objects()).length]).to.deep.equal([1, 2]);
    expect(uris).to.have.length(3);
  });
});

describe('tsudoi move-media', function () {
  it('says what it needs when no bucket is configured', async () => {
    let failure: unknown;
    const config = { media: { store: 'file' } } as Parameters<typeof moveMedia>[0];
    await moveMedia(config, () => undefined, NEVER).catch((error: unknown) => (failure = error));
    expect((failure as Error).message).to.include('media.store is file');
  });

  it('moves what a server that is stopped has in files, and says so', async () => {
    const s3 = await S3Server.start();
    const clone = await cloneDatabase();
    const folder = await mkdtemp(join(tmpdir(), 'tsudoi-test-move-'));
    try {
      const store = new FileBlobStore(join(folder, 'media'));
      const [name, now] = ['thefirstobject', 1];
      const content = await store.put(name, Readable.from([Buffer.from('moved')]));
      await beginBlob(clone.database, name, 'file', now);
      await clone.database.write((tx) => completeBlob(tx, name, content));
      const config = loadConfig([], {
        TSUDOI_DATA_DIR: folder,
        TSUDOI_DATABASE__URL: clone.url,
        TSUDOI_MEDIA__STORE: 's3',
        TSUDOI_MEDIA__S3__ENDPOINT: s3.endpoint,
        TSUDOI_MEDIA__S3__BUCKET: S3_BUCKET,
        TSUDOI_MEDIA__S3__ACCESS_KEY_ID: S3_CREDENTIALS.accessKeyId,
        TSUDOI_MEDIA__S3__SECRET_ACCESS_KEY: S3_CREDENTIALS.secretAccessKey,
      });
      const said = await moveMedia(config, () => undefined, NEVER);
      expect(said).to.equal('1 objects (5 bytes) were moved. None is left to be moved.');
      expect([await s3.objects(), await filesIn(join(folder, 'media'))]).to.deep.equal([[name], []]);
    } finally {
      await clone.drop();
      await s3.stop();
      await rm(folder, { recursive: true, force: true });
    }
  });
});
