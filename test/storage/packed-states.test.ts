import { expect } from 'chai';
import pg from 'pg';
import { silentLogger } from '#src/kernel/logger.ts';
import { noMetrics } from '#src/kernel/metrics.ts';
import { unpackChain, unpackEntries } from '#src/protocol/wire/packed-state.ts';
import { StateStore } from '#src/services/room-model/state/state-store.ts';
import { Database } from '#src/storage/database.ts';
import { loadMigrations } from '#src/storage/migrator.ts';
import { emptyDatabase } from '#test/support/database.ts';
import { ALICE, eventServices, makeRoom, membership, SERVER, topic } from '#test/support/event-services.ts';

const NAME = 'Migration20261123001600_packed_states';

interface ArrayRow {
  readonly nid: number;
  readonly chain: readonly number[];
  readonly skeys: readonly number[];
  readonly events: readonly number[];
  readonly memberSkeys: readonly number[];
  readonly memberEvents: readonly number[];
}

/** Positions as no room has them: backfilled ones, of other shards, far away. Keys stand in the order in which they were changed. */
const STRANGE: readonly ArrayRow[] = [
  { nid: 10_000_000_007, chain: [], skeys: [], events: [], memberSkeys: [], memberEvents: [] },
  {
    nid: 16 * 700_000_000 + 7,
    chain: [10_000_000_007, 16 * 699_999_999 + 7],
    skeys: [2_147_483_647, 1, 300, 16_384, 5_000_000],
    events: [0, 16 * 700_000_000 + 7, 16 * 699_999_000 + 7, 7, -16 * 12 + 7],
    memberSkeys: [9, 8],
    memberEvents: [16 * 700_000_000 + 8, 16 * 700_000_001 + 7],
  },
  {
    nid: -77,
    chain: [-93, 115],
    skeys: [1],
    events: [-(2 ** 51)],
    memberSkeys: [127, 128, 129, 2_097_152, 268_435_456],
    memberEvents: [2 ** 51, -77, -93, 0, 16 * 2 ** 40],
  },
  { nid: 2 ** 51, chain: [5, 6, 7, -8], skeys: [4], events: [2 ** 51 - 16], memberSkeys: [], memberEvents: [] },
  {
    nid: 16 * 90_000 + 7,
    chain: [7, 16 * 30_000 + 7],
    skeys: [4],
    events: [16 * 24 + 7],
    memberSkeys: [],
    memberEvents: [],
  },
];

describe('rows of state that were arrays', function () {
  this.timeout(60_000);
  let url: string;
  let database: Database;
  let client: pg.Client;
  before(async () => {
    url = await emptyDatabase();
    database = await Database.open({ url, logger: silentLogger, metrics: noMetrics });
    await database.migrate();
    client = new pg.Client({ connectionString: url });
    await client.connect();
  });
  after(async () => {
    await client.end();
    await database.close();
  });

  /** Takes the schema back to before the migration. */
  const back = async (): Promise<void> => {
    const found = (await loadMigrations()).find(({ name }) => name === NAME);
    // It only lists statements: there is nothing to connect to for that.
    const migration = new found!.class(undefined as never, undefined as never);
    await migration.down();
    await client.query('begin');
    for (const query of migration.getQueries()) await client.query(query as string);
    await client.query('delete from migrations where name = $1', [NAME]);
    await client.query('commit');
  };

  it('are packed as they were, and every state is read as before', async () => {
    const services = await eventServices(database);
    const room = await makeRoom(services, ALICE, '10');
    const user = (i: number): string => `@user${i}:${SERVER}`;
    await services.events.sendAll(
      room,
      Array.from({ length: 400 }, (_, i) => membership(user(i), user(i), 'join')),
    );
    for (let i = 0; i < 100; i++) await services.events.send(room, topic(ALICE, `${i}`));
    await services.writer.close();
    const read = async (): Promise<unknown> => {
      const { rows } = await client.query<{ nid: string }>('select nid from state_delta where room = $1 order by nid', [
        room.nid,
      ]);
      const chains = await new StateStore(database).load(rows.map(({ nid }) => Number(nid)));
      expect(chains.size).to.be.greaterThan(500);
      return [...chains].map(([nid, chain]) => [nid, chain.seq, [...chain.others()], [...chain.members()]]);
    };
    const before = await read();
    const packed = 'select nid::text, room, seq, chain, others, members from state_delta where room > 0 order by nid';
    const { rows: packedBefore } = await client.query(packed);
    await back();
    const { rows: arrays } = await client.query<{ chain: string[]; events: string[]; member_events: string[] }>(
      'select chain, events, member_events from state_delta order by nid desc limit 1',
    );
    expect(arrays[0]!.chain.length).to.be.greaterThan(0);
    expect(arrays[0]!.events.length + arrays[0]!.member_events.length).to.be.greaterThan(0);
    for (const row of STRANGE) {
      await client.query('insert into state_delta values ($1, -5, 3, $2, $3, $4, $5, $6)', [
        row.nid,
        row.chain,
        row.skeys,
        row.events,
        row.memberSkeys,
        row.memberEvents,
      ]);
    }
    await database.migrate();
    expect(await read()).to.deep.equal(before);
    // Byte for byte what is written today, too.
    expect((await client.query(packed)).rows).to.deep.equal(packedBefore);
    for (const row of STRANGE) {
      const [found] = (
        await client.query<{ chain: Buffer; others: Buffer; members: Buffer }>(
          'select * from state_delta where nid = $1',
          [row.nid],
        )
      ).rows;
      expect(unpackChain(row.nid, found!.chain)).to.deep.equal(row.chain);
      const families = [
        [row.skeys, row.events, found!.others],
        [row.memberSkeys, row.memberEvents, found!.members],
      ] as const;
      for (const [keys, events, bytes] of families) {
        const entries = unpackEntries(row.nid, bytes);
        const expected = keys.map((key, i) => [key, events[i]] as const).toSorted(([a], [b]) => a - b);
        expect([...entries.keys].map((key, i) => [key, entries.events[i]])).to.deep.equal(expected);
      }
    }
  });

  it('are found again by SQL: the chain of any row, in one round trip', async () => {
    const [first, second] = [STRANGE[1]!, STRANGE[4]!];
    for (const row of [first, second]) {
      const rows = row.chain.map((nid) => [nid, -6, 1, Buffer.of(), Buffer.of(), Buffer.of()]);
      for (const values of rows)
        await client.query('insert into state_delta values ($1, $2, $3, $4, $5, $6) on conflict do nothing', values);
    }
    const states = await new StateStore(database).load([first.nid, second.nid]);
    expect(states.get(first.nid)!.deltas.map(({ nid }) => nid)).to.have.members([...first.chain, first.nid]);
    expect(states.get(second.nid)!.deltas.map(({ nid }) => nid)).to.have.members([...second.chain, second.nid]);
    expect(states.get(second.nid)!.get(4)).to.equal(16 * 24 + 7);
  });
});
