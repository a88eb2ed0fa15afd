import { expect } from 'chai';
import { InProcessServer, type Json } from '#test/support/in-process-server.ts';

const ADMIN = 'admin-a';
const enc = encodeURIComponent;

describe('a room that administrators delete', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  before(async () => {
    server = await InProcessServer.start({ config: { retention: { batchSize: 5 } } });
  });
  after(() => server?.stop());

  const v1 = (roomId: string): string => `/_synapse/admin/v1/rooms/${enc(roomId)}`;
  const v2 = (roomId: string): string => `/_synapse/admin/v2/rooms/${enc(roomId)}`;
  const status = (id: string): Promise<Json> =>
    server.must(ADMIN, 'GET', `/_synapse/admin/v2/rooms/delete_status/${id}`);
  /** Deletes a room, and waits until that is done. */
  const deleted = async (roomId: string, wish: object = {}): Promise<Json> => {
    const { delete_id: id } = await server.must(ADMIN, 'DELETE', v2(roomId), wish);
    await server.idle();
    return status(id);
  };
  const refused = async (
    method: string,
    path: string,
    status_: number,
    errcode: string,
    body?: object,
    token = ADMIN,
  ): Promise<void> => {
    const answer = await server.ask(token, method, path, body);
    expect([answer.status, answer.body.errcode], `${method} ${path}`).to.deep.equal([status_, errcode]);
  };
  const sync = (name: string, since?: string): Promise<Json> =>
    server.must(name, 'GET', `/sync${since === undefined ? '' : `?since=${since}`}`);

  it('is gone for everybody: its users are out, and it is no room of this server any more', async () => {
    const roomId = await server.room('alice', {
      preset: 'public_chat',
      visibility: 'public',
      room_alias_name: 'gone',
      name: 'Gone',
    });
    await server.join('bob', roomId);
    const eventId = await server.say('alice', roomId, 'to be forgotten');
    await server.say('alice', await server.room('alice'), 'elsewhere');
    const told = await deleted(roomId);
    expect({ ...told, delete_id: undefined }).to.deep.equal({
      delete_id: undefined,
      room_id: roomId,
      status: 'complete',
      shutdown_room: {
        kicked_users: told.shutdown_room.kicked_users,
        failed_to_kick_users: [],
        local_aliases: [],
        new_room_id: null,
      },
    });
    expect(told.shutdown_room.kicked_users.toSorted()).to.deep.equal(['@alice:test', '@bob:test']);
    const { results } = await server.must(ADMIN, 'GET', `${v2(roomId)}/delete_status`);
    expect(results).to.deep.equal([told]);
    await refused('GET', v1(roomId), 404, 'M_NOT_FOUND');
    await refused('GET', `/_synapse/admin/v1/fetch_event/${enc(eventId)}`, 404, 'M_NOT_FOUND');
    await refused('GET', `/rooms/${roomId}/messages?dir=b`, 403, 'M_FORBIDDEN', undefined, 'alice');
    await refused('GET', `/rooms/${roomId}/event/${enc(eventId)}`, 404, 'M_NOT_FOUND', undefined, 'alice');
    await refused('GET', `/directory/room/${enc('#gone:test')}`, 404, 'M_NOT_FOUND', undefined, 'alice');
    await refused('PUT', `/rooms/${roomId}/send/m.room.message/x`, 403, 'M_FORBIDDEN', { body: 'x' }, 'alice');
    await refused('POST', `/rooms/${roomId}/join`, 403, 'M_FORBIDDEN', {}, 'bob');
    expect((await server.must('alice', 'GET', '/joined_rooms')).joined_rooms).not.to.include(roomId);
    expect((await server.must('alice', 'GET', '/publicRooms')).chunk.map((room: Json) => room.room_id)).not.to.include(
      roomId,
    );
    const { rooms } = await server.must(ADMIN, 'GET', '/_synapse/admin/v1/rooms?search_term=Gone');
    expect(rooms).to.deep.equal([]);
    const found = await server.must('alice', 'POST', '/search', {
      search_categories: { room_events: { search_term: 'forgotten' } },
    });
    expect(found.search_categories.room_events.count).to.equal(0);
    expect(JSON.stringify(await sync('alice'))).not.to.include(roomId);
    // The name is free.
    const next = await server.room('alice', { room_alias_name: 'gone' });
    expect((await server.must('bob', 'GET', `/directory/room/${enc('#gone:test')}`)).room_id).to.equal(next);
    await server.restart();
    await refused('GET', v1(roomId), 404, 'M_NOT_FOUND');
    expect(JSON.stringify(await sync('bob'))).not.to.include(roomId);
  });

  it('moves its users to a room that says why, with its aliases', async () => {
    const roomId = await server.room('alice', {
      preset: 'public_chat',
      room_alias_name: 'moved',
      invite: ['@iris:test'],
    });
    await server.join('bob', roomId);
    await server.must('alice', 'PUT', `/directory/room/${enc('#moved-too:test')}`, { room_id: roomId });
    const { next_batch: since } = await sync('bob');
    const told = await deleted(roomId, {
      new_room_user_id: '@moderator:test',
      room_name: 'Closed',
      message: 'Nothing to see here.',
    });
    const { kicked_users: kicked, local_aliases: aliases, new_room_id: next } = told.shutdown_room;
    expect(told.status).to.equal('complete');
    expect(kicked.toSorted()).to.deep.equal(['@alice:test', '@bob:test', '@iris:test']);
    expect(aliases.toSorted()).to.deep.equal(['#moved-too:test', '#moved:test']);
    expect((await server.must('zoe', 'GET', `/directory/room/${enc('#moved:test')}`)).room_id).to.equal(next);
    const room = await server.must(ADMIN, 'GET', v1(next));
    expect([room.name, room.creator, room.join_rules]).to.deep.equal(['Closed', '@moderator:test', 'public']);
    const { members } = await server.must(ADMIN, 'GET', `${v1(next)}/members`);
    expect(members.toSorted()).to.deep.equal(['@alice:test', '@bob:test', '@moderator:test']);
    expect(server.bodies(await server.must('bob', 'GET', `/rooms/${next}/messages?dir=b`))).to.deep.equal([
      'Nothing to see here.',
    ]);
    await refused(
      'PUT',
      `/rooms/${next}/send/m.room.message/t`,
      403,
      'M_FORBIDDEN',
      { msgtype: 'm.text', body: 'but' },
      'bob',
    );
    const news = await sync('bob', since);
    expect(Object.keys(news.rooms.join)).to.deep.equal([next]);
  });

  it('tells users who are connected that they left', async () => {
    const roomId = await server.room('alice', { preset: 'public_chat' });
    await server.join('bob', roomId);
    const { next_batch: since } = await sync('bob');
    const news = server.must('bob', 'GET', `/sync?since=${since}&timeout=30000`);
    await deleted(roomId);
    expect((await news).rooms.leave).to.have.property(roomId);
  });

  it('may be shut only: its users are out, and it stays what it was', async () => {
    const roomId = await server.room('alice', { preset: 'public_chat', name: 'Shut' });
    await server.say('alice', roomId, 'kept');
    const told = await deleted(roomId, { purge: false, block: true });
    expect([told.status, told.shutdown_room.kicked_users]).to.deep.equal(['complete', ['@alice:test']]);
    const room = await server.must(ADMIN, 'GET', v1(roomId));
    expect([room.name, room.joined_members, room.forgotten]).to.deep.equal(['Shut', 0, true]);
    expect(server.bodies(await server.must(ADMIN, 'GET', `${v1(roomId)}/messages?dir=b`))).to.deep.equal(['kept']);
    await refused('POST', `/rooms/${roomId}/join`, 403, 'M_FORBIDDEN', {}, 'bob');
    expect(await server.must(ADMIN, 'GET', `${v1(roomId)}/block`)).to.deep.equal({
      block: true,
      user_id: '@admin-a:test',
    });
  });

  it('is answered for when it is done, by the older request', async () => {
    const roomId = await server.room('alice', { preset: 'public_chat' });
    await server.join('bob', roomId);
    const answer = server.must(ADMIN, 'DELETE', v1(roomId), {});
    await server.clock.runDueUntil(answer);
    const { kicked_users: kicked, ...rest } = await answer;
    expect(kicked.toSorted()).to.deep.equal(['@alice:test', '@bob:test']);
    expect(rest).to.deep.equal({ failed_to_kick_users: [], local_aliases: [], new_room_id: null });
    await refused('GET', v1(roomId), 404, 'M_NOT_FOUND');
  });

  it('need not be known to be blocked, and is M_NOT_FOUND for the older request otherwise', async () => {
    const unknown = '!unknown:elsewhere.test';
    await refused('DELETE', v1(unknown), 404, 'M_NOT_FOUND', {});
    const answer = server.must(ADMIN, 'DELETE', v1(unknown), { block: true });
    await server.clock.runDueUntil(answer);
    expect(await answer).to.deep.equal({
      kicked_users: [],
      failed_to_kick_users: [],
      local_aliases: [],
      new_room_id: null,
    });
    expect((await server.must(ADMIN, 'GET', `${v1(unknown)}/block`)).block).to.equal(true);
    expect((await deleted('!unknown-too:elsewhere.test')).status).to.equal('complete');
  });

  it('is refused where the wish is none', async () => {
    const roomId = await server.room('alice');
    for (const body of [{ block: 'x' }, { purge: 1 }, { force_purge: 'no' }, { message: 1 }])
      for (const path of [v1(roomId), v2(roomId)]) await refused('DELETE', path, 400, 'M_BAD_JSON', body);
    for (const path of [v1, v2]) {
      await refused('DELETE', path('room'), 400, 'M_INVALID_PARAM', {});
      await refused('DELETE', path(roomId), 400, 'M_INVALID_PARAM', { new_room_user_id: '@bob:elsewhere.test' });
    }
    await refused('GET', '/_synapse/admin/v2/rooms/delete_status/none', 404, 'M_NOT_FOUND');
    await refused('GET', `${v2(roomId)}/delete_status`, 404, 'M_NOT_FOUND');
    await refused('GET', `${v2('room')}/delete_status`, 400, 'M_INVALID_PARAM');
    await server.say('alice', roomId, 'still here');
  });

  it('takes those with it who are in it, where that is forced, and nobody otherwise', async () => {
    const { membership } = server.services;
    const roomId = await server.room('alice', { preset: 'public_chat' });
    await server.join('bob', roomId);
    const leave = membership.leave.bind(membership);
    membership.leave = (userId, ...rest) =>
      userId === '@bob:test' ? Promise.reject(new Error('no leaving')) : leave(userId, ...rest);
    try {
      const told = await deleted(roomId);
      expect([told.status, told.error]).to.deep.equal(['failed', 'Users are still joined to this room.']);
      expect(told.shutdown_room.failed_to_kick_users).to.deep.equal(['@bob:test']);
      await server.say('bob', roomId, 'still here');
      const forced = await deleted(roomId, { force_purge: true });
      expect([forced.status, forced.shutdown_room.failed_to_kick_users]).to.deep.equal(['complete', ['@bob:test']]);
    } finally {
      membership.leave = leave;
    }
    await refused('GET', v1(roomId), 404, 'M_NOT_FOUND');
    expect((await server.must('bob', 'GET', '/joined_rooms')).joined_rooms).not.to.include(roomId);
    expect(JSON.stringify(await sync('bob'))).not.to.include(roomId);
  });

  it('is deleted once at a time, can be cancelled on the way, and resumes where that ended when it is deleted again', async () => {
    const { database } = server.services;
    const roomId = await server.room('alice', { preset: 'public_chat' });
    for (let i = 0; i < 20; i++) await server.say('alice', roomId, `${i}`);
    const { promise: isReached, resolve: reached } = Promise.withResolvers<void>();
    const { promise: mayGoOn, resolve: goOn } = Promise.withResolvers<void>();
    const query = database.query.bind(database);
    database.query = async (statement, values) => {
      const rows = await query(statement, values);
      if (statement.name === 'room_purge_events') {
        reached();
        await mayGoOn;
      }
      return rows as never;
    };
    const { delete_id: id } = await server.must(ADMIN, 'DELETE', v2(roomId), {});
    await server.clock.runDueUntil(isReached);
    await refused('DELETE', v2(roomId), 400, 'M_UNKNOWN', {});
    expect((await status(id)).status).to.equal('active');
    // Nobody finds it, and nobody comes in.
    await refused('GET', v1(roomId), 404, 'M_NOT_FOUND');
    await refused('POST', `/rooms/${roomId}/join`, 403, 'M_FORBIDDEN', {}, 'bob');
    await server.services.adminTasks.cancel({ userId: '@admin-a:test', via: 'http' }, id);
    goOn();
    await server.idle();
    database.query = query;
    expect(await status(id)).to.include({ status: 'failed', error: 'The deletion was cancelled.' });
    const left = await query(
      {
        name: 'test_deleted_left',
        text: 'select count(*)::int as n from events e join rooms r on r.nid = e.room where r.room_id = $1',
      },
      [roomId],
    );
    expect((left[0] as { n: number }).n).to.be.above(0);
    await server.restart();
    await refused('POST', `/rooms/${roomId}/join`, 403, 'M_FORBIDDEN', {}, 'bob');
    expect((await deleted(roomId)).status).to.equal('complete');
    const { results } = await server.must(ADMIN, 'GET', `${v2(roomId)}/delete_status`);
    expect(results.map((one: Json) => one.status)).to.deep.equal(['failed', 'complete']);
  });

  it('leaves an entry in the audit log, with how it was wished for and the task that did it', async () => {
    const roomId = await server.room('alice');
    const told = await deleted(roomId, { block: true, message: 'spam' });
    const { records } = await server.services.auditLog.list({ roomId }, { limit: 10 });
    expect(records.map(({ entry }) => entry.action)).to.deep.equal(['room.delete', 'room.block']);
    const [{ actor, entry }] = records as [(typeof records)[0]];
    expect([actor.userId, entry.taskId, entry.reason]).to.deep.equal(['@admin-a:test', told.delete_id, 'spam']);
    expect(entry.after).to.include({ block: true, purge: true, force_purge: false });
  });
});
