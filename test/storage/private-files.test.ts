import { chmod, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { closeDataDirectory, writePrivateFile } from '#src/storage/private-files.ts';

describe('files that are for the server alone', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tsudoi-test-private-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));
  const modeOf = async (name: string): Promise<number> => (await stat(join(folder, name))).mode & 0o777;

  it('are written so, whatever the usual mode of files is', async () => {
    const umask = process.umask(0);
    try {
      await writePrivateFile(join(folder, 'key'), 'secret');
    } finally {
      process.umask(umask);
    }
    expect(await modeOf('key')).to.equal(0o600);
    expect(await readFile(join(folder, 'key'), 'utf8')).to.equal('secret');
  });
  it('say where nothing could be written: a full disk does not', async () => {
    const full = await writePrivateFile('/dev/full', 'secret').catch((error: Error & { code?: string }) => error);
    expect(full)
      .to.be.an('error')
      .that.has.property('message')
      .which.matches(/^\/dev\/full could not be written: ENOSPC/);
    await writePrivateFile(join(folder, 'key'), 'first', 'wx');
    const second = await writePrivateFile(join(folder, 'key'), 'x', 'wx').catch((error: unknown) => error);
    expect(second).to.include({ code: 'EEXIST' });
  });
  it('are closed to others in a data directory that was made when they were not', async () => {
    for (const name of ['archive', 'media', 'run']) await mkdir(join(folder, name), { mode: 0o755 });
    for (const name of ['signing.key', 'archive/room.jsonl']) await writeFile(join(folder, name), 'x', { mode: 0o644 });
    for (const name of ['archive', 'media', 'run']) await chmod(join(folder, name), 0o755);
    await chmod(folder, 0o755);
    await closeDataDirectory(folder);
    // The database's user goes through it to its own folders.
    expect([await modeOf('.'), await modeOf('run')]).to.deep.equal([0o711, 0o755]);
    expect([await modeOf('archive'), await modeOf('media'), await modeOf('signing.key')]).to.deep.equal([
      0o700, 0o700, 0o600,
    ]);
    expect(await readFile(join(folder, 'archive/room.jsonl'), 'utf8')).to.equal('x');
  });
});
