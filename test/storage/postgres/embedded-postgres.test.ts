import { chmod, cp, mkdir, mkdtemp, readFile, readlink, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import pg from 'pg';
import { silentLogger } from '#src/kernel/logger.ts';
import { DataDirectoryLock } from '#src/storage/data-directory-lock.ts';
import { EmbeddedPostgres } from '#src/storage/postgres/embedded-postgres.ts';
import { until } from '#test/support/until.ts';

async function ask<R extends object>(url: string, text: string): Promise<R[]> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query<R>(text)).rows;
  } finally {
    await client.end();
  }
}

describe('EmbeddedPostgres', function () {
  this.timeout(60_000);
  let folder = '';
  let running: EmbeddedPostgres | undefined;
  const start = async (dataDir: string): Promise<EmbeddedPostgres> => {
    running = await EmbeddedPostgres.start({ dataDir, logger: silentLogger });
    return running;
  };
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tsudoi-test-embedded-'));
  });
  afterEach(async () => {
    await running?.stop();
    running = undefined;
    await rm(folder, { recursive: true, force: true });
  });

  it('listens on a Unix socket in the data directory only, durable, in UTF-8, with a text type that knows its letters', async () => {
    const embedded = await start(folder);
    expect((await stat(join(folder, 'run', '.s.PGSQL.5432'))).isSocket()).to.equal(true);
    const [row] = await ask(
      embedded.url(),
      `select current_setting('listen_addresses') as tcp, current_setting('fsync') as fsync,
         current_setting('synchronous_commit') as commit, current_setting('server_encoding') as encoding,
         upper('é') as upper, current_setting('server_version_num')::int / 10000 as major, current_setting('data_checksums') as checksums`,
    );
    expect(row).to.deep.equal({
      tcp: '',
      fsync: 'on',
      commit: 'on',
      encoding: 'UTF8',
      upper: 'É',
      major: 18,
      checksums: 'on',
    });
  });

  it('lies in a data directory that is made for its user alone', async () => {
    const dataDir = join(folder, 'made');
    const lock = await DataDirectoryLock.take(dataDir);
    expect((await stat(dataDir)).mode & 0o777).to.equal(0o700);
    expect((await stat(join(dataDir, 'server.lock'))).mode & 0o777).to.equal(0o600);
    await lock.release();
  });

  /** What roles connect to the server's database as, and what they may do. */
  const rights = (embedded: EmbeddedPostgres): Promise<object[]> =>
    ask(
      embedded.url(),
      `select rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls as more,
         (select pg_get_userbyid(datdba) = current_user from pg_database where datname = current_database()) as owns
       from pg_roles where rolname = current_user`,
    );
  /** What a superuser could do to the machine. */
  const ESCAPES = [
    "copy (select 1) to program 'true'",
    "select pg_read_file('PG_VERSION')",
    "alter system set fsync = 'off'",
    'create role other superuser',
    'alter role tsudoi_server superuser',
    'create extension dblink',
    'create database other',
    'set role tsudoi',
  ];
  it('gives the server a role that owns its database and can do nothing to the machine', async () => {
    const embedded = await start(folder);
    expect(await rights(embedded)).to.deep.equal([{ more: false, owns: true }]);
    for (const escape of ESCAPES) {
      const outcome = await ask(embedded.url(), escape).then(
        () => 'done',
        (error: Error & { code?: string }) => error.code,
      );
      expect([escape, outcome]).to.deep.equal([escape, '42501']);
    }
    await ask(embedded.url(), 'create table own (n int)');
  });
  it('gives it what an earlier server had made as a superuser', async () => {
    const embedded = await start(folder);
    const admin = embedded.adminUrl('tsudoi');
    await ask(admin, 'alter database tsudoi owner to tsudoi');
    await ask(
      admin,
      `create schema jobs; create table jobs.job (id int generated always as identity primary key);
       create table kept (n serial); insert into kept default values; create type mood as enum ('good');
       create function one() returns int language sql as 'select 1'; create view seen as select n from kept`,
    );
    await embedded.stop();
    const again = await start(folder);
    expect(await rights(again)).to.deep.equal([{ more: false, owns: true }]);
    await ask(
      again.url(),
      `alter table kept add column more text; alter table jobs.job add column more text; drop view seen; drop function one();
       alter type mood add value 'bad'; insert into kept (more) values ('x'); insert into jobs.job default values;
       drop schema jobs cascade`,
    );
    expect(await ask(again.url(), 'select n from kept order by n')).to.deep.equal([{ n: 1 }, { n: 2 }]);
  });

  it('takes a free loopback port, with a password, where the path is too long for a socket', async () => {
    // Open to those who pass through, so that the database's user gets there where the test runs as root.
    await chmod(folder, 0o711);
    const long = join(folder, 'x'.repeat(90));
    const embedded = await start(long);
    const url = new URL(embedded.url());
    expect(url.hostname).to.equal('127.0.0.1');
    expect(url.password).to.have.length(32);
    expect(await ask(embedded.url(), 'select 1 as one')).to.deep.equal([{ one: 1 }]);
    url.password = 'wrong';
    let code: unknown;
    await ask(url.href, 'select 1').catch((error: { code: string }) => (code = error.code));
    expect(code).to.equal('28P01');
  });

  it('begins anew after an initdb that was killed half-way', async () => {
    await mkdir(join(folder, 'postgres.new'));
    await writeFile(join(folder, 'postgres.new', 'PG_VERSION'), '18\n');
    const embedded = await start(folder);
    expect(await ask(embedded.url(), 'select 1 as one')).to.deep.equal([{ one: 1 }]);
  });

  it('keeps what was committed when it is killed, and comes back by itself', async () => {
    const embedded = await start(folder);
    await ask(embedded.url(), 'create table kept (n int)');
    await ask(embedded.url(), 'insert into kept select generate_series(1, 1000)');
    const first = embedded.pid!;
    process.kill(first, 'SIGKILL');
    const rows = await until('it is back', () =>
      ask<{ n: string }>(embedded.url(), 'select count(*) as n from kept').catch(() => undefined),
    );
    expect(rows).to.deep.equal([{ n: '1000' }]);
    expect(embedded.pid).to.not.equal(first);
  });

  it('does not take another process for its own because of a process id', async () => {
    await (await start(folder)).stop();
    // What a killed container leaves behind: a lock file whose process id belongs to somebody else by now.
    await writeFile(join(folder, 'postgres', 'postmaster.pid'), `${process.pid}\n${join(folder, 'postgres')}\n`);
    const embedded = await start(folder);
    expect(await ask(embedded.url(), 'select 1 as one')).to.deep.equal([{ one: 1 }]);
  });

  it('refuses a cluster of another PostgreSQL version and leaves it alone', async () => {
    await mkdir(join(folder, 'postgres'));
    await writeFile(join(folder, 'postgres', 'PG_VERSION'), '17\n');
    let message = '';
    await start(folder).catch((error: Error) => (message = error.message));
    expect(message).to.include('PostgreSQL 17').and.to.include('18');
    expect(await readFile(join(folder, 'postgres', 'PG_VERSION'), 'utf8')).to.equal('17\n');
  });

  describe("in a data directory that the database's user cannot enter", () => {
    let dataDir = '';
    const outside: string[] = [];
    before(function () {
      if (process.getuid?.() !== 0) this.skip();
    });
    beforeEach(() => {
      // What mkdtemp makes is closed to everybody else.
      dataDir = join(folder, 'data');
    });
    const target = async (directory: string): Promise<string> => {
      const real = await readlink(join(directory, 'postgres'));
      outside.push(real);
      return real;
    };
    const refusal = async (directory: string): Promise<string> => {
      let message = 'it started';
      await EmbeddedPostgres.start({ dataDir: directory, logger: silentLogger }).then(
        (embedded) => embedded.stop(),
        (error: Error) => (message = error.message),
      );
      return message;
    };
    after(async () => {
      for (const real of outside)
        for (const path of [real, `${real}.owner`]) await rm(path, { recursive: true, force: true });
    });

    it('lies outside of it, and is found again, also after the directory was moved', async () => {
      await ask((await start(dataDir)).url(), 'create table kept (n int)');
      await running!.stop();
      const real = await target(dataDir);
      expect(real).to.match(/^\/var\/lib\/tsudoi\/data-/);
      const moved = join(folder, 'moved');
      await rename(dataDir, moved);
      expect(await ask((await start(moved)).url(), 'select n from kept')).to.deep.equal([]);
    });

    it('is never shared by a copy of the directory, whether the original runs or not', async () => {
      const original = await start(dataDir);
      const real = await target(dataDir);
      const copy = join(folder, 'copy');
      await cp(dataDir, copy, { recursive: true, verbatimSymlinks: true, filter: (path) => !path.endsWith('/run') });
      for (const state of ['running', 'stopped']) {
        const message = await refusal(copy);
        expect(message, state).to.include(dataDir).and.to.include(copy).and.to.include(`${real}.owner`);
        if (state === 'running') {
          expect(await ask(original.url(), 'select 1 as one'), 'the original').to.deep.equal([{ one: 1 }]);
          await original.stop();
        }
      }
      // As the sentence says: the copy takes the place of the original, which is refused from then on.
      await rm(`${real}.owner`);
      await (await start(copy)).stop();
      expect(await refusal(dataDir)).to.include(copy);
    });

    it('goes outside when a backup with the files themselves is put back', async () => {
      const embedded = await start(folder);
      await ask(embedded.url(), 'create table kept (n int)');
      await embedded.stop();
      await mkdir(dataDir, { mode: 0o700 });
      for (const name of ['postgres', 'postgres.password']) await rename(join(folder, name), join(dataDir, name));
      await chmod(folder, 0o700);
      expect(await ask((await start(dataDir)).url(), 'select n from kept')).to.deep.equal([]);
      expect(await target(dataDir)).to.match(/^\/var\/lib\/tsudoi\/data-/);
    });
  });
});

describe('DataDirectoryLock', () => {
  let folder = '';
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tsudoi-test-lock-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('is refused while the process that holds it lives', async () => {
    const line = await lockOf(process.ppid, folder);
    await writeFile(join(folder, 'server.lock'), line);
    let message = '';
    await DataDirectoryLock.take(folder).catch((error: Error) => (message = error.message));
    expect(message).to.include(`process ${process.ppid}`);
    expect(await readFile(join(folder, 'server.lock'), 'utf8')).to.equal(line);
  });

  it('is taken over from a process that is gone, and from one that only has the same number', async () => {
    for (const stale of ['999999999 boot/1\n', `${process.ppid} boot/1\n`, '', 'rubbish']) {
      await writeFile(join(folder, 'server.lock'), stale);
      const lock = await DataDirectoryLock.take(folder);
      expect(await readFile(join(folder, 'server.lock'), 'utf8')).to.match(new RegExp(`^${process.pid} `));
      await lock.release();
    }
  });
});

/** The lock that the process `pid` would write: number, boot and start time. */
async function lockOf(pid: number, folder: string): Promise<string> {
  await (await DataDirectoryLock.take(folder)).release();
  const statLine = await readFile(`/proc/${pid}/stat`, 'utf8');
  const start = statLine.slice(statLine.lastIndexOf(')') + 2).split(' ')[19];
  const boot = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
  return `${pid} ${boot}/${start}\n`;
}
