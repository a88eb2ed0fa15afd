import { expect } from 'chai';
import { sql } from '#src/storage/statement.ts';
import { doing, Work } from '#src/kernel/event-loop/work.ts';
import { InProcessServer, type Json } from '#test/support/in-process-server.ts';

const ANNOTATIONS_LEFT = sql(
  'test_annotations_left',
  'select count(*)::int as left from events where room = $1 and annotation is not null',
);

describe('reading what is mostly for others', function () {
  this.timeout(120_000);
  let server: InProcessServer;
  before(async () => (server = await InProcessServer.start()));
  after(() => server.stop());

  const statements = (work: () => Promise<unknown>): Promise<number> => server.statements(work);

  it('goes through a bounded number of threads for one answer, and comes to those that one may see by its tokens', async () => {
    const hidden = [{ type: 'm.room.history_visibility', content: { history_visibility: 'joined' } }];
    const roomId = await server.room('alice', { preset: 'public_chat', initial_state: hidden });
    const thread = async (token: string, text: string): Promise<string> => {
      const root = await server.say(token, roomId, text);
      await server.services.roomSending.message(
        { userId: `@${token}:test`, deviceId: 'D' },
        {
          roomId,
          type: 'm.room.message',
          content: { msgtype: 'm.text', body: 're', 'm.relates_to': { rel_type: 'm.thread', event_id: root } },
        },
      );
      return root;
    };
    await server.join('carol', roomId);
    const oldest = await thread('carol', 'oldest');
    await server.must('carol', 'POST', `/rooms/${roomId}/leave`, {});
    for (let i = 0; i < 450; i += 1) await thread('alice', `thread ${i}`);
    await server.join('carol', roomId);
    const own = await thread('carol', 'own');
    const path = `/v1/rooms/${roomId}/threads?limit=2`;
    const seen: string[] = [];
    let pages = 0;
    for (let from = ''; pages < 10;) {
      let page: Json;
      const cost = await statements(async () => {
        page = await server.must('carol', 'GET', `${path}${from}`);
      });
      expect(cost).to.be.below(60);
      seen.push(...page.chunk.map((event: Json) => event.event_id));
      pages += 1;
      if (page.next_batch === undefined) break;
      from = `&from=${encodeURIComponent(page.next_batch)}`;
    }
    expect(seen).to.deep.equal([own, oldest]);
    expect(pages).to.be.within(2, 4);
  });

  it('asks for all rooms of a join rule at once, and for none that is in memory', async () => {
    const allow = Array.from({ length: 800 }, (_, i) => ({
      type: 'm.room_membership',
      room_id: `!unknown${i}:nowhere.test`,
    }));
    const club = await server.room('alice', { preset: 'public_chat' });
    const rules = (more: object[]): object => ({
      initial_state: [{ type: 'm.room.join_rules', content: { join_rule: 'restricted', allow: [...allow, ...more] } }],
    });
    const closed = await server.room('alice', rules([]));
    await server.session('dora');
    const summary = async (roomId: string): Promise<number> =>
      (await server.ask('dora', 'GET', `/v1/room_summary/${roomId}`)).status;
    expect(await summary(closed)).to.equal(404);
    expect(await statements(() => summary(closed))).to.be.below(4);
    expect(await statements(() => server.ask('dora', 'POST', `/rooms/${closed}/join`, {}))).to.be.below(6);
    const open = await server.room('alice', rules([{ type: 'm.room_membership', room_id: club }]));
    expect(await summary(open)).to.equal(404);
    await server.join('dora', club);
    expect(await summary(open)).to.equal(200);
    await server.restart();
    expect(await summary(open)).to.equal(200);
    await server.must('dora', 'POST', `/rooms/${open}/join`, {});
  });

  it('asks once for a room that is not there, and finds it when it is', async () => {
    const ask = () => server.ask('alice', 'GET', '/v1/room_summary/!nothing:nowhere.test');
    await ask();
    expect(await statements(ask)).to.equal(0);
    // Of rooms whose id is made before they are.
    const made = await server.room('alice', { room_version: '10' });
    expect((await server.ask('alice', 'GET', `/v1/room_summary/${made}`)).status).to.equal(200);
  });

  it('looks at a bounded number of rooms below a space for one answer, and comes to the last one by its tokens', async () => {
    const space = await server.room('alice', { preset: 'public_chat', creation_content: { type: 'm.space' } });
    const children: string[] = [];
    const secret = await server.room('alice');
    for (let i = 0; i < 520; i++) children.push(await server.room('alice', { preset: 'private_chat' }));
    const last = await server.room('alice', { preset: 'public_chat' });
    await server.services.events.sendAll(
      (await server.services.rooms.byId(space))!,
      [secret, ...children, last].map((stateKey, i) => ({
        type: 'm.space.child',
        sender: '@alice:test',
        stateKey,
        content: { via: ['test'], order: String(i).padStart(5, '0') },
      })),
    );
    await server.join('eve', space);
    /** Which rooms are looked at meanwhile, and how many at most are read together. */
    const looks = async (work: () => Promise<void>): Promise<{ looked: number; together: number }> => {
      const { openness, rooms } = server.services;
      const [isOpenTo, load] = [openness.isOpenTo.bind(openness), rooms.load.bind(rooms)];
      let [looked, together] = [0, 0];
      openness.isOpenTo = (...parameters) => {
        looked += 1;
        return isOpenTo(...parameters);
      };
      rooms.load = (nids) => {
        together = Math.max(together, [...nids].length);
        return load(nids);
      };
      await work().finally(() => [Reflect.deleteProperty(openness, 'isOpenTo'), Reflect.deleteProperty(rooms, 'load')]);
      return { looked, together };
    };
    let [first, next]: Json[] = [];
    const ofFirst = await looks(async () => {
      first = await server.must('eve', 'GET', `/v1/rooms/${space}/hierarchy`);
    });
    expect(first.rooms.map((room: Json) => room.room_id)).to.deep.equal([space]);
    expect(ofFirst.looked).to.be.at.most(501);
    expect(ofFirst.together).to.be.at.most(33);
    const readNext = async (): Promise<void> => {
      next = await server.must('eve', 'GET', `/v1/rooms/${space}/hierarchy?from=${first.next_batch}`);
      expect(next.rooms.map((room: Json) => room.room_id)).to.deep.equal([last]);
      expect(next).not.to.have.property('next_batch');
    };
    // It continues where the first page ended, and begins anew only where that is not known any more.
    expect((await looks(readNext)).looked).to.be.at.most(25);
    expect((await looks(readNext)).looked).to.be.at.most(25);
    await server.restart();
    await readNext();
    const all: string[] = [];
    for (let from = ''; ;) {
      const page = await server.must('alice', 'GET', `/v1/rooms/${space}/hierarchy?limit=100${from}`);
      all.push(...page.rooms.map((room: Json) => room.room_id));
      if (page.next_batch === undefined) break;
      from = `&from=${page.next_batch}`;
    }
    expect(all).to.deep.equal([space, secret, ...children, last]);
  });

  it('looks at a bounded number of edits of a message for a valid one', async () => {
    const roomId = await server.room('alice');
    const edits = async (invalid: number): Promise<string> => {
      const target = await server.say('alice', roomId, 'target');
      const edit = (originServerTs: number, more: object): Json => ({
        type: 'm.room.message',
        sender: '@alice:test',
        originServerTs,
        content: { msgtype: 'm.text', body: '*', 'm.relates_to': { rel_type: 'm.replace', event_id: target }, ...more },
      });
      await server.services.events.sendAll((await server.services.rooms.byId(roomId))!, [
        edit(1, { 'm.new_content': { msgtype: 'm.text', body: 'edited' } }),
        ...Array.from({ length: invalid }, (_, index) => edit(2 + index, {})),
      ]);
      return `/rooms/${roomId}/event/${encodeURIComponent(target)}`;
    };
    const [few, many] = [await edits(5), await edits(200)];
    await server.restart();
    expect((await server.must('alice', 'GET', few)).unsigned['m.relations']).to.have.property('m.replace');
    let event: Json;
    expect(await statements(async () => (event = await server.must('alice', 'GET', many)))).to.be.below(30);
    expect(event.unsigned).not.to.have.property('m.relations');
  });

  it('reads a bounded number of what relates to an event, and to all events of an answer', async () => {
    const roomId = await server.room('alice');
    const roots: string[] = [];
    for (let index = 0; index < 8; index += 1) {
      const root = await server.say('alice', roomId, `root ${index}`);
      const content = { msgtype: 'm.text', body: 're', 'm.relates_to': { rel_type: 'm.thread', event_id: root } };
      await server.must('alice', 'PUT', `/rooms/${roomId}/send/m.room.message/bounded${index}`, content);
      roots.push(root);
    }
    const { nid } = (await server.services.rooms.byId(roomId))!;
    await server.services.database.query(
      sql(
        'test_more_replies',
        `insert into events (room, nid, topo, event_id, type, sender, ts, state, prev, auth, rel, rel_type, flags, json)
         select room, nid - n * 1000000::bigint, topo, sha256((nid || ' ' || n)::bytea), type, sender, ts, state, prev, auth, rel, rel_type, flags, json
         from events, generate_series(1, 20100) n where room = $1 and rel is not null`,
      ),
      [nid],
    );
    await server.restart();
    const { aggregations, rooms, loader } = server.services;
    const room = (await rooms.byId(roomId))!;
    const events = await Promise.all(roots.map((root) => loader.byId(room, root)));
    const reader = { userId: '@alice:test', deviceId: 'D' };
    const work = new Work('bundles');
    const bundles = await doing(work, () =>
      aggregations.bundle(
        room,
        reader,
        events.map((event) => event!),
      ),
    );
    const counts = Array.from(bundles.values(), (text) => (JSON.parse(text) as Json)['m.thread'].count);
    expect(counts).to.deep.equal([20_000, 20_000, 20_000, 20_000, 20_000]);
    expect(work.rows).to.be.below(210_000);
    const path = `/v1/rooms/${roomId}/relations/${encodeURIComponent(roots[7]!)}`;
    expect((await server.must('alice', 'GET', `${path}?limit=10`)).chunk).to.have.length(10);
    const { relations } = server.services;
    for (const dir of ['b', 'f'] as const) {
      let [from, listed, mostRows]: [string | undefined, number, number] = [undefined, 0, 0];
      do {
        const pageWork = new Work('relations');
        const page = await doing(pageWork, () =>
          relations.page(roomId, reader, roots[7]!, { dir, from, limit: 900, recurse: false }),
        );
        mostRows = Math.max(mostRows, pageWork.rows);
        listed += page.chunk.length;
        from = page.next;
      } while (from !== undefined);
      expect(listed).to.equal(20_101);
      expect(mostRows).to.be.below(3_000);
    }
  });

  it('walks over a bounded number of replies for one page of threads, and comes to the last thread by its tokens', async () => {
    const roomId = await server.room('alice');
    const roots: string[] = [];
    for (const index of [0, 1, 2]) {
      const root = await server.say('alice', roomId, `root ${index}`);
      const content = { msgtype: 'm.text', body: 're', 'm.relates_to': { rel_type: 'm.thread', event_id: root } };
      await server.must('alice', 'PUT', `/rooms/${roomId}/send/m.room.message/walked${index}`, content);
      roots.push(root);
    }
    // The last one has very many replies after those of the others.
    const { nid } = (await server.services.rooms.byId(roomId))!;
    await server.services.database.query(
      sql(
        'test_many_replies',
        `insert into events (room, nid, topo, event_id, type, sender, ts, state, prev, auth, rel, rel_type, flags, json)
         select room, nid - n * 1000000::bigint, topo + n, sha256((nid || ' ' || n)::bytea), type, sender, ts, state, prev, auth, rel, rel_type, flags, json
         from events, generate_series(1, 25000) n where room = $1 and nid = (select max(nid) from events where room = $1 and rel is not null)`,
      ),
      [nid],
    );
    await server.restart();
    const { threads } = server.services;
    const reader = { userId: '@alice:test', deviceId: 'D' };
    const listed: string[] = [];
    let [pages, from]: [number, string | undefined] = [0, undefined];
    do {
      const page = await threads.page(roomId, reader, { participated: pages % 2 === 1, limit: 5, from });
      listed.push(...page.chunk.map((text) => (JSON.parse(text) as Json).event_id));
      pages += 1;
      from = page.next;
    } while (from !== undefined);
    expect(listed).to.deep.equal(roots.toReversed());
    expect(pages).to.equal(3);
  });

  describe('is for a reaction', () => {
    const ALICE = '@alice:test';
    const annotation = (eventId: string, key: string): Json => ({
      'm.relates_to': { rel_type: 'm.annotation', event_id: eventId, key },
    });

    it('at most one row, in one statement, however many reactions its sender made to the same event', async () => {
      const roomId = await server.room('alice');
      const room = (await server.services.rooms.byId(roomId))!;
      const target = await server.say('alice', roomId, 'target');
      const react = (key: string): Promise<string> =>
        server.services.roomSending.message(
          { userId: ALICE, deviceId: 'D' },
          { roomId, type: 'm.reaction', content: annotation(target, key) },
        );
      const keys = Array.from({ length: 2_000 }, (_, index) => `key ${index}`);
      await server.services.events.sendAll(
        room,
        keys.map((key) => ({ type: 'm.reaction', sender: ALICE, content: annotation(target, key) })),
      );
      await server.restart();
      // The room is read once, and once it is asked whether all annotations have their numbers.
      await server.say('alice', roomId, 'warm');
      await react('warm');
      for (const [key, errcode] of [
        ['another', undefined],
        ['key 7', 'M_DUPLICATE_ANNOTATION'],
      ] as const) {
        const work = new Work('reaction');
        let refused: string | undefined;
        await doing(work, async () => {
          refused = await react(key).then(
            () => undefined,
            (error: { errcode: string }) => error.errcode,
          );
        });
        expect(refused).to.equal(errcode);
        expect(work.statements).to.be.at.most(2);
        expect(work.rows).to.be.at.most(2);
      }
    });

    it('nothing of reactions that were redacted', async () => {
      const roomId = await server.room('alice');
      const target = await server.say('alice', roomId, 'target');
      for (let round = 0; round < 3; round += 1) {
        const content = annotation(target, '👍');
        const { event_id: id } = await server.must(
          'alice',
          'PUT',
          `/rooms/${roomId}/send/m.reaction/a${round}`,
          content,
        );
        await server.must('alice', 'PUT', `/rooms/${roomId}/redact/${encodeURIComponent(id)}/b${round}`, {});
      }
      const { nid } = (await server.services.rooms.byId(roomId))!;
      expect(await server.services.database.query(ANNOTATIONS_LEFT, [nid])).to.deep.equal([{ left: 0 }]);
    });

    it('refused where its key is longer than 1024 bytes', async () => {
      const roomId = await server.room('alice');
      const target = await server.say('alice', roomId, 'target');
      const ask = (key: string) =>
        server.ask('alice', 'PUT', `/rooms/${roomId}/send/m.reaction/k${key.length}`, annotation(target, key));
      expect((await ask('x'.repeat(1_024))).status).to.equal(200);
      const { status, body } = await ask('é'.repeat(513));
      expect([status, body.errcode]).to.deep.equal([400, 'M_BAD_JSON']);
    });
  });

  describe('is for who was away', () => {
    const ALICE = '@alice:test';
    const LARGE = 'x'.repeat(20_000);
    const hidden = [{ type: 'm.room.history_visibility', content: { history_visibility: 'joined' } }];
    const reply = (root: string, body: string): Json => ({
      type: 'm.room.message',
      sender: ALICE,
      content: { msgtype: 'm.text', body, 'm.relates_to': { rel_type: 'm.thread', event_id: root } },
    });
    /** A room in which carol sees a root and its first reply, and is away during `count` more. */
    const scene = async (count: number, body: string): Promise<{ roomId: string; root: string; first: string }> => {
      const roomId = await server.room('alice', { preset: 'public_chat', initial_state: hidden });
      await server.join('carol', roomId);
      const root = await server.say('carol', roomId, 'root');
      const { events, rooms } = server.services;
      const room = (await rooms.byId(roomId))!;
      const [first] = await events.sendAll(room, [reply(root, 'first')]);
      await server.must('carol', 'POST', `/rooms/${roomId}/leave`, {});
      for (let sent = 0; sent < count; sent += 100)
        await events.sendAll(
          room,
          Array.from({ length: 100 }, () => reply(root, body)),
        );
      await server.join('carol', roomId);
      return { roomId, root, first: first!.eventId };
    };
    /** Bytes of the texts that are loaded meanwhile. */
    const bytesLoaded = async (work: () => Promise<void>): Promise<number> => {
      const { loader } = server.services;
      const load = loader.load.bind(loader);
      let bytes = 0;
      loader.load = async (places) => {
        const loaded = await load(places);
        for (const { json } of loaded.values()) bytes += json.length;
        return loaded;
      };
      try {
        await work();
      } finally {
        Reflect.deleteProperty(loader, 'load');
      }
      return bytes;
    };

    it('no text of what they may not see, where a thread is summed up for them', async () => {
      const { roomId, root } = await scene(600, LARGE);
      await server.restart();
      let event: Json;
      const bytes = await bytesLoaded(async () => {
        event = await server.must('carol', 'GET', `/rooms/${roomId}/event/${encodeURIComponent(root)}`);
      });
      const { count, latest_event: latest } = event.unsigned['m.relations']['m.thread'];
      expect([count, latest.content.body]).to.deep.equal([1, 'first']);
      expect(bytes).to.be.below(3 * LARGE.length);
    });

    it('no text of what they may not see, where threads are listed for them', async () => {
      const { roomId, root } = await scene(600, LARGE);
      await server.restart();
      let page: Json;
      const bytes = await bytesLoaded(async () => {
        page = await server.must('carol', 'GET', `/v1/rooms/${roomId}/threads`);
      });
      expect(page.chunk.map((event: Json) => event.event_id)).to.deep.equal([root]);
      // The latest reply, which is not for them, is looked at.
      expect(bytes).to.be.below(4 * LARGE.length);
    });

    it('a bounded number of relations, without their texts, and a token by which they come to the others', async () => {
      const { roomId, root, first } = await scene(4_200, 'away');
      await server.restart();
      await server.say('alice', roomId, 'warm');
      const found: string[] = [];
      let pages = 0;
      for (let from = ''; ;) {
        let page: Json;
        const path = `/v1/rooms/${roomId}/relations/${encodeURIComponent(root)}?limit=1${from}`;
        const cost = await statements(async () => {
          page = await server.must('carol', 'GET', path);
        });
        expect(cost).to.be.below(40);
        found.push(...page.chunk.map((event: Json) => event.event_id));
        pages += 1;
        if (page.next_batch === undefined) break;
        from = `&from=${encodeURIComponent(page.next_batch)}`;
      }
      expect(found).to.deep.equal([first]);
      expect(pages).to.equal(2);
    });
  });
});
