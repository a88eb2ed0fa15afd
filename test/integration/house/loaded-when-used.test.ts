import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { ChildServer } from '#test/support/child-server.ts';
import { emptyDatabase } from '#test/support/database.ts';

const RECORDER = new URL('record-loading.ts', import.meta.url);
/** What costs a start most and serves few: docs/decisions/0011-loaded-when-used.md. */
const LATER = [
  '@mikro-orm/',
  'kysely/',
  'ioredis/',
  'nodemailer/',
  'undici/',
  'pino-pretty/',
  'typebox/build/value/',
  'argon2/',
];

describe('a server', function () {
  this.timeout(60_000);
  let folder: string;
  let server: ChildServer;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tsudoi-test-loaded-'));
    server = await ChildServer.start({
      database: await emptyDatabase(),
      env: { NODE_OPTIONS: `--import=${RECORDER.href}`, TEST_LOADED_FILE: join(folder, 'loaded') },
    });
  });
  after(async () => {
    await server.dispose();
    await rm(folder, { recursive: true, force: true });
  });

  const loadedOf = async (names: readonly string[]): Promise<string[]> => {
    const urls = (await readFile(join(folder, 'loaded'), 'utf8')).split('\n');
    expect(urls.some((url) => url.endsWith('/src/app/application.ts'))).to.equal(true);
    return names.filter((name) => urls.some((url) => url.includes(`/node_modules/${name}`)));
  };

  it('loads MikroORM to make its tables, and when it finds them there loads nothing that it may never need', async () => {
    expect(await loadedOf(LATER)).to.include('@mikro-orm/');
    await server.stop();
    await writeFile(join(folder, 'loaded'), '');
    await server.launch();
    expect(await loadedOf(LATER)).to.deep.equal([]);
  });
});
