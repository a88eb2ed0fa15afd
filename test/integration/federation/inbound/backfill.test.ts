import { expect } from 'chai';
import { type Federation, startFederation } from '#test/support/federation/federation.ts';
import type { InProcessServer, Json } from '#test/support/in-process-server.ts';
import { until } from '#test/support/until.ts';

describe('the history of a room that was joined through another server', function () {
  this.timeout(60_000);
  let federation: Federation;
  let a: InProcessServer;
  let b: InProcessServer;
  let rooms = 0;

  before(async () => {
    federation = await startFederation(['a.test', 'b.test', 'c.test']);
    a = federation.server('a.test');
    b = federation.server('b.test');
  });
  after(() => federation.stop());

  const room = (wish: object = {}): Promise<string> =>
    a.room('alice', { preset: 'public_chat', creation_content: { n: (rooms += 1) }, ...wish });
  const says = async (roomId: string, count: number, from = 0): Promise<string[]> => {
    const ids: string[] = [];
    for (let i = from; i < from + count; i++) ids.push(await a.say('alice', roomId, `${i}`));
    return ids;
  };
  const joins = async (roomId: string): Promise<void> => {
    await b.must('bob', 'POST', `/join/${encodeURIComponent(roomId)}?server_name=a.test`, {});
  };
  const page = (server: InProcessServer, user: string, roomId: string, query: string): Promise<Json> =>
    server.must(user, 'GET', `/rooms/${encodeURIComponent(roomId)}/messages?${query}`);
  /** Everything, page by page. */
  const everything = async (server: InProcessServer, user: string, roomId: string, limit = 30): Promise<Json[]> => {
    const found: Json[] = [];
    let from = '';
    for (let pages = 0; pages < 40; pages++) {
      const { chunk, end } = await page(server, user, roomId, `dir=b&limit=${limit}${from}`);
      found.push(...chunk);
      if (end === undefined) return found;
      from = `&from=${end}`;
    }
    throw new Error('it has no end');
  };
  const ids = (events: Json[]): string[] => events.map((event) => event.event_id);

  for (const version of ['6', '11', '12'])
    it(`is read from that server, page by page, to the very beginning (room version ${version})`, async () => {
      const roomId = await room({ room_version: version });
      await says(roomId, 60);
      await a.setState('alice', roomId, 'm.room.topic', { topic: 'in the middle' });
      await says(roomId, 90, 60);
      await joins(roomId);
      const here = await everything(b, 'bob', roomId);
      await federation.idle();
      expect(ids(here)).to.deep.equal(ids(await everything(a, 'alice', roomId)));
      expect(here.at(-1).type).to.equal('m.room.create');
    });

  it('has its events fetched that are asked for by their ids, with what is around them, and what relates to them', async () => {
    const roomId = await room();
    const said = await says(roomId, 160);
    await joins(roomId);
    const about = { 'm.relates_to': { rel_type: 'm.annotation', event_id: said[4], key: 'x' } };
    const reaction = (await a.must('alice', 'PUT', `/rooms/${roomId}/send/m.reaction/about`, about)).event_id;
    await federation.idle();
    const [first = '', second = '', third = ''] = said;
    const path = `/rooms/${encodeURIComponent(roomId)}`;
    expect(await b.services.events.find((await b.services.rooms.byId(roomId))!, first)).to.equal(undefined);
    expect((await b.must('bob', 'GET', `${path}/event/${encodeURIComponent(first)}`)).content.body).to.equal('0');
    const context = await b.must('bob', 'GET', `${path}/context/${encodeURIComponent(third)}?limit=4`);
    expect(context.event.content.body).to.equal('2');
    expect(ids(context.events_before)[0]).to.equal(second);
    const [fifth = ''] = said.slice(4);
    expect(await b.services.events.find((await b.services.rooms.byId(roomId))!, fifth)).to.equal(undefined);
    const { chunk } = await b.must('bob', 'GET', `/_matrix/client/v1${path}/relations/${encodeURIComponent(fifth)}`);
    expect(ids(chunk)).to.deep.equal([reaction]);
  });

  it('is no place for an event that is on its way and is asked for by its id: it is in the timeline of everybody here, once', async () => {
    for (const how of ['after the newest', 'beside the newest'] as const) {
      const roomId = await room();
      await says(roomId, 3);
      await joins(roomId);
      await federation.idle();
      const { next_batch: since } = await b.must('bob', 'GET', '/sync');
      federation.path('a.test', 'b.test').cut();
      const own = how === 'after the newest' ? [] : [await b.say('bob', roomId, 'own')];
      await b.idle();
      const [early = ''] = await says(roomId, 1, 7);
      const path = `/rooms/${encodeURIComponent(roomId)}`;
      expect((await b.must('bob', 'GET', `${path}/event/${encodeURIComponent(early)}`)).content.body, how).to.equal(
        '7',
      );
      federation.path('a.test', 'b.test').heal();
      const [late = ''] = await says(roomId, 1, 8);
      // No further than what is under way may take.
      await until('the newest has come', async () => {
        await federation.idle();
        await federation.clock.advance(1_000);
        await federation.idle();
        return (await b.services.events.find((await b.services.rooms.byId(roomId))!, late)) !== undefined;
      });
      const { timeline } = (await b.must('bob', 'GET', `/sync?since=${since}`)).rooms.join[roomId];
      expect(ids(timeline.events), how).to.have.members([...own, early, late]);
      expect(timeline.limited, how).to.equal(false);
    }
  });

  it('is asked for an event that nobody has only once in a while, and for few of them', async () => {
    const roomId = await room();
    await joins(roomId);
    await federation.idle();
    const { federationClient } = b.services;
    const request = federationClient.request.bind(federationClient);
    let asked = 0;
    federationClient.request = async (wish) => {
      if ('path' in wish && wish.path.startsWith('/_matrix/federation/v1/event/')) asked += 1;
      return request(wish);
    };
    const look = (letter: string): Promise<Json> =>
      b.ask('bob', 'GET', `/rooms/${encodeURIComponent(roomId)}/event/$${letter.repeat(43)}`);
    try {
      for (let i = 0; i < 3; i++) expect((await look('N')).status).to.equal(404);
      expect(asked).to.equal(1);
      for (let i = 0; i < 100; i++)
        expect(
          (await b.ask('bob', 'GET', `/rooms/${encodeURIComponent(roomId)}/event/$${`${i}`.padStart(43, 'x')}`)).status,
        ).to.equal(404);
      expect(asked).to.be.at.most(60);
    } finally {
      federationClient.request = request;
    }
  });

  describe('of servers that say nothing', () => {
    /** Does something while `silent` of the servers that are asked for history say nothing until nobody wants to know any more. */
    const silently = async (
      silent: number,
      act: (asked: string[], given: string[]) => Promise<void>,
    ): Promise<void> => {
      const { federationClient } = b.services;
      const request = federationClient.request.bind(federationClient);
      const asked: string[] = [];
      const given: string[] = [];
      federationClient.request = async (wish) => {
        if (!('path' in wish) || !wish.path.startsWith('/_matrix/federation/v1/backfill/')) return request(wish);
        asked.push(wish.destination);
        if (asked.length > silent) return request(wish);
        const { promise, resolve } = Promise.withResolvers<void>();
        wish.signal?.addEventListener('abort', () => resolve());
        federation.clock.after(30_000, resolve);
        await promise;
        given.push(wish.destination);
        return { ok: false, kind: 'unreachable', destination: wish.destination, error: 'given up' };
      };
      try {
        await act(asked, given);
      } finally {
        federationClient.request = request;
      }
    };
    const sharedRoom = async (): Promise<{ roomId: string; said: string[] }> => {
      const roomId = await room();
      const said = await says(roomId, 40);
      const path = `/join/${encodeURIComponent(roomId)}?server_name=a.test`;
      await federation.server('c.test').must('carol', 'POST', path, {});
      await b.must('bob', 'POST', path, {});
      await federation.idle();
      return { roomId, said };
    };

    it('is told by another one, that is asked three seconds later', async () => {
      const { roomId, said } = await sharedRoom();
      await silently(1, async (asked, given) => {
        const reading = page(b, 'bob', roomId, 'dir=b&limit=30');
        await until('the first is asked', () => asked.length === 1);
        await federation.clock.advance(2_999);
        expect(asked).to.have.lengthOf(1);
        await federation.clock.advance(1);
        expect(ids((await reading).chunk)).to.include(said.at(-1));
        expect(new Set(asked).size).to.equal(2);
        // What the first one would say is not waited for by anybody.
        await until('the first is given up', () => given.length === 1);
        expect(given).to.deep.equal(asked.slice(0, 1));
      });
    });

    it('is waited for ten seconds, then the page shows what is here, and its token continues', async () => {
      const { roomId, said } = await sharedRoom();
      await silently(2, async (asked) => {
        const reading = page(b, 'bob', roomId, 'dir=b&limit=30');
        const others = [1, 2, 3].map(() => page(b, 'bob', roomId, 'dir=b&limit=30'));
        await until('the first is asked', () => asked.length === 1);
        // Others who read the same ask nobody for themselves.
        await until('they wait', () => b.services.backfill.asking === 4);
        await federation.clock.advance(10_000);
        const pages = await Promise.all([reading, ...others]);
        for (const { chunk, end } of pages) {
          expect(ids(chunk)).not.to.include(said[0]);
          expect(end).to.be.a('string');
        }
        expect(asked).to.have.lengthOf(2);
        await federation.clock.advance(30_000);
        await b.idle();
      });
    });
  });

  it('is found by a search once it is here, and what was redacted in it is not shown', async () => {
    const roomId = await room();
    await a.say('alice', roomId, 'a searchable elephant');
    const secret = await a.say('alice', roomId, 'a secret elephant');
    await joins(roomId);
    await everything(b, 'bob', roomId);
    await federation.idle();
    await a.must('alice', 'PUT', `/rooms/${encodeURIComponent(roomId)}/redact/${encodeURIComponent(secret)}/r1`, {});
    await federation.idle();
    const { search_categories: found } = await b.must('bob', 'POST', '/search', {
      search_categories: { room_events: { search_term: 'elephant', filter: { rooms: [roomId] } } },
    });
    const texts = found.room_events.results.map(({ result }: Json) => result.content.body);
    expect(texts).to.deep.equal(['a searchable elephant']);
  });

  it('is partly there before anybody asks, when some time has passed', async () => {
    const roomId = await room();
    await says(roomId, 20);
    await joins(roomId);
    await federation.idle();
    await federation.clock.advance(60_000);
    await federation.idle();
    federation.cut('a.test', 'b.test');
    try {
      const { chunk } = await page(b, 'bob', roomId, 'dir=b&limit=21');
      expect(b.bodies({ chunk })).to.deep.equal(Array.from({ length: 20 }, (_, i) => `${19 - i}`));
    } finally {
      federation.heal('a.test', 'b.test');
    }
  });

  it('is there for whoever asks while it is on its way', async () => {
    const { backfill } = b.services;
    const [isOpen, fill] = [backfill.isOpen.bind(backfill), backfill.fill.bind(backfill)];
    for (const late of ['isOpen', 'fill'] as const) {
      const roomId = await room();
      await says(roomId, 20);
      backfill.isOpen = async (...given) => {
        if (late === 'isOpen') await backfill.idle();
        return isOpen(...given);
      };
      backfill.fill = async (...given) => {
        await backfill.idle();
        return fill(...given);
      };
      try {
        await joins(roomId);
        expect(b.bodies({ chunk: await everything(b, 'bob', roomId) }), late).to.have.length(20);
      } finally {
        Object.assign(backfill, { isOpen, fill });
      }
    }
  });

  it('has an end only where the room begins: what could not be had is asked for again later', async () => {
    const roomId = await room();
    await says(roomId, 250);
    await joins(roomId);
    await federation.idle();
    federation.cut('a.test', 'b.test');
    let end: string | undefined;
    try {
      const first = await page(b, 'bob', roomId, 'dir=b&limit=200');
      expect(first.end).to.be.a('string');
      ({ end } = await page(b, 'bob', roomId, `dir=b&limit=200&from=${first.end}`));
      expect(end).to.be.a('string');
    } finally {
      federation.heal('a.test', 'b.test');
    }
    await federation.clock.advance(2 * 3_600_000);
    const rest = await page(b, 'bob', roomId, `dir=b&limit=200&from=${end}`);
    expect(rest.chunk).to.have.length.above(0);
    await federation.idle();
    expect(ids(await everything(b, 'bob', roomId, 100))).to.deep.equal(ids(await everything(a, 'alice', roomId, 100)));
  });

  it('is hidden where it may not be seen', async () => {
    const shown: Record<string, number> = {};
    for (const visibility of ['joined', 'shared']) {
      const state = { type: 'm.room.history_visibility', content: { history_visibility: visibility } };
      const roomId = await room({ initial_state: [state] });
      await says(roomId, 5);
      await joins(roomId);
      await federation.idle();
      shown[visibility] = b.bodies({ chunk: await everything(b, 'bob', roomId) }).length;
    }
    expect(shown).to.deep.equal({ joined: 0, shared: 5 });
  });

  it('can be looked at in its place, related to and purged like any other', async () => {
    const roomId = await room();
    const [first, second] = (await says(roomId, 30)) as [string, string];
    await joins(roomId);
    await federation.idle();
    await everything(b, 'bob', roomId);
    const before = await b.must(
      'bob',
      'GET',
      `/rooms/${encodeURIComponent(roomId)}/context/${encodeURIComponent(second)}?limit=4`,
    );
    expect(ids(before.events_before)[0]).to.equal(first);
    const reaction = { 'm.relates_to': { rel_type: 'm.annotation', event_id: first, key: 'x' } };
    await b.must('bob', 'PUT', `/rooms/${encodeURIComponent(roomId)}/send/m.reaction/t1`, reaction);
    const related = await b.must(
      'bob',
      'GET',
      `/rooms/${encodeURIComponent(roomId)}/relations/${encodeURIComponent(first)}`.replace('/rooms', '/v1/rooms'),
    );
    expect(related.chunk).to.have.length(1);
    const held = (await b.services.rooms.byId(roomId))!;
    await b.clock.runDueUntil(b.services.purge.purgeHistory(held, b.clock.now() + 1).then(() => undefined));
    expect(b.bodies({ chunk: (await page(b, 'bob', roomId, 'dir=b&limit=100')).chunk })).to.deep.equal([]);
  });

  it('of a time that is not here is found by its time', async () => {
    const roomId = await room();
    await says(roomId, 3);
    await federation.clock.advance(60_000);
    const at = a.clock.now();
    const wanted = await a.say('alice', roomId, 'then');
    await federation.clock.advance(60_000);
    await says(roomId, 150);
    await joins(roomId);
    const query = `/v1/rooms/${encodeURIComponent(roomId)}/timestamp_to_event?ts=${at - 1}&dir=f`;
    expect((await b.must('bob', 'GET', query)).event_id).to.equal(wanted);
    const context = await b.must(
      'bob',
      'GET',
      `/rooms/${encodeURIComponent(roomId)}/context/${encodeURIComponent(wanted)}?limit=4`,
    );
    expect(context.event.content.body).to.equal('then');
    expect(ids(context.events_before)).to.have.length(2);
  });
});
