import { expect } from 'chai';
import type { InProcessServer, Json } from '#test/support/in-process-server.ts';
import { type Federation, startFederation } from '#test/support/federation/federation.ts';

const ADMIN = 'admin-a';
const enc = encodeURIComponent;
const V1 = '/_synapse/admin/v1';

describe('what administrators do in rooms', function () {
  this.timeout(60_000);
  let federation: Federation;
  let a: InProcessServer;
  let b: InProcessServer;
  before(async () => {
    federation = await startFederation(['a.test', 'b.test']);
    a = federation.server('a.test');
    b = federation.server('b.test');
    await a.account('alice', 'bob', 'carol', 'dora', 'zoe', 'admin-a');
  });
  after(() => federation?.stop());

  const levels = async (roomId: string): Promise<Json> =>
    (await a.must(ADMIN, 'GET', `${V1}/rooms/${enc(roomId)}/state?type=m.room.power_levels`)).state[0].content.users;
  const membership = async (roomId: string, userId: string): Promise<string | undefined> =>
    (await a.services.rooms.byId(roomId))?.member(userId)?.membership;
  const make = (roomId: string, body?: object): Promise<Json> =>
    a.must(ADMIN, 'POST', `${V1}/rooms/${enc(roomId)}/make_room_admin`, body);
  const refused = async (
    path: string,
    status: number,
    errcode: string,
    body?: object,
    method = 'POST',
  ): Promise<void> => {
    const answer = await a.ask(ADMIN, method, `${V1}${path}`, body);
    expect([answer.status, answer.body.errcode], path).to.deep.equal([status, errcode]);
  };

  describe('giving power', () => {
    it('takes the level of the most powerful user of this server, in old and new room versions, and invites to closed rooms', async () => {
      for (const version of ['9', '11', '12']) {
        const roomId = await a.room('alice', { room_version: version });
        await make(roomId, { user_id: '@bob:a.test' });
        expect((await levels(roomId))['@bob:a.test'], version).to.equal(100);
        expect(await membership(roomId, '@bob:a.test'), version).to.equal('invite');
        // Once more changes nothing.
        const { event_id: before } = (
          await a.must(ADMIN, 'GET', `${V1}/rooms/${enc(roomId)}/state?type=m.room.power_levels`)
        ).state[0];
        await make(roomId, { user_id: '@bob:a.test' });
        const { event_id: after } = (
          await a.must(ADMIN, 'GET', `${V1}/rooms/${enc(roomId)}/state?type=m.room.power_levels`)
        ).state[0];
        expect(after).to.equal(before);
      }
    });
    it('is for who asks, when nobody is named, by an alias too; nobody is invited to where everybody may join', async () => {
      const roomId = await a.room('alice', { preset: 'public_chat', room_alias_name: 'power' });
      await make('#power:a.test');
      expect((await levels(roomId))['@admin-a:a.test']).to.equal(100);
      expect(await membership(roomId, '@admin-a:a.test')).to.equal(undefined);
    });
    it('is of the most powerful who is still there', async () => {
      const roomId = await a.room('alice', { room_version: '11', preset: 'public_chat' });
      await a.join('bob', roomId);
      await a.setState('alice', roomId, 'm.room.power_levels', {
        users: { '@alice:a.test': 100, '@bob:a.test': 60 },
        state_default: 50,
      });
      await a.must('alice', 'POST', `/rooms/${roomId}/leave`, {});
      await make(roomId, { user_id: '@carol:a.test' });
      expect((await levels(roomId))['@carol:a.test']).to.equal(60);
    });
    it('is refused where nobody of this server has it, and where there is no such room or user', async () => {
      const roomId = await b.room('bea', { preset: 'public_chat' });
      await a.must('alice', 'POST', `/join/${enc(roomId)}?via=b.test`, {});
      await refused(`/rooms/${enc(roomId)}/make_room_admin`, 400, 'M_UNKNOWN', {});
      await refused('/rooms/!none:a.test/make_room_admin', 404, 'M_NOT_FOUND', {});
      await refused(`/rooms/${enc('#none:a.test')}/make_room_admin`, 404, 'M_NOT_FOUND', {});
      await refused(`/rooms/${enc(roomId)}/make_room_admin`, 400, 'M_INVALID_PARAM', { user_id: 'bob' });
    });
  });

  describe('joining a user to a room', () => {
    const join = (room: string, userId: string, query = ''): Promise<Json> =>
      a.must(ADMIN, 'POST', `${V1}/join/${enc(room)}${query}`, { user_id: userId });

    it('joins a user to public rooms, by id or alias, here or through another server', async () => {
      const here = await a.room('alice', { preset: 'public_chat', room_alias_name: 'here' });
      expect(await join('#here:a.test', '@dora:a.test')).to.deep.equal({ room_id: here });
      const there = await b.room('bea', { preset: 'public_chat', room_alias_name: 'there' });
      expect(await join(there, '@dora:a.test', '?server_name=b.test')).to.deep.equal({ room_id: there });
      const { joined_rooms: joined } = await a.must('dora', 'GET', '/joined_rooms');
      expect(joined).to.include.members([here, there]);
      const other = await b.room('bea', { preset: 'public_chat', room_alias_name: 'there-too' });
      expect(await join('#there-too:b.test', '@dora:a.test')).to.deep.equal({ room_id: other });
    });
    it('takes an invite of the administrator into closed ones, who has to be able to invite', async () => {
      const roomId = await a.room(ADMIN);
      await join(roomId, '@dora:a.test');
      expect(await membership(roomId, '@dora:a.test')).to.equal('join');
      const closed = await a.room('alice');
      await refused(`/join/${enc(closed)}`, 403, 'M_FORBIDDEN', { user_id: '@dora:a.test' });
      await a.must('alice', 'POST', `/rooms/${closed}/invite`, { user_id: '@dora:a.test' });
      await join(closed, '@dora:a.test');
      expect(await membership(closed, '@dora:a.test')).to.equal('join');
    });
    it('is for users of this server who are here', async () => {
      const roomId = await a.room('alice', { preset: 'public_chat' });
      await refused(`/join/${enc(roomId)}`, 400, 'M_UNKNOWN', { user_id: '@bea:b.test' });
      await refused(`/join/${enc(roomId)}`, 404, 'M_NOT_FOUND', { user_id: '@nobody:a.test' });
      await refused(`/join/${enc(roomId)}`, 400, 'M_INVALID_PARAM', { user_id: 'dora' });
      await refused(`/join/${enc(roomId)}`, 400, 'M_MISSING_PARAM', {});
      await refused('/join/dora', 400, 'M_INVALID_PARAM', { user_id: '@dora:a.test' });
    });
  });

  it('leaves one forward extremity of many, which comes after all the others', async () => {
    const roomId = await a.room('alice', { preset: 'public_chat' });
    const path = `/rooms/${enc(roomId)}/forward_extremities`;
    await b.must('bea', 'POST', `/join/${enc(roomId)}?via=a.test`, {});
    await federation.idle();
    const alone = await a.must(ADMIN, 'GET', `${V1}${path}`);
    expect(alone.count).to.equal(1);
    expect(alone.results[0]).to.have.all.keys('event_id', 'state_group', 'depth', 'received_ts');
    expect(await a.must(ADMIN, 'DELETE', `${V1}${path}`)).to.deep.equal({ deleted: 0 });
    // Both say something before they hear of each other.
    federation.cut('a.test', 'b.test');
    const said = [await a.say('alice', roomId, 'here'), await b.say('bea', roomId, 'there')];
    federation.heal('a.test', 'b.test');
    await federation.clock.advance(10_000);
    await federation.idle();
    const forked = await a.must(ADMIN, 'GET', `${V1}${path}`);
    expect(forked.results.map((one: Json) => one.event_id)).to.have.members(said);
    expect(await a.must(ADMIN, 'DELETE', `${V1}${path}`)).to.deep.equal({ deleted: 1 });
    const { count, results } = await a.must(ADMIN, 'GET', `${V1}${path}`);
    expect(count).to.equal(1);
    const { event } = await a.must(ADMIN, 'GET', `${V1}/fetch_event/${enc(results[0].event_id)}`);
    expect(event.prev_events).to.have.members(said);
    await refused('/rooms/!none:a.test/forward_extremities', 404, 'M_NOT_FOUND', undefined, 'GET');
    await refused('/rooms/!none:a.test/forward_extremities', 404, 'M_NOT_FOUND', undefined, 'DELETE');
  });

  describe('taking history away', () => {
    const purged = async (roomId: string, body: object | undefined, event = ''): Promise<string> => {
      const path = `${V1}/purge_history/${enc(roomId)}${event === '' ? '' : `/${enc(event)}`}`;
      const { purge_id: id } = await a.must(ADMIN, 'POST', path, body);
      await a.idle();
      const status = await a.must(ADMIN, 'GET', `${V1}/purge_history_status/${id}`);
      expect(status).to.deep.equal({ status: 'complete' });
      return id;
    };
    const bodies = async (roomId: string): Promise<string[]> =>
      a.bodies(await a.must(ADMIN, 'GET', `${V1}/rooms/${enc(roomId)}/messages?dir=f&limit=50`));
    const spoken = async (): Promise<{ readonly roomId: string; readonly ids: string[]; readonly at: number }> => {
      const roomId = await a.room('alice', { preset: 'public_chat' });
      await b.must('bea', 'POST', `/join/${enc(roomId)}?via=a.test`, {});
      await federation.idle();
      const ids = [await a.say('alice', roomId, 'a1')];
      await federation.idle();
      ids.push(await b.say('bea', roomId, 'b1'));
      await federation.idle();
      await federation.clock.advance(1_000);
      const at = federation.clock.now();
      ids.push(await a.say('alice', roomId, 'a2'));
      await federation.idle();
      ids.push(await b.say('bea', roomId, 'b2'));
      await federation.idle();
      return { roomId, ids, at };
    };

    it('leaves what comes at or after an event, and what users of this server said unless that is to go too', async () => {
      const { roomId, ids } = await spoken();
      await purged(roomId, { purge_up_to_event_id: ids[2] });
      expect(await bodies(roomId)).to.deep.equal(['a1', 'a2', 'b2']);
      await purged(roomId, { delete_local_events: true }, ids[2]);
      expect(await bodies(roomId)).to.deep.equal(['a2', 'b2']);
      await a.say('alice', roomId, 'goes on');
      await federation.idle();
      expect(b.bodies(await b.must('bea', 'GET', `/rooms/${roomId}/messages?dir=b&limit=1`))).to.deep.equal([
        'goes on',
      ]);
    });
    it('leaves what was sent at or after a time', async () => {
      const { roomId, at } = await spoken();
      await purged(roomId, { purge_up_to_ts: at, delete_local_events: true });
      expect(await bodies(roomId)).to.deep.equal(['a2', 'b2']);
      await refused(`/purge_history/${enc(roomId)}`, 404, 'M_NOT_FOUND', { purge_up_to_ts: 1 });
    });
    it('is refused where it is not said what is old, or that is nothing of the room', async () => {
      const [one, other] = [await spoken(), await a.room('alice')];
      await refused(`/purge_history/${enc(other)}`, 400, 'M_BAD_JSON', {});
      await refused(`/purge_history/${enc(other)}`, 400, 'M_BAD_JSON', { purge_up_to_ts: 'x' });
      await refused(`/purge_history/${enc(other)}/${enc(one.ids[0]!)}`, 400, 'M_UNKNOWN', {});
      await refused(`/purge_history/${enc(other)}/$none`, 404, 'M_NOT_FOUND', {});
      await refused('/purge_history/!none:a.test', 404, 'M_NOT_FOUND', { purge_up_to_ts: 1 });
      await refused('/purge_history_status/none', 404, 'M_NOT_FOUND', undefined, 'GET');
    });
  });
});
