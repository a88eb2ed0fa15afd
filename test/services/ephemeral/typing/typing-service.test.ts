import { expect } from 'chai';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { ALICE, makeRoom } from '#test/support/event-services.ts';
import { type SyncWorld, syncWorld } from '../../sync/engine/sync-world.ts';

describe('who types in a room', function () {
  this.timeout(60_000);
  let clone: TestDatabase;
  let world: SyncWorld;

  before(async () => {
    clone = await cloneDatabase();
    world = await syncWorld(clone.database);
  });
  after(() => clone.drop());

  it('is a bounded list, in which a server with very many users pushes out its own', async () => {
    const room = await makeRoom(world);
    world.typing.start(room, ALICE, 30_000);
    world.typing.start(room, '@somebody:other.test', 30_000);
    let told = 0;
    world.typing.changed.subscribe(() => {
      told = Math.max(told, world.typing.typingIn(room.nid).users.length);
    });
    for (let n = 0; n < 500; n += 1) world.typing.start(room, `@u${n}:hostile.test`, 30_000);
    const { users } = world.typing.typingIn(room.nid);
    expect(users.length).to.equal(50);
    expect(told).to.equal(50);
    expect(users).to.include.members([ALICE, '@somebody:other.test', '@u499:hostile.test']);
    expect(users).not.to.include('@u0:hostile.test');
    world.typing.start(room, '@late:third.test', 30_000);
    expect(world.typing.typingIn(room.nid).users).to.include('@late:third.test');
    expect(world.typing.typingIn(room.nid).users).to.have.length(50);
  });
});
