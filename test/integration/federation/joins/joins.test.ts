import { expect } from 'chai';
import type { InProcessServer, Json } from '#test/support/in-process-server.ts';
import { type Federation, startFederation } from '#test/support/federation/federation.ts';

/** Rooms that have to be joined each way. */
const VERSIONS = ['1', '2', '3', '4', '5', '6', '7', '8', '9', '10', '11', '12'];

describe('memberships across servers', function () {
  this.timeout(60_000);
  let federation: Federation;
  let a: InProcessServer;
  let b: InProcessServer;

  before(async () => {
    federation = await startFederation(['a.test', 'b.test']);
    a = federation.server('a.test');
    b = federation.server('b.test');
  });
  after(() => federation?.stop());

  const via = (roomId: string): string => `/join/${encodeURIComponent(roomId)}?via=a.test`;
  const members = async (server: InProcessServer, token: string, roomId: string): Promise<Record<string, string>> => {
    const { chunk } = await server.must(token, 'GET', `/rooms/${roomId}/members`);
    return Object.fromEntries(chunk.map((event: Json) => [event.state_key, event.content.membership]));
  };
  const sync = (server: InProcessServer, token: string, since?: string): Promise<Json> =>
    server.must(token, 'GET', since === undefined ? '/sync' : `/sync?since=${since}`);

  for (const version of VERSIONS) {
    describe(`in rooms of version ${version}`, () => {
      const room = (wish: object): Promise<string> => a.room('alice', { ...wish, room_version: version });

      it('a user joins a public room of another server, and the next sync shows it with its state', async () => {
        const roomId = await room({ preset: 'public_chat', name: 'The room' });
        const { next_batch: since } = await sync(b, 'bob');
        const joined = await b.must('bob', 'POST', via(roomId), {});
        expect(joined.room_id).to.equal(roomId);
        const shown = (await sync(b, 'bob', since)).rooms.join[roomId];
        const events = [...shown.state.events, ...shown.timeline.events];
        expect(shown.timeline.limited).to.equal(true);
        expect(events.find(({ type }) => type === 'm.room.name').content).to.deep.equal({ name: 'The room' });
        const expected = { '@alice:a.test': 'join', '@bob:b.test': 'join' };
        expect(await members(b, 'bob', roomId)).to.deep.equal(expected);
        expect(await members(a, 'alice', roomId)).to.deep.equal(expected);
      });

      it('an invite is shown with what it tells of the room, lets the user join, and is gone then', async () => {
        const roomId = await room({ preset: 'private_chat', name: 'A private room' });
        const { next_batch: since } = await sync(b, 'carol');
        await a.must('alice', 'POST', `/rooms/${roomId}/invite`, { user_id: '@carol:b.test' });
        const shown = (await sync(b, 'carol', since)).rooms.invite[roomId].invite_state.events;
        const told = (type: string): Json => shown.find((event: Json) => event.type === type);
        expect(told('m.room.name').content).to.deep.equal({ name: 'A private room' });
        expect(told('m.room.create').sender).to.equal('@alice:a.test');
        const invites = shown.filter((event: Json) => event.state_key === '@carol:b.test');
        expect(invites.map((event: Json) => event.content.membership)).to.deep.equal(['invite']);
        expect(await members(a, 'alice', roomId)).to.deep.equal({ '@alice:a.test': 'join', '@carol:b.test': 'invite' });
        await b.must('carol', 'POST', `/join/${encodeURIComponent(roomId)}`, {});
        const { rooms } = await sync(b, 'carol');
        expect(rooms.join).to.have.property(roomId);
        expect(rooms.invite ?? {}).not.to.have.property(roomId);
        const join = (await b.must('carol', 'GET', `/rooms/${roomId}/members`)).chunk.find(
          (event: Json) => event.state_key === '@carol:b.test',
        );
        expect(join.unsigned.prev_content.membership).to.equal('invite');
        expect(join.unsigned.prev_sender).to.equal('@alice:a.test');
      });

      it('an invite is declined through the server that sent it', async () => {
        await b.account('dora');
        const roomId = await room({ preset: 'private_chat', invite: ['@dora:b.test'] });
        const { next_batch: since, rooms } = await sync(b, 'dora');
        expect(rooms.invite).to.have.property(roomId);
        await b.must('dora', 'POST', `/rooms/${roomId}/leave`, {});
        const left = (await sync(b, 'dora', since)).rooms.leave[roomId];
        expect(left.timeline.events.map((event: Json) => event.content.membership)).to.deep.equal(['leave']);
        expect((await members(a, 'alice', roomId))['@dora:b.test']).to.equal('leave');
        expect((await sync(b, 'dora')).rooms?.invite ?? {}).not.to.have.property(roomId);
        await b.must('dora', 'POST', `/rooms/${roomId}/forget`, {});
      });
    });
  }

  describe('whose invites a user does not want', () => {
    const wish = (token: string, type: string, content: object): Promise<Json> =>
      b.must(token, 'PUT', `/user/@${token}:b.test/account_data/${type}`, content);
    const FILTER = 'org.matrix.msc4155.invite_permission_config';
    const invite = (userId: string, roomId: string): ReturnType<InProcessServer['ask']> =>
      a.ask('alice', 'POST', `/rooms/${roomId}/invite`, { user_id: userId });

    it('is told so with M_INVITE_BLOCKED, whatever the rule is', async () => {
      const roomId = await a.room('alice', {});
      await b.account('erin');
      for (const [type, content] of [
        ['m.invite_permission_config', { default_action: 'block' }],
        [FILTER, { blocked_servers: ['a.*'] }],
      ] as const) {
        await wish('erin', type, content);
        const { status, body } = await invite('@erin:b.test', roomId);
        expect([status, body.errcode]).to.deep.equal([403, 'M_INVITE_BLOCKED']);
        await wish('erin', type, {});
      }
      expect((await invite('@erin:b.test', roomId)).status).to.equal(200);
    });

    it('may invite, and the invitee is not shown it, where the rule is to ignore them', async () => {
      const roomId = await a.room('alice', {});
      await b.account('frank');
      await wish('frank', FILTER, { ignored_users: ['@alice:*'] });
      expect((await invite('@frank:b.test', roomId)).status).to.equal(200);
      expect((await sync(b, 'frank')).rooms?.invite ?? {}).not.to.have.property(roomId);
      await wish('frank', FILTER, {});
      expect((await sync(b, 'frank')).rooms.invite).to.have.property(roomId);
    });
  });
});
