import { expect } from 'chai';
import { PushGateway } from '#test/support/stand-ins/push-gateway.ts';
import { until } from '#test/support/until.ts';
import { GRACE_MS, PushServer } from './push-server.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const RETRY_MS = 3 * DAY_MS;

describe('a push gateway', function () {
  this.timeout(120_000);
  let server: PushServer;
  beforeEach(async () => {
    server = await PushServer.start({ config: { push: { retryMs: RETRY_MS } } });
  });
  afterEach(() => server?.stop());

  /** Two in a room, of whom bob has a pusher. */
  const room = async (): Promise<string> => {
    const roomId = await server.room('alice', 'bob', 'carol');
    await server.push('bob');
    await server.told();
    return roomId;
  };
  /** Sets the clock forward, and lets what is due be done. */
  const pass = async (ms: number): Promise<void> => {
    server.app.clock.spend(ms);
    await server.settle();
  };

  it('that cannot take anything is tried again in longer and longer pauses, and then told everything once, in order', async () => {
    const roomId = await room();
    server.gateway.mood = () => [503, 'come back later'];
    await server.app.say('alice', roomId, 'one');
    await server.app.say('alice', roomId, 'two');
    await server.settle();
    const attempts: number[] = [];
    const { clock } = server.app;
    const start = clock.now();
    let seen = 0;
    while (clock.now() < start + 6 * HOUR_MS) {
      if (server.gateway.notified.length > seen) attempts.push(clock.now());
      seen = server.gateway.notified.length;
      await pass(attempts.length < 8 ? 1_000 : 600_000);
    }
    const pauses = attempts.slice(1).map((at, i) => at - attempts[i]!);
    expect(pauses.length).to.be.within(8, 24);
    for (const [i, pause] of pauses.entries()) expect(pause).to.be.at.least(Math.min(pauses[i - 1] ?? 0, HOUR_MS / 2));
    expect(new Set(server.gateway.bodies)).to.deep.equal(new Set(['one']));
    server.gateway.mood = () => [200, { rejected: [] }];
    server.gateway.take();
    await pass(2 * HOUR_MS);
    expect(server.gateway.bodies).to.deep.equal(['one', 'two']);
    await server.app.say('alice', roomId, 'three');
    await server.settle();
    expect(server.gateway.bodies).to.deep.equal(['one', 'two', 'three']);
  });

  it('that comes back is told what waits without all rooms being read in which anything was said', async () => {
    const OTHERS = 101;
    const roomId = await room();
    await server.push('dora');
    await server.app.say('alice', roomId, 'told at once');
    await server.settle();
    server.gateway.mood = () => [503, 'come back later'];
    await server.app.say('alice', roomId, 'for bob');
    await server.settle();
    for (let index = 0; index < OTHERS; index += 1)
      await server.app.say('alice', await server.room('alice', 'dora'), 'x');
    await server.app.say('alice', roomId, 'and this');
    await server.settle();
    await server.app.must('dora', 'POST', '/pushers/set', { app_id: 'test.app', pushkey: 'dora', kind: null });
    await server.settle();
    const { rooms } = server.app.services;
    const load = rooms.load.bind(rooms);
    const read = new Set<number>();
    rooms.load = (nids) => {
      const wanted = [...nids];
      for (const nid of wanted) read.add(nid);
      return load(wanted);
    };
    server.gateway.mood = () => [200, { rejected: [] }];
    server.gateway.take();
    await pass(HOUR_MS);
    await pass(HOUR_MS);
    expect(server.gateway.bodies).to.deep.equal(['for bob', 'and this']);
    expect(read.size).to.be.lessThan(OTHERS);
  });

  it('that comes back days later is told what is not older than that, and not read', async () => {
    const roomId = await room();
    server.gateway.mood = () => [500, {}];
    await server.app.say('alice', roomId, 'too old');
    await server.settle();
    await pass(2 * DAY_MS);
    const read = await server.app.say('alice', roomId, 'read meanwhile');
    await server.settle();
    await server.read('bob', roomId, read);
    await server.app.say('alice', roomId, 'still news');
    await server.settle();
    await pass(2 * DAY_MS);
    server.gateway.mood = () => [200, { rejected: [] }];
    server.gateway.take();
    await pass(2 * HOUR_MS);
    expect(server.gateway.bodies).to.deep.equal(['still news']);
  });

  it('is told the rest after a restart, when its pause is over, and nothing twice', async () => {
    const roomId = await room();
    await server.app.say('alice', roomId, 'before');
    await server.settle();
    server.gateway.mood = () => [502, {}];
    const said = Array.from({ length: 150 }, (_, i) => `message ${i}`);
    for (const text of said) await server.app.say('alice', roomId, text);
    await server.settle();
    await pass(HOUR_MS);
    await server.app.restart();
    await server.app.say('alice', roomId, 'after the restart');
    server.gateway.take();
    server.gateway.mood = () => [200, { rejected: [] }];
    await pass(2 * HOUR_MS);
    expect(server.gateway.bodies).to.deep.equal([...said, 'after the restart']);
    await server.app.restart();
    await pass(2 * HOUR_MS);
    expect(server.gateway.bodies).to.have.length(151);
  });

  it('that is slow is told everything in the end, however much comes meanwhile', async () => {
    const roomId = await room();
    const said = Array.from({ length: 200 }, (_, i) => `message ${i}`);
    let isSlow = true;
    server.gateway.mood = () => (isSlow ? 'hang' : [200, { rejected: [] }]);
    await server.app.say('alice', roomId, 'first');
    await server.app.clock.advance(2 * GRACE_MS);
    await until('the first push', () => server.gateway.notified.length > 0);
    for (const text of said) await server.app.say('alice', roomId, text);
    for (let i = 0; i < 3; i++) await server.app.clock.advance(2 * GRACE_MS);
    isSlow = false;
    server.gateway.take();
    await server.app.clock.advance(20_000);
    await pass(HOUR_MS);
    expect(server.gateway.bodies).to.deep.equal(['first', ...said]);
  });

  it('that does not take one notification is told the next ones', async () => {
    const roomId = await room();
    server.gateway.mood = ({ notification }) => [notification.content?.body === 'poison' ? 400 : 200, {}];
    await server.app.say('alice', roomId, 'poison');
    await server.app.say('alice', roomId, 'fine');
    await server.settle();
    for (let i = 0; i < 4; i++) await pass(HOUR_MS);
    expect(server.gateway.bodies.filter((body) => body === 'poison')).to.have.length(3);
    expect(server.gateway.bodies.at(-1)).to.equal('fine');
  });

  it('that says when to come back is left alone until then', async () => {
    const roomId = await room();
    server.gateway.mood = () => [429, {}, { 'retry-after': '1800' }];
    await server.app.say('alice', roomId, 'one');
    await server.settle();
    server.gateway.mood = () => [200, { rejected: [] }];
    await pass(1_700_000);
    expect(server.gateway.notified).to.have.length(1);
    await pass(200_000);
    expect(server.gateway.bodies).to.deep.equal(['one', 'one']);
  });

  it('that comes back is told of nothing yet that may still be read', async () => {
    const roomId = await room();
    server.gateway.mood = () => [429, {}, { 'retry-after': '60' }];
    await server.app.say('alice', roomId, 'one');
    await server.settle();
    server.gateway.mood = () => [200, { rejected: [] }];
    server.gateway.take();
    await pass(58_500);
    const two = await server.app.say('alice', roomId, 'two');
    await server.settle(700);
    expect(server.gateway.bodies).to.deep.equal(['one']);
    await server.read('bob', roomId, two);
    await server.app.say('alice', roomId, 'three');
    await server.settle();
    expect(server.gateway.bodies.filter((body) => body !== undefined)).to.deep.equal(['one', 'three']);
  });

  it('leads nobody elsewhere: redirects are not followed', async () => {
    const elsewhere = await PushGateway.start();
    try {
      const roomId = await room();
      server.gateway.mood = () => [307, '', { location: elsewhere.url }];
      await server.app.say('alice', roomId, 'one');
      await server.settle();
      expect([server.gateway.notified.length, elsewhere.notified.length]).to.deep.equal([1, 0]);
      server.gateway.mood = () => [200, { rejected: [] }];
      await pass(HOUR_MS);
      expect(server.gateway.bodies).to.deep.equal(['one', 'one']);
    } finally {
      await elsewhere.stop();
    }
  });

  it('may answer with anything: what it took is not sent again', async () => {
    const roomId = await room();
    const answers = ['', 'OK', '[]', '{"rejected":"bob"}', '{"rejected":[1,null,{"bob":1}]}', '{}'];
    for (const answer of answers) {
      server.gateway.mood = () => [200, answer];
      await server.app.say('alice', roomId, `answered with ${answer}`);
      await server.settle();
    }
    await pass(HOUR_MS);
    expect(server.gateway.bodies).to.deep.equal(answers.map((answer) => `answered with ${answer}`));
    expect((await server.app.must('bob', 'GET', '/pushers')).pushers).to.have.length(1);
  });

  it('that is dead makes nobody wait who is told by other gateways, and is not asked by all at once', async () => {
    const dead = await PushGateway.start();
    try {
      const names = Array.from({ length: 60 }, (_, i) => `dead${i}`);
      const roomId = await server.room('alice', 'bob', ...names);
      for (const name of names) await server.push(name, {}, { url: dead.url });
      await server.push('bob');
      await server.told();
      dead.mood = () => 'hang';
      await server.app.say('alice', roomId, 'hello');
      await server.app.clock.advance(2 * GRACE_MS);
      await until('the push of who is told elsewhere', () => server.gateway.bodies.includes('hello'));
      await until('the dead gateway is asked', () => dead.notified.length >= 16);
      await server.app.say('alice', roomId, 'again');
      await server.app.clock.advance(2 * GRACE_MS);
      await until('the next one too', () => server.gateway.bodies.includes('again'));
      expect(dead.maxOpen).to.equal(16);
      // Once it is known to be dead, it is asked once at a time.
      await server.app.clock.advance(15_000);
      await until('the first are given up', async () => {
        // When they are, the next one is not asked at once.
        await server.app.clock.advance(1_000);
        return dead.notified.length > 16;
      });
      const asked = dead.notified.length;
      await server.app.clock.advance(1_000);
      expect(dead.notified.length).to.be.at.most(asked + 1);
      // When it answers again, everybody is told.
      dead.mood = () => [200, { rejected: [] }];
      dead.take();
      for (let i = 0; i < 30; i++) await server.app.clock.advance(15_000);
      await pass(HOUR_MS);
      const told = Map.groupBy(dead.notified, ({ notification }) => notification.devices[0].pushkey);
      expect([...told.keys()].toSorted()).to.deep.equal(names.toSorted());
      for (const [name, notified] of told)
        expect(
          notified.map(({ notification }) => notification.content.body),
          name,
        ).to.deep.equal(['hello', 'again']);
    } finally {
      await dead.stop();
    }
  });

  it('that nobody listens at is tried again, and found when it is there', async () => {
    const roomId = await room();
    const { port } = server.gateway;
    await server.gateway.stop();
    await server.app.say('alice', roomId, 'one');
    await server.settle();
    await server.gateway.listen(port);
    await pass(HOUR_MS);
    expect(server.gateway.bodies).to.deep.equal(['one']);
  });
});

describe('a push gateway in a network that requests must not go to', function () {
  this.timeout(60_000);
  let server: PushServer;
  before(async () => {
    server = await PushServer.start({ config: { federation: { allowIpRanges: [] } } });
  });
  after(() => server?.stop());

  it('hears nothing', async () => {
    const roomId = await server.room('alice', 'bob');
    await server.push('bob');
    await server.app.say('alice', roomId, 'one');
    await server.settle();
    expect(server.gateway.notified).to.deep.equal([]);
    const metrics = await server.app.metrics.render();
    expect(metrics).to.match(/tsudoi_pushes_total\{[^}]*outcome="unreachable"[^}]*\} [1-9]/);
  });
});
