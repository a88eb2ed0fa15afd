import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, readdirSync, rmSync, statSync, truncateSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { ChildServer } from '#test/support/child-server.ts';
import { type Answer, ask, must } from '#test/support/http.ts';
import { until } from '#test/support/until.ts';

/** A file system of its own, as large as is said. */
class SmallDisk {
  readonly path: string;
  readonly #filler: string;

  constructor(path: string, mebibytes: number) {
    this.path = path;
    this.#filler = join(path, 'filler');
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m,mode=0755`, 'tmpfs', path], { stdio: 'pipe' });
  }

  /** Takes all the space that is left. */
  fill(): void {
    const file = openSync(this.#filler, 'a');
    for (let size = 1_048_576; size >= 1;) {
      try {
        if (writeSync(file, Buffer.alloc(size)) < size) size = Math.floor(size / 2);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
        size = Math.floor(size / 2);
      }
    }
    closeSync(file);
  }

  /** Gives so many bytes back. */
  release(bytes: number): void {
    truncateSync(this.#filler, statSync(this.#filler).size - bytes);
  }

  free(): void {
    rmSync(this.#filler, { force: true });
  }

  unmount(): void {
    execFileSync('umount', ['-l', this.path], { stdio: 'pipe' });
  }
}

/** Undefined where this user, or this container, may not mount anything. */
const smallDisk = (path: string, mebibytes: number): SmallDisk | undefined => {
  try {
    return new SmallDisk(path, mebibytes);
  } catch {
    return undefined;
  }
};

/** Lines of the log that are no requests. */
const troubles = (output: string): string[] =>
  output.split('\n').filter((line) => /"level":"(warn|error)"/.test(line) && !line.includes('"operation"'));

describe('a server whose disk is full', function () {
  this.timeout(180_000);
  let server: ChildServer;
  let disk: SmallDisk;
  let token: string;
  let room: string;
  const folder = mkdtempSync(join(tmpdir(), 'tsudoi-test-disk-'));
  const said: string[] = [];

  before(async function () {
    const mounted = smallDisk(folder, 320);
    if (mounted === undefined) return this.skip();
    disk = mounted;
    server = await ChildServer.start({ env: { TSUDOI_DATA_DIR: folder, TSUDOI_LOG__FORMAT: 'json' } });
    const auth = { type: 'm.login.dummy' };
    token = (
      await must(server.url, 'POST', '/register', { body: { username: 'alice', password: 'a good password', auth } })
    ).access_token;
    room = (await must(server.url, 'POST', '/createRoom', { token, body: {} })).room_id;
  });
  after(async () => {
    await server?.dispose();
    disk?.unmount();
    rmSync(folder, { recursive: true, force: true });
  });

  let count = 0;
  const say = async (length = 10): Promise<Answer> => {
    const body = { msgtype: 'm.text', body: 'x'.repeat(length) };
    const answer = await ask(server.url, 'PUT', `/rooms/${room}/send/m.room.message/t${(count += 1)}`, { token, body });
    if (answer.status === 200) said.push(answer.body.event_id);
    return answer;
  };
  const upload = (): Promise<Answer> =>
    ask(server.url, 'POST', '/_matrix/media/v3/upload', {
      token,
      raw: Buffer.alloc(200_000, String(count++)),
      headers: { 'Content-Type': 'application/octet-stream' },
    });
  const login = (): Promise<Answer> =>
    ask(server.url, 'POST', '/login', {
      body: { type: 'm.login.password', identifier: { type: 'm.id.user', user: 'alice' }, password: 'a good password' },
    });
  const probe = async (path: string): Promise<number> => {
    const response = await fetch(server.url + path);
    await response.arrayBuffer();
    return response.status;
  };
  const isWaiting = ({ status, headers, body }: Answer): void => {
    expect([status, body.errcode]).to.deep.equal([503, 'M_UNKNOWN']);
    expect(Number(headers.get('retry-after'))).to.be.within(1, 60);
  };
  const stored = async (): Promise<string[]> => {
    const found: string[] = [];
    for (let from = ''; ;) {
      const page = await must(server.url, 'GET', `/rooms/${room}/messages?dir=b&limit=1000${from}`, { token });
      for (const event of page.chunk) found.push(event.event_id);
      if (page.end === undefined) return found;
      from = `&from=${page.end}`;
    }
  };

  it('answers 503 with Retry-After whatever is asked, says so to probes and in few lines, loses nothing, and goes on by itself', async () => {
    await say();
    expect((await upload()).status).to.equal(200);
    disk.fill();
    const from = server.output.length;
    // Until the space that the database has set aside is used up as well.
    await until('a message is refused', async () => (await say(60_000)).status !== 200, 120_000);
    isWaiting(await say(60_000));
    isWaiting(await upload());
    await until('the server says that it is not ready', async () => (await probe('/readyz')) === 503);
    expect(await probe('/health')).to.equal(503);
    expect(await probe('/livez')).to.equal(200);
    const others = await Promise.all([login(), ...Array.from({ length: 100 }, () => say(60_000))]);
    for (const answer of others) if (answer.status !== 200) isWaiting(answer);
    expect(others.filter(({ status }) => status === 503)).to.have.length.greaterThan(50);
    const lines = troubles(server.output.slice(from));
    expect(lines.length, lines.map((line) => line.slice(0, 300)).join('\n')).to.be.within(1, 40);
    expect(lines.join('\n')).to.match(/No space left on device|could not (write|extend)/);

    disk.free();
    await until('the server is ready again', async () => (await probe('/readyz')) === 200);
    expect(await until('a message is sent', async () => ((await say()).status === 200 ? true : undefined))).to.equal(
      true,
    );
    expect((await login()).status).to.equal(200);
    expect((await upload()).status).to.equal(200);
    expect(await stored()).to.include.members(said);
    await server.restart('SIGKILL');
    expect(await stored()).to.include.members(said);
  });
});

describe('a server whose disk for files is full, and not that of its database', function () {
  this.timeout(120_000);
  let server: ChildServer;
  let disk: SmallDisk | undefined;
  let token: string;

  before(async function () {
    const env = { TSUDOI_LOG__FORMAT: 'json', TSUDOI_PRIVACY__USERS_EXPORT: 'true' };
    server = await ChildServer.start({ database: 'shared', env });
    disk = smallDisk(server.dataDir, 8);
    if (disk === undefined) return this.skip();
    const auth = { type: 'm.login.dummy' };
    const account = { username: 'alice', password: 'a good password', auth };
    token = (await must(server.url, 'POST', '/register', { body: account })).access_token;
  });
  after(async () => {
    disk?.unmount();
    await server?.dispose();
  });

  let count = 0;
  const bytes = (size: number): Buffer<ArrayBuffer> => Buffer.alloc(size, String(count++));
  const type = { 'Content-Type': 'application/octet-stream' };
  const upload = (size = 100_000): Promise<Answer> =>
    ask(server.url, 'POST', '/_matrix/media/v3/upload', { token, raw: bytes(size), headers: type });
  const probed = async (path: string): Promise<[number, string]> => {
    const response = await fetch(server.url + path);
    return [response.status, await response.text()];
  };
  const EXPORTS = '/_tsudoi/client/v1/exports';
  const exported = async (): Promise<{ readonly status: string; readonly error?: string; readonly id: string }> => {
    const { export_id: id } = await must(server.url, 'POST', EXPORTS, { token, body: {} });
    return until('the archive is made, or not', async () => {
      const { exports } = await must(server.url, 'GET', EXPORTS, { token });
      const found = exports.find((one: { export_id: string }) => one.export_id === id);
      return ['complete', 'failed'].includes(found.status) ? { ...found, id } : undefined;
    });
  };
  const files = (): string[] =>
    readdirSync(server.dataDir, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name !== 'filler')
      .map(({ name }) => name);

  it('answers uploads 503 with Retry-After, in one line of the log, says so to who asks for its health, keeps no parts of them, and sends messages as always', async () => {
    const kept = await upload();
    expect(kept.status).to.equal(200);
    const { content_uri: pending } = await must(server.url, 'POST', '/_matrix/media/v1/create', { token });
    const room = (await must(server.url, 'POST', '/createRoom', { token, body: {} })).room_id;
    const before = files();
    disk?.fill();
    const from = server.output.length;
    const answers: Answer[] = [];
    for (let round = 0; round < 10; round += 1) answers.push(...(await Promise.all([upload(), upload()])));
    const path = `/_matrix/media/v3/upload/${pending.slice('mxc://'.length)}`;
    const late = await ask(server.url, 'PUT', path, { token, raw: bytes(100_000), headers: type });
    for (const { body, headers, status } of [...answers, late]) {
      expect([status, body.errcode]).to.deep.equal([503, 'M_UNKNOWN']);
      expect(Number(headers.get('retry-after'))).to.be.within(1, 60);
    }
    expect(files()).to.have.members(before);
    expect(troubles(server.output.slice(from))).to.have.length(1);
    const message = { msgtype: 'm.text', body: 'as always' };
    await must(server.url, 'PUT', `/rooms/${room}/send/m.room.message/t`, { token, body: message });
    expect(await probed('/health')).to.deep.equal([200, 'Degraded: media']);
    expect(await probed('/readyz')).to.deep.equal([200, 'OK']);
    const download = `/_matrix/client/v1/media/download/${kept.body.content_uri.slice('mxc://'.length)}`;
    expect((await ask(server.url, 'GET', download, { token })).status).to.equal(200);
    disk?.free();
    expect((await upload()).status).to.equal(200);
    expect(await probed('/health')).to.deep.equal([200, 'OK']);
    // What was announced can still be brought.
    expect((await ask(server.url, 'PUT', path, { token, raw: bytes(100_000), headers: type })).status).to.equal(200);
  });

  it('says of an archive that it could not be made, and that to who asks for its health, keeps no part of it, and makes the next one', async () => {
    expect(await exported()).to.deep.include({ status: 'complete' });
    // Incompressible, as files are.
    const noise = await ask(server.url, 'POST', '/_matrix/media/v3/upload', {
      token,
      raw: new Uint8Array(randomBytes(2_000_000)),
      headers: type,
    });
    expect(noise.status).to.equal(200);
    const before = files();
    disk?.fill();
    disk?.release(500_000);
    const failed = await exported();
    expect(failed.status).to.equal('failed');
    expect(failed.error).to.match(/space|ENOSPC/);
    expect(await probed('/health')).to.deep.equal([200, 'Degraded: exports']);
    expect(await probed('/readyz')).to.deep.equal([200, 'OK']);
    expect(files()).to.have.members(before);
    disk?.free();
    const made = await exported();
    expect(made.status).to.equal('complete');
    expect(await probed('/health')).to.deep.equal([200, 'OK']);
    const archive = await fetch(`${server.url}${EXPORTS}/${made.id}`, {
      headers: { authorization: `Bearer ${token}` },
    });
    const content = Buffer.from(await archive.arrayBuffer());
    expect(content.length).to.be.greaterThan(2_000_000);
    // The end of a ZIP file: its directory.
    expect(content.includes(Buffer.from('504b0506', 'hex'))).to.equal(true);
  });
});
