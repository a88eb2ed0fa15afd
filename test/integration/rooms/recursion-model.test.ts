import { expect } from 'chai';
import fc from 'fast-check';
import { type Json, InProcessServer } from '#test/support/in-process-server.ts';

describe('relations of relations', function () {
  this.timeout(120_000);
  let server: InProcessServer;
  let txn = 0;
  before(async () => (server = await InProcessServer.start()));
  after(() => server.stop());

  it('are those that can be reached, four levels down, over events that match, page by page', async () => {
    const one = fc.record({
      to: fc.nat(),
      rel: fc.constantFrom('m.reference', 'm.annotation', 'x.rel'),
      type: fc.constantFrom('m.room.message', 'x.y'),
      isRedacted: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
    });
    const kind = fc.constantFrom('', '/m.reference', '/x.rel', '/m.reference/x.y');
    const sizes = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 3 });
    await fc.assert(
      fc.asyncProperty(
        fc.array(one, { minLength: 1, maxLength: 25 }),
        kind,
        sizes,
        fc.constantFrom('b', 'f'),
        fc.boolean(),
        async (events, suffix, limits, dir, restarts) => {
          const roomId = await server.room('alice');
          const ids = [await server.say('alice', roomId, 'root')];
          const redacted = new Set<string>();
          for (const { to, rel, type, isRedacted } of events) {
            const content = {
              msgtype: 'm.text',
              body: 'x',
              'm.relates_to': { rel_type: rel, event_id: ids[to % ids.length], key: `${(txn += 1)}` },
            };
            const sent = await server.must('alice', 'PUT', `/rooms/${roomId}/send/${type}/c${txn}`, content);
            ids.push(sent.event_id);
            if (!isRedacted) continue;
            redacted.add(sent.event_id);
            await server.must(
              'alice',
              'PUT',
              `/rooms/${roomId}/redact/${encodeURIComponent(sent.event_id)}/d${txn}`,
              {},
            );
          }
          const [, wantedRel, wantedType] = suffix.split('/');
          const levels = [new Set([ids[0]])];
          for (let level = 0; level < 4; level++) {
            const next = new Set<string | undefined>();
            for (const [at, { to, rel, type }] of events.entries()) {
              const matches = (wantedRel ?? rel) === rel && (wantedType ?? type) === type;
              const id = ids[at + 1] ?? '';
              if (matches && !redacted.has(id) && levels.at(-1)?.has(ids[to % (at + 1)]) === true) next.add(id);
            }
            levels.push(next);
          }
          const reached = new Set(levels.slice(1).flatMap((level) => [...level]));
          const expected = ids.filter((id) => reached.has(id));
          if (restarts && txn % 5 === 0) await server.restart();
          const found: string[] = [];
          let from = '';
          for (let page: Json, at = 0; page === undefined || page.next_batch !== undefined; at++) {
            const limit = limits[at % limits.length];
            const path = `/v1/rooms/${roomId}/relations/${encodeURIComponent(ids[0] ?? '')}${suffix}`;
            page = await server.must('alice', 'GET', `${path}?recurse=true&dir=${dir}&limit=${limit}${from}`);
            expect(page.recursion_depth).to.be.at.least(3);
            found.push(...page.chunk.map((event: Json) => event.event_id));
            from = `&from=${page.next_batch}`;
          }
          expect(dir === 'b' ? found.toReversed() : found).to.deep.equal(expected);
        },
      ),
      { numRuns: 15 },
    );
  });
});
