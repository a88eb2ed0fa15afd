import { expect } from 'chai';
import { type Json, InProcessServer } from '#test/support/in-process-server.ts';

const MAX_BYTES = 200_000;
/** What the last event of a page, and JSON around events, add. */
const MARGIN = 100_000;
const LARGE = 'x'.repeat(50_000);

describe('a page of history', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  let roomId: string;
  let txn = 0;
  before(async () => {
    server = await InProcessServer.start({ config: { http: { maxPageBytes: MAX_BYTES } } });
  });
  after(() => server.stop());
  beforeEach(async () => {
    roomId = await server.room('alice');
  });

  const say = async (body: string, relation?: object): Promise<string> =>
    (
      await server.must('alice', 'PUT', `/rooms/${roomId}/send/m.room.message/p${(txn += 1)}`, {
        msgtype: 'm.text',
        body,
        ...(relation === undefined ? {} : { 'm.relates_to': relation }),
      })
    ).event_id;
  const idsOf = (events: readonly Json[]): string[] => events.map((event) => event.event_id);
  /** All pages of a list, each of which must not be larger than it may. */
  const pagesOf = async (path: string, token: string): Promise<Json[][]> => {
    const pages: Json[][] = [];
    let from = '';
    for (;;) {
      const page = await server.must('alice', 'GET', path + from);
      pages.push(page.chunk);
      expect(JSON.stringify(page).length).to.be.lessThan(MAX_BYTES + MARGIN);
      if (page[token] === undefined) return pages;
      from = `&from=${encodeURIComponent(page[token])}`;
    }
  };

  it('ends where its bytes do, whatever limit was asked for, and its token continues with everything else', async () => {
    const said: string[] = [];
    for (let index = 0; index < 16; index += 1) said.push(await say(`${index} ${LARGE}`));
    for (const dir of ['b', 'f']) {
      const pages = await pagesOf(`/rooms/${roomId}/messages?dir=${dir}&limit=1000`, 'end');
      expect(pages.length).to.be.within(4, 6);
      const ids = idsOf(pages.flat().filter((event) => event.type === 'm.room.message'));
      expect(dir === 'b' ? ids.toReversed() : ids).to.deep.equal(said);
    }
  });

  it('is no larger around an event, on both sides together', async () => {
    const said: string[] = [];
    for (let index = 0; index < 16; index += 1) said.push(await say(`${index} ${LARGE}`));
    const middle = encodeURIComponent(said[8] ?? '');
    const found = await server.must('alice', 'GET', `/rooms/${roomId}/context/${middle}?limit=1000`);
    expect(JSON.stringify(found).length).to.be.lessThan(MAX_BYTES + 2 * MARGIN);
    expect(found.events_before.length).to.be.greaterThan(1);
    expect(found.events_after.length).to.be.greaterThan(1);
    const before = await server.must('alice', 'GET', `/rooms/${roomId}/messages?dir=b&from=${found.start}&limit=1`);
    expect(said.indexOf(before.chunk[0].event_id)).to.equal(8 - found.events_before.length - 1);
  });

  it('of relations ends where its bytes do, in both directions, and its token continues with everything else', async () => {
    const root = await say('root');
    const related: string[] = [];
    for (let index = 0; index < 10; index += 1)
      related.push(await say(LARGE, { rel_type: 'm.reference', event_id: root }));
    const path = `/v1/rooms/${roomId}/relations/${encodeURIComponent(root)}?limit=1000`;
    for (const dir of ['b', 'f']) {
      const pages = await pagesOf(`${path}&dir=${dir}`, 'next_batch');
      expect(pages.length).to.be.within(2, 4);
      const ids = idsOf(pages.flat());
      expect(dir === 'b' ? ids.toReversed() : ids).to.deep.equal(related);
    }
  });

  it('of threads ends where the bytes of their roots and latest replies do, and its token continues with everything else', async () => {
    const roots: string[] = [];
    for (let index = 0; index < 8; index += 1) {
      const root = await say(index % 2 === 0 ? LARGE : 'root');
      roots.push(root);
      await say(LARGE, { rel_type: 'm.thread', event_id: root });
    }
    const pages = await pagesOf(`/v1/rooms/${roomId}/threads?limit=200`, 'next_batch');
    expect(pages.length).to.be.within(2, 5);
    expect(idsOf(pages.flat()).toReversed()).to.deep.equal(roots);
    for (const root of pages.flat()) expect(root.unsigned['m.relations']['m.thread'].count).to.equal(1);
  });

  it('bundles edits and latest replies up to as many bytes, and leaves the others to be read as relations', async () => {
    const roots: string[] = [];
    for (let index = 0; index < 10; index += 1) {
      const root = await say('root');
      roots.push(root);
      await say(LARGE, { rel_type: 'm.thread', event_id: root });
    }
    const filter = encodeURIComponent(JSON.stringify({ related_by_rel_types: ['m.thread'] }));
    const { chunk } = await server.must('alice', 'GET', `/rooms/${roomId}/messages?dir=b&limit=1000&filter=${filter}`);
    expect(idsOf(chunk).toReversed()).to.deep.equal(roots);
    expect(JSON.stringify(chunk).length).to.be.lessThan(MAX_BYTES + MARGIN);
    const bundled = chunk.filter((event: Json) => event.unsigned['m.relations']?.['m.thread'] !== undefined);
    expect(bundled.length).to.be.within(3, 5);
  });

  it('of results of a search ends where its bytes do, with what stands around them, and its token continues with the others', async () => {
    const said: string[] = [];
    for (let index = 0; index < 12; index += 1) said.push(await say(`needle ${LARGE}`));
    await server.idle();
    const wish = {
      search_term: 'needle',
      filter: { rooms: [roomId], limit: 500 },
      event_context: { before_limit: 100, after_limit: 100 },
    };
    for (const order_by of ['recent', 'rank']) {
      const found: string[] = [];
      for (let next = ''; ;) {
        const answer = await server.must('alice', 'POST', `/search${next}`, {
          search_categories: { room_events: { ...wish, order_by } },
        });
        expect(JSON.stringify(answer).length).to.be.lessThan(MAX_BYTES + 4 * MARGIN);
        const { results, next_batch: token } = answer.search_categories.room_events;
        found.push(...idsOf(results.map((one: Json) => one.result)));
        if (token === undefined) break;
        next = `?next_batch=${encodeURIComponent(token)}`;
      }
      expect(found.toSorted()).to.deep.equal(said.toSorted());
      if (order_by === 'recent') expect(found.toReversed()).to.deep.equal(said);
    }
  });

  it('of results of a search holds the states of so many rooms, and all of those that it names', async () => {
    const rooms: string[] = [];
    for (let index = 0; index < 4; index += 1) {
      roomId = await server.room('alice');
      rooms.push(roomId);
      await server.must('alice', 'PUT', `/rooms/${roomId}/state/org.large/`, { text: LARGE });
      await say('haystack');
    }
    await server.idle();
    const found = new Set<string>();
    for (let next = ''; ;) {
      const answer = await server.must('alice', 'POST', `/search${next}`, {
        search_categories: {
          room_events: { search_term: 'haystack', order_by: 'recent', include_state: true, filter: { limit: 500 } },
        },
      });
      expect(JSON.stringify(answer).length).to.be.lessThan(MAX_BYTES + MARGIN);
      const { results, state, next_batch: token } = answer.search_categories.room_events;
      for (const { result } of results) {
        found.add(result.room_id);
        expect(state).to.have.property(result.room_id);
      }
      if (token === undefined) break;
      next = `?next_batch=${encodeURIComponent(token)}`;
    }
    expect([...found].toSorted()).to.deep.equal(rooms.toSorted());
  });
});
