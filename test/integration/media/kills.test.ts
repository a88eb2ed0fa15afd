import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { expect } from 'chai';
import sharp from 'sharp';
import { type Database, sql } from '#src/storage/database.ts';
import type { ManualClock } from '#test/support/manual-clock.ts';
import { ADMIN, filesIn } from '#test/support/media.ts';
import { type Life, MortalServer } from '#test/support/mortal/mortal-server.ts';

const DAY_MS = 86_400_000;
const NEVER = new AbortController().signal;
const BLOBS = sql('test_blobs', 'select name, digest is not null as complete, doomed from blobs order by name');

/** Whatever was going on when the process ended, and whoever cleans up later: each object has its file, and each file its object. */
const assertTidy = async (database: Database, folder: string, when: string): Promise<void> => {
  const blobs = await database.query<{ name: string; complete: boolean; doomed: boolean }>(BLOBS);
  expect(
    blobs.filter(({ complete, doomed }) => !complete || doomed),
    `${when}: leftovers`,
  ).to.deep.equal([]);
  const files = (await filesIn(join(folder, 'media'))).map((file) => file.split('/').at(-1)!).toSorted();
  expect(files, `${when}: files`).to.deep.equal(blobs.map(({ name }) => name));
};

describe('a file, when the server is killed between two steps', function () {
  let server: MortalServer;
  let count = 0;
  before(async () => {
    server = await MortalServer.open();
  });
  after(() => server?.close());

  const upload = ({ services }: Life, content: Buffer, contentType = 'text/plain'): Promise<string> =>
    services.media.upload('@alice:localhost', { content: Readable.from([content]), contentType, filename: undefined });
  const find = ({ services }: Life, uri: string) =>
    services.media.get({
      serverName: server.serverName,
      mediaId: uri.split('/').at(-1)!,
      party: '',
      timeoutMs: 0,
      allowRemote: false,
      signal: NEVER,
    });
  const read = async (life: Life, uri: string): Promise<string> => {
    const delivery = await life.services.mediaDelivery.deliver(await find(life, uri), undefined, {
      range: undefined,
      ifRange: undefined,
      ifNoneMatch: undefined,
      isHead: false,
      mayRedirect: false,
    });
    return (await buffer(delivery.content!)).toString();
  };
  /** What is left behind is cleaned up days later. */
  const cleanUp = async (life: Life, when: string): Promise<void> => {
    (life.services.clock as ManualClock).set(3 * DAY_MS);
    await life.services.mediaCleaner.clean(NEVER);
    await assertTidy(server.database, server.folder, when);
  };
  /** Kills the server at each half step of `act` in turn. */
  const atEachStep = async <Subject>(
    prepare: (life: Life) => Promise<Subject>,
    act: (life: Life, subject: Subject) => Promise<unknown>,
    look: (life: Life, subject: Subject, answered: boolean, when: string) => Promise<void>,
  ): Promise<void> => {
    for (let kill = 0, answered = false; !answered; kill++) {
      const doomed = await server.begin();
      const subject = await prepare(doomed);
      doomed.mortal.killAt(kill);
      const work = act(doomed, subject);
      answered = await doomed.mortal.survives(() => work);
      await work.catch(() => undefined);
      const after = await server.begin();
      await look(after, subject, answered, `killed at half step ${kill}`);
      await after.end();
      if (answered) await doomed.end();
    }
  };

  it('is there whole once its upload was answered, and leaves nothing behind otherwise', async () => {
    const uris = new Map<string, string>();
    await atEachStep(
      async () => `upload ${(count += 1)}`,
      async (life, text) => void uris.set(text, await upload(life, Buffer.from(text))),
      async (life, text, answered, when) => {
        if (answered) expect(await read(life, uris.get(text)!), when).to.equal(text);
        await cleanUp(life, when);
        if (answered) expect(await read(life, uris.get(text)!), when).to.equal(text);
      },
    );
    expect(uris.size).to.be.above(0);
  });

  it('that was there already is still there for whoever uploaded it first', async () => {
    await atEachStep(
      async (life) => {
        const text = `twice ${(count += 1)}`;
        return { text, uri: await upload(life, Buffer.from(text)) };
      },
      (life, { text }) => upload(life, Buffer.from(text)),
      async (life, { text, uri }, _answered, when) => {
        await cleanUp(life, when);
        expect(await read(life, uri), when).to.equal(text);
      },
    );
  });

  it('has its thumbnail made by the next one', async () => {
    const wish = { width: 32, height: 32, method: 'crop', animated: false } as const;
    await atEachStep(
      async (life) => {
        const background = { r: (count += 1) % 256, g: 7, b: 9 };
        const png = await sharp({ create: { width: 300, height: 300, channels: 3, background } })
          .png()
          .toBuffer();
        return upload(life, png, 'image/png');
      },
      async (life, uri) => life.services.thumbnails.thumbnail(await find(life, uri), wish, '@alice:localhost'),
      async (life, uri, _answered, when) => {
        await cleanUp(life, when);
        const { blob } = await life.services.thumbnails.thumbnail(await find(life, uri), wish, '@alice:localhost');
        expect(blob.size, when).to.be.above(0);
        await assertTidy(server.database, server.folder, when);
      },
    );
  });

  it('that is deleted is gone with its thumbnails, or is still there whole', async () => {
    await atEachStep(
      async (life) => {
        const background = { r: (count += 1) % 256, g: 70, b: 9 };
        const png = await sharp({ create: { width: 300, height: 300, channels: 3, background } })
          .png()
          .toBuffer();
        const uri = await upload(life, png, 'image/png');
        const wish = { width: 32, height: 32, method: 'crop', animated: false } as const;
        await life.services.thumbnails.thumbnail(await find(life, uri), wish, '@alice:localhost');
        return uri;
      },
      async (life, uri) => {
        const mediaId = uri.split('/').at(-1)!;
        await life.services.mediaModeration.delete({ serverName: server.serverName, mediaId }, ADMIN);
        await life.services.mediaCleaner.clean(NEVER);
      },
      async (life, uri, answered, when) => {
        await cleanUp(life, when);
        const isThere = await read(life, uri).then(
          () => true,
          () => false,
        );
        if (answered) expect(isThere, when).to.equal(false);
      },
    );
  });
});
