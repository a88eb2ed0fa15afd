import { expect } from 'chai';
import { InProcessServer, type Json } from '#test/support/in-process-server.ts';

const LARGE = 'x'.repeat(30_000);

describe('a room whose state says very much', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  before(async () => {
    server = await InProcessServer.start();
  });
  after(() => server.stop());

  const state = (roomId: string, type: string, content: object, key = ''): Promise<Json> =>
    server.must('alice', 'PUT', `/rooms/${roomId}/state/${type}/${encodeURIComponent(key)}`, content);
  /** A room with texts as long as an event can have them. */
  const wordyRoom = async (wish: object = {}): Promise<string> => {
    const roomId = await server.room('alice', { preset: 'public_chat', ...wish });
    await state(roomId, 'm.room.name', { name: `名前${LARGE}` });
    await state(roomId, 'm.room.topic', { topic: `topic ${LARGE}` });
    await state(roomId, 'm.room.avatar', { url: `mxc://test/${LARGE}` });
    await state(roomId, 'm.room.encryption', { algorithm: LARGE });
    return roomId;
  };

  it('is told in short to whoever is invited or knocks, in every encoding of sync', async () => {
    const roomId = await wordyRoom({
      initial_state: [{ type: 'm.room.join_rules', content: { join_rule: 'knock' } }],
    });
    await server.must('alice', 'POST', `/rooms/${roomId}/invite`, { user_id: (await server.session('bob')).userId });
    await server.must('carol', 'POST', `/knock/${roomId}`, {});
    for (const [user, section, list] of [
      ['bob', 'invite', 'invite_state'],
      ['carol', 'knock', 'knock_state'],
    ] as const) {
      const { rooms } = await server.must(user, 'GET', '/sync');
      const told = rooms[section][roomId][list].events;
      expect(JSON.stringify(told).length).to.be.lessThan(10_000);
      const types = told.map((event: Json) => event.type);
      expect(types).to.include.members(['m.room.create', 'm.room.join_rules', 'm.room.member']);
      const sliding = await server.must(
        user,
        'POST',
        '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?timeout=0',
        { lists: { all: { ranges: [[0, 9]], timeline_limit: 1, required_state: [] } } },
      );
      expect(JSON.stringify(sliding.rooms[roomId].invite_state).length).to.be.lessThan(10_000);
    }
  });

  it('is told in short by the directory, summaries and hierarchies', async () => {
    const roomId = await wordyRoom({ visibility: 'public', creation_content: { type: 'm.space' } });
    await server.idle();
    const listed = (await server.must('bob', 'GET', '/publicRooms')).chunk.find((one: Json) => one.room_id === roomId);
    const summary = await server.must('bob', 'GET', `/_matrix/client/v1/room_summary/${roomId}`);
    const { rooms } = await server.must('bob', 'GET', `/_matrix/client/v1/rooms/${roomId}/hierarchy`);
    for (const told of [listed, summary, rooms[0]]) {
      expect(JSON.stringify(told).length).to.be.lessThan(8_000);
      expect(told.name).to.match(/^名前x{1000}/);
      expect(told.topic).to.match(/^topic x{4000}/);
      expect(told).not.to.have.property('avatar_url');
    }
  });

  it('is a space whose hierarchy is told page by page, each of which has an end, with the first of its children', async () => {
    const spaces: string[] = [];
    const child = (roomId: string, id: string, filling: string): Promise<Json> =>
      state(roomId, 'm.space.child', { via: ['test'], filling }, id);
    const root = await server.room('alice', { preset: 'public_chat', creation_content: { type: 'm.space' } });
    for (let index = 0; index < 7; index += 1) {
      const space = await server.room('alice', { preset: 'public_chat', creation_content: { type: 'm.space' } });
      spaces.push(space);
      await child(root, space, '');
      for (let at = 0; at < 20; at += 1) await child(space, `!child${index}-${at}:test`, 'x'.repeat(60_000));
    }
    const found: string[] = [];
    let pages = 0;
    for (let from = ''; ; pages += 1) {
      const page = await server.must('bob', 'GET', `/_matrix/client/v1/rooms/${root}/hierarchy?limit=100${from}`);
      expect(JSON.stringify(page).length).to.be.lessThan(5_500_000);
      for (const { room_id: id, children_state: children } of page.rooms) {
        found.push(id);
        expect(JSON.stringify(children).length).to.be.lessThan(1_100_000);
        if (id !== root) expect(children).to.have.length.within(15, 18);
      }
      if (page.next_batch === undefined) break;
      from = `&from=${page.next_batch}`;
    }
    expect(pages).to.equal(1);
    expect(found).to.have.members([root, ...spaces]);
  });

  it('may have any number of references: the first thousand are bundled, and all are read as relations', async () => {
    const roomId = await server.room('exempt-writer');
    const root = await server.say('exempt-writer', roomId, 'root');
    const relation = { 'm.relates_to': { rel_type: 'm.reference', event_id: root } };
    for (let at = 0; at < 1_010; at += 101)
      await Promise.all(
        Array.from({ length: 101 }, (_, index) =>
          server.must('exempt-writer', 'PUT', `/rooms/${roomId}/send/org.ref/${at + index}`, relation),
        ),
      );
    const event = await server.must('exempt-writer', 'GET', `/rooms/${roomId}/event/${encodeURIComponent(root)}`);
    expect(event.unsigned['m.relations']['m.reference'].chunk).to.have.length(1_000);
    const path = `/_matrix/client/v1/rooms/${roomId}/relations/${encodeURIComponent(root)}`;
    const first = await server.must('exempt-writer', 'GET', `${path}?limit=1000`);
    const rest = await server.must('exempt-writer', 'GET', `${path}?limit=1000&from=${first.next_batch}`);
    expect(first.chunk.length + rest.chunk.length).to.equal(1_010);
  });

  it('is written part by part, so that others get their turn of the event loop meanwhile', async () => {
    const roomId = await wordyRoom();
    const { userId } = await server.session('alice');
    const { roomState } = server.services;
    const events = await roomState.all(roomId, userId);
    let turns = 0;
    let isDone = false;
    const turn = (): void => {
      turns += 1;
      if (!isDone) setImmediate(turn);
    };
    setImmediate(turn);
    const texts = await roomState.writeOf(roomId, userId, Array.from({ length: 100 }, () => events).flat());
    isDone = true;
    // Ten megabytes, one of them in each turn.
    expect(texts.join('').length).to.be.greaterThan(10_000_000);
    expect(turns).to.be.at.least(10);
  });

  describe('of more than four megabytes', () => {
    const SIZE = 60_000;
    const COUNT = 80;
    let roomId: string;
    const owner = 'exempt-owner';
    before(async () => {
      roomId = await server.room(owner, { preset: 'public_chat' });
      for (let index = 0; index < COUNT; index += 1)
        await server.must(owner, 'PUT', `/rooms/${roomId}/state/org.large/k${index}`, { text: 'x'.repeat(SIZE) });
    });
    const idsOf = (events: readonly Json[]): string[] => events.map((event) => event.event_id as string);

    it('is sent as it is read, complete, also compressed and for a user who has left', async () => {
      await server.join('bob', roomId);
      const { userId } = await server.session(owner);
      const expected = (await server.services.roomState.all(roomId, userId)).map(({ eventId }) => eventId);
      for (const user of [owner, 'bob'])
        expect(idsOf(await server.must(user, 'GET', `/rooms/${roomId}/state`))).to.have.members(expected);
      for (const encoding of ['gzip', 'zstd', 'identity']) {
        const { token } = await server.session(owner);
        const answer = await fetch(`${server.url}/_matrix/client/v3/rooms/${roomId}/state`, {
          headers: { authorization: `Bearer ${token}`, 'accept-encoding': encoding },
        });
        expect(answer.headers.get('content-encoding')).to.equal(encoding === 'identity' ? null : encoding);
        expect(answer.headers.get('content-length')).to.equal(null);
        expect(idsOf((await answer.json()) as Json[])).to.have.members(expected);
      }
      await server.must('bob', 'POST', `/rooms/${roomId}/leave`, {});
      await server.must(owner, 'PUT', `/rooms/${roomId}/state/m.room.name`, { name: 'after that' });
      const seen = (await server.must('bob', 'GET', `/rooms/${roomId}/state`)) as Json[];
      expect(seen.map(({ type }) => type)).not.to.include('m.room.name');
      expect(seen.filter(({ type }) => type === 'org.large')).to.have.length(COUNT);
    });

    it('costs as many bytes as it has, whether or not they are compressed', async () => {
      const { userId, token } = await server.session('payer');
      await server.join('payer', roomId);
      const { rateLimiter } = server.services;
      const charged: number[] = [];
      const charge = rateLimiter.charge.bind(rateLimiter);
      rateLimiter.charge = (bucket, key, tokens) => {
        if (bucket === 'work' && key === userId) charged.push(tokens);
        charge(bucket, key, tokens);
      };
      for (const encoding of ['identity', 'gzip']) {
        const headers = { authorization: `Bearer ${token}`, 'accept-encoding': encoding };
        const answer = await fetch(`${server.url}/_matrix/client/v3/rooms/${roomId}/state`, { headers });
        await answer.arrayBuffer();
        await server.idle();
      }
      rateLimiter.charge = charge;
      // A millisecond for 32 KiB; what held the event loop on a busy machine is charged beside it.
      expect(charged.filter((cost) => cost > (COUNT * SIZE) / 32_768)).to.have.length(2);
    });

    it('takes no more memory on its way than a few pieces for each of those who ask at the same time', async () => {
      const { bytesInFlight } = server.services;
      let most = 0;
      let isOver = false;
      const look = (): void => {
        most = Math.max(most, bytesInFlight.used);
        if (!isOver) setImmediate(look);
      };
      look();
      const answers = await Promise.all(
        Array.from({ length: 10 }, () => server.must(owner, 'GET', `/rooms/${roomId}/state`)),
      );
      isOver = true;
      for (const answer of answers) expect(answer).to.have.length.greaterThan(COUNT);
      // A quarter of a megabyte each, and two where it is compressed.
      expect(most).to.be.within(1, 10 * 9 * 256 * 1024);
    });
  });
});
