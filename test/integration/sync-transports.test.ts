import { expect } from 'chai';
import { type Account, StreamServer } from '#test/ws/stream-server.ts';

// What a test expects in a body it says itself.
// oxlint-disable-next-line typescript/no-explicit-any
type Body = any;

/** Somebody who follows what happens, whichever way. */
interface Follower {
  /** The next answer that has something to tell. */
  next(): Promise<Body>;
  end(): Promise<void>;
}

type Follow = (
  server: StreamServer,
  account: Account,
  options?: { since?: string; filter?: object },
) => Promise<Follower>;

const byLongPolling: Follow = (server, account, { since: start, filter } = {}) => {
  let since = start;
  const suffix = filter === undefined ? '' : `&filter=${encodeURIComponent(JSON.stringify(filter))}`;
  return Promise.resolve({
    async next() {
      const from = since === undefined ? '' : `&since=${since}`;
      const body = await server.must(account, 'GET', `/sync?timeout=10000${from}${suffix}`);
      since = body.next_batch;
      return body;
    },
    end: () => Promise.resolve(),
  });
};

const byWebSocket: Follow = async (server, account, options = {}) => {
  const client = await server.connect(account, options);
  return { next: () => client.sync(), end: () => client.end() };
};

for (const [transport, follow] of [
  ['long-polling', byLongPolling],
  ['the WebSocket API', byWebSocket],
] as const) {
  describe(`sync by ${transport}`, () => {
    let server: StreamServer;
    let alice: Account;
    let bob: Account;
    let roomId: string;

    before(async function () {
      this.timeout(60_000);
      server = await StreamServer.start({
        config: { sync: { defaultTimelineLimit: 8, maxTimelineLimit: 12 } },
      });
    });
    after(() => server.stop());
    beforeEach(async () => {
      alice = await server.register();
      bob = await server.register();
      roomId = await server.room(alice, bob);
    });

    /** Follows until an answer has what is looked for. */
    const until = async <T>(follower: Follower, look: (body: Body) => T | undefined): Promise<T> => {
      for (let answers = 0; answers < 50; answers++) {
        const found = look(await follower.next());
        if (found !== undefined) return found;
      }
      throw new Error('it was not in 50 answers');
    };
    const texts = (body: Body): string[] =>
      (body.rooms?.join?.[roomId]?.timeline.events ?? [])
        .filter((event: Body) => event.type === 'm.room.message')
        .map((event: Body) => event.content.body);
    const path = (tail: string): string => `/rooms/${encodeURIComponent(roomId)}${tail}`;

    it('sends every message once and in order, also after a reconnect', async () => {
      const seen: string[] = [];
      let since = '';
      const read = async (follower: Follower, count: number): Promise<void> => {
        while (seen.length < count) {
          const body = await follower.next();
          seen.push(...texts(body));
          since = body.next_batch;
        }
        await follower.end();
      };
      const first = await follow(server, bob);
      for (const text of ['一', '二', '三']) await server.say(alice, roomId, text);
      await read(first, 3);
      for (const text of ['四', '五']) await server.say(alice, roomId, text);
      await read(await follow(server, bob, { since }), 5);
      expect(seen).to.deep.equal(['一', '二', '三', '四', '五']);
    });

    it('says that a timeline is limited, and /messages fills the gap', async () => {
      const filter = { room: { timeline: { limit: 2 } } };
      const since = (await server.must(bob, 'GET', '/sync')).next_batch as string;
      for (const text of ['a', 'b', 'c', 'd', 'e']) await server.say(alice, roomId, text);
      const follower = await follow(server, bob, { since, filter });
      const timeline = await until(follower, (body) => body.rooms?.join?.[roomId]?.timeline);
      await follower.end();
      expect(timeline.limited).to.equal(true);
      expect(timeline.events.map((event: Body) => event.content.body)).to.deep.equal(['d', 'e']);
      const page = await server.must(bob, 'GET', path(`/messages?dir=b&limit=3&from=${timeline.prev_batch}`));
      expect(page.chunk.map((event: Body) => event.content.body)).to.deep.equal(['c', 'b', 'a']);
    });

    it('shows as many events as the configuration says: without a limit of the filter, and at most', async () => {
      for (let said = 0; said < 15; said++) await server.say(alice, roomId, `${said}`);
      for (const [limit, length] of [
        [undefined, 8],
        [10, 10],
        [100, 12],
      ] as const) {
        const filter = limit === undefined ? undefined : { room: { timeline: { limit } } };
        const follower = await follow(server, bob, filter === undefined ? {} : { filter });
        const timeline = await until(follower, (body) => body.rooms?.join?.[roomId]?.timeline);
        await follower.end();
        expect(timeline.events, `limit ${limit}`).to.have.length(length);
        expect(timeline.limited).to.equal(true);
      }
    });

    it('tells of sticky events whatever came after them, once, and to those who join as long as they stick', async () => {
      const minute = 60_000;
      const filter = { room: { timeline: { limit: 2 } } };
      const since = (await server.must(bob, 'GET', '/sync')).next_batch as string;
      const stick = `${path('/send/m.rtc.member/sticky')}?org.matrix.msc4354.sticky_duration_ms=${10 * minute}`;
      const { event_id: sticky } = await server.must(alice, 'PUT', stick, { msc4354_sticky_key: 'LAPTOP' });
      for (const text of ['a', 'b', 'c']) await server.say(alice, roomId, text);
      await server.pass(minute);
      const section = (body: Body): Body => body.rooms?.join?.[roomId]?.msc4354_sticky;
      const follower = await follow(server, bob, { since, filter });
      const { events } = await until(follower, section);
      expect(events.map((event: Body) => event.event_id)).to.deep.equal([sticky]);
      expect(events[0].msc4354_sticky).to.deep.equal({ duration_ms: 10 * minute });
      expect(events[0].unsigned.msc4354_sticky_duration_ttl_ms).to.equal(9 * minute);
      await server.say(alice, roomId, 'd');
      const later = await until(follower, (body) => body.rooms?.join?.[roomId]);
      expect(later).not.to.have.property('msc4354_sticky');
      await follower.end();

      const carol = await server.register();
      const newcomer = await follow(server, carol, { filter });
      await newcomer.next();
      await server.must(carol, 'POST', path('/join'), {});
      expect((await until(newcomer, section)).events[0].event_id).to.equal(sticky);
      await newcomer.end();
      await server.pass(10 * minute);
      const again = await server.must(carol, 'GET', `/sync?filter=${encodeURIComponent(JSON.stringify(filter))}`);
      expect(section(again)).to.equal(undefined);
    });

    it('tells of invites, of joining and of leaving', async () => {
      const carol = await server.register();
      const follower = await follow(server, carol);
      await follower.next();
      await server.must(alice, 'POST', path('/invite'), { user_id: carol.userId });
      expect(await until(follower, (body) => body.rooms?.invite?.[roomId]?.invite_state.events)).to.not.be.empty;
      await server.must(carol, 'POST', path('/join'), {});
      expect(await until(follower, (body) => body.rooms?.join?.[roomId]?.summary)).to.include({
        'm.joined_member_count': 3,
      });
      await server.must(alice, 'POST', path('/kick'), { user_id: carol.userId, reason: 'bye' });
      const left = await until(follower, (body) => body.rooms?.leave?.[roomId]?.timeline.events.at(-1));
      expect(left.content).to.include({ membership: 'leave', reason: 'bye' });
      await follower.end();
    });

    it('tells of receipts, typing, account data and unread counts', async () => {
      const follower = await follow(server, bob);
      await follower.next();
      const eventId = await server.say(alice, roomId, 'read me');
      expect(await until(follower, (body) => body.rooms?.join?.[roomId]?.unread_notifications)).to.include({
        notification_count: 1,
      });
      await server.must(bob, 'POST', path(`/receipt/m.read/${encodeURIComponent(eventId)}`), {});
      expect(await until(follower, (body) => body.rooms?.join?.[roomId]?.unread_notifications)).to.include({
        notification_count: 0,
      });
      await server.must(alice, 'PUT', path(`/typing/${encodeURIComponent(alice.userId)}`), { typing: true });
      const typing = await until(follower, (body) =>
        body.rooms?.join?.[roomId]?.ephemeral.events.find((event: Body) => event.type === 'm.typing'),
      );
      expect(typing.content.user_ids).to.deep.equal([alice.userId]);
      await server.must(bob, 'PUT', `/user/${encodeURIComponent(bob.userId)}/account_data/org.example.colour`, {
        is: '青',
      });
      const data = await until(follower, (body) =>
        body.account_data?.events.find((event: Body) => event.type === 'org.example.colour'),
      );
      expect(data.content).to.deep.equal({ is: '青' });
      await follower.end();
    });
  });
}
