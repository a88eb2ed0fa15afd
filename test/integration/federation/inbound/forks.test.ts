import { expect } from 'chai';
import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import { eventIdBytes } from '#src/services/room-model/event/event-ids.ts';
import { sql, type Statement } from '#src/storage/statement.ts';
import { type Federation, startFederation } from '#test/support/federation/federation.ts';
import type { InProcessServer } from '#test/support/in-process-server.ts';
import { until } from '#test/support/until.ts';
import { PartnerRoom } from '#test/support/federation/partner-room.ts';

const PAT = '@pat:p.test';
/** Forward extremities that a server makes; TEST_FLOOD says how many for long runs. */
const FLOOD = Number(process.env['TEST_FLOOD'] ?? 500);

describe('a room with many forks', function () {
  this.timeout(60_000);
  let federation: Federation;
  let server: InProcessServer;

  before(async () => {
    federation = await startFederation(['a.test'], { partners: ['p.test'] });
    server = federation.server('a.test');
  });
  after(() => federation.stop());

  it('keeps 20 forward extremities at most, however many a server makes, and is healed when nobody says anything', async () => {
    const roomId = await server.room('alice', { preset: 'public_chat' });
    const room = await PartnerRoom.join(server, federation.partner('p.test'), roomId, [PAT]);
    const [base] = room.extremities;
    const forks = Array.from({ length: 120 }, (_, i) =>
      room.build({ type: 'm.room.message', sender: PAT, content: { msgtype: 'm.text', body: `${i}` }, prev: [base!] }),
    );
    for (let at = 0; at < forks.length; at += 40) await room.send(forks.slice(at, at + 40));
    const held = (await server.services.rooms.byId(roomId))!;
    expect(held.head.extremities).to.have.length(20);
    await federation.clock.advance(61_000);
    await until('the room is healed', () => held.head.extremities.length === 1);
    await server.idle();
    expect(held.head.extremities.map(({ type, sender }) => [type, sender])).to.deep.equal([
      ['org.matrix.dummy_event', '@alice:a.test'],
    ]);
    expect(held.head.extremities[0]!.pdu.prev_events).to.have.length(20);
    const page = await server.must('alice', 'GET', `/rooms/${roomId}/messages?dir=b&limit=200`);
    expect(server.bodies(page)).to.have.length(120);
  });

  it('keeps an event that was refused where it is when it is accepted later and that cannot be written', async () => {
    const roomId = await server.room('alice', { preset: 'public_chat' });
    const room = await PartnerRoom.join(server, federation.partner('p.test'), roomId, [PAT]);
    const levels = await server.must('alice', 'GET', `/rooms/${roomId}/state/m.room.power_levels`);
    const power = (level: number): Promise<unknown> =>
      server.setState('alice', roomId, 'm.room.power_levels', { ...levels, users: { ...levels.users, [PAT]: level } });
    await power(50);
    await room.catchUp();
    const topic = room.make({ type: 'm.room.topic', sender: PAT, stateKey: '', content: { topic: 'late' } });
    await power(0);
    await room.send([topic]);
    await power(50);
    const held = (await server.services.rooms.byId(roomId))!;
    const places = (): Promise<{ nid: number; flags: number }[]> =>
      server.services.database.query(sql('test_places_of_event', 'select nid, flags from events where event_id = $1'), [
        eventIdBytes(topic.eventId),
      ]);
    const [refused] = await places();
    expect(refused!.flags & EVENT_FLAGS.softFailed).to.not.equal(0);
    const { database, receiver } = server.services;
    const query = database.query;
    const write = database.write;
    const refuses = (): Promise<never> => Promise.reject(new Error('the database refuses it'));
    database.query = (statement, values) =>
      statement.name.startsWith('write_') ? refuses() : (query.call(database, statement, values) as never);
    database.write = (use) =>
      write.call(database, (tx) =>
        use(
          new Proxy(tx, {
            get: (target, name) =>
              name === 'query'
                ? (statement: Statement, values?: readonly unknown[]) =>
                    statement.name.startsWith('write_') ? refuses() : target.query(statement, values)
                : (Reflect.get(target, name, target) as unknown),
          }),
        ),
      ) as never;
    let error: unknown;
    try {
      error = await receiver.reconsider(held, topic).catch((thrown: unknown) => thrown);
    } finally {
      database.query = query;
      database.write = write;
    }
    expect(error).to.be.instanceOf(Error);
    expect(await places()).to.deep.equal([refused]);
    expect((await receiver.reconsider(held, topic)).outcome).to.equal('accepted');
    const [accepted] = await places();
    expect(accepted!.nid).to.be.above(refused!.nid);
    const { topic: shown } = await server.must('alice', 'GET', `/rooms/${roomId}/state/m.room.topic`);
    expect(shown).to.equal('late');
  });

  it('takes a flood of forward extremities in, and keeps 20 of them, while its users go on', async () => {
    const roomId = await server.room('alice', { preset: 'public_chat' });
    const room = await PartnerRoom.join(server, federation.partner('p.test'), roomId, [PAT]);
    const [base] = room.extremities;
    const held = (await server.services.rooms.byId(roomId))!;
    for (let sent = 0; sent < FLOOD; sent += 50) {
      const forks = Array.from({ length: 50 }, (_, i) =>
        room.build({
          type: 'm.room.message',
          sender: PAT,
          content: { msgtype: 'm.text', body: `${sent + i}` },
          prev: [base!],
        }),
      );
      expect(
        (await federation.partner('p.test').transact('a.test', { pdus: forks.map(({ pdu }) => pdu) })).status,
      ).to.equal(200);
      await server.idle();
      expect(held.head.extremities.length).to.be.at.most(20);
    }
    const said = await server.say('alice', roomId, 'and I go on');
    expect(held.head.extremities.map(({ eventId }) => eventId)).to.deep.equal([said]);
    expect(held.head.extremities[0]!.pdu.prev_events).to.have.length.at.most(20);
  });
});
