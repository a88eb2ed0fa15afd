import { expect } from 'chai';
import fc from 'fast-check';
import { decodeSyncToken } from '#src/protocol/wire/position.ts';
import { WEBSOCKET_PATH } from '#src/ws/web-socket-api.ts';
import { InProcessServer, type Json } from '#test/support/in-process-server.ts';
import { until } from '#test/support/until.ts';
import { StreamClient } from '#test/ws/stream-client.ts';

const MOST_BYTES = 150_000;
const SIZE = 40_000;
/** What one room has beside its large state, and what is no room. */
const SLACK = 30_000;

/** A client: it takes what answers say, as clients do. */
class Client {
  readonly #server: InProcessServer;
  readonly #user: string;
  readonly #filter: string;
  readonly joined = new Map<string, { readonly state: Map<string, string>; readonly events: string[] }>();
  readonly left = new Set<string>();
  readonly invites = new Set<string>();
  token: string | undefined;
  /** Rooms of each answer, and its bytes. */
  readonly answers: { readonly rooms: number; readonly bytes: number }[] = [];

  constructor(server: InProcessServer, user: string, filter: object = { room: { timeline: { limit: 100 } } }) {
    this.#server = server;
    this.#user = user;
    this.#filter = encodeURIComponent(JSON.stringify(filter));
  }

  /** One request. */
  async sync(more = ''): Promise<Json> {
    const since = this.token === undefined ? '' : `&since=${encodeURIComponent(this.token)}`;
    const answer = await this.#server.must(this.#user, 'GET', `/sync?filter=${this.#filter}${since}${more}`);
    const { invite = {}, join = {}, leave = {} } = answer.rooms ?? {};
    this.answers.push({ rooms: Object.keys(join).length, bytes: JSON.stringify(answer).length });
    for (const [roomId, room] of Object.entries<Json>(join)) {
      const known = this.joined.get(roomId);
      if (known !== undefined && room.timeline.limited === true) known.events.length = 0;
      const { events, state } = known ?? { state: new Map<string, string>(), events: [] };
      for (const event of room.state?.events ?? []) state.set(`${event.type} ${event.state_key}`, event.event_id);
      for (const event of room.timeline?.events ?? []) {
        events.push(event.event_id);
        if (event.state_key !== undefined) state.set(`${event.type} ${event.state_key}`, event.event_id);
      }
      this.joined.set(roomId, { state, events });
      this.left.delete(roomId);
      this.invites.delete(roomId);
    }
    for (const roomId of Object.keys(invite)) this.invites.add(roomId);
    for (const roomId of Object.keys(leave)) {
      this.joined.delete(roomId);
      this.invites.delete(roomId);
      this.left.add(roomId);
    }
    this.token = answer.next_batch;
    return answer;
  }

  get isBehind(): boolean {
    return decodeSyncToken(this.token ?? '')?.rooms !== undefined;
  }

  /** Until all was told that there is by now. */
  async catchUp(): Promise<void> {
    do await this.sync();
    while (this.isBehind);
  }
}

describe('a user whose rooms have more state than fits into an answer', function () {
  this.timeout(120_000);
  let server: InProcessServer;
  let count = 0;

  before(async () => {
    server = await InProcessServer.start({ config: { sync: { maxResponseBytes: MOST_BYTES } } });
  });
  after(() => server.stop());

  const name = (what: string): string => `exempt-${what}${(count += 1)}`;
  const largeRoom = async (owner: string): Promise<string> => {
    const roomId = await server.room(owner, { preset: 'public_chat' });
    await server.must(owner, 'PUT', `/rooms/${roomId}/state/org.large/k`, { text: 'x'.repeat(SIZE) });
    return roomId;
  };
  /** The client knows of its rooms what the server does. */
  const assertKnowsAll = async (user: string, client: Client): Promise<void> => {
    const rooms = (await server.must(user, 'GET', '/joined_rooms')).joined_rooms as string[];
    expect([...client.joined.keys()]).to.have.members(rooms);
    for (const roomId of rooms) {
      const known = client.joined.get(roomId);
      const state = (await server.must(user, 'GET', `/rooms/${roomId}/state`)) as Json[];
      expect(Object.fromEntries(known?.state ?? [])).to.deep.equal(
        Object.fromEntries(state.map((event) => [`${event.type} ${event.state_key}`, event.event_id])),
      );
      const { chunk } = await server.must(user, 'GET', `/rooms/${roomId}/messages?dir=b&limit=100`);
      const newest = (chunk as Json[]).map((event) => event.event_id as string).toReversed();
      expect(known?.events).to.deep.equal(newest.slice(-(known?.events.length ?? 0)));
      expect(known?.events.length).to.be.greaterThan(0);
    }
  };

  it('is told of them in several answers, each of which has an end, and of all of them', async () => {
    const user = name('user');
    const rooms: string[] = [];
    for (let index = 0; index < 12; index += 1) rooms.push(await largeRoom(user));
    const client = new Client(server, user);
    await client.catchUp();
    await assertKnowsAll(user, client);
    expect(client.answers.length).to.be.within(3, 12);
    for (const { bytes } of client.answers) expect(bytes).to.be.lessThan(MOST_BYTES + SIZE + SLACK);
    // Then it waits for news as always.
    const started = server.clock.monotonic();
    const waiting = client.sync('&timeout=5000');
    await server.say(user, rooms[0] ?? '', 'news');
    expect((await waiting).rooms.join[rooms[0] ?? ''].timeline.events).to.have.length(1);
    expect(server.clock.monotonic()).to.equal(started);
    await assertKnowsAll(user, client);
  });

  it('is told so after an absence, with full_state, and after a restart', async () => {
    const user = name('user');
    const first = await server.room(user);
    const client = new Client(server, user);
    await client.catchUp();
    for (let index = 0; index < 9; index += 1) await largeRoom(user);
    await client.sync();
    expect(client.isBehind).to.equal(true);
    await server.restart();
    await client.catchUp();
    await assertKnowsAll(user, client);
    await server.must(user, 'POST', `/rooms/${first}/leave`, {});
    await client.sync('&full_state=true');
    expect(client.isBehind).to.equal(true);
    const before = client.answers.length;
    await client.catchUp();
    await assertKnowsAll(user, client);
    expect(client.left.has(first)).to.equal(true);
    const told = client.answers.slice(before - 1).reduce((sum, { rooms }) => sum + rooms, 0);
    expect(told).to.equal(9);
  });

  it('is told in each of several answers no more than one such room, also where each room is told from a position of its own', async () => {
    const user = name('user');
    const host = name('host');
    const client = new Client(server, user);
    await client.catchUp();
    const rooms: string[] = [];
    for (let index = 0; index < 8; index += 1) {
      const roomId = await largeRoom(host);
      for (const key of ['l', 'm', 'n'])
        await server.setState(host, roomId, 'org.large', { text: 'x'.repeat(SIZE) }, key);
      rooms.push(roomId);
    }
    // The first of the two is told, the second is left behind.
    for (let pair = rooms.length - 2; pair >= 0; pair -= 2) {
      await server.join(user, ...rooms.slice(pair, pair + 2));
      await client.sync();
    }
    expect(decodeSyncToken(client.token ?? '')?.rooms).to.have.length(4);
    await client.catchUp();
    await assertKnowsAll(user, client);
    for (const { bytes } of client.answers) expect(bytes).to.be.lessThan(4 * SIZE + SLACK);
  });

  /** A client that loads members lazily and asks for profiles, whose user is in rooms of one host each. */
  const lazyClient = async (): Promise<{ client: Client; rooms: ReadonlyMap<string, string> }> => {
    const user = name('user');
    const rooms = new Map<string, string>();
    for (let index = 0; index < 12; index += 1) {
      const host = name('host');
      const { userId } = await server.session(host);
      await server.must(host, 'PUT', `/profile/${userId}/m.tz`, { 'm.tz': 'Asia/Tokyo' });
      const roomId = await largeRoom(host);
      await server.join(user, roomId);
      rooms.set(roomId, host);
    }
    const filter = {
      room: { state: { lazy_load_members: true }, timeline: { limit: 5 } },
      'org.matrix.msc4429.profile_fields': { ids: ['m.tz'] },
    };
    return { client: new Client(server, user, filter), rooms };
  };

  it('is told the profiles of all whom these rooms show, when members are loaded lazily', async () => {
    const { client, rooms } = await lazyClient();
    const profiles = new Set<string>();
    do {
      const { 'org.matrix.msc4429.users': users = {} } = await client.sync();
      for (const userId of Object.keys(users)) profiles.add(userId);
    } while (client.isBehind);
    expect(client.answers.length).to.be.at.least(3);
    for (const host of rooms.values()) expect([...profiles]).to.include((await server.session(host)).userId);
  });

  it('is told once of the members of all these rooms, when members are loaded lazily', async () => {
    const { client, rooms } = await lazyClient();
    await client.catchUp();
    expect(client.answers.length).to.be.at.least(3);
    for (const [roomId, host] of rooms) await server.say(host, roomId, 'words');
    const { rooms: told } = await client.sync();
    expect(Object.keys(told.join)).to.have.members([...rooms.keys()]);
    for (const { state } of Object.values<Json>(told.join)) expect(state.events).to.deep.equal([]);
  });

  it('is told again of lazily loaded members by an answer that got lost, although it ends where the one before it does', async () => {
    const { client, rooms } = await lazyClient();
    const writer = name('writer');
    for (const [roomId, host] of rooms) {
      await server.join(writer, roomId);
      await server.setState(host, roomId, 'm.room.name', { name: 'room' });
      for (let index = 0; index < 6; index += 1) await server.say(host, roomId, 'words');
    }
    await client.catchUp();
    for (const roomId of rooms.keys()) await server.say(writer, roomId, 'x'.repeat(SIZE / 2));
    await client.sync();
    expect(client.isBehind).to.equal(true);
    const before = client.token;
    const lost = await client.sync();
    expect(client.isBehind).to.equal(false);
    client.token = before;
    const again = await client.sync();
    expect(again.rooms).to.deep.equal(lost.rooms);
    expect(again.rooms.join).not.to.deep.equal({});
    const { userId } = await server.session(writer);
    for (const { state } of Object.values<Json>(again.rooms.join))
      expect(state.events.map((event: Json) => event.state_key)).to.deep.equal([userId]);
  });

  it('loses nothing that happens between these answers, whatever it is', async () => {
    const step = fc.constantFrom('say', 'state', 'new', 'leave', 'return', 'invite', 'sync', 'sync');
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(step, fc.nat(11)), { minLength: 8, maxLength: 14 }), async (steps) => {
        const user = name('user');
        const host = name('host');
        const rooms: string[] = [];
        for (let index = 0; index < 8; index += 1) {
          const roomId = await largeRoom(host);
          rooms.push(roomId);
          await server.join(user, roomId);
        }
        const client = new Client(server, user);
        await client.sync();
        for (const [what, which] of steps) {
          const room = rooms[which % rooms.length] ?? '';
          if (what === 'say') await server.say(host, room, 'words');
          else if (what === 'state')
            await server.must(host, 'PUT', `/rooms/${room}/state/org.large/k${which}`, { text: 'y'.repeat(SIZE) });
          else if (what === 'new') {
            const roomId = await largeRoom(host);
            rooms.push(roomId);
            await server.join(user, roomId);
          } else if (what === 'leave') await server.must(user, 'POST', `/rooms/${room}/leave`, {});
          else if (what === 'return') await server.join(user, room);
          else if (what === 'invite') {
            const roomId = await server.room(host);
            const { userId } = await server.session(user);
            await server.must(host, 'POST', `/rooms/${roomId}/invite`, { user_id: userId });
          } else await client.sync();
        }
        await client.catchUp();
        await client.catchUp();
        await assertKnowsAll(user, client);
        const { userId } = await server.session(user);
        for (const roomId of client.left)
          expect((await server.ask(user, 'GET', `/rooms/${roomId}/joined_members`)).status, userId).to.equal(403);
      }),
      { numRuns: Number(process.env['SYNC_PARTS_RUNS'] ?? 6) },
    );
  });

  it('is told of them in several frames of a WebSocket, one after the other without any other news', async () => {
    const user = name('user');
    const rooms: string[] = [];
    for (let index = 0; index < 12; index += 1) rooms.push(await largeRoom(user));
    const { token } = await server.session(user);
    const client = await StreamClient.open(`${server.url.replace(/^http/, 'ws')}${WEBSOCKET_PATH}`, { token });
    const told = (): ReadonlySet<string> =>
      new Set(client.syncs.flatMap((sync) => Object.keys(sync.rooms?.join ?? {})));
    await until('all rooms are told', () => rooms.every((roomId) => told().has(roomId)));
    expect(client.syncs.length).to.be.at.least(3);
    await client.end();
  });

  it('is told of them in several answers of sliding sync, and of what happened meanwhile in those that are still to come', async () => {
    const user = name('user');
    const rooms: string[] = [];
    for (let index = 0; index < 12; index += 1) rooms.push(await largeRoom(user));
    const path = '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?timeout=0';
    const wish = { lists: { all: { ranges: [[0, 99]], timeline_limit: 5, required_state: [['*', '*']] } } };
    const texts = new Map<string, Set<string>>();
    let pos = '';
    let answers = 0;
    for (;;) {
      const answer = await server.must(user, 'POST', `${path}${pos}`, wish);
      expect(answer.lists.all.count).to.equal(12);
      expect(JSON.stringify(answer).length).to.be.lessThan(MOST_BYTES + 2 * SIZE + 12 * SLACK);
      pos = `&pos=${answer.pos}`;
      const told = Object.entries<Json>(answer.rooms ?? {});
      if (told.length === 0) break;
      answers += 1;
      for (const [roomId, room] of told) {
        const known = texts.get(roomId) ?? new Set();
        for (const event of [...(room.required_state ?? []), ...(room.timeline ?? [])]) known.add(event.event_id);
        texts.set(roomId, known);
      }
      if (answers < 3) for (const roomId of rooms) await server.say(user, roomId, `words ${answers}`);
      expect(answers).to.be.lessThan(20);
    }
    expect(answers).to.be.at.least(3);
    for (const roomId of rooms) {
      const state = (await server.must(user, 'GET', `/rooms/${roomId}/state`)) as Json[];
      const { chunk } = await server.must(user, 'GET', `/rooms/${roomId}/messages?dir=b&limit=2`);
      for (const event of [...state, ...(chunk as Json[])])
        expect([...(texts.get(roomId) ?? [])]).to.include(event.event_id);
    }
  });

  it('is told by the extensions of sliding sync of receipts, account data, who types, and profiles once the room is told, and once', async () => {
    const user = name('user');
    const friend = name('friend');
    const [{ userId }, { userId: friendId }] = [await server.session(user), await server.session(friend)];
    await server.must(friend, 'PUT', `/profile/${friendId}/m.tz`, { 'm.tz': 'Asia/Tokyo' });
    await server.must(friend, 'PUT', `/profile/${friendId}/displayname`, { displayname: '友' });
    const rooms: string[] = [];
    for (let index = 0; index < 12; index += 1) {
      const roomId = await largeRoom(user);
      await server.join(friend, roomId);
      rooms.push(roomId);
    }
    const happen = async (typing: boolean): Promise<void> => {
      for (const roomId of rooms) {
        const eventId = await server.say(user, roomId, 'words');
        await server.must(user, 'PUT', `/user/${userId}/rooms/${roomId}/account_data/org.y`, { eventId });
        await server.must(friend, 'POST', `/rooms/${roomId}/receipt/m.read/${eventId}`, {});
        await server.must(friend, 'PUT', `/rooms/${roomId}/typing/${friendId}`, { typing, timeout: 30_000 });
      }
      await server.idle();
    };
    const path = '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?timeout=0';
    const lists = { all: { ranges: [[0, 99]], timeline_limit: 5, required_state: [['*', '*']] } };
    const enabled = { enabled: true };
    let pos = '';
    let profiles: Json[] = [];
    /** The rooms of each answer, until there is nothing more to tell. */
    const tellAll = async (fields: readonly string[]): Promise<readonly string[][]> => {
      const extensions = {
        account_data: enabled,
        receipts: enabled,
        typing: enabled,
        'org.matrix.msc4262.profiles': { enabled: true, fields },
      };
      const answers: string[][] = [];
      profiles = [];
      for (;;) {
        const answer = await server.must(user, 'POST', `${path}${pos}`, { lists, extensions });
        pos = `&pos=${answer.pos}`;
        const told = Object.keys(answer.rooms ?? {});
        const { account_data, receipts, typing, 'org.matrix.msc4262.profiles': more } = answer.extensions;
        for (const [what, { rooms: of = {} }] of Object.entries<Json>({ account_data, receipts, typing }))
          expect(Object.keys(of), what).to.have.members(told);
        if (more?.users?.[friendId] !== undefined) profiles.push(more.users[friendId]);
        if (told.length === 0) return answers;
        answers.push(told);
      }
    };
    await happen(true);
    const first = await tellAll(['m.tz']);
    expect(first.length).to.be.at.least(3);
    expect(first.flat().toSorted()).to.deep.equal(rooms.toSorted());
    expect(profiles.length).to.be.at.least(1);
    await happen(false);
    for (const roomId of rooms) await server.setState(user, roomId, 'org.large', { text: 'y'.repeat(SIZE) }, 'k');
    const second = await tellAll(['m.tz', 'displayname']);
    expect(second.length).to.be.at.least(3);
    expect(second.flat().toSorted()).to.deep.equal(rooms.toSorted());
    expect(JSON.stringify(profiles)).to.include('友');
  });

  it('is told so by /initialSync, which has no parts, of all rooms and of one that is as large', async () => {
    const user = name('user');
    const small = await server.room(user);
    expect((await server.ask(user, 'GET', '/initialSync')).status).to.equal(200);
    const large = await largeRoom(user);
    for (let index = 0; index < 4; index += 1)
      await server.must(user, 'PUT', `/rooms/${large}/state/org.large/more${index}`, { text: 'x'.repeat(SIZE) });
    for (const path of ['/initialSync', `/rooms/${large}/initialSync`]) {
      const { body, status } = await server.ask(user, 'GET', path);
      expect([status, body.errcode]).to.deep.equal([413, 'M_TOO_LARGE']);
    }
    expect((await server.ask(user, 'GET', `/rooms/${small}/initialSync`)).status).to.equal(200);
  });
});
