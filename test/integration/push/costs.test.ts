import { expect } from 'chai';
import type { Room } from '#src/services/room-model/room/room.ts';
import { GRACE_MS, PushServer } from './push-server.ts';

const MEMBERS = 500;
const FEW_MEMBERS = 150;
const MESSAGES = 40;
const ROUNDS = 4;

interface Cost {
  /** Statements and bytes of write-ahead log for a message: what its sender waits for, and with all that follows. */
  readonly statements: number;
  readonly allStatements: number;
  readonly bytes: number;
  readonly allBytes: number;
}

describe('sending to 500 members who have pushers', function () {
  this.timeout(240_000);
  let server: PushServer;
  beforeEach(async () => {
    server = await PushServer.start();
  });
  afterEach(() => server?.stop());

  const lsn = async (): Promise<string> =>
    (
      await server.app.services.database.query<{ lsn: string }>({
        name: 'test_lsn',
        text: 'select pg_current_wal_insert_lsn()::text as lsn',
      })
    )[0]!.lsn;
  const bytesSince = async (begin: string): Promise<number> => {
    const statement = { name: 'test_lsn_diff', text: 'select pg_wal_lsn_diff($1::pg_lsn, $2::pg_lsn)::text as bytes' };
    const rows = await server.app.services.database.query<{ bytes: string }>(statement, [await lsn(), begin]);
    return Number(rows[0]!.bytes);
  };

  const measure = async (room: Room): Promise<Cost> => {
    const { events } = server.app.services;
    const content = { msgtype: 'm.text', body: 'x'.repeat(60) };
    const send = async (): Promise<void> => {
      for (let i = 0; i < MESSAGES; i++)
        await events.send(room, { type: 'm.room.message', sender: '@alice:test', content });
    };
    await send();
    await server.settle();
    const total = { statements: 0, allStatements: 0, bytes: 0, allBytes: 0 };
    for (let round = 0; round < ROUNDS; round++) {
      const begin = await lsn();
      total.allStatements += await server.app.statements(async () => {
        total.statements += await server.app.statements(send);
        total.bytes += await bytesSince(begin);
        await server.settle();
      });
      total.allBytes += await bytesSince(begin);
    }
    const each = (sum: number): number => sum / (ROUNDS * MESSAGES);
    return {
      statements: each(total.statements),
      allStatements: each(total.allStatements),
      bytes: each(total.bytes),
      allBytes: each(total.allBytes),
    };
  };

  /** A room of alice and everybody else. */
  const crowd = async (members = MEMBERS): Promise<{ names: readonly string[]; room: Room }> => {
    const names = Array.from({ length: members - 1 }, (_, i) => `user${i}`);
    const roomId = await server.app.room('alice', { preset: 'public_chat' });
    const room = (await server.app.services.rooms.byId(roomId))!;
    for (const name of names) await server.app.session(name);
    for (let at = 0; at < names.length; at += 50)
      await server.app.services.events.sendAll(
        room,
        names.slice(at, at + 50).map((name) => ({
          type: 'm.room.member',
          sender: `@${name}:test`,
          stateKey: `@${name}:test`,
          content: { membership: 'join' },
        })),
      );
    return { names, room };
  };

  it('costs those who wait for it at most 1.15 times what it costs without, and a few bytes afterwards, whatever their number', async () => {
    const { names, room } = await crowd();
    const without = await measure(room);
    // A gateway that wants to be left alone for an hour: what is counted is what it takes to know what waits, not to tell it.
    server.gateway.mood = () => [429, {}, { 'retry-after': '3600' }];
    for (const name of names) await server.push(name);
    await server.settle();
    const withPushers = await measure(room);
    expect(server.gateway.notified.length).to.equal(MEMBERS - 1);
    expect(withPushers.statements).to.be.at.most(without.statements * 1.15);
    expect(withPushers.bytes).to.be.at.most(without.bytes * 1.15);
    // How many messages those who follow take at once depends on the machine, so these are wide; a row for each member would be 100 kB.
    expect(withPushers.allStatements).to.be.at.most(without.allStatements + 0.5);
    expect(withPushers.allBytes).to.be.at.most(without.allBytes + 1_000);
  });

  it('reads nothing, and keeps a row for each message and none for its members, while their gateway is away and many of them talk', async () => {
    const { names, room } = await crowd(FEW_MEMBERS);
    server.gateway.mood = () => [429, {}, { 'retry-after': '3600' }];
    for (const name of names) await server.push(name);
    const { database, events } = server.app.services;
    const talk = async (messages: number): Promise<void> => {
      for (let sent = 0; sent < messages; sent += 32) {
        const content = { msgtype: 'm.text', body: 'hello' };
        const senders = names.slice(sent % 64, (sent % 64) + 32);
        await Promise.all(
          senders.map((name) => events.send(room, { type: 'm.room.message', sender: `@${name}:test`, content })),
        );
        await server.app.clock.advance(GRACE_MS / 20);
      }
    };
    const rows = async (): Promise<number> => {
      const text = 'select count(*) as rows from pushes';
      return Number((await database.query<{ rows: string }>({ name: 'test_push_rows', text }))[0]!.rows);
    };
    // Those who only listen are told of the first ones. Those who talk have read everything that is due.
    await talk(1_280);
    await server.app.idle();
    const told = server.gateway.notified.length;
    const before = await rows();
    const sent = new Set(await server.app.statementNames(() => talk(640)));
    expect(await rows()).to.be.at.most(before + 640);
    for (const name of ['unread_events', 'pushes_of_user', 'delivery', 'delivery_save', 'pusher', 'rooms_of_user'])
      expect([...sent], 'what was sent').not.to.include(name);
    expect([...sent]).to.include('pushes_append');
    expect(told).to.be.within(FEW_MEMBERS - 65, FEW_MEMBERS - 1);
    expect(server.gateway.notified.length).to.equal(told);
  });
});
