import { expect } from 'chai';
import { sql } from '#src/storage/statement.ts';
import { loadMigrations } from '#src/storage/migrator.ts';
import { InProcessServer } from '#test/support/in-process-server.ts';

const ALL = sql('test_annotations', 'select nid, annotation from events where annotation is not null order by nid');

describe('annotations from before there was a column for what they say', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  before(async () => (server = await InProcessServer.start()));
  after(() => server.stop());

  it('have it by the migration, as new ones have it, but for those that PostgreSQL cannot read', async () => {
    const { database, events, rooms } = server.services;
    const roomId = await server.room('alice');
    const target = await server.say('alice', roomId, 'target');
    const keys = ['👍', '猫"\\', '', 'a\nb', 'plain', 'nul\0', 7, undefined];
    await events.sendAll(
      (await rooms.byId(roomId))!,
      ['m.reaction', 'x.種類'].flatMap((type) =>
        ['m.annotation', 'm.reference'].flatMap((rel_type) =>
          keys.map((key) => ({
            type,
            sender: '@alice:test',
            content: { 'm.relates_to': { rel_type, event_id: target, ...(key === undefined ? {} : { key }) } },
          })),
        ),
      ),
    );
    const written = await database.query<{ nid: number; annotation: number }>(ALL);
    expect(new Set(written.map(({ annotation }) => annotation)).size).to.equal(12);
    await database.query(sql('test_forget', 'update events set annotation = null'));
    const found = (await loadMigrations()).find(({ name }) => name === 'Migration20261130183000_annotations');
    // It only lists statements: there is nothing to connect to for that.
    const migration = new found!.class(undefined as never, undefined as never);
    await migration.up();
    const update = (migration.getQueries() as string[]).find((query) => query.startsWith('update'));
    await database.query(sql('test_migrate_annotations', update!));
    const again = await database.query<{ nid: number; annotation: number }>(ALL);
    expect(again.length).to.equal(12 - 2);
    expect(written).to.deep.include.members(again);
  });
});
