import { expect } from 'chai';
import { type Answer, InProcessServer } from '#test/support/in-process-server.ts';
import { until } from '#test/support/until.ts';

const WORLD = {
  initial_state: [{ type: 'm.room.history_visibility', content: { history_visibility: 'world_readable' } }],
};

describe('looking into rooms', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  before(async () => (server = await InProcessServer.start()));
  after(() => server.stop());

  const get = (token: string, path: string): Promise<Answer> => server.ask(token, 'GET', path);
  const send = (token: string, method: string, path: string, body: unknown = {}): Promise<Answer> =>
    server.ask(token, method, path, body);
  const refused = async (answer: Promise<Answer>, status: number, errcode: string): Promise<void> => {
    const { status: actual, body } = await answer;
    expect([actual, body?.errcode]).to.deep.equal([status, errcode]);
  };
  const bodies = (chunk: { content: { body?: string } }[]): (string | undefined)[] =>
    chunk.flatMap(({ content }) => content.body ?? []);

  describe('/events of one room', () => {
    for (const [who, token] of [
      ['guests', 'guest-one'],
      ['users who are not in it', 'bob'],
      ['members', 'alice'],
    ] as const) {
      it(`tells ${who} what is said in a world-readable room, as it is said`, async () => {
        const roomId = await server.room('alice', WORLD);
        const first = await get(token, `/events?room_id=${roomId}`);
        expect([first.status, first.body.chunk]).to.deep.equal([200, []]);
        const poll = get(token, `/events?room_id=${roomId}&from=${first.body.end}&timeout=20000`);
        await until('it waits', () => server.clock.dueIn.includes(20_000));
        const eventId = await server.say('alice', roomId, 'hello');
        const { body } = await poll;
        expect(body.start).to.equal(first.body.end);
        expect(
          body.chunk.map((event: { event_id: string; room_id: string }) => [event.event_id, event.room_id]),
        ).to.deep.equal([[eventId, roomId]]);
        await server.say('alice', roomId, 'again');
        const next = await get(token, `/events?room_id=${roomId}&from=${body.end}&timeout=20000`);
        expect(bodies(next.body.chunk)).to.deep.equal(['again']);
      });
    }
    it('answers with nothing at its timeout', async () => {
      const roomId = await server.room('alice', WORLD);
      const poll = get('guest-one', `/events?room_id=${roomId}&timeout=200`);
      await until('it waits', () => server.clock.dueIn.includes(200));
      await server.clock.advance(200);
      expect((await poll).body.chunk).to.deep.equal([]);
    });
    it('is refused for rooms that are not world-readable, but to members', async () => {
      const roomId = await server.room('alice', { preset: 'public_chat' });
      for (const token of ['guest-one', 'bob'])
        await refused(get(token, `/events?room_id=${roomId}`), 403, 'M_FORBIDDEN');
      await refused(get('guest-one', '/events?room_id=!nothing:test'), 403, 'M_FORBIDDEN');
      const { end } = (await get('alice', `/events?room_id=${roomId}`)).body;
      await server.say('alice', roomId, 'among us');
      expect(bodies((await get('alice', `/events?room_id=${roomId}&from=${end}`)).body.chunk)).to.deep.equal([
        'among us',
      ]);
    });
    it('ends for those who are not in the room when it is closed to them', async () => {
      const roomId = await server.room('alice', WORLD);
      const { end } = (await get('guest-one', `/events?room_id=${roomId}`)).body;
      const path = `/rooms/${roomId}/state/m.room.history_visibility/`;
      await send('alice', 'PUT', path, { history_visibility: 'joined' });
      await server.say('alice', roomId, 'secret');
      await refused(get('guest-one', `/events?room_id=${roomId}&from=${end}`), 403, 'M_FORBIDDEN');
    });
    it('refuses tokens of other servers', async () => {
      const roomId = await server.room('alice', WORLD);
      await refused(get('guest-one', `/events?room_id=${roomId}&from=nonsense`), 400, 'M_INVALID_PARAM');
    });
  });

  describe('/events of all rooms', () => {
    it('is for users, and tells them of their rooms and of invites', async () => {
      await refused(get('guest-one', '/events'), 403, 'M_GUEST_ACCESS_FORBIDDEN');
      const mine = await server.room('bob');
      const { end } = (await get('bob', '/events')).body;
      const invited = await server.room('alice', { invite: ['@bob:test'], name: 'not yet' });
      await server.say('alice', await server.room('alice'), 'elsewhere');
      await server.say('bob', mine, 'mine');
      const { body } = await get('bob', `/events?from=${end}&timeout=5000`);
      expect(bodies(body.chunk)).to.deep.equal(['mine']);
      const invites = body.chunk.filter((event: { room_id: string }) => event.room_id === invited);
      expect(invites.map(({ content }: { content: { membership: string } }) => content.membership)).to.deep.equal([
        'invite',
      ]);
    });
  });

  describe('initialSync of a room', () => {
    it('shows members state, the newest messages and their own data', async () => {
      const roomId = await server.room('alice', { preset: 'public_chat', visibility: 'public' });
      for (const body of ['1', '2', '3']) await server.say('alice', roomId, body);
      await send('alice', 'PUT', `/user/@alice:test/rooms/${roomId}/account_data/test.own`, { a: 1 });
      const { body } = await get('alice', `/rooms/${roomId}/initialSync?limit=2`);
      expect(body).to.deep.include({ room_id: roomId, membership: 'join', visibility: 'public' });
      expect(bodies(body.messages.chunk)).to.deep.equal(['2', '3']);
      expect(body.state.map(({ type }: { type: string }) => type)).to.include.members([
        'm.room.create',
        'm.room.member',
      ]);
      expect(body.account_data).to.deep.include({ type: 'test.own', content: { a: 1 } });
      const older = await get('alice', `/rooms/${roomId}/messages?dir=b&limit=1&from=${body.messages.start}`);
      expect(bodies(older.body.chunk)).to.deep.equal(['1']);
      await server.say('alice', roomId, '4');
      const newer = await get('alice', `/events?room_id=${roomId}&from=${body.messages.end}`);
      expect(bodies(newer.body.chunk)).to.deep.equal(['4']);
    });
    it('shows guests world-readable rooms only', async () => {
      const open = await server.room('alice', WORLD);
      await server.say('alice', open, 'for all');
      const { body } = await get('guest-one', `/rooms/${open}/initialSync`);
      expect(bodies(body.messages.chunk)).to.deep.equal(['for all']);
      expect(body).not.to.have.property('membership');
      await refused(get('guest-one', `/rooms/${await server.room('alice')}/initialSync`), 403, 'M_FORBIDDEN');
    });
    it('shows those who left what was there when they did', async () => {
      const roomId = await server.room('alice', { preset: 'public_chat' });
      await send('bob', 'POST', `/join/${roomId}`);
      await server.say('alice', roomId, 'before');
      await send('bob', 'POST', `/rooms/${roomId}/leave`);
      await server.say('alice', roomId, 'after');
      const { body } = await get('bob', `/rooms/${roomId}/initialSync`);
      expect(body.membership).to.equal('leave');
      expect(bodies(body.messages.chunk)).to.deep.equal(['before']);
    });
  });

  it('/initialSync shows all rooms, invites, and what was left when asked', async () => {
    const joined = await server.room('carol');
    await server.say('carol', joined, 'hi');
    const left = await server.room('carol');
    await send('carol', 'POST', `/rooms/${left}/leave`);
    const invited = await server.room('alice', { invite: ['@carol:test'] });
    const memberships = async (query = ''): Promise<Record<string, string>> => {
      const { body } = await get('carol', `/initialSync${query}`);
      return Object.fromEntries(
        body.rooms.map((one: { room_id: string; membership: string }) => [one.room_id, one.membership]),
      );
    };
    expect(await memberships()).to.deep.equal({ [joined]: 'join', [invited]: 'invite' });
    expect(await memberships('?archived=true')).to.deep.equal({
      [joined]: 'join',
      [invited]: 'invite',
      [left]: 'leave',
    });
    const { body } = await get('carol', '/initialSync?limit=1');
    const [snapshot] = body.rooms.filter((one: { room_id: string }) => one.room_id === joined);
    expect(bodies(snapshot.messages.chunk)).to.deep.equal(['hi']);
    const [invite] = body.rooms.filter((one: { room_id: string }) => one.room_id === invited);
    expect([invite.invite.sender, invite.invite.content.membership]).to.deep.equal(['@alice:test', 'invite']);
    expect(body.account_data.map(({ type }: { type: string }) => type)).to.include('m.push_rules');
    await server.say('carol', joined, 'later');
    expect(bodies((await get('carol', `/events?from=${body.end}`)).body.chunk)).to.deep.equal(['later']);
  });

  it('/events/{eventId} finds events by their id alone, for those who may see them', async () => {
    const roomId = await server.room('alice');
    const eventId = encodeURIComponent(await server.say('alice', roomId, 'found'));
    expect((await get('alice', `/events/${eventId}`)).body.content.body).to.equal('found');
    await refused(get('bob', `/events/${eventId}`), 404, 'M_NOT_FOUND');
    await refused(get('alice', '/events/$nothing'), 404, 'M_NOT_FOUND');
  });
});
