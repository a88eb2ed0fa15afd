import { expect } from 'chai';
import fc from 'fast-check';
import { SearchServer } from '#test/integration/reading/search/search-server.ts';
import { type Json, InProcessServer } from '#test/support/in-process-server.ts';

const SENDERS = ['alice', 'bob', 'carol'];

/** What happens between two pages. */
type Step = 'say' | 'react' | 'reply' | 'edit' | 'rename';

describe('pages that are read while others write', function () {
  this.timeout(180_000);
  let server: InProcessServer;
  let search: SearchServer;
  let txn = 0;
  before(async () => {
    server = await InProcessServer.start();
    search = await SearchServer.start(server);
  });
  after(() => search.stop());

  const send = async (token: string, roomId: string, type: string, content: object): Promise<string> =>
    (await server.must(token, 'PUT', `/rooms/${roomId}/send/${type}/p${(txn += 1)}`, content)).event_id;
  const relates = (relType: string, eventId: string, more: object = {}): object => ({
    'm.relates_to': { rel_type: relType, event_id: eventId, ...more },
  });
  const act = async (roomId: string, roots: readonly string[], step: Step): Promise<string> => {
    const token = SENDERS[(txn += 1) % SENDERS.length] ?? '';
    const root = roots[txn % roots.length] ?? '';
    const text = { msgtype: 'm.text', body: `needle ${txn}` };
    if (step === 'say') return send(token, roomId, 'm.room.message', text);
    if (step === 'react') return send(token, roomId, 'm.reaction', relates('m.annotation', root, { key: `${txn}` }));
    if (step === 'reply') return send(token, roomId, 'm.room.message', { ...text, ...relates('m.thread', root) });
    if (step === 'edit')
      return send(token, roomId, 'm.room.message', { ...text, ...relates('m.replace', root), 'm.new_content': text });
    const content = { membership: 'join', displayname: `${txn}` };
    return server.setState(token, roomId, 'm.room.member', content, `@${token}:test`);
  };
  const open = async (steps: readonly Step[]): Promise<{ roomId: string; roots: string[] }> => {
    const roomId = await server.room('alice', { preset: 'public_chat' });
    for (const token of SENDERS.slice(1)) await server.join(token, roomId);
    const roots: string[] = [];
    for (let i = 0; i < 4; i++) roots.push(await server.say('alice', roomId, `needle root ${i}`));
    for (const step of steps) await act(roomId, roots, step);
    return { roomId, roots };
  };
  const everything = async (roomId: string): Promise<Json[]> =>
    (await server.must('alice', 'GET', `/rooms/${roomId}/messages?dir=f&limit=1000`)).chunk;
  const idsOf = (events: readonly Json[]): string[] => events.map((event) => event.event_id);

  /** Reads all pages, and lets something happen before each but the first. */
  const readAll = async (
    page: (from: string | undefined, limit: number) => Promise<{ events: Json[]; next: string | undefined }>,
    limits: readonly number[],
    meanwhile: () => Promise<unknown>,
  ): Promise<Json[]> => {
    const found: Json[] = [];
    let from: string | undefined;
    for (let at = 0; at < 500; at++) {
      const limit = limits[at % limits.length] ?? 1;
      const { events, next } = await page(from, limit);
      expect(events.length).to.be.at.most(limit);
      found.push(...events);
      if (next === undefined) return found;
      from = next;
      // Some of it at the very same time.
      if (at < 40) await Promise.all([meanwhile(), meanwhile()]);
    }
    throw new Error('the pages have no end');
  };

  const step = fc.constantFrom<Step>('say', 'react', 'reply', 'edit', 'rename');
  const steps = fc.array(step, { minLength: 1, maxLength: 25 });
  const limits = fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 4 });
  const direction = fc.constantFrom('b' as const, 'f' as const);

  it('of /messages have each event once, in order: all that were there, and forwards what comes', async () => {
    const filters = fc.constantFrom(
      undefined,
      { types: ['m.room.message'] },
      { types: ['m.room.*'], not_types: ['m.room.member'] },
      { senders: ['@bob:test'] },
      { related_by_rel_types: ['m.thread'] },
      { not_senders: ['@alice:test'], lazy_load_members: true },
    );
    await fc.assert(
      fc.asyncProperty(steps, steps, limits, direction, filters, async (first, more, sizes, dir, filter) => {
        const { roomId, roots } = await open(first);
        const there = idsOf(await everything(roomId));
        let at = 0;
        const query = filter === undefined ? '' : `&filter=${encodeURIComponent(JSON.stringify(filter))}`;
        const read = await readAll(
          async (from, limit) => {
            const token = from === undefined ? '' : `&from=${from}`;
            const page = await server.must(
              'bob',
              'GET',
              `/rooms/${roomId}/messages?dir=${dir}&limit=${limit}${token}${query}`,
            );
            return { events: page.chunk, next: page.end };
          },
          sizes,
          async () => (at < more.length ? act(roomId, roots, more[at++] ?? 'say') : undefined),
        );
        const all = await everything(roomId);
        const matches = (event: Json): boolean => {
          if (filter === undefined) return true;
          if ('senders' in filter) return filter.senders.includes(event.sender);
          if ('related_by_rel_types' in filter) return event.unsigned['m.relations']?.['m.thread'] !== undefined;
          if ('not_senders' in filter) return event.sender !== '@alice:test';
          return 'not_types' in filter
            ? event.type.startsWith('m.room.') && event.type !== 'm.room.member'
            : event.type === 'm.room.message';
        };
        const ids = idsOf(read);
        if (dir === 'b') ids.reverse();
        const wanted = idsOf(all.filter(matches)).filter((id) => dir === 'f' || there.includes(id));
        // Threads that began while pages were read may have been passed by then.
        if (filter !== undefined && 'related_by_rel_types' in filter) {
          expect(new Set(ids).size).to.equal(ids.length);
          expect(wanted.filter((id) => ids.includes(id))).to.deep.equal(ids);
        } else expect(ids).to.deep.equal(wanted);
      }),
      { numRuns: 20 },
    );
  });

  it('of /relations have each event once, in order, by type of relation and through others', async () => {
    const kinds = fc.constantFrom('', '/m.annotation', '/m.thread', '/m.replace/m.room.message');
    await fc.assert(
      fc.asyncProperty(steps, steps, limits, direction, kinds, async (first, more, sizes, dir, kind) => {
        const { roomId, roots } = await open(first);
        const there = idsOf(await everything(roomId));
        const root = roots[0] ?? '';
        let at = 0;
        const read = await readAll(
          async (from, limit) => {
            const token = from === undefined ? '' : `&from=${from}`;
            const path = `/v1/rooms/${roomId}/relations/${encodeURIComponent(root)}${kind}`;
            const page = await server.must('bob', 'GET', `${path}?dir=${dir}&limit=${limit}${token}`);
            return { events: page.chunk, next: page.next_batch };
          },
          sizes,
          async () => (at < more.length ? act(roomId, roots, more[at++] ?? 'say') : undefined),
        );
        const related = (await everything(roomId)).filter((event) => {
          const relation = event.content['m.relates_to'];
          return relation?.event_id === root && (kind === '' || kind.split('/')[1] === relation.rel_type);
        });
        const ids = idsOf(read);
        if (dir === 'b') ids.reverse();
        const wanted = idsOf(related);
        if (dir === 'b') expect(ids).to.deep.equal(wanted.filter((id) => there.includes(id)));
        else expect(ids).to.deep.equal(wanted.slice(0, ids.length));
        if (dir === 'f') expect(ids).to.include.members(wanted.filter((id) => there.includes(id)));
      }),
      { numRuns: 20 },
    );
  });

  it('of /threads have each thread at most once, and every one that nobody answers meanwhile', async () => {
    await fc.assert(
      fc.asyncProperty(steps, limits, fc.boolean(), async (first, sizes, answered) => {
        const { roomId, roots } = await open(['reply', ...first]);
        const threads = idsOf(
          (await everything(roomId))
            .filter(({ content }) => content['m.relates_to']?.rel_type === 'm.thread')
            .map(({ content }) => content['m.relates_to']),
        );
        const latestFirst = [...new Set(threads.toReversed())];
        const moved = new Set<string>();
        const read = await readAll(
          async (from, limit) => {
            const token = from === undefined ? '' : `&from=${from}`;
            const page = await server.must('bob', 'GET', `/v1/rooms/${roomId}/threads?limit=${limit}${token}`);
            return { events: page.chunk, next: page.next_batch };
          },
          sizes,
          async () => {
            await act(roomId, roots, 'say');
            if (!answered) return;
            const root = roots[3] ?? '';
            moved.add(root);
            await send('carol', roomId, 'm.room.message', {
              msgtype: 'm.text',
              body: 'x',
              ...relates('m.thread', root),
            });
          },
        );
        const ids = idsOf(read);
        expect(new Set(ids).size).to.equal(ids.length);
        const still = (list: readonly string[]): string[] => list.filter((id) => !moved.has(id));
        expect(still(ids)).to.deep.equal(still(latestFirst));
      }),
      { numRuns: 15 },
    );
  });

  it('of /search have each result once, all that were there, newest or best first', async () => {
    const order = fc.constantFrom('recent', 'rank');
    const groups = fc.constantFrom(undefined, 'room_id', 'sender');
    await fc.assert(
      fc.asyncProperty(steps, limits, order, groups, async (first, sizes, orderBy, group) => {
        const { roomId, roots } = await open(['say', 'say', ...first]);
        const there = (await everything(roomId)).filter(({ content }) => String(content.body).includes('needle'));
        const query = (limit: number): object => ({
          order_by: orderBy,
          filter: { rooms: [roomId], limit },
          ...(group === undefined ? {} : { groupings: { group_by: [{ key: group }] } }),
        });
        // From the second page on, within the first group.
        let one: string | undefined;
        const read = await readAll(
          async (from, limit) => {
            const answer = await search.find('bob', 'needle', query(limit), from);
            const ids: Json[] = answer.results.map(({ result, rank }: Json) => ({ ...result, rank }));
            if (group === undefined) return { events: ids, next: answer.next_batch };
            const entries: [string, Json][] = Object.entries(answer.groups?.[group] ?? {});
            for (const [value, { results }] of entries) {
              const inGroup = ids.filter((event) => (group === 'sender' ? event.sender : event.room_id) === value);
              expect(results).to.deep.equal(idsOf(inGroup));
            }
            const [value, found] = entries.find(([name]) => one === undefined || name === one) ?? [];
            one ??= value;
            return {
              events: ids.filter((event) => group !== 'sender' || event.sender === one),
              next: found?.next_batch,
            };
          },
          sizes,
          () => act(roomId, roots, 'say'),
        );
        const ids = idsOf(read);
        expect(new Set(ids).size).to.equal(ids.length);
        const wanted = idsOf(there.filter((event) => group !== 'sender' || event.sender === one));
        expect(ids.filter((id) => wanted.includes(id))).to.have.members(wanted);
        if (orderBy === 'recent') expect(ids.filter((id) => wanted.includes(id))).to.deep.equal(wanted.toReversed());
        else for (const [at, event] of read.entries()) if (at > 0) expect(event.rank).to.be.at.most(read[at - 1].rank);
      }),
      { numRuns: 15 },
    );
  });
});
