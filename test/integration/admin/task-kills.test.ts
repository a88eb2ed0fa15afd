import { Readable } from 'node:stream';
import { expect } from 'chai';
import { SWEEP_START } from '#src/services/media/media-sweeps.ts';
import type { Actor } from '#src/services/audit/actor.ts';
import { sql } from '#src/storage/statement.ts';
import { type Life, MortalServer } from '#test/support/mortal/mortal-server.ts';

const ADMIN: Actor = { userId: '@admin:localhost', via: 'http' };
const QUARANTINED = sql(
  'test_task_kills_quarantined',
  'select count(*)::int as n from media where user_id = $1 and quarantined_by is not null',
);
const CHANGES = sql('test_task_kills_changes', 'select count(*)::int as n from quarantine_changes where quarantined');
const LOSE = sql('test_task_kills_lose', 'delete from directory_users');
const LISTED = sql('test_task_kills_listed', 'select count(*)::int as n from directory_users where user_id = any($1)');

describe('a task of administrators, when the server is killed between two steps', function () {
  this.timeout(60_000);
  let server: MortalServer;
  let count = 0;
  before(async () => {
    server = await MortalServer.open();
  });
  after(() => server?.close());

  const counted = async (statement: ReturnType<typeof sql>, values: unknown[]): Promise<number> =>
    (await server.database.query<{ n: number }>(statement, values))[0]!.n;

  /** Kills the server at each half step of the jobs that follow, until it gets through. @returns how often it was killed */
  const atEachStep = async <Subject>(
    begin: (life: Life) => Promise<Subject>,
    look: (life: Life, subject: Subject, when: string) => Promise<void>,
  ): Promise<number> => {
    for (let kill = 0; ; kill++) {
      const doomed = await server.begin();
      const subject = await begin(doomed);
      doomed.mortal.killAt(kill);
      const isThrough = await doomed.mortal.survives(() => doomed.doJobs());
      const next = await server.begin();
      await next.doJobs();
      await look(next, subject, `killed at half step ${kill}`);
      await next.end();
      if (!isThrough) continue;
      await doomed.end();
      return kill;
    }
  };

  it('quarantines every file of a user, and tells of each once', async () => {
    const kills = await atEachStep(
      async ({ services }) => {
        const userId = `@uploads${(count += 1)}:localhost`;
        for (const content of ['one', 'two', 'three'])
          await services.media.upload(userId, {
            content: Readable.from([Buffer.from(`${content} ${userId}`)]),
            contentType: 'text/plain',
            filename: undefined,
          });
        const before = await counted(CHANGES, []);
        const id = await services.database.write((tx) =>
          services.adminTasks.start(tx, ADMIN, services.mediaMaintenance.kind, {
            resource: 'media',
            params: { kind: 'quarantine_user', userId, by: '@admin:localhost', after: SWEEP_START },
            entry: { action: 'media.quarantine_user', target: userId },
          }),
        );
        return { userId, before, id };
      },
      async ({ services }, { before, id, userId }, when) => {
        expect(await services.adminTasks.get(id), when).to.deep.include({ status: 'complete' });
        expect((await services.adminTasks.get(id))?.result, when).to.include({ count: 3 });
        expect(await counted(QUARANTINED, [userId]), when).to.equal(3);
        expect((await counted(CHANGES, [])) - before, when).to.equal(3);
      },
    );
    expect(kills).to.be.above(4);
  });

  it('writes the user directory anew, all of it', async () => {
    const first = await server.begin();
    const userIds = [(await server.user(first)).userId, (await server.user(first)).userId];
    await first.doJobs();
    await first.end();
    const kills = await atEachStep(
      async (life) => {
        await server.database.query(LOSE, []);
        const kind = life.services.updateKinds.find(({ action }) => action === 'regenerate_directory')!;
        const id = await life.services.database.write((tx) =>
          life.services.adminTasks.start(tx, ADMIN, kind, {
            resource: 'background_updates',
            params: {},
            entry: { action: 'background_updates.start', target: kind.action },
          }),
        );
        return id;
      },
      async ({ services }, id, when) => {
        expect((await services.adminTasks.get(id))?.status, when).to.equal('complete');
        expect(await counted(LISTED, [userIds]), when).to.equal(2);
      },
    );
    expect(kills).to.be.above(6);
  });
});
