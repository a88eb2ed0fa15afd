import { expect } from 'chai';
import type { InProcessServer, Json } from '#test/support/in-process-server.ts';
import { type Federation, startFederation } from '#test/support/federation/federation.ts';
import { PartnerRoom } from '#test/support/federation/partner-room.ts';

const enc = encodeURIComponent;
const ADMIN = 'admin-a';

/** What names a room and is not the room's: what administrators decided and did, the keys that users keep of it, cursors. */
const NOT_THE_ROOMS = new Set(['admin_tasks', 'audit_log', 'backed_up_sessions', 'blocked_rooms', 'event_followers']);

/** The tables in which the room of the test has rows before. */
const FILLED = [
  'account_data',
  'aliases',
  'appservice_rooms',
  'awaited_redactions',
  'awaited_relations',
  'delayed_events',
  'destination_rooms',
  'directory_rooms',
  'events',
  'events_set_aside',
  'inbound_events',
  'mail_digest_rooms',
  'media_references',
  'member',
  'mention',
  'missing_prev',
  'partial_rooms',
  'pushes',
  'receipts',
  'reports',
  'room_overviews',
  'room_purges',
  'room_tags',
  'room_tail',
  'rooms',
  'search_docs',
  'server_notice_rooms',
  'state_delta',
  'state_resets',
  'sticky_events',
  'third_party_invites',
  'thread_subscriptions',
];

describe('of a room that was deleted', function () {
  this.timeout(120_000);
  let federation: Federation;
  let a: InProcessServer;
  let b: InProcessServer;
  before(async () => {
    federation = await startFederation(['a.test', 'b.test'], { partners: ['p.test'] });
    a = federation.server('a.test');
    b = federation.server('b.test');
  });
  after(() => federation?.stop());

  const run = (server: InProcessServer, name: string, text: string, values: unknown[] = []): Promise<Json[]> =>
    server.services.database.query({ name, text }, values);

  /** How many rows each table has of a room, by whatever columns name it. */
  const rowsOf = async (server: InProcessServer, nid: number, roomId: string): Promise<Record<string, number>> => {
    const columns = await run(
      server,
      'test_room_columns',
      `select c.table_name, c.column_name from information_schema.columns c
       join information_schema.tables t on t.table_name = c.table_name and t.table_schema = c.table_schema
       where c.table_schema = 'public' and t.table_type = 'BASE TABLE' and c.column_name in ('room', 'room_id', 'room_nid')
       order by c.table_name, c.column_name`,
    );
    const counts: Record<string, number> = {};
    for (const { table_name: table, column_name: column } of columns) {
      if (NOT_THE_ROOMS.has(table)) continue;
      const text = `select count(*)::int as rows from ${table} where ${column}::text = any($1::text[])`;
      const [{ rows }] = (await run(server, `test_rows_${table}_${column}`, text, [[String(nid), roomId]])) as [Json];
      counts[table] = (counts[table] ?? 0) + rows;
    }
    return counts;
  };
  const filled = (counts: Record<string, number>): string[] =>
    Object.entries(counts).flatMap(([table, rows]) => (rows > 0 ? table : []));

  const remove = async (server: InProcessServer, roomId: string, wish: object = {}): Promise<void> => {
    const { delete_id: id } = await server.must(ADMIN, 'DELETE', `/_synapse/admin/v2/rooms/${enc(roomId)}`, wish);
    await federation.idle();
    const { error, status } = await server.must(ADMIN, 'GET', `/_synapse/admin/v2/rooms/delete_status/${id}`);
    expect([status, error]).to.deep.equal(['complete', undefined]);
  };

  it('nothing is left in any table, not even where it is named by its id, and nothing of other rooms goes', async () => {
    const roomId = await a.room('alice', {
      preset: 'public_chat',
      visibility: 'public',
      room_alias_name: 'whole',
      name: 'Whole',
    });
    const other = await a.room('alice', { preset: 'public_chat', name: 'Other' });
    const space = await a.room('alice', { creation_content: { type: 'm.space' } });
    await a.setState('alice', space, 'm.space.child', { via: ['a.test'] }, roomId);
    for (const id of [roomId, other]) {
      await a.join('bob', id);
      const first = await a.say('alice', id, 'hello @bob:a.test');
      await a.must('alice', 'PUT', `/rooms/${id}/send/m.room.message/m${id.slice(1, 4)}`, {
        msgtype: 'm.text',
        body: 'bob',
        'm.mentions': { user_ids: ['@bob:a.test'] },
      });
      await a.must('alice', 'PUT', `/rooms/${id}/send/m.room.message/r${id.slice(1, 4)}`, {
        msgtype: 'm.text',
        body: 'reply',
        'm.relates_to': { rel_type: 'm.thread', event_id: first },
      });
      await a.must('bob', 'POST', `/rooms/${id}/receipt/m.read/${enc(first)}`, {});
      await a.must('bob', 'PUT', `/user/@bob:a.test/rooms/${id}/account_data/org.test`, { of: 'the room' });
      await a.must('bob', 'PUT', `/user/@bob:a.test/rooms/${id}/tags/m.favourite`, {});
      const path = `/_matrix/client/unstable/io.element.msc4306/rooms/${id}/thread/${enc(first)}/subscription`;
      await a.must('bob', 'PUT', path, {});
      await a.must('bob', 'POST', `/rooms/${id}/report/${enc(first)}`, { reason: 'x' });
      const sticky = `/rooms/${id}/send/m.room.message/s${id.slice(1, 4)}?org.matrix.msc4354.sticky_duration_ms=600000`;
      await a.must('bob', 'PUT', sticky, { msgtype: 'm.text', body: 'sticky' });
      const delayed = `/rooms/${id}/send/m.room.message/d${id.slice(1, 4)}?org.matrix.msc4140.delay=600000`;
      await a.must('bob', 'PUT', delayed, { msgtype: 'm.text', body: 'later' });
      const media = await a.ask('alice', 'POST', '/_matrix/media/v3/upload?filename=x', undefined, { raw: 'picture' });
      await a.must('alice', 'PUT', `/rooms/${id}/send/m.room.message/i${id.slice(1, 4)}`, {
        msgtype: 'm.image',
        body: 'x',
        url: media.body.content_uri,
      });
      await a.must('alice', 'POST', `/rooms/${id}/invite`, { user_id: '@iris:a.test' });
    }
    const partner = await PartnerRoom.join(a, federation.partner('p.test'), roomId, ['@pat:p.test']);
    expect(partner.roomId).to.equal(roomId);
    await b.must('bea', 'POST', `/join/${enc(roomId)}?via=a.test`, {});
    await federation.idle();
    const { nid } = (await a.services.rooms.byId(roomId))!;
    const { nid: otherNid } = (await a.services.rooms.byId(other))!;
    // What comes by chance, or stays for a moment only.
    const [{ nid: event }] = (await run(a, 'test_an_event', 'select max(nid) as nid from events where room = $1', [
      nid,
    ])) as [Json];
    const bob = await a.services.interner.userNid('@bob:a.test');
    const put = (name: string, text: string, values: unknown[]): Promise<Json[]> =>
      run(a, `test_put_${name}`, text, values);
    await put('missing', `insert into missing_prev (room, event_id, referrer) values ($1, '\\x01', $2)`, [nid, event]);
    await put('awaited', `insert into awaited_relations (room, target, child) values ($1, '\\x02', $2)`, [nid, event]);
    await put(
      'inbound',
      `insert into inbound_events (room, event_id, origin, json, received_ts) values ($1, '\\x03', 'p.test', '{}', 1)`,
      [nid],
    );
    await put('outbound', `insert into destination_rooms (destination, room, after) values ('away.test', $1, 0)`, [
      nid,
    ]);
    await put(
      'aside',
      `insert into events_set_aside (follower, event, room, tries, retry_at) values ('x', $2, $1, 1, 9999999999999)`,
      [nid, event],
    );
    await put('resets', 'insert into state_resets (room, event, ts, members, power) values ($1, $2, 1, 1, false)', [
      nid,
      event,
    ]);
    await put(
      'purges',
      'insert into room_purges (room, before_ts, cursor, deleted, started_ts) values ($1, 1, 1, 1, 1)',
      [nid],
    );
    await put(
      'mention',
      'insert into mention (user_nid, room, pos, kind) values ($2, $1, $3, 1) on conflict do nothing',
      [nid, bob, event],
    );
    await put('push', 'insert into pushes (room, event, user_nid, ts) values ($1, $2, $3, 1)', [nid, event, bob]);
    await put(
      'pusher',
      `with p as (
         insert into pushers (user_id, device_id, app_id, pushkey, kind, app_display_name, device_display_name, lang, data, created_ts, updated_ts)
         values ('@bob:a.test', 'DEVICE', 'x', 'x@mail.test', 'email', 'x', 'x', 'en', '{}', 1, 1) returning id
       ) insert into mail_digest_rooms (pusher, room_id, told_ts, pause_ms) select id, $1, 1, 1 from p`,
      [roomId],
    );
    await put(
      'invite',
      `insert into third_party_invites (token, medium, address, room_id, inviter, ephemeral_key, sent, created_ts)
       values ('t', 'email', 'x@mail.test', $1, '@alice:a.test', 'k', true, 1)`,
      [roomId],
    );
    await put('network', `insert into appservice_rooms (appservice, network, room) values ('irc', 'net', $1)`, [nid]);
    await put('redaction', `insert into awaited_redactions (room, target, redaction) values ($1, '\\x04', $2)`, [
      nid,
      event,
    ]);
    await put(
      'partial',
      `insert into partial_rooms (room, join_pos, via, servers, before, full_pos) values ($1, $2, 'p.test', '[]', '[]', 0)`,
      [nid, event],
    );
    await put('notices', `insert into server_notice_rooms (user_id, room_id) values ('@bob:a.test', $1)`, [roomId]);
    const before = await rowsOf(a, nid, roomId);
    expect(Object.keys(before), 'every table that names rooms').to.deep.equal(FILLED);
    expect(filled(before)).to.deep.equal(FILLED);
    const othersBefore = await rowsOf(a, otherNid, other);

    await remove(a, roomId);

    expect(filled(await rowsOf(a, nid, roomId))).to.deep.equal([]);
    expect(await rowsOf(a, otherNid, other)).to.deep.equal(othersBefore);
    // Spaces go on naming it: that is theirs.
    expect((await a.must('alice', 'GET', `/rooms/${space}/state/m.space.child/${enc(roomId)}`)).via).to.deep.equal([
      'a.test',
    ]);
    const [{ released }] = (await run(
      a,
      'test_released',
      'select count(*)::int as released from media where released_ts is not null',
    )) as [Json];
    expect(released, 'media that nothing names any more').to.be.above(0);
  });

  it('other servers are told that its users left, and it is joined anew by an invite, whole', async () => {
    const roomId = await b.room('bea', { name: 'Theirs' });
    const invite = (): Promise<Json> => b.must('bea', 'POST', `/rooms/${roomId}/invite`, { user_id: '@alice:a.test' });
    const joined = async (): Promise<void> => {
      await federation.idle();
      await a.must('alice', 'POST', `/join/${enc(roomId)}`, {});
      await federation.idle();
    };
    await invite();
    await joined();
    await b.say('bea', roomId, 'before');
    await federation.idle();
    const { nid } = (await a.services.rooms.byId(roomId))!;
    await remove(a, roomId);
    expect(filled(await rowsOf(a, nid, roomId))).to.deep.equal([]);
    expect((await b.must('bea', 'GET', `/rooms/${roomId}/state/m.room.member/@alice:a.test`)).membership).to.equal(
      'leave',
    );
    await b.say('bea', roomId, 'meanwhile');
    await federation.idle();
    await invite();
    await federation.idle();
    expect((await a.must('alice', 'GET', '/sync')).rooms.invite).to.have.property(roomId);
    await joined();
    await b.say('bea', roomId, 'after');
    await a.say('alice', roomId, 'back');
    await federation.idle();
    expect(b.bodies(await b.must('bea', 'GET', `/rooms/${roomId}/messages?dir=b&limit=2`))).to.have.members([
      'back',
      'after',
    ]);
    const again = await a.must('alice', 'GET', `/rooms/${roomId}/messages?dir=b&limit=50`);
    expect(a.bodies(again)).to.have.members(['back', 'after', 'meanwhile', 'before']);
    expect((await a.must(ADMIN, 'GET', `/_synapse/admin/v1/rooms/${enc(roomId)}`)).name).to.equal('Theirs');
  });

  it('nothing is left either where this server had only heard of it, by an invite', async () => {
    const roomId = await b.room('bea', { name: 'Unheard' });
    await b.must('bea', 'POST', `/rooms/${roomId}/invite`, { user_id: '@alice:a.test' });
    await federation.idle();
    const { nid } = (await a.services.rooms.heardOf(roomId))!;
    await remove(a, roomId);
    expect(filled(await rowsOf(a, nid, roomId))).to.deep.equal([]);
    expect((await a.must('alice', 'GET', '/sync')).rooms?.invite ?? {}).not.to.have.property(roomId);
    expect((await b.must('bea', 'GET', `/rooms/${roomId}/state/m.room.member/@alice:a.test`)).membership).to.equal(
      'leave',
    );
  });
});
