import { execFile } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { ChildServer } from '#test/support/child-server.ts';
import { type Answer, ask } from '#test/support/http.ts';
import type { Json } from '#test/support/in-process-server.ts';
import { INSTALLATION_MS, pythonWith } from '#test/support/python-environment.ts';
import { until } from '#test/support/until.ts';

const SYNADM = 'synadm==0.49.2';
const START_MS = 120_000;
const PASSWORD = 'a-long-password';

describe(`${SYNADM}, unchanged`, function () {
  this.timeout(120_000);
  let folder = '';
  let python = '';
  let server: ChildServer | undefined;
  const tokens = new Map<string, string>();

  before(async function () {
    this.timeout(INSTALLATION_MS + START_MS);
    const found = pythonWith({ name: 'synadm', packages: [SYNADM], modules: 'synadm' });
    if ('reason' in found) {
      // Python, its venv and a package index are not everywhere.
      process.stdout.write(`      ${SYNADM} cannot be installed: ${found.reason}\n`);
      this.skip();
    }
    python = found.python;
    folder = await mkdtemp(join(tmpdir(), 'tsudoi-synadm-'));
    server = await ChildServer.start({
      database: 'shared',
      config: JSON.stringify({
        server_name: 'test',
        registration: { enabled: true, shared_secret: 'shared' },
        rate_limits: { enabled: false },
        server_notices: { user: 'notices' },
      }),
    });
    for (const username of ['alice', 'bob']) {
      const { body } = await ask(server.url, 'POST', '/_matrix/client/v3/register', {
        body: { username, password: PASSWORD, auth: { type: 'm.login.dummy' } },
      });
      tokens.set(username, body.access_token);
    }
    const path = '/_synapse/admin/v1/register';
    const { nonce } = (await ask(server.url, 'GET', path)).body;
    const mac = createHmac('sha1', 'shared').update([nonce, 'admin', PASSWORD, 'admin'].join('\0')).digest('hex');
    const { body } = await ask(server.url, 'POST', path, {
      body: { nonce, username: 'admin', password: PASSWORD, admin: true, mac },
    });
    tokens.set('admin', body.access_token);
    const config = {
      user: 'admin',
      token: tokens.get('admin'),
      base_url: server.url,
      admin_path: '/_synapse/admin',
      matrix_path: '/_matrix',
      format: 'json',
      timeout: 60,
      server_discovery: 'well-known',
      homeserver: 'test',
      ssl_verify: true,
    };
    await writeFile(join(folder, 'synadm.yaml'), JSON.stringify(config), { mode: 0o600 });
  });
  after(async () => {
    await server?.dispose();
    if (folder !== '') await rm(folder, { recursive: true, force: true });
  });

  /** What it prints at last, as JSON. */
  const synadm = async (...parameters: string[]): Promise<Json> => {
    const all = [
      '-c',
      'from synadm.cli import root; root()',
      '-c',
      join(folder, 'synadm.yaml'),
      '--batch',
      '-o',
      'json',
    ];
    const { stdout } = await promisify(execFile)(python, [...all, ...parameters], {
      timeout: 100_000,
      env: { ...process.env, HOME: folder },
    });
    // Some commands show first what they are about to change.
    const last = stdout.match(/^[[{][^]*?^[\]}]$|^[[{].*[\]}]$/gm)?.at(-1);
    return last === undefined ? stdout.trim() : JSON.parse(last);
  };
  const must = async (name: string, method: string, path: string, body?: unknown): Promise<Json> => {
    const answer = await ask(server?.url ?? '', method, `/_matrix/client/v3${path}`, { token: tokens.get(name), body });
    expect(answer.status, JSON.stringify(answer.body)).to.equal(200);
    return answer.body;
  };
  const idsOf = (list: Json[], key: string): string[] => list.map((one) => one[key]);

  it('lists, makes, changes, looks at and ends accounts', async () => {
    expect((await synadm('version')).server_version).to.be.a('string');
    expect(idsOf((await synadm('user', 'list')).users, 'name')).to.include.members(['@admin:test', '@alice:test']);
    await synadm('user', 'modify', '@carol:test', '-P', 'another-password', '-n', 'Carol');
    const details = await synadm('user', 'details', '@carol:test');
    expect(details.displayname).to.equal('Carol');
    expect(idsOf((await synadm('user', 'search', 'carol')).users, 'name')).to.deep.equal(['@carol:test']);
    expect((await synadm('user', 'whois', '@alice:test')).user_id).to.equal('@alice:test');
    expect((await synadm('user', 'login', '@carol:test', '--expire-never')).access_token).to.be.a('string');
    await synadm('user', 'password', '@carol:test', '-p', 'one-more-password');
    await synadm('user', 'deactivate', '@carol:test');
    expect((await synadm('user', 'details', '@carol:test')).deactivated).to.equal(true);
  });

  it('lists, looks at, blocks, joins and deletes rooms', async () => {
    const { room_id: roomId } = await must('alice', 'POST', '/createRoom', { preset: 'private_chat', name: 'Kitchen' });
    expect(idsOf((await synadm('room', 'list', '-n', 'Kitchen')).rooms, 'room_id')).to.deep.equal([roomId]);
    expect((await synadm('room', 'details', roomId)).name).to.equal('Kitchen');
    expect((await synadm('room', 'members', roomId)).members).to.deep.equal(['@alice:test']);
    expect(idsOf((await synadm('room', 'state', roomId)).state, 'type')).to.include('m.room.create');
    expect((await synadm('user', 'membership', '@alice:test')).total).to.equal(1);
    await synadm('room', 'make-admin', roomId, '-u', '@admin:test');
    await must('admin', 'POST', `/rooms/${encodeURIComponent(roomId)}/join`, {});
    expect((await synadm('room', 'join', roomId, '@bob:test')).room_id).to.equal(roomId);
    await synadm('room', 'block', roomId);
    expect((await synadm('room', 'block-status', roomId)).block).to.equal(true);
    await synadm('room', 'block', '-u', roomId);
    await synadm('room', 'delete', roomId);
    await until('the room is gone', async () => {
      const { rooms } = await synadm('room', 'list', '-n', 'Kitchen');
      return rooms.length === 0;
    });
  });

  it('purges history and redacts what a user sent', async () => {
    const { room_id: roomId } = await must('alice', 'POST', '/createRoom', { preset: 'public_chat' });
    const say = (text: string): Promise<Json> =>
      must('alice', 'PUT', `/rooms/${encodeURIComponent(roomId)}/send/m.room.message/${text}`, {
        msgtype: 'm.text',
        body: text,
      });
    await say('one');
    await say('two');
    const { event_id: last } = await say('three');
    const { purge_id: purge } = await synadm('history', 'purge', roomId, '-i', last, '--delete-local');
    await until('the history is purged', async () => {
      const { status } = await synadm('history', 'purge-status', purge);
      expect(status).to.not.equal('failed');
      return status === 'complete';
    });
    const { redact_id: redaction } = await synadm('user', 'redact', '@alice:test');
    await until('it is redacted', async () => (await synadm('user', 'redact-status', redaction)).status === 'complete');
    const { content } = await must('alice', 'GET', `/rooms/${encodeURIComponent(roomId)}/event/${last}`);
    expect(content).to.deep.equal({});
  });

  it('gives out registration tokens, quarantines media and says something to a user', async () => {
    expect((await synadm('regtok', 'new', '-n', 'welcome', '-u', '3')).uses_allowed).to.equal(3);
    expect(idsOf((await synadm('regtok', 'list')).registration_tokens, 'token')).to.deep.equal(['welcome']);
    await synadm('regtok', 'delete', 'welcome');
    const upload = await fetch(`${server?.url}/_matrix/media/v3/upload?filename=a.txt`, {
      method: 'POST',
      headers: { authorization: `Bearer ${tokens.get('alice')}`, 'content-type': 'text/plain' },
      body: 'text',
    });
    const { content_uri: uri } = (await upload.json()) as Json;
    const mediaId = String(uri).split('/').at(-1)!;
    expect(idsOf((await synadm('media', 'list', '-u', '@alice:test')).media, 'media_id')).to.deep.equal([mediaId]);
    await synadm('media', 'quarantine', '-i', mediaId);
    const [media] = (await synadm('user', 'media', '@alice:test')).media;
    expect(media.quarantined_by).to.equal('@admin:test');
    await synadm('notice', 'send', '@bob:test', 'there is cake');
    const { rooms } = await must('bob', 'GET', '/sync');
    expect(Object.keys({ ...rooms.invite, ...rooms.join })).to.have.length.at.least(1);
  });

  it('finds users by an address, bans them in the shadow, suspends them and ends their devices', async () => {
    await synadm('user', 'modify', '@dave:test', '-P', 'another-password', '-t', 'email', 'dave@mail.test');
    expect((await synadm('user', '3pid', 'dave@mail.test')).user_id).to.equal('@dave:test');
    expect((await synadm('user', 'auth-provider', '-p', 'oidc', 'nobody')).errcode).to.equal('M_NOT_FOUND');
    await synadm('user', 'shadow-ban', '@dave:test');
    expect((await synadm('user', 'details', '@dave:test')).shadow_banned).to.equal(true);
    await synadm('user', 'shadow-ban', '-u', '@dave:test');
    expect((await synadm('user', 'details', '@dave:test')).shadow_banned).to.equal(false);
    await synadm('user', 'suspend', '@dave:test');
    expect((await synadm('user', 'details', '@dave:test')).suspended).to.equal(true);
    const login = { type: 'm.login.password', identifier: { type: 'm.id.user', user: 'bob' }, password: PASSWORD };
    const { body } = await ask(server?.url ?? '', 'POST', '/_matrix/client/v3/login', { body: login });
    const whoami = (): Promise<Answer> =>
      ask(server?.url ?? '', 'GET', '/_matrix/client/v3/account/whoami', { token: body.access_token });
    expect((await whoami()).status).to.equal(200);
    await until('it is known when the device was used', async () => {
      const { body: device } = await ask(
        server?.url ?? '',
        'GET',
        `/_synapse/admin/v2/users/@bob:test/devices/${body.device_id}`,
        { token: tokens.get('admin') },
      );
      return device.last_seen_ts !== null;
    });
    await synadm('user', 'prune-devices', '-d', '0', '-s', '0', '-i', body.device_id, '@bob:test');
    expect((await whoami()).body.errcode).to.equal('M_UNKNOWN_TOKEN');
  });

  it('looks at power, aliases and empty rooms, and takes care of files and tokens', async () => {
    const { room_id: roomId } = await must('bob', 'POST', '/createRoom', {
      preset: 'public_chat',
      name: 'Garden',
      room_alias_name: 'garden',
      // In later ones those who made a room stand in no list.
      room_version: '11',
    });
    const { rooms } = await synadm('room', 'power-levels', '-i', roomId);
    expect(JSON.stringify(rooms)).to.include('@bob:test');
    expect(idsOf((await synadm('room', 'search', 'Garden')).rooms, 'room_id')).to.deep.equal([roomId]);
    expect(JSON.stringify(await synadm('room', 'resolve', '#garden:test'))).to.include(roomId);
    expect(JSON.stringify(await synadm('room', 'resolve', '-r', roomId))).to.include('#garden:test');
    await must('bob', 'POST', `/rooms/${encodeURIComponent(roomId)}/leave`, {});
    await synadm('room', 'purge-empty');
    await until('the empty room is gone', async () => (await synadm('room', 'search', 'Garden')).rooms.length === 0);

    await synadm('regtok', 'new', '-n', 'changing', '-u', '3');
    await synadm('regtok', 'update', 'changing', '-u', '5');
    expect((await synadm('regtok', 'details', 'changing')).uses_allowed).to.equal(5);

    const upload = await fetch(`${server?.url}/_matrix/media/v3/upload`, {
      method: 'POST',
      headers: { authorization: `Bearer ${tokens.get('bob')}`, 'content-type': 'text/plain' },
      body: 'of the garden',
    });
    const mediaId = String(((await upload.json()) as Json).content_uri)
      .split('/')
      .at(-1)!;
    const known = async (): Promise<Json[]> => (await synadm('media', 'list', '-u', '@bob:test')).media;
    await synadm('media', 'quarantine', '-i', mediaId);
    await synadm('media', 'unquarantine', '-i', mediaId);
    await synadm('media', 'protect', mediaId);
    expect((await known())[0]).to.include({ media_id: mediaId, quarantined_by: null, safe_from_quarantine: true });
    await synadm('media', 'purge', '-d', '1');
    await synadm('media', 'delete', '-i', mediaId);
    expect(await known()).to.deep.equal([]);
  });
});
