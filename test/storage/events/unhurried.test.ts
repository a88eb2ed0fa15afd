import { expect } from 'chai';
import { type Database, sql } from '#src/storage/database.ts';
import { noteFollowerCursors, saveFollowerCursors } from '#src/storage/events/event-followers.ts';
import { insertSearchDocs } from '#src/storage/reading/search.ts';
import { InProcessServer } from '#test/support/in-process-server.ts';

const SEEN = sql('test_unhurried_seen', 'delete from commits returning said');

describe('what is derived from events', () => {
  let server: InProcessServer;
  let database: Database;
  before(async () => {
    server = await InProcessServer.start();
    ({ database } = server.services);
    await server.room('alice');
    await server.idle();
    const setUp = [
      `create table commits (said text)`,
      // Runs when its transaction is about to be committed.
      `create function say_how() returns trigger language plpgsql as
       'begin insert into commits values (tg_table_name || '' '' || current_setting(''synchronous_commit'')); return null; end'`,
      ...['event_followers', 'search_docs'].map(
        (table) => `create constraint trigger say_how after insert or update on ${table} deferrable initially deferred
         for each row execute function say_how()`,
      ),
    ];
    for (const [index, text] of setUp.entries()) await database.query({ name: `test_unhurried_${index}`, text });
  });
  after(() => server.stop());

  const said = async (act: (database: Database) => Promise<unknown>): Promise<string[]> => {
    await act(database);
    return (await database.query<{ said: string }>(SEEN)).map((row) => row.said);
  };
  const cursor = { shard: 0, pos: 1, goal: null, room: null };

  it('is committed without waiting for the disk, and what is in a transaction with other things is not', async () => {
    const usual = await said((one) => saveFollowerCursors(one, 'test', [cursor]));
    expect(await said((one) => noteFollowerCursors(one, 'test', [cursor], new Map()))).to.deep.equal([
      'event_followers off',
    ]);
    const docs = [{ room: 1, ts: 1, event: 999_999, grams: [1] }];
    expect(await said((one) => insertSearchDocs(one, docs))).to.deep.equal(['search_docs off']);
    // On the same connections afterwards.
    expect(await said((one) => saveFollowerCursors(one, 'test', [cursor]))).to.deep.equal(usual);
    const inTransaction = await said((one) =>
      one.write(async (tx) => {
        await tx.query(sql('test_unhurried_on', 'set local synchronous_commit = on'));
        await saveFollowerCursors(tx, 'test', [cursor]);
      }),
    );
    expect(inTransaction).to.deep.equal(['event_followers on']);
  });
});
