import { expect } from 'chai';
import { type Json, InProcessServer } from '#test/support/in-process-server.ts';

describe('a page of history', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  before(async () => {
    server = await InProcessServer.start({ config: { http: { maxPageBytes: 200_000 } } });
  });
  after(() => server.stop());

  it('ends where its bytes do, whatever limit was asked for, and its token goes on to everything else', async () => {
    const roomId = await server.room('alice');
    const said: string[] = [];
    for (let index = 0; index < 16; index += 1)
      said.push(await server.say('alice', roomId, `${index} ${'x'.repeat(50_000)}`));
    for (const dir of ['b', 'f']) {
      const pages: Json[][] = [];
      let from = '';
      for (;;) {
        const page = await server.must('alice', 'GET', `/rooms/${roomId}/messages?dir=${dir}&limit=1000${from}`);
        pages.push(page.chunk);
        if (page.end === undefined) break;
        from = `&from=${page.end}`;
      }
      for (const page of pages) expect(JSON.stringify(page).length).to.be.lessThan(300_000);
      expect(pages.length).to.be.within(4, 6);
      const ids = pages.flat().flatMap((event) => (event.type === 'm.room.message' ? [event.event_id] : []));
      expect(dir === 'b' ? ids.toReversed() : ids).to.deep.equal(said);
    }
  });
});
