import { usageOfUser } from '#src/storage/media/media.ts';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { expect } from 'chai';
import fc from 'fast-check';
import { sql } from '#src/storage/database.ts';
import { InProcessServer } from '#test/support/in-process-server.ts';
import { ADMIN, downloadMedia, filesIn, uploadMedia } from '#test/support/media.ts';

const NEVER = new AbortController().signal;
const LEFT = sql('test_blobs_left', 'select count(*)::int as count from blobs');
const CONTENTS = ['one', 'two'] as const;

describe('files of the same content that are uploaded and deleted at once', function () {
  let server: InProcessServer;
  before(async () => {
    server = await InProcessServer.start({ config: { retention: { pauseMs: 0 } } });
  });
  after(() => server?.stop());

  const remove = (uri: string): Promise<void> =>
    server.services.mediaModeration.delete({ serverName: 'test', mediaId: uri.split('/').at(-1)! }, ADMIN);

  it('are all there that were not deleted, and their bytes once, in whatever order that happens', async () => {
    const step = fc.record({ content: fc.constantFrom(...CONTENTS), deletes: fc.boolean(), cleans: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(step, { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 4 }),
        async (rounds) => {
          const there = new Map<string, string>();
          for (const round of rounds) {
            const deletable = [...there.keys()];
            await Promise.all(
              round.map(async ({ content, deletes, cleans }) => {
                const victim = deletes ? deletable.pop() : undefined;
                if (victim !== undefined) {
                  there.delete(victim);
                  await remove(victim);
                } else there.set(await uploadMedia(server, 'alice', content), content);
                if (cleans) await server.services.mediaCleaner.clean(NEVER);
              }),
            );
          }
          await server.services.mediaCleaner.clean(NEVER);
          for (const [uri, content] of there)
            expect((await downloadMedia(server, 'bob', uri)).bytes.toString()).to.equal(content);
          const contents = new Set(there.values()).size;
          const [left] = await server.services.database.query<{ count: number }>(LEFT);
          expect([left?.count, (await filesIn(join(server.folder, 'media'))).length]).to.deep.equal([
            contents,
            contents,
          ]);
          await Promise.all([...there.keys()].map(remove));
          await server.services.mediaCleaner.clean(NEVER);
        },
      ),
      { numRuns: 15, endOnFailure: true },
    );
  });

  it('share what the server has space for, whoever sends them, and take none of it twice', async () => {
    const small = await InProcessServer.start({ config: { media: { maxTotalBytes: 1_000 } } });
    try {
      const outcomes = await Promise.allSettled(
        Array.from({ length: 5 }, (_, n) => uploadMedia(small, `user${n}`, String(n).repeat(400))),
      );
      expect(outcomes.filter(({ status }) => status === 'fulfilled')).to.have.length(2);
      // What lies there already takes no space.
      const known = outcomes.findIndex(({ status }) => status === 'fulfilled');
      await uploadMedia(small, 'again', String(known).repeat(400));
      expect(await filesIn(join(small.folder, 'media'))).to.have.length(2);
      await uploadMedia(small, 'last', 'x'.repeat(200));
      await uploadMedia(small, 'last', 'y').then(
        () => expect.fail('there is no space'),
        () => undefined,
      );
    } finally {
      await small.stop();
    }
  });

  it('need one connection to the database each, also when what lies there has to be counted anew', async () => {
    const small = await InProcessServer.start({ config: { media: { maxTotalBytes: 1_000 } } });
    // As many as there are connections.
    const texts = Array.from({ length: 16 }, (_, n) => `file ${n}`);
    try {
      const came = Promise.withResolvers<void>();
      let count = 0;
      const keep = (text: string): Promise<string> =>
        small.services.contents.keep(
          Readable.from([Buffer.from(text)]),
          () => Promise.resolve(text),
          async () => {
            count += 1;
            if (count === texts.length) {
              await small.clock.advance(600_000);
              came.resolve();
            }
            await came.promise;
          },
        );
      expect(await Promise.all(texts.map(keep))).to.deep.equal(texts);
    } finally {
      await small.stop();
    }
  });

  it('share what their user may upload: however many come at once, they are not more than that', async () => {
    const small = await InProcessServer.start({ config: { media: { maxUserBytes: 1_000 } } });
    try {
      const outcomes = await Promise.allSettled(
        Array.from({ length: 5 }, (_, n) => uploadMedia(small, 'alice', String(n).repeat(400))),
      );
      expect(outcomes.filter(({ status }) => status === 'fulfilled')).to.have.length(2);
      expect((await usageOfUser(small.services.database, '@alice:test')).bytes).to.equal(800);
      expect(await filesIn(join(small.folder, 'media'))).to.have.length(2);
    } finally {
      await small.stop();
    }
  });
});
