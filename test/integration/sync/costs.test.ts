import { expect } from 'chai';
import { InProcessServer } from '#test/support/in-process-server.ts';
import { until } from '#test/support/until.ts';

/** What a first sync reads after a restart: of rooms, state, receipts, what is unread and what is for the device; of all rooms together. */
const FIRST_SYNC = 18;

describe('what sync costs', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  /** How often a response was worked out. */
  let computed = 0;

  before(async () => {
    const counter = { name: 'counter', open: () => ((computed += 1), {}) };
    server = await InProcessServer.start({ extensions: { sections: () => [counter] } });
  });
  after(() => server.stop());

  it('is so many statements after a restart, however many rooms there are', async () => {
    const first = async (): Promise<number> => {
      await server.restart();
      await server.session('alice');
      await server.idle();
      return server.statements(() => server.must('alice', 'GET', '/sync?timeout=0'));
    };
    const rooms = async (count: number): Promise<void> => {
      for (let n = 0; n < count; n++) {
        const roomId = await server.room('alice', { preset: 'public_chat', name: `Room ${n}` });
        if (n % 2 === 0) await server.join('bob', roomId);
        await server.say('alice', roomId, 'hello');
      }
    };
    for (const count of [5, 30, 60]) {
      await rooms(count);
      expect(await first()).to.be.at.most(FIRST_SYNC);
    }
  });

  it('is nothing for those who keep up, as long as the token is known', async () => {
    const roomId = await server.room('carol', { preset: 'public_chat' });
    await server.join('dave', roomId);
    let since = (await server.must('dave', 'GET', '/sync?timeout=0')).next_batch;
    const look = async (): Promise<void> => {
      since = (await server.must('dave', 'GET', `/sync?timeout=0&since=${since}`)).next_batch;
    };
    await server.say('carol', roomId, 'hello');
    await server.idle();
    await look();
    expect(await server.statements(look), 'without news').to.equal(0);
    await server.say('carol', roomId, 'hello again');
    expect(await server.statements(look), 'with a message').to.equal(0);
  });

  it('is nothing while those who wait are told nothing', async () => {
    const roomId = await server.room('u0', { preset: 'public_chat' });
    const names = Array.from({ length: 20 }, (_, n) => `u${n}`);
    for (const name of names.slice(1)) await server.join(name, roomId);
    const polls: Promise<unknown>[] = [];
    for (const name of names) {
      // All that has to do with having come.
      let since = (await server.must(name, 'GET', '/sync?timeout=0')).next_batch;
      await server.idle();
      since = (await server.must(name, 'GET', `/sync?timeout=0&since=${since}`)).next_batch;
      polls.push(server.must(name, 'GET', `/sync?timeout=50000&since=${since}`));
    }
    await server.say('u0', roomId, 'hello');
    await Promise.all(polls.splice(0));
    const tokens = await Promise.all(
      names.map(async (name) => (await server.must(name, 'GET', '/sync?timeout=0')).next_batch as string),
    );
    const begun = computed;
    for (const [n, name] of names.entries())
      polls.push(server.must(name, 'GET', `/sync?timeout=50000&since=${tokens[n]}`));
    await until('all wait', () => computed === begun + names.length);
    for (let second = 0; second < 40; second++) await server.clock.advance(1_000);
    expect(computed).to.equal(begun + names.length);
    await server.clock.advance(60_000);
    await Promise.all(polls);
  });
});
