import { expect } from 'chai';
import { sql } from '#src/storage/statement.ts';
import { loadMigrations } from '#src/storage/migrator.ts';
import { InProcessServer } from '#test/support/in-process-server.ts';

const ALL = sql('test_annotations', 'select nid, annotation from events where annotation is not null order by nid');
const FORGET = sql('test_forget_annotations', 'update events set annotation = null');
const TASKS = sql(
  'test_annotation_tasks',
  `select status, result from admin_tasks where action = 'populate_annotations'`,
);
const UPDATES = '/_synapse/admin/v1/background_updates';

/** The statements of the migration that are about what is stored already. */
const migrated = async (): Promise<readonly string[]> => {
  const found = (await loadMigrations()).find(({ name }) => name === 'Migration20261130183000_annotations');
  // It only lists statements: there is nothing to connect to for that.
  const migration = new found!.class(undefined as never, undefined as never);
  await migration.up();
  return migration.getQueries() as string[];
};

describe('annotations from before there was a column for what they say', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  let roomId: string;
  let target: string;
  const keys = ['👍', '猫"\\', '', 'a\nb', 'plain', 'nul\0', 7, undefined];
  const content = (rel_type: string, key: string | number | undefined): Record<string, unknown> => ({
    'm.relates_to': { rel_type, event_id: target, ...(key === undefined ? {} : { key }) },
  });
  before(async () => {
    server = await InProcessServer.start();
    roomId = await server.room('alice');
    target = await server.say('alice', roomId, 'target');
    await server.services.events.sendAll(
      (await server.services.rooms.byId(roomId))!,
      ['m.reaction', 'x.種類'].flatMap((type) =>
        ['m.annotation', 'm.reference'].flatMap((relType) =>
          keys.map((key) => ({ type, sender: '@alice:test', content: content(relType, key) as never })),
        ),
      ),
    );
    // More than are looked at in one step.
    for (const kind of ['a', 'b', 'c']) {
      const more = Array.from({ length: 90 }, (_, count) => ({
        type: 'm.reaction',
        sender: '@alice:test',
        content: content('m.annotation', `${kind}${count}`) as never,
      }));
      await server.services.events.sendAll((await server.services.rooms.byId(roomId))!, more);
    }
    await server.idle();
  });
  after(() => server.stop());

  it('are left as they are by the migration, and get it while the server runs, as new ones have it', async () => {
    const { database, outboxRelay } = server.services;
    const written = await database.query<{ nid: number; annotation: number }>(ALL);
    expect(new Set(written.map(({ annotation }) => annotation)).size).to.equal(12 + 270);
    await database.query(FORGET);
    const queries = await migrated();
    expect(queries.filter((query) => /\bupdate\b.*\bset\b/s.test(query))).to.deep.equal([]);
    await server.must('admin-root', 'POST', `${UPDATES}/enabled`, { enabled: false });
    for (const [at, query] of queries.entries())
      if (query.startsWith('insert')) await database.query(sql(`test_migrate_annotations_${at}`, query));
    outboxRelay.wake();
    await server.idle();
    expect(await database.query(ALL)).to.deep.equal([]);

    // Meanwhile nobody says the same twice.
    for (const [at, key] of ['👍', 'nul\0', 'c89'].entries()) {
      const path = `/rooms/${roomId}/send/m.reaction/meanwhile-${at}`;
      const { body, status } = await server.ask('alice', 'PUT', path, content('m.annotation', key));
      expect([status, body.errcode]).to.deep.equal([400, 'M_DUPLICATE_ANNOTATION']);
    }

    await server.must('admin-root', 'POST', `${UPDATES}/enabled`, { enabled: true });
    await server.idle();
    expect(await database.query(ALL)).to.deep.equal(written);
    const [task] = await database.query<{ status: string; result: string }>(TASKS);
    expect([task?.status, JSON.parse(task!.result).items]).to.deep.equal(['complete', 32 - 4 + 270 + 4]);
    const statements = database.statements();
    await server.must('alice', 'PUT', `/rooms/${roomId}/send/m.reaction/first`, content('m.annotation', 'first'));
    const first = database.statements() - statements;
    await server.must('alice', 'PUT', `/rooms/${roomId}/send/m.reaction/second`, content('m.annotation', 'second'));
    // Whether there are some of old is asked once more at most.
    expect(database.statements() - statements - first).to.equal(first - 1);
  });

  it('are not asked for by the migration of a server that has none', async () => {
    const other = await InProcessServer.start();
    try {
      expect(await other.services.database.query(TASKS)).to.deep.equal([]);
    } finally {
      await other.stop();
    }
  });
});
