import { createHash } from 'node:crypto';
import { expect } from 'chai';
import { findMedia } from '#src/storage/media/media.ts';
import { InProcessServer, type Json } from '#test/support/in-process-server.ts';
import { downloadMedia, insertManyMedia, keepRemoteMedia, uploadMedia } from '#test/support/media.ts';

const ADMIN_API = '/_synapse/admin/v1';
const DAY_MS = 86_400_000;
const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex');
const idOf = (uri: string): string => uri.split('/').at(-1) ?? '';

describe('the media routes of the admin API', function () {
  let server: InProcessServer;
  let count = 0;
  const someone = (): string => `uploader${(count += 1)}`;
  const get = (path: string): Promise<Json> => server.must('admin', 'GET', ADMIN_API + path);
  const post = (path: string): Promise<Json> => server.must('admin', 'POST', ADMIN_API + path, {});
  const remove = (path: string): Promise<Json> => server.must('admin', 'DELETE', ADMIN_API + path);
  const refusal = async (method: string, path: string): Promise<unknown[]> => {
    const { body, status } = await server.ask('admin', method, ADMIN_API + path, method === 'POST' ? {} : undefined);
    return [status, body.errcode];
  };
  const isThere = async (uri: string): Promise<boolean> => (await downloadMedia(server, 'bob', uri)).status === 200;
  const show = (room: string, token: string, url: string): Promise<string> =>
    server
      .must(token, 'PUT', `/rooms/${room}/send/m.room.message/t${(count += 1)}`, { msgtype: 'm.image', body: 'x', url })
      .then(({ event_id: id }) => id);
  const lastEntries = async (most: number): Promise<unknown[]> => {
    const { records } = await server.services.auditLog.list({}, { limit: most });
    return records.map(({ actor, entry }) => [actor.userId, entry.action, entry.target]);
  };

  before(async () => {
    server = await InProcessServer.start({ config: { retention: { pauseMs: 0 } } });
  });
  after(() => server?.stop());

  it('tell of a file what is known of it, in the members that Synapse has', async () => {
    const uri = await uploadMedia(server, 'alice', 'hello', 'text/plain', 'hello.txt');
    const path = `/media/test/${idOf(uri)}`;
    const { media_info: info } = await get(path);
    expect(info).to.deep.equal({
      media_origin: null,
      user_id: '@alice:test',
      media_id: idOf(uri),
      media_type: 'text/plain',
      media_length: 5,
      upload_name: 'hello.txt',
      created_ts: server.clock.now(),
      filesystem_id: null,
      url_cache: null,
      last_access_ts: null,
      quarantined_by: null,
      authenticated: true,
      safe_from_quarantine: false,
      sha256: digestOf('hello'),
    });
    await post(`/media/quarantine/test/${idOf(uri)}`);
    expect((await get(path)).media_info.quarantined_by).to.equal('@admin:test');
    expect(await refusal('GET', '/media/test/missing')).to.deep.equal([404, 'M_NOT_FOUND']);
  });

  it('list what a user has uploaded in any order, a page at once, and say where the next one begins', async () => {
    const user = someone();
    const names = ['b.txt', 'a.txt', 'c.txt'];
    for (const [n, name] of names.entries()) {
      server.clock.set(1_000);
      await uploadMedia(server, user, 'x'.repeat(3 - n), 'text/plain', name);
    }
    const path = `/users/@${user}:test/media`;
    const listed = async (query: string): Promise<unknown> =>
      (await get(path + query)).media.map(({ upload_name: name }: Json) => name);
    expect(await listed(''), 'the newest first').to.deep.equal(['c.txt', 'a.txt', 'b.txt']);
    expect(await listed('?order_by=upload_name')).to.deep.equal(['a.txt', 'b.txt', 'c.txt']);
    expect(await listed('?order_by=media_length&dir=b')).to.deep.equal(['b.txt', 'a.txt', 'c.txt']);
    expect(await listed('?dir=f')).to.deep.equal(['b.txt', 'a.txt', 'c.txt']);
    for (const order of [
      'media_id',
      'created_ts',
      'last_access_ts',
      'media_type',
      'quarantined_by',
      'safe_from_quarantine',
    ])
      expect(await listed(`?order_by=${order}&dir=b`)).to.have.members(names);
    const first = await get(`${path}?limit=2`);
    expect([first.total, first.next_token, first.media.length]).to.deep.equal([3, 2, 2]);
    const second = await get(`${path}?limit=2&from=${first.next_token}`);
    expect([second.total, second.next_token, second.media.length]).to.deep.equal([3, undefined, 1]);
    expect(await get(`${path}?limit=0`)).to.deep.equal({ media: [], total: 3 });
    for (const query of ['?order_by=size', '?dir=up', '?limit=-1', '?from=-1', '?limit=x'])
      expect(await refusal('GET', path + query), query).to.deep.equal([400, 'M_INVALID_PARAM']);
    expect(await refusal('GET', '/users/@nobody:test/media')).to.deep.equal([404, 'M_NOT_FOUND']);
    expect(await refusal('GET', '/users/@bob:far.example/media')).to.deep.equal([400, 'M_UNKNOWN']);
  });

  it('delete a page of what a user has uploaded, the newest first unless told otherwise', async () => {
    const user = someone();
    const uris: string[] = [];
    for (const size of [1, 3, 2]) {
      server.clock.set(1_000);
      uris.push(await uploadMedia(server, user, `${user}${'x'.repeat(size)}`));
    }
    const path = `/users/@${user}:test/media`;
    expect(await remove(`${path}?limit=1`)).to.deep.equal({ deleted_media: [idOf(uris[2]!)], total: 1 });
    expect(await remove(`${path}?order_by=media_length&dir=b&limit=1`)).to.deep.equal({
      deleted_media: [idOf(uris[1]!)],
      total: 1,
    });
    expect(await Promise.all(uris.map(isThere))).to.deep.equal([true, false, false]);
    expect(await remove(path)).to.deep.equal({ deleted_media: [idOf(uris[0]!)], total: 1 });
    expect(await remove(path)).to.deep.equal({ deleted_media: [], total: 0 });
    expect(await lastEntries(1)).to.deep.equal([['@admin:test', 'media.delete_of_user', `@${user}:test`]]);
  });

  it('list the media of a room by the server that has them, those of other servers and of its past included', async () => {
    const room = await server.room('alice');
    const [shown, avatar, redacted] = [
      await uploadMedia(server, 'alice', 'shown'),
      await uploadMedia(server, 'alice', 'avatar'),
      await uploadMedia(server, 'alice', 'redacted'),
    ];
    await show(room, 'alice', shown);
    await show(room, 'alice', shown);
    await show(room, 'alice', 'mxc://far.example/abc');
    await server.setState('alice', room, 'm.room.avatar', { url: avatar });
    const event = await show(room, 'alice', redacted);
    await server.must('alice', 'PUT', `/rooms/${room}/redact/${event}/r${(count += 1)}`, {});
    const { local, remote, ...rest } = await get(`/room/${room}/media`);
    expect(local).to.have.members([shown, avatar]);
    expect([remote, rest]).to.deep.equal([['mxc://far.example/abc'], {}]);
    expect(await get('/room/!nowhere:test/media')).to.deep.equal({ local: [], remote: [] });
  });

  it('quarantine all that a room names, kept files of other servers included, by the new path and by the old one', async () => {
    for (const [n, path] of ['/room/{}/media/quarantine', '/quarantine_media/{}'].entries()) {
      const room = await server.room('alice');
      const [local, safe] = [
        await uploadMedia(server, 'alice', `in a room ${n}`),
        await uploadMedia(server, 'alice', `safe ${n}`),
      ];
      await keepRemoteMedia(server, 'far.example', `kept${n}`, `of another server ${n}`);
      for (const uri of [local, safe, `mxc://far.example/kept${n}`, 'mxc://far.example/missing'])
        await show(room, 'alice', uri);
      await post(`/media/protect/${idOf(safe)}`);
      expect(await post(path.replace('{}', room))).to.deep.equal({ num_quarantined: 2 });
      expect([await isThere(local), await isThere(safe)]).to.deep.equal([false, true]);
      const remote = await findMedia(server.services.database, 'far.example', `kept${n}`);
      expect(remote).to.include({ quarantined: true, quarantinedBy: '@admin:test' });
      expect(await isThere(await uploadMedia(server, 'carol', `in a room ${n}`)), 'the same content').to.equal(false);
      expect(await lastEntries(1)).to.deep.equal([['@admin:test', 'media.quarantine_room', room]]);
    }
    expect(await post('/room/!nowhere:test/media/quarantine')).to.deep.equal({ num_quarantined: 0 });
  });

  it('quarantine all that a user has uploaded, and free a file by its name', async () => {
    const user = someone();
    const uris = [await uploadMedia(server, user, `${user} 1`), await uploadMedia(server, user, `${user} 2`)];
    expect(await post(`/user/@${user}:test/media/quarantine`)).to.deep.equal({ num_quarantined: 2 });
    expect(await post(`/user/@${user}:test/media/quarantine`)).to.deep.equal({ num_quarantined: 0 });
    expect(await post(`/media/unquarantine/test/${idOf(uris[0]!)}`)).to.deep.equal({});
    expect(await Promise.all(uris.map(isThere))).to.deep.equal([true, false]);
    expect(await lastEntries(2)).to.deep.equal([
      ['@admin:test', 'media.unquarantine', uris[0]],
      ['@admin:test', 'media.quarantine_user', `@${user}:test`],
    ]);
  });

  it('quarantine a file of another server before anybody has asked for it', async () => {
    expect(await post('/media/quarantine/far.example/later')).to.deep.equal({});
    await keepRemoteMedia(server, 'far.example', 'later', 'bad content');
    expect((await get('/media/far.example/later')).media_info).to.include({
      media_origin: 'far.example',
      user_id: null,
      safe_from_quarantine: null,
      quarantined_by: '@admin:test',
    });
    expect((await downloadMedia(server, 'bob', 'mxc://far.example/later')).status).to.equal(404);
    expect(await post('/media/unquarantine/far.example/later')).to.deep.equal({});
    expect((await downloadMedia(server, 'bob', 'mxc://far.example/later')).status).to.equal(200);
    for (const word of ['quarantine', 'unquarantine'])
      expect(await refusal('POST', `/media/${word}/test/missing`)).to.deep.equal([404, 'M_NOT_FOUND']);
  });

  it('tell what was quarantined and freed, in order and from any position on', async () => {
    let from = 0;
    for (let page = await get('/media/quarantine_changes'); page.changes.length > 0;) {
      from = page.next_batch;
      page = await get(`/media/quarantine_changes?from=${from}`);
    }
    const uri = await uploadMedia(server, 'alice', 'changing');
    const name = { origin: 'test', media_id: idOf(uri) };
    await post(`/media/quarantine/test/${idOf(uri)}`);
    await post(`/media/unquarantine/test/${idOf(uri)}`);
    await post('/media/quarantine/far.example/changing');
    const { changes, next_batch: next } = await get(`/media/quarantine_changes?from=${from}`);
    expect(changes).to.deep.equal([
      { ...name, quarantined: true },
      { ...name, quarantined: false },
      { origin: 'far.example', media_id: 'changing', quarantined: true },
    ]);
    expect(await get(`/media/quarantine_changes?from=${next}`)).to.deep.equal({ next_batch: next, changes: [] });
    expect(await refusal('GET', `/media/quarantine_changes?from=${next + 1}`)).to.deep.equal([400, 'M_INVALID_PARAM']);
    expect(await refusal('GET', '/media/quarantine_changes?from=-1')).to.deep.equal([400, 'M_INVALID_PARAM']);
    server.clock.set(100 * DAY_MS);
    await server.services.mediaCleaner.clean(new AbortController().signal);
    const { changes: left } = await get(`/media/quarantine_changes?from=${from}`);
    expect(left, 'after 90 days only what still holds').to.deep.equal(changes.slice(1));
  });

  it('protect a file, and free it again', async () => {
    const uri = await uploadMedia(server, 'alice', 'precious');
    expect(await post(`/media/protect/${idOf(uri)}`)).to.deep.equal({});
    expect((await get(`/media/test/${idOf(uri)}`)).media_info.safe_from_quarantine).to.equal(true);
    await post(`/media/quarantine/test/${idOf(uri)}`);
    expect(await isThere(uri)).to.equal(true);
    expect(await post(`/media/unprotect/${idOf(uri)}`)).to.deep.equal({});
    expect((await get(`/media/test/${idOf(uri)}`)).media_info.safe_from_quarantine).to.equal(false);
    for (const word of ['protect', 'unprotect'])
      expect(await refusal('POST', `/media/${word}/missing`)).to.deep.equal([404, 'M_NOT_FOUND']);
  });

  it("delete a file of this server's, and none of another's", async () => {
    const uri = await uploadMedia(server, 'alice', 'unwanted');
    expect(await remove(`/media/test/${idOf(uri)}`)).to.deep.equal({ deleted_media: [idOf(uri)], total: 1 });
    expect(await isThere(uri)).to.equal(false);
    expect(await lastEntries(1)).to.deep.equal([['@admin:test', 'media.delete', uri]]);
    expect(await refusal('DELETE', `/media/test/${idOf(uri)}`)).to.deep.equal([404, 'M_NOT_FOUND']);
    expect(await refusal('DELETE', '/media/far.example/abc')).to.deep.equal([400, 'M_UNKNOWN']);
  });

  it('delete by time and size, by the new path and by the old one, but for what is shown, protected or quarantined', async () => {
    for (const path of ['/media/delete', '/media/test/delete']) {
      const user = someone();
      const large = (name: string): Promise<string> => uploadMedia(server, user, `${user}${name}`.padEnd(900));
      const uris = {
        old: await large('old'),
        avatar: await large('avatar'),
        safe: await large('safe'),
        bad: await large('bad'),
        small: await uploadMedia(server, user, `${user} small`),
      };
      await server.setProfile(user, { avatar_url: uris.avatar });
      await post(`/media/protect/${idOf(uris.safe)}`);
      await post(`/media/quarantine/test/${idOf(uris.bad)}`);
      server.clock.set(DAY_MS);
      const before = server.clock.now();
      expect(await post(`${path}?before_ts=${before}&size_gt=899`)).to.deep.equal({
        deleted_media: [idOf(uris.old)],
        total: 1,
      });
      await post(`/media/unquarantine/test/${idOf(uris.bad)}`);
      const { deleted_media: more } = await post(`${path}?before_ts=${before}&size_gt=899&keep_profiles=false`);
      expect(more).to.have.members([idOf(uris.avatar), idOf(uris.bad)]);
      expect([await isThere(uris.small), await isThere(uris.safe)]).to.deep.equal([true, true]);
    }
    expect(await refusal('POST', '/media/far.example/delete?before_ts=40000000000')).to.deep.equal([400, 'M_UNKNOWN']);
    expect(await refusal('POST', '/media/delete')).to.deep.equal([400, 'M_MISSING_PARAM']);
    for (const query of ['before_ts=1700000000', 'before_ts=-1', 'before_ts=40000000000&size_gt=-1', 'before_ts=x'])
      expect(await refusal('POST', `/media/delete?${query}`), query).to.deep.equal([400, 'M_INVALID_PARAM']);
  });

  it("purge what is kept of other servers' files that nobody has asked for in time", async () => {
    await keepRemoteMedia(server, 'far.example', 'old', 'kept long');
    server.clock.set(DAY_MS);
    const before = server.clock.now();
    await keepRemoteMedia(server, 'far.example', 'new', 'kept a moment');
    const { deleted } = await post(`/purge_media_cache?before_ts=${before}`);
    expect(deleted).to.be.greaterThan(0);
    expect(await refusal('GET', '/media/far.example/old')).to.deep.equal([404, 'M_NOT_FOUND']);
    expect((await get('/media/far.example/new')).media_info.media_origin).to.equal('far.example');
    expect(await post(`/purge_media_cache?before_ts=${before}`)).to.deep.equal({ deleted: 0 });
    expect(await refusal('POST', '/purge_media_cache')).to.deep.equal([400, 'M_MISSING_PARAM']);
    expect(await refusal('POST', '/purge_media_cache?before_ts=1700000000')).to.deep.equal([400, 'M_INVALID_PARAM']);
  });

  it('carry on in a task what is more than one request does, and resume it after a kill', async () => {
    const user = someone();
    const userId = `@${user}:test`;
    await server.account(user);
    await insertManyMedia(server, userId, 2_300);
    const answer = await post(`/user/${userId}/media/quarantine`);
    expect(answer.num_quarantined).to.equal(2_000);
    await server.kill();
    await server.revive();
    await server.idle();
    const task = await server.services.adminTasks.get(answer.task_id);
    expect([task?.status, task?.result['count']]).to.deep.equal(['complete', 300]);
    const { records } = await server.services.auditLog.list({}, { limit: 2 });
    expect(records.map(({ entry: { action, taskId } }) => [action, taskId])).to.deep.equal([
      ['media.quarantine_user', answer.task_id],
      ['media.quarantine_user', undefined],
    ]);
    const { media } = await get(`/users/${userId}/media?order_by=quarantined_by&dir=b&limit=1`);
    expect(media[0].quarantined_by).to.equal('@admin:test');
  });
});
