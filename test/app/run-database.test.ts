import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import pg from 'pg';
import { loadConfig } from '#src/app/config/load.ts';
import { openPlatform } from '#src/app/ground/platform.ts';
import { runDatabase } from '#src/app/run-database.ts';
import { silentLogger } from '#src/kernel/logger.ts';

/** Statements as a dump has them: everything goes, and comes back, and belongs to who puts it back. */
const RESTORE = [
  'drop schema public cascade',
  'create schema public',
  'create table public.put_back (text text)',
  "insert into public.put_back values ('from the dump')",
];

describe('the embedded database, run alone', function () {
  this.timeout(60_000);
  let folder = '';
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tsudoi-test-alone-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));
  const config = (more: Record<string, string> = {}): ReturnType<typeof loadConfig> =>
    loadConfig([], { TSUDOI_DATA_DIR: folder, ...more });

  it('takes what its superuser puts back, and the server finds it and may use it', async () => {
    const stop = new AbortController();
    await runDatabase(
      config(),
      (url) => {
        void (async () => {
          const client = new pg.Client({ connectionString: url });
          await client.connect();
          for (const statement of RESTORE) await client.query(statement);
          await client.end();
          stop.abort();
        })();
      },
      stop.signal,
    );
    const platform = await openPlatform(config(), silentLogger);
    try {
      const text = 'select text, current_user as who from put_back';
      expect(await platform.database.query({ name: 'test_put_back', text })).to.deep.equal([
        { text: 'from the dump', who: 'tsudoi_server' },
      ]);
    } finally {
      await platform.close();
    }
  });

  it('is not run where the server runs, or where the server uses another one', async () => {
    const never = new AbortController().signal;
    const platform = await openPlatform(config(), silentLogger);
    const failure = async (changed: Record<string, string>): Promise<string> =>
      runDatabase(config(changed), () => undefined, never).then(
        () => 'it ran',
        (error: Error) => error.message,
      );
    try {
      expect(await failure({})).to.include(folder);
    } finally {
      await platform.close();
    }
    expect(await failure({ TSUDOI_DATABASE__URL: 'postgresql://elsewhere/x' })).to.include('database.url is set');
  });
});
