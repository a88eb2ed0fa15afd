import { createHook } from 'node:async_hooks';
import { expect } from 'chai';
import type { Transaction } from '#src/services/events/building/event-draft.ts';
import { unpackChain } from '#src/protocol/wire/packed-state.ts';
import { ALICE, makeRoom, membership, message, SERVER, topic } from '#test/support/event-services.ts';
import { until } from '#test/support/until.ts';
import { EventDatabase } from './event-database.ts';

const user = (n: number): string => `@user${n}:${SERVER}`;

const txn = (txnId: string, deviceId = 'DEVICE'): Transaction => ({ userId: ALICE, deviceId, scope: 'send', txnId });

describe('an event costs', function () {
  this.timeout(60_000);
  let db: EventDatabase;

  before(async () => {
    db = await EventDatabase.open();
  });
  after(() => db.drop());

  const walBytes = async (work: () => Promise<void>): Promise<number> => {
    const position = async (): Promise<string> =>
      (await db.rows<{ lsn: string }>('select pg_current_wal_insert_lsn()::text as lsn'))[0]!.lsn;
    const begin = await position();
    await work();
    const [row] = await db.rows<{ bytes: string }>('select pg_wal_lsn_diff($1, $2) as bytes', [
      await position(),
      begin,
    ]);
    return Number(row!.bytes);
  };

  it('at most one statement for a message in a room that is in use', async () => {
    // A process that finds no transactions of an earlier one has none to look for.
    await db.admin.query('truncate txn');
    await db.restart();
    const room = await makeRoom(db.services);
    await db.services.events.sendOnce(room, message(ALICE, 'warm'), txn('warm'));
    const before = db.clone.database.statements();
    for (let i = 0; i < 50; i++) await db.services.events.sendOnce(room, message(ALICE, `${i}`), txn(`cost${i}`));
    expect(db.clone.database.statements() - before).to.be.at.most(50);
  });

  it('at most 33 promises for a message in a room that is in use, where everything is in memory', async () => {
    const room = await makeRoom(db.services);
    const send = async (count: number, label: string): Promise<void> => {
      for (let i = 0; i < count; i++)
        await db.services.events.sendOnce(room, message(ALICE, `${i}`), txn(`${label}${i}`));
    };
    await send(5, 'promise');
    let promises = 0;
    const hook = createHook({
      init: (_id, type) => {
        if (type === 'PROMISE') promises += 1;
      },
    }).enable();
    try {
      await send(50, 'counted');
    } finally {
      hook.disable();
    }
    expect(promises / 50).to.be.at.most(33);
  });

  it('at most one statement for a sticky event in a room that is in use', async () => {
    const room = await makeRoom(db.services);
    const sticky = { ...message(ALICE, 'sticky'), stickyDurationMs: 60_000 };
    await db.services.events.send(room, sticky);
    const before = db.clone.database.statements();
    for (let i = 0; i < 20; i++) await db.services.events.send(room, sticky);
    expect(db.clone.database.statements() - before).to.be.at.most(21);
  });

  it('at most 0.3 statements for each message of 64 senders at once', async () => {
    const rooms = await Promise.all(Array.from({ length: 4 }, () => makeRoom(db.services)));
    await Promise.all(rooms.map((room) => db.services.events.send(room, message(ALICE, 'warm'))));
    const before = db.clone.database.statements();
    let sent = 0;
    await Promise.all(
      Array.from({ length: 64 }, async (_, sender) => {
        for (let i = 0; i < 10; i++) {
          await db.services.events.sendOnce(rooms[sender % 4]!, message(ALICE, `${i}`), txn(`many${sender}.${i}`));
          sent += 1;
        }
      }),
    );
    expect(sent).to.equal(640);
    expect((db.clone.database.statements() - before) / sent).to.be.at.most(0.3);
  });

  for (const [members, limit] of [
    [2, 4000],
    [500, 10_000],
  ] as const) {
    it(`at most ${limit} bytes of write-ahead log for a message to ${members} members`, async () => {
      const room = await makeRoom(db.services, ALICE, '12');
      await Promise.all(
        Array.from({ length: members - 1 }, (_, n) =>
          db.services.events.send(room, membership(user(n), user(n), 'join')),
        ),
      );
      expect(room.joinedCount).to.equal(members);
      const send = async (count: number): Promise<void> => {
        for (let i = 0; i < count; i++) await db.services.events.send(room, message(ALICE, 'x'.repeat(60)));
      };
      await send(20);
      const bytes = await walBytes(() => send(200));
      expect(bytes / 200).to.be.at.most(limit);
    });
  }

  it('at most 220 bytes of rows and indexes, and 2500 of write-ahead log, for a change of the state of many members', async () => {
    const size = async (): Promise<number> =>
      Number((await db.rows<{ n: string }>(`select pg_total_relation_size('state_delta') as n`))[0]!.n);
    const begin = await size();
    const room = await makeRoom(db.services, ALICE, '12');
    const members = 500;
    const rounds = 4;
    const bytes = await walBytes(async () => {
      for (let round = 0; round < rounds; round++) {
        for (let at = 0; at < members; at += 10) {
          const who = Array.from({ length: 10 }, (_, i) => user(at + i));
          await db.services.events.sendAll(
            room,
            who.map((id) => membership(id, id, 'join', { displayname: `${round}` })),
          );
        }
      }
    });
    expect(((await size()) - begin) / (rounds * members)).to.be.at.most(220);
    expect(bytes / (rounds * members)).to.be.at.most(2500);
  });

  it('no look at the other events of its room', async () => {
    const room = await makeRoom(db.services);
    const counted = async (): Promise<{ written: number; read: number }> => {
      const [row] = await db.rows<{ written: string; read: string }>(
        `select (select n_tup_ins from pg_stat_user_tables where relname = 'events') as written,
           (select sum(idx_tup_read) from pg_stat_user_indexes where relname = 'events') as read`,
      );
      return { written: Number(row!.written), read: Number(row!.read) };
    };
    const before = await counted();
    for (let i = 0; i < 200; i++) await db.services.events.send(room, message(ALICE, `${i}`));
    // Each connection tells others what it counted when it ends.
    await db.restart();
    await until('the rows are counted', async () => (await counted()).written >= before.written + 200);
    expect((await counted()).read - before.read).to.be.at.most(50);
  });

  it('at most 8 rows to read any state of a room with a long past', async () => {
    const room = await makeRoom(db.services);
    for (let i = 0; i < 300; i++) await db.services.events.send(room, topic(ALICE, `${i}`));
    const rows = await db.rows<{ nid: string; chain: Buffer }>('select nid, chain from state_delta where room = $1', [
      room.nid,
    ]);
    expect(rows.length).to.be.at.least(300);
    for (const { nid, chain } of rows) expect(unpackChain(Number(nid), chain)).to.have.length.at.most(7);
  });
});
