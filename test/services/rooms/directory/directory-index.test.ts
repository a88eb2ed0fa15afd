import { expect } from 'chai';
import fc from 'fast-check';
import { DirectoryIndex } from '#src/services/rooms/directory/directory-index.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { setListed } from '#src/storage/rooms/directory.ts';
import { sql } from '#src/storage/statement.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import {
  ALICE,
  type EventServices,
  eventServices,
  makeRoom,
  membership,
  SERVER,
} from '#test/support/event-services.ts';

const user = (n: number): string => `@user${n}:${SERVER}`;

describe('the index of the room directory', function () {
  this.timeout(60_000);
  let clone: TestDatabase;
  let services: EventServices;
  let index: DirectoryIndex;

  const begin = async (): Promise<void> => {
    services = await eventServices(clone.database);
    index = new DirectoryIndex(services);
  };
  before(async () => {
    clone = await cloneDatabase();
  });
  after(() => clone.drop());
  beforeEach(async () => {
    await clone.database.query(sql('test_delist_all', 'update rooms set is_public = false'));
    await begin();
  });

  const list = async (room: Room, isListed: boolean): Promise<void> => {
    await setListed(clone.database, room.nid, isListed);
    room.isPublic = isListed;
    index.listed(room);
  };
  const join = (room: Room, n: number, is = 'join') => services.events.send(room, membership(user(n), user(n), is));
  const name = (room: Room, text: string) =>
    services.events.send(room, { type: 'm.room.name', sender: ALICE, stateKey: '', content: { name: text } });
  const everything = { searchTerm: '', roomTypes: undefined };
  const all = async (query: Partial<typeof everything> = {}): Promise<readonly number[]> =>
    (await index.page({ ...everything, ...query }, 0, 500)).nids;

  it('is read in two statements, with what is listed for networks, and costs none after that, whatever is asked and happens', async () => {
    const rooms: Room[] = [];
    for (let i = 0; i < 30; i++) {
      const room = await makeRoom(services, ALICE, '12');
      await list(room, true);
      await name(room, `部屋 ${i}`);
      rooms.push(room);
    }
    await join(rooms[7]!, 1);
    await begin();
    const before = clone.database.statements();
    expect((await all())[0]).to.equal(rooms[7]!.nid);
    expect(clone.database.statements() - before).to.equal(2);
    expect(await all({ searchTerm: '部屋 12' })).to.deep.equal([rooms[12]!.nid]);
    const warm = (await services.rooms.byNid(rooms[3]!.nid))!;
    await services.events.send(warm, membership(user(1), user(1), 'join'));
    await services.events.send(warm, membership(user(2), user(2), 'join'));
    await name(warm, 'ネコ');
    const after = clone.database.statements();
    expect((await all())[0]).to.equal(warm.nid);
    expect(await all({ searchTerm: 'ねこ' })).to.deep.equal([warm.nid]);
    expect(await index.page(everything, 28, 10)).to.deep.include({ total: 30 });
    expect(clone.database.statements() - after).to.equal(0);
  });

  it('keeps texts as long as there is room for their bytes, and finds the other rooms all the same', async () => {
    const rooms: Room[] = [];
    for (let i = 0; i < 12; i++) {
      const room = await makeRoom(services, ALICE, '12');
      await list(room, true);
      await name(room, `${'long '.repeat(60)}${i}`);
      rooms.push(room);
    }
    services = await eventServices(clone.database);
    index = new DirectoryIndex({ ...services, maxTextBytes: 2_000 });
    expect(await all({ searchTerm: 'long' })).to.deep.equal(rooms.map(({ nid }) => nid));
    expect(await all({ searchTerm: 'LONG 11' })).to.deep.equal([rooms[11]!.nid]);
    expect(index.textBytes).to.be.within(1_000, 2_000);
    const [kept, other] = [rooms[0]!, rooms[11]!];
    for (const { nid } of [kept, other]) await name((await services.rooms.byNid(nid))!, 'short');
    expect(await all({ searchTerm: 'short' })).to.deep.equal([kept.nid, other.nid]);
    expect(await all({ searchTerm: 'long' })).to.deep.equal(rooms.slice(1, 11).map(({ nid }) => nid));
    expect(index.textBytes).to.be.within(1_000, 2_000);
  });

  it('misses nothing that happens while it is read', async () => {
    const [quiet, joined, gone, fresh] = [
      await makeRoom(services, ALICE, '12'),
      await makeRoom(services, ALICE, '12'),
      await makeRoom(services, ALICE, '12'),
      await makeRoom(services, ALICE, '12'),
    ];
    for (const room of [quiet, joined, gone]) await list(room, true);
    await begin();
    for (const room of [joined, gone, fresh]) {
      const again = (await services.rooms.byNid(room.nid))!;
      if (room === gone) again.isPublic = false;
    }
    const reading = all();
    const at = (room: Room): Room => services.rooms.peek(room.nid)!;
    index.listed(at(gone));
    await Promise.all([list(at(fresh), true), join(at(joined), 1), reading]);
    expect(await all()).to.deep.equal([joined.nid, quiet.nid, fresh.nid]);
  });

  it('is what a fresh reading would be, after any sequence of changes', async () => {
    const step = fc.record({
      do: fc.constantFrom('join', 'leave', 'name', 'list', 'delist', 'make', 'restart'),
      room: fc.nat(5),
      user: fc.integer({ min: 1, max: 4 }),
      text: fc.constantFrom('カフェ', 'tea', 'Tea House', ''),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 25 }), async (steps) => {
        await clone.database.query(sql('test_delist_all', 'update rooms set is_public = false'));
        await begin();
        await all({ searchTerm: 'x' });
        const nids: number[] = [];
        for (const one of steps) {
          if (one.do === 'restart') {
            await begin();
            continue;
          }
          if (one.do === 'make' || nids.length === 0) {
            const made = await makeRoom(services, ALICE, '12');
            await list(made, true);
            nids.push(made.nid);
            continue;
          }
          const room = (await services.rooms.byNid(nids[one.room % nids.length]!))!;
          if (one.do === 'join') await join(room, one.user);
          else if (one.do === 'leave') await join(room, one.user, 'leave').catch(() => undefined);
          else if (one.do === 'name') await name(room, one.text);
          else await list(room, one.do === 'list');
        }
        const kept = index;
        const read = async (): Promise<unknown> => [
          await all(),
          await all({ searchTerm: 'カフェ' }),
          await all({ searchTerm: 'TEA' }),
        ];
        const seen = await read();
        await begin();
        expect(index).not.to.equal(kept);
        expect(seen).to.deep.equal(await read());
      }),
      { numRuns: 25 },
    );
  });
});
