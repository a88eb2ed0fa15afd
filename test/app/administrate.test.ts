import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { administrate } from '#src/app/administrate.ts';
import { loadConfig } from '#src/app/config/load.ts';
import { runCli } from '#src/cli/cli.ts';
import type { CliPorts } from '#src/cli/ports.ts';
import { sql } from '#src/storage/statement.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';

/** Holds a data directory, as a server does that runs. */
const HOLD = `import('#src/storage/data-directory-lock.ts').then(async ({ DataDirectoryLock }) => {
  await DataDirectoryLock.take(process.argv[1]);
  process.stdout.write('held');
  setInterval(() => undefined, 1000);
})`;

const INSERT = sql(
  'test_administrate_insert',
  `insert into accounts (user_id, localpart, password_hash, created_ts) values ('@' || $1 || ':cli.test', $1, 'hash', 1)`,
);
const ACCOUNT = sql(
  'test_administrate_account',
  'select admin, locked, suspended, deactivated, erased, password_hash as hash from accounts where localpart = $1',
);
const ENTRIES = sql(
  'test_administrate_entries',
  'select action, actor, via, after_json as after from audit_log where target = $1 order by id',
);

const TASKS = sql('test_administrate_tasks', 'select action, status, params from admin_tasks where resource = $1');
const ROOM_ENTRIES = sql(
  'test_administrate_room_entries',
  'select action, via from audit_log where room_id = $1 order by id',
);

describe('tsudoi user and tsudoi room, on the database of a server that does not run', function () {
  this.timeout(60_000);
  let clone: TestDatabase;
  let folder: string;
  let said = '';
  let complained = '';

  before(async () => {
    clone = await cloneDatabase();
    folder = await mkdtemp(join(tmpdir(), 'tsudoi-test-administrate-'));
    for (const name of ['alice', 'bob', 'carol']) await clone.database.query(INSERT, [name]);
  });
  after(async () => {
    await clone?.drop();
    await rm(folder, { recursive: true, force: true });
  });
  beforeEach(() => {
    said = '';
    complained = '';
  });

  const config = () =>
    loadConfig([], {
      TSUDOI_SERVER_NAME: 'cli.test',
      TSUDOI_DATA_DIR: folder,
      TSUDOI_DATABASE__URL: clone.url,
      TSUDOI_PASSWORD__COST: 'low',
    });
  const run = (...argv: string[]): Promise<number> =>
    runCli(argv, {
      out: (text) => void (said += text),
      err: (text) => void (complained += text),
      askSecret: async () => 'a new password',
      administrate: (_files, work) => administrate(config(), work),
      now: Date.now,
    } as Partial<CliPorts> as CliPorts);
  const account = async (name: string): Promise<Record<string, unknown>> =>
    (await clone.database.query<Record<string, unknown>>(ACCOUNT, [name]))[0] ?? {};

  it('changes accounts, by localpart or user id, and leaves entries of the operator in the audit log', async () => {
    for (const what of ['make-admin', 'lock', 'suspend'])
      expect(await run('user', what, '--user', 'alice'), complained).to.equal(0);
    expect(await account('alice')).to.include({ admin: true, locked: true, suspended: true });
    for (const what of ['unmake-admin', 'unlock', 'unsuspend'])
      expect(await run('user', what, '--user', '@alice:cli.test')).to.equal(0);
    expect(await account('alice')).to.include({ admin: false, locked: false, suspended: false });
    expect(said).to.include('@alice:cli.test is an administrator.');
    const entries = await clone.database.query<{ action: string; actor: string | null; via: string }>(ENTRIES, [
      '@alice:cli.test',
    ]);
    expect(entries.map(({ action }) => action)).to.deep.equal([
      'user.promote',
      'user.lock',
      'user.suspend',
      'user.demote',
      'user.unlock',
      'user.unsuspend',
    ]);
    expect(new Set(entries.map(({ actor, via }) => `${actor} ${via}`))).to.deep.equal(new Set(['null cli']));
  });

  it('gives a new password, which is asked for or read from a file, and shown nowhere', async () => {
    const { hash } = await account('bob');
    expect(await run('user', 'reset-password', '--user', 'bob')).to.equal(0);
    const asked = (await account('bob'))['hash'];
    expect(asked).to.be.a('string').and.not.equal(hash);
    await writeFile(join(folder, 'password'), 'one of a file\n');
    expect(
      await run(
        'user',
        'reset-password',
        '--user',
        'bob',
        '--password-file',
        join(folder, 'password'),
        '--keep-devices',
      ),
    ).to.equal(0);
    expect((await account('bob'))['hash']).to.not.equal(asked);
    const entries = await clone.database.query<{ after: string }>(ENTRIES, ['@bob:cli.test']);
    expect(`${said}${complained}${JSON.stringify(entries)}`).to.not.match(/new password"|one of a file|argon2/);
  });

  it('deactivates, erases on wish, and lists who there is', async () => {
    expect(await run('user', 'deactivate', '--user', 'carol', '--erase')).to.equal(0);
    expect(await account('carol')).to.include({ deactivated: true, erased: true, hash: null });
    expect(await run('user', 'list')).to.equal(0);
    expect(said).to.include('@alice:cli.test\n').and.to.include('@carol:cli.test  deactivated erased\n');
    said = '';
    expect(await run('user', 'list', '--user', 'bob')).to.equal(0);
    expect(said).to.equal('@bob:cli.test\n');
  });

  it('leaves rooms to be deleted, and history to be purged, to the server when it starts', async () => {
    const roomId = '!room:cli.test';
    expect(await run('room', 'delete', '--room', roomId, '--block'), complained).to.equal(0);
    expect(said).to.include(`${roomId} is deleted when the server starts`);
    const tasks = await clone.database.query<{ action: string; status: string; params: object }>(TASKS, [roomId]);
    expect(tasks).to.have.length(1);
    expect(tasks[0]).to.include({ action: 'shutdown_and_purge_room', status: 'scheduled' });
    const entries = await clone.database.query<{ action: string; via: string }>(ROOM_ENTRIES, [roomId]);
    expect(entries).to.deep.include({ action: 'room.delete', via: 'cli' });
    expect(await run('room', 'delete', '--room', roomId)).to.equal(1);
    expect(complained).to.include('already in progress');
    expect(await run('room', 'purge-history', '--room', '!nowhere:cli.test', '--days', '30')).to.equal(1);
    expect(complained).to.include('Room not found');
    for (const wrong of [
      ['room', 'delete'],
      ['room', 'purge-history', '--room', roomId],
      ['room', 'delete', '--days', '3'],
    ])
      expect(await run(...wrong), wrong.join(' ')).to.equal(2);
  });

  it('says what is wrong: nobody is named, or there is no such account', async () => {
    expect(await run('user', 'lock')).to.equal(2);
    expect(await run('user', 'lock', '--user', 'bob', '--erase')).to.equal(2);
    expect(await run('user', 'lock', '--user', 'nobody')).to.equal(1);
    expect(complained).to.include('User not found');
  });

  it('says that the server runs, and leaves everything as it is', async () => {
    const holder = spawn(process.execPath, ['-e', HOLD, folder], { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      await once(holder.stdout, 'data');
      expect(await run('user', 'lock', '--user', 'bob')).to.equal(1);
      expect(complained).to.include('The server runs').and.to.include('/_synapse/admin');
      expect(await account('bob')).to.include({ locked: false });
    } finally {
      holder.kill();
      await once(holder, 'exit');
    }
  });
});
