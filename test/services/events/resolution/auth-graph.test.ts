import { expect } from 'chai';
import { AuthGraphs } from '#src/services/events/resolution/auth-graph.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { sql } from '#src/storage/statement.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';

const ROOM = 900;
const INSERT = sql(
  'test_insert_state_event',
  `insert into events (room, nid, topo, event_id, type, skey, sender, ts, state, prev, auth, flags, json)
   values ($1, $2::bigint, 0, decode(md5($2::text), 'hex'), 1, 1, 1, 0, 0, '{}', $3::bigint[], 1, '{}')`,
);

describe('the auth graph of a room', () => {
  let clone: TestDatabase;
  let graphs: AuthGraphs;
  let room: Room;
  before(async () => {
    clone = await cloneDatabase();
  });
  after(() => clone.drop());
  beforeEach(async () => {
    await clone.database.query(sql('test_no_events', 'truncate events'));
    graphs = new AuthGraphs(clone.database);
    room = { nid: ROOM, lastPosition: 0 } as Room;
  });

  const store = async (nid: number, ...auth: number[]): Promise<void> => {
    await clone.database.query(INSERT, [ROOM, nid, auth]);
    (room as { lastPosition: number }).lastPosition = Math.max(room.lastPosition, nid);
  };
  const chain = async (...from: number[]): Promise<number[]> =>
    [...(await graphs.chains(room, from)).events].sort((a, b) => a - b);

  it('is read once, and only what is new after that', async () => {
    await store(16);
    await store(32, 16);
    await store(48, 16, 32);
    expect(await chain(48)).to.deep.equal([16, 32, 48]);
    const before = clone.database.statements();
    expect(await chain(32, 48)).to.deep.equal([16, 32, 48]);
    expect(clone.database.statements() - before).to.equal(0);
    await store(64, 48);
    const after = clone.database.statements();
    expect(await chain(64)).to.deep.equal([16, 32, 48, 64]);
    expect(clone.database.statements() - after).to.equal(1);
  });

  it('knows what was stored later under earlier positions, however long a chain of that is', async () => {
    await store(16);
    await store(160, 16);
    expect(await chain(160)).to.deep.equal([16, 160]);
    // History of another server comes in backwards, and an archive between what is there.
    await store(-16, 16);
    await store(-32, -16);
    await store(80, -32, 96);
    await store(96, 16);
    await store(176, 80);
    expect(await chain(176)).to.deep.equal([-32, -16, 16, 80, 96, 176]);
    const before = clone.database.statements();
    expect(await chain(176)).to.have.length(6);
    expect(clone.database.statements() - before).to.equal(0);
  });

  it('continues without what was purged, and finds it when it is back', async () => {
    await store(32, 16);
    expect(await chain(32)).to.deep.equal([16, 32]);
    await store(16, 8);
    expect(await chain(32)).to.deep.equal([8, 16, 32]);
    expect((await graphs.chains(room, [32])).edges.get(16)).to.deep.equal([8]);
  });
});
