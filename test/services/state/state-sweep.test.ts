import { expect } from 'chai';
import { sweepStates } from '#src/services/state/state-sweep.ts';
import { sql } from '#src/storage/statement.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { ALICE, eventServices, makeRoom, membership, message, topic } from '#test/support/event-services.ts';
import { CAROL, DAVE, RemoteRoom } from '#test/support/remote-room.ts';

describe('the sweep of unused states', function () {
  this.timeout(60_000);
  let clone: TestDatabase;
  before(async () => {
    clone = await cloneDatabase();
  });
  after(() => clone.drop());

  it('deletes what nothing refers to, in batches, and nothing else', async () => {
    const services = await eventServices(clone.database);
    const { database } = services;
    const remote = new RemoteRoom(services, await makeRoom(services, ALICE, '10'));
    const { nid } = remote.room;
    await remote.catchUp();
    for (const user of [CAROL, DAVE]) await remote.accepted(membership(user, user, 'join'));
    const fork = remote.replay.extremities;
    await remote.accepted({ ...topic(CAROL, 'left'), prev: fork });
    await remote.accepted({ ...topic(DAVE, 'right'), prev: fork });
    for (let i = 0; i < 30; i++) await services.events.send(remote.room, topic(ALICE, `${i}`));
    expect(await sweepStates(database, nid)).to.equal(0);
    // Rows that nobody names: one that stands alone, and two that are built on each other and on one in use.
    const count = async (): Promise<number> => {
      const [row] = await database.query<{ n: number }>(
        sql('test_sweep_count', 'select count(*)::int as n from state_delta where room = $1'),
        [nid],
      );
      return row!.n;
    };
    const all = await count();
    await database.query(
      sql(
        'test_sweep_insert',
        `insert into state_delta (nid, room, seq, chain, skeys, events, member_skeys, member_events)
         select t.state - o.n, $1, 900, case when o.n > 5 then array[t.state, t.state - 5] else '{}' end, '{}', '{}', '{}', '{}'
         from room_tail t, unnest(array[3, 5, 6, 7]) o(n) where t.room = $1`,
      ),
      [nid],
    );
    expect(await count()).to.equal(all + 4);
    await services.events.send(remote.room, message(ALICE, 'after'));
    expect(await sweepStates(database, nid, 2)).to.equal(4);
    expect(await count()).to.equal(all);
    await remote.verify();
    const again = await eventServices(database);
    const room = (await again.rooms.byNid(nid))!;
    await again.events.send(room, topic(ALICE, 'goes on'));
    expect(await sweepStates(database, nid)).to.equal(0);
  });

  it('deletes the states of events that are gone', async () => {
    const services = await eventServices(clone.database);
    const room = await makeRoom(services);
    for (let i = 0; i < 20; i++) await services.events.send(room, topic(ALICE, `${i}`));
    const kept = room.stateChain.deltas.length;
    const where = 'from events where room = $1 and nid < $2';
    await services.database.query(sql('test_sweep_events', `delete ${where}`), [room.nid, room.lastPosition]);
    expect(await sweepStates(services.database, room.nid)).to.be.greaterThan(10);
    const [row] = await services.database.query<{ n: number }>(
      sql('test_sweep_left', 'select count(*)::int as n from state_delta where room = $1'),
      [room.nid],
    );
    // The state of the newest event, that before it, and what both are built on.
    expect(row!.n).to.be.within(kept, kept + 8);
    const { states } = await eventServices(services.database);
    expect((await states.get(room.stateId)).get(room.state.get('m.room.topic\0')!.skey)).to.equal(room.lastPosition);
  });
});
