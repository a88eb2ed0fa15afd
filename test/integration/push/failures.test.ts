import { expect } from 'chai';
import { sql } from '#src/storage/statement.ts';
import { until } from '#test/support/until.ts';
import { GRACE_MS, PushServer } from './push-server.ts';

const PUSH_SENT = sql('test_push_sent', `select pos from event_followers where name = 'push_sent'`);
const NEWEST = sql('test_newest_push', 'select max(pos) as pos from pushes');
/** Longer than all pauses after failures of the same push. */
const LONG_MS = 30_000;

describe('what is pushed', function () {
  this.timeout(120_000);
  let server: PushServer;
  beforeEach(async () => {
    server = await PushServer.start();
    for (const name of ['bob', 'dora']) await server.push(name);
    await server.told();
  });
  afterEach(() => server?.stop());

  const pass = async (): Promise<void> => {
    for (let passed = 0; passed < LONG_MS; passed += GRACE_MS) await server.settle();
  };
  const placeOf = async (statement: typeof PUSH_SENT): Promise<number> =>
    (await server.app.services.database.query<{ pos: number }>(statement))[0]?.pos ?? 0;

  it('comes although there is a room of which nothing can be pushed', async () => {
    const bad = await server.room('alice', 'bob');
    const good = await server.room('carol', 'dora');
    await server.told();
    const room = (await server.app.services.rooms.byId(bad))!;
    await server.app.say('alice', bad, 'of a bad room');
    await server.app.say('carol', good, 'of a good room');
    await server.app.idle();
    const member = room.member.bind(room);
    Object.defineProperty(room, 'member', {
      configurable: true,
      value: () => {
        throw new Error('it is not known who is in here');
      },
    });
    await pass();
    expect(server.gateway.bodies).to.deep.equal(['of a good room']);
    const metrics = await server.app.metrics.render();
    expect(metrics).to.include('tsudoi_pushes_set_aside_total 1');
    expect(metrics).to.include('tsudoi_pushes_lag 0').and.include('tsudoi_pushes_held 0');
    const logged = server.app.lines.filter(({ message }) => message.startsWith('a push failed repeatedly'));
    expect(logged.map(({ level, fields }) => [level, typeof fields['position']])).to.deep.equal([['error', 'number']]);

    Object.defineProperty(room, 'member', { configurable: true, value: member });
    const newest = await placeOf(NEWEST);
    await server.app.say('alice', bad, 'of a room that is mended');
    await pass();
    expect(server.gateway.bodies).to.deep.equal(['of a good room', 'of a room that is mended']);
    expect(await placeOf(PUSH_SENT)).to.be.at.least(newest);
  });

  it('comes once although the answer of the database that it was noted was lost', async () => {
    const roomId = await server.room('alice', 'bob');
    await server.told();
    const { database } = server.app.services;
    const query = database.query.bind(database);
    let lost = 0;
    database.query = async (statement, values) => {
      const rows = await query(statement, values);
      if (statement.name === 'pushes_append' && lost === 0) {
        lost += 1;
        throw new Error('Connection terminated unexpectedly');
      }
      return rows as never;
    };
    await server.app.say('alice', roomId, 'noted without an answer');
    // Who waits for its time to try again is not idle.
    await until('the push whose answer was lost', async () => {
      await server.app.clock.advance(GRACE_MS);
      return server.gateway.bodies.length > 0;
    });
    expect(lost).to.equal(1);
    await server.app.say('alice', roomId, 'noted as usual');
    await pass();
    database.query = query;
    expect(server.gateway.bodies).to.deep.equal(['noted without an answer', 'noted as usual']);
  });
});
