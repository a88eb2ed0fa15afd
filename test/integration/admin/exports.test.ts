import { inflateRawSync } from 'node:zlib';
import { expect } from 'chai';
import { type Answer, InProcessServer, type Json } from '#test/support/in-process-server.ts';

const DAY_MS = 86_400_000;
const exportsOf = (userId: string): string => `/_tsudoi/admin/v1/users/${encodeURIComponent(userId)}/exports`;

/** The files of a ZIP archive, read by its central directory. */
const unpacked = (zip: Buffer): Map<string, string> => {
  const files = new Map<string, string>();
  const end = zip.lastIndexOf(Buffer.from('504b0506', 'hex'));
  let at = zip.readUInt32LE(end + 16);
  for (let count = zip.readUInt16LE(end + 10); count > 0; count--) {
    const method = zip.readUInt16LE(at + 10);
    const size = zip.readUInt32LE(at + 20);
    const lengths = [28, 30, 32].map((offset) => zip.readUInt16LE(at + offset));
    const [name = 0, extra = 0, comment = 0] = lengths;
    const local = zip.readUInt32LE(at + 42);
    const begin = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
    const bytes = zip.subarray(begin, begin + size);
    files.set(zip.toString('utf8', at + 46, at + 46 + name), (method === 8 ? inflateRawSync(bytes) : bytes).toString());
    at += 46 + name + extra + comment;
  }
  return files;
};

describe('an archive of all that there is of a user', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  before(async () => {
    server = await InProcessServer.start({ config: { privacy: { usersExport: true } } });
    await server.session('admin-eve');
  });
  after(() => server?.stop());

  const errcode = async (asked: Promise<Answer>): Promise<Json> => {
    const { body, status } = await asked;
    return [status, body.errcode];
  };
  const download = async (token: string, path: string): Promise<Buffer> => {
    const { token: accessToken } = await server.session(token);
    const response = await fetch(`${server.url}${path}`, { headers: { authorization: `Bearer ${accessToken}` } });
    expect([response.status, response.headers.get('content-type')]).to.deep.equal([200, 'application/zip']);
    return Buffer.from(await response.arrayBuffer());
  };

  it('holds account, profile, account data, devices, pushers, rooms, own events and files, and nothing of others', async () => {
    await server.setProfile('bob', { displayname: 'Bob' });
    const { userId } = await server.session('bob');
    const room = await server.room('alice', { preset: 'public_chat' });
    await server.join('bob', room);
    await server.say('alice', room, 'said by alice');
    for (let i = 0; i < 3; i++) await server.say('bob', room, `said by bob ${i}`);
    await server.must('bob', 'PUT', `/user/${userId}/account_data/org.test`, { a: 1 });
    await server.services.accountThreepids.replace(userId, [{ medium: 'email', address: 'bob@mail.test' }]);
    const upload = await server.ask('bob', 'POST', '/_matrix/media/v3/upload?filename=a.txt', undefined, {
      raw: 'content of a file',
      headers: { 'content-type': 'text/plain' },
    });
    const mediaId = upload.body.content_uri.split('/').at(-1);
    const { export_id: id } = await server.must('admin-eve', 'POST', exportsOf(userId), {});
    await server.idle();
    const { exports } = await server.must('admin-eve', 'GET', exportsOf(userId));
    expect(exports).to.have.length(1);
    expect(exports[0]).to.deep.include({ export_id: id, status: 'complete', files: 1, rooms: 1 });
    const zip = await download('admin-eve', `${exportsOf(userId)}/${id}`);
    expect(zip.byteLength).to.equal(exports[0].bytes);
    const files = unpacked(zip);
    const json = (name: string): Json => JSON.parse(files.get(name) ?? 'null');
    expect(json('account.json')).to.deep.include({ user_id: userId, admin: false });
    expect(json('account.json').addresses[0]).to.include({ address: 'bob@mail.test' });
    expect(json('profile.json').displayname).to.equal('Bob');
    expect(json('account_data.json').global['org.test']).to.deep.equal({ a: 1 });
    expect(json('devices.json')[0].device_id).to.equal('DEVICE');
    expect(json('pushers.json')).to.deep.equal([]);
    expect(json('rooms.json')).to.deep.equal({ [room]: 'join' });
    expect(json('events/index.json')).to.deep.equal({ '1.jsonl': room });
    const events = (files.get('events/1.jsonl') ?? '')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Json);
    expect(new Set(events.map(({ sender }) => sender))).to.deep.equal(new Set([userId]));
    expect(events.flatMap(({ content }) => content.body ?? [])).to.deep.equal([
      'said by bob 2',
      'said by bob 1',
      'said by bob 0',
    ]);
    expect(exports[0].events).to.equal(events.length);
    expect(json('media.json')[0]).to.deep.include({ mxc: upload.body.content_uri, filename: 'a.txt', bytes: 17 });
    expect(files.get(`media/${mediaId}`)).to.equal('content of a file');
    expect([...files.values()].join('')).to.not.include('said by alice');
  });

  it('is made without the files themselves where that is asked for', async () => {
    const { export_id: id } = await server.must('admin-eve', 'POST', exportsOf('@bob:test'), { with_files: false });
    await server.idle();
    const files = unpacked(await download('admin-eve', `${exportsOf('@bob:test')}/${id}`));
    expect([...files.keys()].filter((name) => name.startsWith('media/'))).to.deep.equal([]);
    expect(JSON.parse(files.get('media.json') ?? '')).to.have.length(1);
  });

  it('is told of in the audit log, when it is asked for, downloaded and deleted', async () => {
    const { export_id: id } = await server.must('admin-eve', 'POST', exportsOf('@bob:test'), {});
    await server.idle();
    await download('admin-eve', `${exportsOf('@bob:test')}/${id}`);
    await server.must('admin-eve', 'DELETE', `${exportsOf('@bob:test')}/${id}`);
    expect(await errcode(server.ask('admin-eve', 'GET', `${exportsOf('@bob:test')}/${id}`))).to.deep.equal([
      404,
      'M_NOT_FOUND',
    ]);
    const { records } = await server.services.auditLog.list({ target: '@bob:test' }, { limit: 3 });
    expect(records.map(({ entry: { action, taskId } }) => [action, taskId])).to.deep.equal([
      ['user.delete_export', id],
      ['user.download_export', id],
      ['user.export', id],
    ]);
  });

  it('is made for users who ask for it themselves, of themselves alone, where they may', async () => {
    const own = '/_tsudoi/client/v1/exports';
    const { export_id: id } = await server.must('bob', 'POST', own, {});
    await server.idle();
    expect(unpacked(await download('bob', `${own}/${id}`)).has('account.json')).to.equal(true);
    expect(await errcode(server.ask('alice', 'GET', `${own}/${id}`))).to.deep.equal([404, 'M_NOT_FOUND']);
    expect((await server.must('alice', 'GET', own)).exports).to.deep.equal([]);
    const closed = await InProcessServer.start();
    try {
      expect(await errcode(closed.ask('bob', 'POST', own, {}))).to.deep.equal([403, 'M_FORBIDDEN']);
      expect(await errcode(closed.ask('bob', 'GET', `${own}/x`))).to.deep.equal([403, 'M_FORBIDDEN']);
    } finally {
      await closed.stop();
    }
  });

  it('goes after its time, and is found nowhere else: under another user, by users, for nobody', async () => {
    const { export_id: id } = await server.must('admin-eve', 'POST', exportsOf('@bob:test'), {});
    await server.idle();
    expect(await errcode(server.ask('admin-eve', 'GET', `${exportsOf('@alice:test')}/${id}`))).to.deep.equal([
      404,
      'M_NOT_FOUND',
    ]);
    expect(await errcode(server.ask('alice', 'GET', `${exportsOf('@bob:test')}/${id}`))).to.deep.equal([
      403,
      'M_FORBIDDEN',
    ]);
    expect(await errcode(server.ask('admin-eve', 'POST', exportsOf('@nobody:test'), {}))).to.deep.equal([
      404,
      'M_NOT_FOUND',
    ]);
    await server.clock.advance(7 * DAY_MS);
    expect(await errcode(server.ask('admin-eve', 'GET', `${exportsOf('@bob:test')}/${id}`))).to.deep.equal([
      404,
      'M_NOT_FOUND',
    ]);
  });

  it('fails where it would be larger than it may be, and leaves nothing', async () => {
    const small = await InProcessServer.start({ config: { privacy: { exportMaxBytes: 2_000 } } });
    try {
      await small.session('admin-eve');
      for (let i = 0; i < 4; i++)
        await small.ask('bob', 'POST', '/_matrix/media/v3/upload', undefined, {
          raw: Array.from({ length: 500 }, () => Math.random().toString(36)).join(''),
          headers: { 'content-type': 'text/plain' },
        });
      await small.must('admin-eve', 'POST', exportsOf('@bob:test'), {});
      await small.idle();
      const [made] = (await small.must('admin-eve', 'GET', exportsOf('@bob:test'))).exports;
      expect(made.status).to.equal('failed');
      expect(made.error).to.include('export_max_bytes');
    } finally {
      await small.stop();
    }
  });
});
