import { expect } from 'chai';
import { type Body, ConformanceServer, type Person } from './conformance-server.ts';

const bodies = (section: Body): string[] =>
  section.timeline.events
    .filter((event: Body) => event.type === 'm.room.message')
    .map((event: Body) => event.content.body);
const WITH_LEFT = { room: { include_leave: true } };

describe('/sync keeps its promises', function () {
  this.timeout(60_000);
  let server: ConformanceServer;
  let alice: Person;
  let bob: Person;
  let carol: Person;

  before(async () => {
    server = await ConformanceServer.start();
    [alice, bob, carol] = await server.people();
  });
  after(() => server?.stop());

  const leave = (person: Person, roomId: string): Promise<unknown> =>
    server.must(person, 'POST', `/rooms/${roomId}/leave`, {});
  const visibility = (roomId: string, is: string): Promise<unknown> =>
    server.must(alice, 'PUT', `/rooms/${roomId}/state/m.room.history_visibility/`, { history_visibility: is });

  describe('of rooms that one has left', () => {
    it('shows one’s own leave once, with an empty state, even where history is for members only', async () => {
      const roomId = await server.room(alice, [bob]);
      await visibility(roomId, 'joined');
      const { next_batch: since } = await server.sync(bob);
      await leave(bob, roomId);
      await server.say(alice, roomId, '内緒');
      const after = await server.sync(bob, { since });
      const { timeline, state } = after.rooms.leave[roomId];
      expect(
        timeline.events.map((event: Body) => [event.type, event.state_key, event.content.membership]),
      ).to.deep.equal([['m.room.member', bob.userId, 'leave']]);
      expect(state.events).to.deep.equal([]);
      const later = await server.sync(bob, { since: after.next_batch });
      expect(later.rooms?.leave?.[roomId]).to.equal(undefined);
    });

    it('shows it although more happened than a timeline holds', async () => {
      const roomId = await server.room(alice, [bob]);
      const { next_batch: since } = await server.sync(bob);
      for (let index = 0; index < 8; index += 1) await server.say(alice, roomId, `${index}`);
      await leave(bob, roomId);
      const { rooms } = await server.sync(bob, { since, filter: { room: { timeline: { limit: 3 } } } });
      expect(rooms.leave[roomId].timeline.limited).to.equal(true);
      expect(rooms.leave[roomId].timeline.events.at(-1).content).to.deep.equal({ membership: 'leave' });
    });

    it('shows only the join of who left and came back in between', async () => {
      const roomId = await server.room(alice, [bob]);
      const { next_batch: since } = await server.sync(bob);
      await leave(bob, roomId);
      await server.must(bob, 'POST', `/rooms/${roomId}/join`, {});
      const { rooms } = await server.sync(bob, { since });
      expect(Object.keys(rooms.join)).to.include(roomId);
      expect(rooms.leave?.[roomId]).to.equal(undefined);
    });

    it('shows the rejection of an invite, and its withdrawal, as a leave', async () => {
      for (const end of [() => alice, () => bob]) {
        const { room_id: roomId } = await server.must(alice, 'POST', '/createRoom', { invite: [bob.userId] });
        const { next_batch: since, rooms } = await server.sync(bob);
        expect(rooms.invite).to.have.property(roomId);
        if (end() === bob) await leave(bob, roomId);
        else await server.must(alice, 'POST', `/rooms/${roomId}/kick`, { user_id: bob.userId });
        const after = await server.sync(bob, { since });
        expect(after.rooms.leave[roomId].timeline.events).to.have.length(1);
        expect(after.rooms.invite?.[roomId]).to.equal(undefined);
      }
    });

    it('tells the leave to who takes state after the timeline, under both names', async () => {
      for (const name of ['use_state_after', 'org.matrix.msc4222.use_state_after']) {
        const { room_id: roomId } = await server.must(alice, 'POST', '/createRoom', { invite: [bob.userId] });
        const { next_batch: since } = await server.sync(bob);
        await leave(bob, roomId);
        const { rooms } = await server.must(bob, 'GET', `/sync?${name}=true&since=${since}`);
        const { events } =
          rooms.leave[roomId][name === 'use_state_after' ? 'state_after' : 'org.matrix.msc4222.state_after'];
        expect(
          events.map((event: Body) => event.content.membership),
          name,
        ).to.deep.equal(['leave']);
      }
    });

    it('stops at the leave with include_leave, and has the leave in the state when there is no timeline', async () => {
      const roomId = await server.room(alice, [bob]);
      await server.must(alice, 'PUT', `/rooms/${roomId}/state/m.room.name/`, { name: '前' });
      await leave(bob, roomId);
      await server.must(alice, 'PUT', `/rooms/${roomId}/state/m.room.name/`, { name: '後' });
      await server.say(alice, roomId, '後の話');
      const shown = (await server.sync(bob, { filter: WITH_LEFT })).rooms.leave[roomId];
      expect(shown.timeline.events.at(-1).content.membership).to.equal('leave');
      expect(bodies(shown)).to.deep.equal([]);
      const empty = (await server.sync(bob, { filter: { room: { include_leave: true, timeline: { limit: 0 } } } }))
        .rooms.leave[roomId];
      const held = (type: string, key: string): Body =>
        empty.state.events.find((event: Body) => event.type === type && event.state_key === key)?.content;
      expect(held('m.room.member', bob.userId)).to.deep.equal({ membership: 'leave' });
      expect(held('m.room.name', '')).to.deep.equal({ name: '前' });
      expect((await server.sync(bob)).rooms?.leave?.[roomId]).to.equal(undefined);
    });

    it('forgets them even with include_leave, yet still shows the leave to who was there before it', async () => {
      const roomId = await server.room(alice, [bob]);
      const { next_batch: since } = await server.sync(bob);
      await leave(bob, roomId);
      await server.must(bob, 'POST', `/rooms/${roomId}/forget`, {});
      expect((await server.sync(bob, { filter: WITH_LEFT })).rooms?.leave?.[roomId]).to.equal(undefined);
      const { rooms } = await server.sync(bob, { since });
      expect(rooms.leave[roomId].timeline.events.at(-1).content.membership).to.equal('leave');
    });
  });

  it('hides invites of ignored users', async () => {
    const { next_batch: since } = await server.sync(carol);
    await server.must(carol, 'PUT', `/user/${carol.userId}/account_data/m.ignored_user_list`, {
      ignored_users: { [alice.userId]: {} },
    });
    const { room_id: roomId } = await server.must(alice, 'POST', '/createRoom', { invite: [carol.userId] });
    expect((await server.sync(carol, { since })).rooms?.invite?.[roomId]).to.equal(undefined);
    expect((await server.sync(carol)).rooms?.invite?.[roomId]).to.equal(undefined);
    await server.must(carol, 'PUT', `/user/${carol.userId}/account_data/m.ignored_user_list`, { ignored_users: {} });
  });

  describe('of timelines', () => {
    it('is in order of arrival, and /messages from its prev_batch gives every event that was skipped', async () => {
      const roomId = await server.room(alice, [bob]);
      const { next_batch: since } = await server.sync(bob);
      for (let index = 1; index <= 6; index += 1) await server.say(alice, roomId, `${index}`);
      const { rooms } = await server.sync(bob, { since, filter: { room: { timeline: { limit: 2 } } } });
      const { timeline } = rooms.join[roomId];
      expect(timeline.limited).to.equal(true);
      expect(bodies(rooms.join[roomId])).to.deep.equal(['5', '6']);
      const page = await server.must(bob, 'GET', `/rooms/${roomId}/messages?dir=b&limit=4&from=${timeline.prev_batch}`);
      expect(page.chunk.map((event: Body) => event.content.body)).to.deep.equal(['4', '3', '2', '1']);
    });

    it('tells in state what changed in a gap, and not what stands in the timeline', async () => {
      const roomId = await server.room(alice, [bob]);
      const { next_batch: since } = await server.sync(bob);
      await server.must(alice, 'PUT', `/rooms/${roomId}/state/m.room.name/`, { name: '隙間' });
      for (let index = 1; index <= 3; index += 1) await server.say(alice, roomId, `${index}`);
      await server.must(alice, 'PUT', `/rooms/${roomId}/state/m.room.topic/`, { topic: '最後' });
      const { rooms } = await server.sync(bob, { since, filter: { room: { timeline: { limit: 2 } } } });
      expect(rooms.join[roomId].state.events.map((event: Body) => event.type)).to.deep.equal(['m.room.name']);
      expect(rooms.join[roomId].timeline.events.at(-1).type).to.equal('m.room.topic');
    });

    it('has one’s own membership at each event, and the transaction id for the device that sent it only', async () => {
      const roomId = await server.room(alice);
      await server.say(alice, roomId, '前');
      await server.must(bob, 'POST', `/rooms/${roomId}/join`, {});
      const other = await server.logIn(bob.userId);
      await server.must(bob, 'PUT', `/rooms/${roomId}/send/m.room.message/一`, { msgtype: 'm.text', body: '後' });
      const seen = (await server.sync(bob)).rooms.join[roomId].timeline.events;
      const unsignedOf = (events: Body[], body: string): Body =>
        events.find((event) => event.content.body === body).unsigned;
      expect(unsignedOf(seen, '前')).to.include({ membership: 'leave' });
      expect(unsignedOf(seen, '後')).to.include({ membership: 'join', transaction_id: '一' });
      const elsewhere = (await server.sync(other)).rooms.join[roomId].timeline.events;
      expect(unsignedOf(elsewhere, '後')).not.to.have.property('transaction_id');
    });

    it('has the create event of version 12 without room_id, which every other answer has', async () => {
      const roomId = await server.room(alice, [], { room_version: '12' });
      const create = (await server.sync(alice)).rooms.join[roomId].timeline.events[0];
      expect(create.type).to.equal('m.room.create');
      expect(create).not.to.have.property('room_id');
      const [state, event, page] = [
        await server.must(alice, 'GET', `/rooms/${roomId}/state`),
        await server.must(alice, 'GET', `/rooms/${roomId}/event/${create.event_id}`),
        await server.must(alice, 'GET', `/rooms/${roomId}/messages?dir=f&limit=1`),
      ];
      for (const seen of [state.find((one: Body) => one.type === 'm.room.create'), event, page.chunk[0]]) {
        expect(seen).to.include({ event_id: create.event_id, room_id: roomId });
      }
    });

    it('brings a redacted event without its content', async () => {
      const roomId = await server.room(alice);
      const eventId = await server.say(alice, roomId, '秘密');
      await server.must(alice, 'PUT', `/rooms/${roomId}/redact/${eventId}/r1`, { reason: '誤' });
      const event = (await server.sync(alice)).rooms.join[roomId].timeline.events.find(
        (one: Body) => one.event_id === eventId,
      );
      expect(event.content).to.deep.equal({});
      expect(event.unsigned.redacted_because).to.include({ type: 'm.room.redaction', sender: alice.userId });
    });
  });

  describe('of unread counts', () => {
    it('counts threads apart only for who asks for that', async () => {
      const roomId = await server.room(alice, [bob]);
      const root = await server.say(alice, roomId, '話題');
      const relation = { 'm.relates_to': { rel_type: 'm.thread', event_id: root } };
      await server.must(alice, 'PUT', `/rooms/${roomId}/send/m.room.message/thread`, {
        msgtype: 'm.text',
        body: '返事',
        ...relation,
      });
      const together = (await server.sync(bob)).rooms.join[roomId];
      expect(together.unread_notifications).to.deep.equal({ notification_count: 2, highlight_count: 0 });
      expect(together.unread_thread_notifications ?? {}).to.deep.equal({});
      const apart = (await server.sync(bob, { filter: { room: { timeline: { unread_thread_notifications: true } } } }))
        .rooms.join[roomId];
      expect(apart.unread_notifications).to.deep.equal({ notification_count: 1, highlight_count: 0 });
      expect(apart.unread_thread_notifications).to.deep.equal({
        [root]: { notification_count: 1, highlight_count: 0 },
      });
    });
  });

  describe('of prev_batch', () => {
    const membersAt = async (roomId: string, at: string): Promise<string[]> => {
      const { chunk } = await server.must(alice, 'GET', `/rooms/${roomId}/members?at=${encodeURIComponent(at)}`);
      return chunk.map((event: Body) => event.state_key);
    };

    it('gives the members as of the sync where the timeline goes back to the beginning of the room', async () => {
      const roomId = await server.room(alice, [bob]);
      const filter = { room: { timeline: { limit: 100 } } };
      const { timeline } = (await server.sync(alice, { filter })).rooms.join[roomId];
      expect(timeline.events[0].type).to.equal('m.room.create');
      await server.must(carol, 'POST', `/rooms/${roomId}/join`, {});
      expect(await membersAt(roomId, timeline.prev_batch)).to.have.members([alice.userId, bob.userId]);
    });

    it('gives the members before a timeline that begins later', async () => {
      const roomId = await server.room(alice, [bob]);
      await server.must(carol, 'POST', `/rooms/${roomId}/join`, {});
      const filter = { room: { timeline: { limit: 1 } } };
      const { timeline } = (await server.sync(alice, { filter })).rooms.join[roomId];
      expect(await membersAt(roomId, timeline.prev_batch)).to.have.members([alice.userId, bob.userId]);
    });
  });

  describe('waits until there is news', () => {
    const news = async (since: string, happen: () => Promise<unknown>): Promise<Body> => {
      const waiting = server.sync(bob, { since, timeout: 10_000 });
      await server.isWaitedFor(10_000);
      await happen();
      return waiting;
    };

    it('a change of push rules is some', async () => {
      const { next_batch: since } = await server.sync(bob);
      const body = await news(since, () =>
        server.must(bob, 'PUT', '/pushrules/global/content/tea', { pattern: 'お茶', actions: ['notify'] }),
      );
      const { content } = body.account_data.events.find((event: Body) => event.type === 'm.push_rules');
      expect(content.global.content.map((rule: Body) => rule.rule_id)).to.include('tea');
    });

    it('presence of newcomers and of those whom they find is told once', async () => {
      const dave = await server.register();
      await server.sync(dave);
      expect((await server.must(dave, 'GET', `/presence/${dave.userId}/status`)).presence).to.equal('online');
      const roomId = await server.room(bob);
      const { next_batch: since } = await server.sync(bob);
      const { next_batch: davesSince } = await server.sync(dave);
      await server.must(dave, 'POST', `/rooms/${roomId}/join`, {});
      const first = await server.sync(bob, { since });
      expect(first.presence.events.map((event: Body) => event.sender)).to.include(dave.userId);
      expect(first.presence.events.find((event: Body) => event.sender === dave.userId).content.presence).to.equal(
        'online',
      );
      const found = await server.sync(dave, { since: davesSince });
      expect(found.presence.events.map((event: Body) => event.sender)).to.include(bob.userId);
      const second = await server.sync(bob, { since: first.next_batch });
      expect((second.presence?.events ?? []).filter((event: Body) => event.sender === dave.userId)).to.deep.equal([]);
    });

    it('the presence that a sync sets is told to others', async () => {
      const roomId = await server.room(bob, [carol]);
      await server.must(carol, 'GET', '/sync?set_presence=unavailable');
      const { presence } = await server.must(bob, 'GET', `/presence/${carol.userId}/status`);
      expect(presence).to.equal('unavailable');
      await leave(carol, roomId);
    });

    it('the end of its session ends it, with 401', async () => {
      const phone = await server.logIn(bob.userId);
      // The news of its own presence comes first.
      const { next_batch: first } = await server.sync(phone);
      await server.idle();
      const { next_batch: since } = await server.sync(phone, { since: first });
      const waiting = server.ask(phone, 'GET', `/sync?timeout=10000&since=${since}`);
      await server.isWaitedFor(10_000);
      await server.must(phone, 'POST', '/logout', {});
      const { status, body } = await waiting;
      expect([status, body.errcode, body.soft_logout ?? false]).to.deep.equal([401, 'M_UNKNOWN_TOKEN', false]);
    });
  });
});
