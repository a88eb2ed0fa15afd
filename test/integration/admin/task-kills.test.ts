import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { expect } from 'chai';
import { SWEEP_START } from '#src/services/media/media-sweeps.ts';
import type { Actor } from '#src/services/audit/actor.ts';
import { sql } from '#src/storage/statement.ts';
import { kindsOf } from '#src/app/slices/task-runner.ts';
import { makeRoom, message } from '#test/support/event-services.ts';
import { type Life, MortalServer } from '#test/support/mortal/mortal-server.ts';
import { taskKilledAnywhere } from './killed-task.ts';

const ADMIN: Actor = { userId: '@admin:localhost', via: 'http' };
const QUARANTINED = sql(
  'test_task_kills_quarantined',
  'select count(*)::int as n from media where user_id = $1 and quarantined_by is not null',
);
const CHANGES = sql('test_task_kills_changes', 'select count(*)::int as n from quarantine_changes where quarantined');
const LOSE = sql('test_task_kills_lose', 'delete from directory_users');
const LOSE_OVERVIEWS = sql('test_task_kills_lose_overviews', 'delete from room_overviews');
const OVERVIEWS = sql(
  'test_task_kills_overviews',
  'select count(*)::int as n from room_overviews where room = any($1::int[])',
);
const ANNOTATIONS = sql(
  'test_task_kills_annotations',
  'select nid, annotation from events where room = $1 and annotation is not null order by nid',
);
const UNNUMBER = sql('test_task_kills_unnumber', 'update events set annotation = null where room = $1');
/** As it was before relations were indexed by their places. */
const UNPLACE = [
  sql('test_task_kills_unplace', 'drop index if exists events_relations_placed'),
  sql('test_task_kills_index_before', 'create index events_relations on events (rel, nid) where rel is not null'),
];
const INDEXES = sql(
  'test_task_kills_indexes',
  `select c.relname as name, i.indisvalid as valid from pg_index i join pg_class c on c.oid = i.indexrelid
   where c.relname like 'events_relations%'`,
);
/** Longer than followers gather events. */
const LAG_MS = 1_000;
const LISTED = sql('test_task_kills_listed', 'select count(*)::int as n from directory_users where user_id = any($1)');

describe('a task of administrators, when the server is killed between two steps', function () {
  this.timeout(180_000);
  let server: MortalServer;
  let count = 0;
  before(async () => {
    server = await MortalServer.open();
  });
  after(() => server?.close());

  const counted = async (statement: ReturnType<typeof sql>, values: unknown[]): Promise<number> =>
    (await server.database.query<{ n: number }>(statement, values))[0]!.n;

  const startUpdate = (life: Life, name: string): Promise<string> => {
    const kind = life.services.updateKinds.find(({ action }) => action === name)!;
    return life.services.database.write((tx) =>
      life.services.adminTasks.start(tx, ADMIN, kind, {
        resource: 'background_updates',
        params: {},
        entry: { action: 'background_updates.start', target: name },
      }),
    );
  };

  taskKilledAnywhere(() => server, {
    title: 'quarantines every file of a user, and tells of each once',
    task: 'sweep_media',
    async prepare({ services }) {
      const userId = `@uploads${(count += 1)}:localhost`;
      for (const content of ['one', 'two', 'three'])
        await services.media.upload(userId, {
          content: Readable.from([Buffer.from(`${content} ${userId}`)]),
          contentType: 'text/plain',
          filename: undefined,
        });
      return { userId, before: await counted(CHANGES, []) };
    },
    start: ({ services }, { userId }) =>
      services.database.write((tx) =>
        services.adminTasks.start(tx, ADMIN, services.mediaMaintenance.kind, {
          resource: 'media',
          params: { kind: 'quarantine_user', userId, by: '@admin:localhost', after: SWEEP_START },
          entry: { action: 'media.quarantine_user', target: userId },
        }),
      ),
    async assertDone({ services }, { before, userId }, id, when) {
      expect((await services.adminTasks.get(id))?.result, when).to.include({ count: 3 });
      expect(await counted(QUARANTINED, [userId]), when).to.equal(3);
      expect((await counted(CHANGES, [])) - before, when).to.equal(3);
    },
  });

  taskKilledAnywhere(() => server, {
    title: 'writes the user directory anew, all of it',
    task: 'regenerate_directory',
    async prepare(life) {
      const userIds = [(await server.user(life)).userId, (await server.user(life)).userId];
      await life.doJobs();
      await server.database.query(LOSE, []);
      return userIds;
    },
    start: (life) => startUpdate(life, 'regenerate_directory'),
    async assertDone(_life, userIds, _id, when) {
      expect(await counted(LISTED, [userIds]), when).to.equal(2);
    },
  });

  taskKilledAnywhere(() => server, {
    title: 'writes the list of rooms anew, all of it',
    task: 'populate_stats_process_rooms',
    async prepare(life) {
      const { userId } = await server.user(life);
      const rooms = [await makeRoom(life.services, userId, '11'), await makeRoom(life.services, userId, '11')];
      await life.pass(LAG_MS);
      await server.database.query(LOSE_OVERVIEWS, []);
      return rooms.map(({ nid }) => nid);
    },
    start: (life) => startUpdate(life, 'populate_stats_process_rooms'),
    async assertDone(_life, rooms, _id, when) {
      expect(await counted(OVERVIEWS, [rooms]), when).to.equal(2);
    },
  });

  taskKilledAnywhere(() => server, {
    title: 'gives every annotation that has no number its own',
    task: 'populate_annotations',
    async prepare(life) {
      const { userId } = await server.user(life);
      const room = await makeRoom(life.services, userId, '11');
      const { eventId } = await life.services.events.send(room, message(userId, 'liked'));
      const relation = { rel_type: 'm.annotation', event_id: eventId };
      for (const key of ['one', 'two', 'three'])
        await life.services.events.send(room, {
          type: 'm.reaction',
          sender: userId,
          content: { 'm.relates_to': { ...relation, key } },
        });
      const numbers = await server.database.query(ANNOTATIONS, [room.nid]);
      await server.database.query(UNNUMBER, [room.nid]);
      return { room, numbers };
    },
    start: (life) => startUpdate(life, 'populate_annotations'),
    async assertDone(_life, { numbers, room }, _id, when) {
      expect(numbers).to.have.lengthOf(3);
      expect(await server.database.query(ANNOTATIONS, [room.nid]), when).to.deep.equal(numbers);
    },
  });

  taskKilledAnywhere(() => server, {
    title: 'indexes relations by their places, and drops the index of before',
    task: 'index_relations',
    async prepare() {
      for (const statement of UNPLACE) await server.database.query(statement, []);
    },
    start: (life) => startUpdate(life, 'index_relations'),
    async assertDone(_life, _subject, _id, when) {
      const indexes = await server.database.query(INDEXES, []);
      expect(indexes, when).to.deep.equal([{ name: 'events_relations_placed', valid: true }]);
    },
  });

  it('is of a kind that one of these tests knows', async () => {
    const life = await server.begin();
    const kinds = [...kindsOf(life.services), ...life.services.updateKinds].map(({ action }) => action);
    await life.end();
    const files = readdirSync(import.meta.dirname).filter((file) => file.endsWith('.test.ts'));
    const known = files.flatMap((file) => [
      ...readFileSync(join(import.meta.dirname, file), 'utf8').matchAll(/^ +task: '(?<task>\w+)',$/gm),
    ]);
    expect(known.map(({ groups }) => groups?.['task']).toSorted()).to.deep.equal(kinds.toSorted());
  });
});
