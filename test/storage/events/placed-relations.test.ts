import { expect } from 'chai';
import { sql } from '#src/storage/statement.ts';
import { loadMigrations } from '#src/storage/migrator.ts';
import { InProcessServer } from '#test/support/in-process-server.ts';

const INDEXES = sql(
  'test_relation_indexes',
  `select indexrelid::regclass::text as name, indisvalid as valid from pg_index
   where indrelid = 'events'::regclass and indexrelid::regclass::text like 'events_relations%' order by 1`,
);
const AS_BEFORE = ['drop index events_relations_placed', 'create index events_relations on events (rel, nid)'];
const PLACED = [{ name: 'events_relations_placed', valid: true }];

describe('the index of relations by their places', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  let queries: readonly string[];
  before(async () => {
    server = await InProcessServer.start();
    const found = (await loadMigrations()).find(({ name }) => name === 'Migration20261201031500_placed_relations');
    const migration = new found!.class(undefined as never, undefined as never);
    await migration.up();
    queries = migration.getQueries() as string[];
  });
  after(() => server.stop());
  const indexes = (): Promise<object[]> => server.services.database.query(INDEXES, []);
  const run = async (name: string, statements: readonly string[]): Promise<void> => {
    for (const [at, text] of statements.entries())
      await server.services.database.query(sql(`test_placed_${name}_${at}`, text), []);
  };

  it('is made by the migration where there is no event yet', async () => {
    expect(await indexes()).to.deep.equal(PLACED);
  });

  it('is made while the server runs where there are events', async () => {
    await server.say('alice', await server.room('alice'), 'an event');
    await run('before', AS_BEFORE);
    await run('migrate', queries);
    expect(await indexes()).to.deep.equal([{ name: 'events_relations', valid: true }]);
    server.services.outboxRelay.wake();
    await server.idle();
    expect(await indexes()).to.deep.equal(PLACED);
  });
});
