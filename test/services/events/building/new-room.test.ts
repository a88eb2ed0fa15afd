import { expect } from 'chai';
import { roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import { RoomFounder } from '#src/services/events/building/new-room.ts';
import type { EventBuilder } from '#src/services/events/building/event-builder.ts';
import type { Database } from '#src/storage/database.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { ManualClock } from '#test/support/manual-clock.ts';

describe('the number of a new room', () => {
  /** Numbers as the database reserves them: each answer waits for `answer`. */
  const founding = () => {
    const waiting: { readonly resolve: () => void; readonly fail: (error: Error) => void }[] = [];
    let [last, statements] = [0, 0];
    const query = (_: unknown, [count]: [number]): Promise<{ nid: number }[]> => {
      statements += 1;
      return new Promise((resolve, fail) => {
        waiting.push({
          resolve: () => resolve(Array.from({ length: count }, () => ({ nid: (last += 1) }))),
          fail,
        });
      });
    };
    const founder = new RoomFounder({
      database: { query } as unknown as Database,
      interner: { ensure: async () => ({ user: () => 1 }) } as unknown as Interner,
      builder: {} as EventBuilder,
      serverName: 't',
      clock: new ManualClock(),
      random: { string: () => 'x' } as never,
    });
    const found = async (): Promise<number> => {
      const plan = {
        version: roomVersion('11')!,
        creator: '@a:t',
        createContent: {},
        isPublic: false,
        events: () => [],
      };
      return (await founder.found(plan)).room.nid;
    };
    return { found, waiting, statements: () => statements };
  };
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

  it('is reserved once for all rooms that are made at once, and never given twice', async () => {
    const { found, statements, waiting } = founding();
    const made = Promise.all(Array.from({ length: 100 }, found));
    for (let asked = 1; asked <= 2; asked += 1) {
      await turn();
      expect([statements(), waiting.length]).to.deep.equal([asked, 1]);
      waiting.shift()?.resolve();
    }
    expect(new Set(await made).size).to.equal(100);
    expect(statements()).to.be.below(4);
  });

  it('is reserved before the last one is used, so that no room waits for it but the first', async () => {
    const { found, statements, waiting } = founding();
    const first = found();
    await turn();
    waiting.shift()?.resolve();
    expect(await first).to.equal(1);
    for (let nid = 2; nid <= 64; nid += 1) expect(await found()).to.equal(nid);
    expect([statements(), waiting.length]).to.deep.equal([2, 1]);
    waiting.shift()?.resolve();
    expect(await found()).to.equal(65);
  });

  it('is asked for again after the database had failed', async () => {
    const { found, waiting } = founding();
    const failed = found().catch((error: unknown) => (error as Error).message);
    await turn();
    waiting.shift()?.fail(new Error('away'));
    expect(await failed).to.equal('away');
    const again = found();
    await turn();
    waiting.shift()?.resolve();
    expect(await again).to.equal(1);
  });
});
