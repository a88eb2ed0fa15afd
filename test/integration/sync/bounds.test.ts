import { setImmediate } from 'node:timers/promises';
import { expect } from 'chai';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { SyncPosition } from '#src/protocol/wire/position.ts';
import { WindowNames } from '#src/services/sync/sliding/room-lists.ts';
import { slidingEncoder } from '#src/services/sync/sliding/sliding-encoder.ts';
import { parseSlidingBody } from '#src/services/sync/sliding/sliding-request.ts';
import { LookUps } from '#test/support/look-ups.ts';
import { InProcessServer, type Json } from '#test/support/in-process-server.ts';

const LARGE = 'x'.repeat(10_000);

describe('a sync response', function () {
  this.timeout(60_000);
  let server: InProcessServer;

  before(async () => {
    server = await InProcessServer.start({ config: { sync: { maxTimelineBytes: 50_000, maxResponseBytes: 200_000 } } });
  });
  after(() => server.stop());

  const sync = (query: string): Promise<Json> => server.must('alice', 'GET', `/sync?timeout=0${query}`);
  const filter = encodeURIComponent(JSON.stringify({ room: { timeline: { limit: 100 } } }));
  const texts = (events: Json[]): string[] =>
    events.filter(({ type }) => type === 'm.room.message').map(({ content }) => content.body.slice(0, 4));
  const number = (n: number): string => String(n).padStart(4, '0');

  it('ends a timeline where it has as many bytes as are allowed, and /messages continues there', async () => {
    const roomId = await server.room('alice');
    const since = (await sync('')).next_batch;
    for (let n = 0; n < 12; n++) await server.say('alice', roomId, number(n) + LARGE);
    const all = Array.from({ length: 12 }, (_, n) => number(n));
    const look = async (name: string): Promise<void> => {
      for (const query of [`&since=${since}&filter=${filter}`, `&filter=${filter}`]) {
        const { timeline } = (await sync(query)).rooms.join[roomId];
        expect(texts(timeline.events), name).to.deep.equal(all.slice(-4));
        expect(timeline.limited).to.equal(true);
        const { chunk } = await server.must(
          'alice',
          'GET',
          `/rooms/${roomId}/messages?dir=b&limit=100&from=${timeline.prev_batch}`,
        );
        expect(texts(chunk)).to.deep.equal(all.slice(0, -4).toReversed());
      }
    };
    await look('in memory');
    await server.restart();
    await look('from the database');
  });

  it('shows the newest event of each room, however large all of them are together', async () => {
    const since = (await sync('')).next_batch;
    const rooms: string[] = [];
    for (let n = 0; n < 40; n++) {
      const roomId = await server.room('alice');
      for (let m = 0; m < 2; m++) await server.say('alice', roomId, number(m) + LARGE);
      rooms.push(roomId);
    }
    const { join } = (await sync(`&since=${since}&filter=${filter}`)).rooms;
    for (const roomId of rooms) {
      expect(texts(join[roomId].timeline.events)).to.deep.equal([number(1)]);
      expect(join[roomId].timeline.limited).to.equal(true);
    }
  });

  it('of many rooms lets others have their turn while it is written', async () => {
    const names = Array.from({ length: 150 }, (_, n) => n);
    for (const n of names) await server.room('alice', { name: `Room ${n}` });
    await sync('');
    const request = { isOver: false };
    let turns = 0;
    const { sync: engine, filters } = server.services;
    const answers: string[] = [];
    const ask = async (): Promise<void> => {
      for (let since: SyncPosition | undefined; answers.length === 0 || since?.rooms !== undefined;) {
        const answer = await engine.sync({
          userId: '@alice:test',
          deviceId: undefined,
          since,
          filter: await filters.filterFor('@alice:test', undefined),
          fullState: false,
          timeout: 0,
          stateAfter: undefined,
          signal: new AbortController().signal,
        });
        answers.push(answer.body);
        since = answer.next;
      }
    };
    const all = ask().finally(() => (request.isOver = true));
    while (!request.isOver) {
      await setImmediate();
      turns += 1;
    }
    await all;
    const rooms = new Set(answers.flatMap((body) => Object.keys(JSON.parse(body).rooms.join)));
    expect(rooms.size).to.be.at.least(150);
    const length = answers.reduce((sum, body) => sum + body.length, 0);
    // A turn writes 150 000 characters at most.
    expect(turns).to.be.at.least(Math.floor(length / 150_000));
  });

  it('that is long is sent in pieces, and is the same as in one', async () => {
    const content = { text: '会議'.repeat(40_000) };
    const { token, userId } = await server.session('judy');
    for (const n of [0, 1, 2])
      await server.must(
        'judy',
        'PUT',
        `/user/${encodeURIComponent(userId)}/account_data/org.example.large${n}`,
        content,
      );
    await server.room('judy');
    for (const encoding of ['identity', 'gzip']) {
      const answer = await fetch(`${server.url}/_matrix/client/v3/sync?timeout=0`, {
        headers: { Authorization: `Bearer ${token}`, 'Accept-Encoding': encoding },
      });
      expect(answer.headers.get('transfer-encoding'), 'its bytes are not counted before it is sent').to.equal(
        'chunked',
      );
      expect(answer.headers.get('content-encoding')).to.equal(encoding === 'identity' ? null : encoding);
      const { account_data: data, rooms } = (await answer.json()) as Json;
      const large = data.events.filter(({ type }: Json) => type.startsWith('org.example.large'));
      expect(large.map((event: Json) => event.content)).to.deep.equal([content, content, content]);
      expect(Object.keys(rooms.join)).to.have.lengthOf(1);
    }
  });

  it('of sliding sync lets others have their turn while it is written, also within the state of one room', async () => {
    const roomId = await server.room('carol');
    const states = Array.from({ length: 60 }, (_, n) => n);
    for (const n of states)
      await server.must('carol', 'PUT', `/rooms/${roomId}/state/org.example.large/${n}`, { text: LARGE });
    const { deviceId, userId } = await server.session('carol');
    const { slidingSync } = server.services;
    const list = { ranges: [[0, 9]], timeline_limit: 1, required_state: [['*', '*']] };
    const ask = (connId: string): Promise<string> => {
      const wishes = parseSlidingBody({ conn_id: connId, lists: { all: list } }, 'msc3575');
      const { signal } = new AbortController();
      const request = { ...wishes, userId, deviceId, pos: undefined, timeout: 0, digest: connId, signal };
      return slidingSync.sync(request, slidingEncoder('msc3575'));
    };
    await ask('first');
    let turns = 0;
    let body = '';
    const statements = await server.statements(async () => {
      const request = { isOver: false };
      const all = ask('second').finally(() => (request.isOver = true));
      while (!request.isOver) {
        await setImmediate();
        turns += 1;
      }
      body = await all;
    });
    expect(statements, 'nothing else to wait for').to.equal(0);
    expect(JSON.parse(body).rooms[roomId].required_state.length).to.be.at.least(states.length);
    // A turn writes 100 000 characters, and what goes beyond them with the last event of them.
    expect(turns).to.be.at.least(Math.floor(body.length / 120_000));
  });

  it('of sliding sync lets others have their turn while it is found out what many lists want of many rooms', async () => {
    const LISTS = 100;
    const ROOMS = 40;
    for (let n = 0; n < ROOMS; n += 1) await server.room('dave');
    const { deviceId, userId } = await server.session('dave');
    const { slidingSync } = server.services;
    /** Wishes that were looked at for a room, in all, and at most in one turn of the event loop. */
    const steps = { all: 0, turn: 0, most: 0 };
    // Each list has a first room of its own, and no two rooms are of the same lists.
    const lists = Array.from({ length: LISTS }, (_, n) => [
      `l${n}`,
      {
        ranges: [[n % ROOMS, ROOMS]],
        timeline_limit: 1,
        required_state: Array.from({ length: 40 }, (__, key) => ['org.example.state', `key ${n} ${key}`]),
      },
    ]);
    const ask = async (connId: string): Promise<string> => {
      const wishes = parseSlidingBody({ conn_id: connId, lists: Object.fromEntries(lists) }, 'msc3575');
      for (const wish of wishes.lists.values()) {
        const { timelineLimit } = wish;
        Object.defineProperty(wish, 'timelineLimit', {
          get: () => {
            steps.all += 1;
            steps.turn += 1;
            steps.most = Math.max(steps.most, steps.turn);
            return timelineLimit;
          },
        });
      }
      const { signal } = new AbortController();
      const request = { ...wishes, userId, deviceId, pos: undefined, timeout: 0, digest: connId, signal };
      return slidingSync.sync(request, slidingEncoder('msc3575'));
    };
    await ask('first');
    Object.assign(steps, { all: 0, turn: 0, most: 0 });
    const request = { isOver: false };
    const all = ask('second').finally(() => (request.isOver = true));
    while (!request.isOver) {
      await setImmediate();
      steps.turn = 0;
    }
    expect(Object.keys(JSON.parse(await all).rooms)).to.have.length(ROOMS);
    expect(steps.all).to.be.at.least((LISTS * ROOMS) / 2);
    // Those of a room are looked at together.
    expect(steps.most).to.be.at.most(2 * LISTS);
  });

  it('of sliding sync lets others have their turn while it is found out which rooms have news, and which of them extensions tell of', async () => {
    const LISTS = 100;
    const ROOMS = 40;
    for (let n = 0; n < ROOMS; n += 1) await server.room('erin');
    const { deviceId, userId } = await server.session('erin');
    const { slidingSync } = server.services;
    const names = Array.from({ length: 1_000 }, (_, n) => `none${n}`);
    const extension = { enabled: true, lists: names, rooms: names };
    /** Lists that all rooms are in: each has its own last pair of names, and the last one of them another with another form. */
    const wishesOf = (form: string): ReturnType<typeof parseSlidingBody> =>
      parseSlidingBody(
        {
          lists: Object.fromEntries(
            Array.from({ length: LISTS }, (_, n) => [
              `l${n}`,
              {
                ranges: [[0, ROOMS]],
                timeline_limit: 1,
                required_state: Array.from({ length: 50 }, (__, key) => [
                  'x',
                  key < 49 ? `${key}` : `z ${n < LISTS - 1 ? n : form}`,
                ]),
              },
            ]),
          ),
          extensions: { account_data: extension, receipts: extension, typing: extension },
        },
        'msc3575',
      );
    const ask = async (form: string, pos?: string): Promise<Json> => {
      const { signal } = new AbortController();
      const request = { ...wishesOf(form), userId, deviceId, pos, timeout: 0, digest: form, signal };
      return JSON.parse(await slidingSync.sync(request, slidingEncoder('msc3575')));
    };
    const { pos } = await ask('a');
    const lookUps = new LookUps();
    const request = { isOver: false };
    try {
      const all = ask('b', pos).finally(() => (request.isOver = true));
      while (!request.isOver) {
        await setImmediate();
        lookUps.turn();
      }
      expect(Object.keys((await all).rooms)).to.have.length(ROOMS);
    } finally {
      lookUps.end();
    }
    // Pairs of names are compared once for all rooms, and names of lists are looked for once for each room and extension.
    expect(lookUps.all).to.be.at.most(10 * (LISTS * 50 + ROOMS * LISTS));
    expect(lookUps.most).to.be.at.most(50_000);
  });

  it('of sliding sync that wants more of the state than any client needs is refused', () => {
    const list = { required_state: Array.from({ length: 500 }, (_, n) => ['x', `${n}`]) };
    const lists = (count: number): Json => Object.fromEntries(Array.from({ length: count }, (_, n) => [`l${n}`, list]));
    expect(() => parseSlidingBody({ lists: lists(10) }, 'msc3575')).not.to.throw();
    expect(() => parseSlidingBody({ lists: lists(6), room_subscriptions: lists(5) }, 'msc3575'))
      .to.throw(MatrixError)
      .with.property('errcode', 'M_INVALID_PARAM');
  });

  it('of sliding sync names the rooms of windows a bounded number of times, and not at all where clients are not told of them', async () => {
    const rooms = Array.from({ length: 300 }, () => ({})) as never;
    const all = new WindowNames(300);
    for (let list = 0; list < 66; list += 1) all.add(rooms, [[0, 299]], true);
    expect(() => all.add(rooms, undefined, true))
      .to.throw(MatrixError)
      .with.property('errcode', 'M_INVALID_PARAM');
    all.add(rooms, undefined, false);
    const { deviceId, userId } = await server.session('dave');
    const { slidingSync } = server.services;
    const { signal } = new AbortController();
    const wishes = parseSlidingBody({ lists: { all: { range: [0, 9] } } }, 'v4');
    const request = { ...wishes, userId, deviceId, pos: undefined, timeout: 0, digest: 'names', signal };
    await slidingSync.sync(request, ({ lists }) => {
      expect(lists.map(({ windows }) => windows)).to.deep.equal([[]]);
      return '';
    });
  });

  it('of sliding sync that names the same rooms over and over is refused', async () => {
    const { deviceId, userId } = await server.session('dave');
    const list = { ranges: Array.from({ length: 100 }, () => [0, 99]), timeline_limit: 1, required_state: [] };
    const wishes = parseSlidingBody({ lists: { all: list } }, 'msc3575');
    const { signal } = new AbortController();
    const request = { ...wishes, userId, deviceId, pos: undefined, timeout: 0, digest: 'over and over', signal };
    const answer = await server.services.slidingSync.sync(request, slidingEncoder('msc3575')).then(
      () => 'answered',
      ({ errcode }: { errcode: string }) => errcode,
    );
    expect(answer).to.equal('M_INVALID_PARAM');
  });
});

describe('the event stream of old clients', function () {
  this.timeout(120_000);
  let server: InProcessServer;

  before(async () => {
    server = await InProcessServer.start({ config: { sync: { maxTimelineBytes: 50_000, maxResponseBytes: 200_000 } } });
  });
  after(() => server.stop());

  /** What is told from a token on, and how long the longest answer is. */
  const told = async (from: string): Promise<{ readonly texts: string[]; readonly longest: number }> => {
    const texts: string[] = [];
    let longest = 0;
    for (let token = from; ;) {
      const { chunk, end } = await server.must('alice', 'GET', `/events?timeout=0&from=${token}`);
      if (chunk.length === 0) return { texts, longest };
      longest = Math.max(longest, JSON.stringify(chunk).length);
      for (const { content, type } of chunk) if (type === 'm.room.message') texts.push(content.body.slice(0, 8));
      token = end;
    }
  };

  it('tells everything in answers of a bounded size, whatever came to however many rooms', async () => {
    const { end } = await server.must('alice', 'GET', '/events?timeout=0');
    const said: string[] = [];
    for (let n = 0; n < 40; n += 1) {
      const roomId = await server.room('alice');
      for (let m = 0; m < 3; m += 1) {
        const text = `${String(n).padStart(4, '0')}${String(m).padStart(4, '0')}`;
        await server.say('alice', roomId, text + LARGE);
        said.push(text);
      }
    }
    for (const from of ['memory', 'the database']) {
      if (from === 'the database') await server.restart();
      const { longest, texts } = await told(end);
      expect(texts.toSorted(), from).to.deep.equal(said);
      expect(longest).to.be.at.most(200_000 + 10_000);
      for (let n = 0; n < 40; n += 1) {
        const room = texts.filter((text) => text.startsWith(String(n).padStart(4, '0')));
        expect(room, 'in their order').to.deep.equal(room.toSorted());
      }
    }
  });

  it('costs the same number of statements after a restart, however many rooms there are', async () => {
    const cost = async (rooms: number): Promise<readonly string[]> => {
      const { end } = await server.must('bob', 'GET', '/events?timeout=0');
      for (let n = 0; n < rooms; n += 1) await server.say('bob', await server.room('bob'), 'hello');
      await server.restart();
      await server.session('bob');
      await server.idle();
      return server.statementNames(() => server.must('bob', 'GET', `/events?timeout=0&from=${end}`));
    };
    for (const rooms of [5, 10, 20]) {
      const names = await cost(rooms);
      expect(names.length, names.join()).to.be.at.most(12);
    }
  });

  it('refuses /initialSync once its messages are too many for one answer', async () => {
    for (let n = 0; n < 12; n += 1) {
      const roomId = await server.room('carol');
      for (let m = 0; m < 3; m += 1) await server.say('carol', roomId, LARGE);
    }
    const { status, body } = await server.ask('carol', 'GET', '/initialSync?limit=20');
    expect([status, body.errcode]).to.deep.equal([413, 'M_TOO_LARGE']);
    expect((await server.must('carol', 'GET', '/initialSync?limit=0')).rooms).to.have.length(12);
  });
});
