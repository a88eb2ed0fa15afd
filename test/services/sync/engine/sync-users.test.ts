import { expect } from 'chai';
import type { Room } from '#src/services/room-model/room/room.ts';
import { SyncUsers } from '#src/services/sync/engine/sync-users.ts';
import { vanishRoom } from '#src/storage/rooms/room-purge.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { ALICE, BOB, type EventServices, eventServices, makeRoom, membership } from '#test/support/event-services.ts';
import { whileReading } from '#test/support/while-reading.ts';

const MEMBERSHIPS = 'rooms_in_sync_of_user';
const SECTION = 3;

describe('users who sync', function () {
  this.timeout(60_000);
  let clone: TestDatabase;
  let world: EventServices;
  let users: SyncUsers;
  let room: Room;

  beforeEach(async () => {
    clone = await cloneDatabase();
    world = await eventServices(clone.database);
    const { interner, rooms, stream } = world;
    users = new SyncUsers({ database: clone.database, interner, rooms, stream });
    room = await makeRoom(world);
    await world.events.send(room, membership(BOB, BOB, 'join'));
  });
  afterEach(() => clone.drop());

  /** What a purge does at once. */
  const deleteRoom = async (): Promise<void> => {
    await clone.database.write((tx) => vanishRoom(tx, room.nid));
    world.rooms.discard(room);
    room.empty();
    world.stream.publish({ kind: 'deleted', room, localUsers: [ALICE, BOB] });
  };

  it('are in no room that was deleted while their memberships were read', async () => {
    whileReading(clone.database, deleteRoom, MEMBERSHIPS);
    const bob = await users.open(BOB);
    expect([[...bob.joined.keys()], [...bob.memberships.keys()]]).to.deep.equal([[], []]);
    const { version } = bob;
    users.room(room.nid, SECTION);
    expect(bob.version, 'they hear no more of it').to.equal(version);
  });

  it('are in a room that they joined while their memberships were read, and not in one that they left', async () => {
    const other = await makeRoom(world);
    whileReading(
      clone.database,
      async () => {
        await world.events.send(other, membership(BOB, BOB, 'join'));
        await world.events.send(room, membership(BOB, BOB, 'leave'));
      },
      MEMBERSHIPS,
    );
    expect([...(await users.open(BOB)).joined.keys()]).to.deep.equal([other.nid]);
  });

  it('may have missed what somebody did whose rooms could not be read, and know later that nothing else came', async () => {
    const alice = await users.open(ALICE);
    const { version } = alice;
    const failed = new Promise<void>((resolve) => {
      whileReading(
        clone.database,
        () => {
          setImmediate(resolve);
          throw new Error('Connection terminated unexpectedly');
        },
        MEMBERSHIPS,
      );
    });
    users.companions(BOB, SECTION);
    expect(users.mayHaveNews(alice, SECTION, version)).to.equal(true);
    await failed;
    expect(users.mayHaveNews(alice, SECTION, version), 'what came is not known').to.equal(true);
    expect(users.mayHaveNews(alice, SECTION, alice.version), 'nothing came since').to.equal(false);
  });
});
