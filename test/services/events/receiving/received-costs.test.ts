import { expect } from 'chai';
import type { Room } from '#src/services/room-model/room/room.ts';
import { EntryList } from '#src/services/room-model/state/entry-list.ts';
import { StateMerger } from '#src/services/events/resolution/state-merger.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import {
  ALICE,
  type EventServices,
  eventServices,
  makeRoom,
  membership,
  message,
  SERVER,
} from '#test/support/event-services.ts';
import { CAROL, RemoteRoom } from '#test/support/federation/remote-room.ts';

/** Counts the entries of states that are copied while something is done; the copies are made all the same. */
async function copiedEntries(work: () => Promise<void>): Promise<number> {
  let entries = 0;
  const { under, present } = EntryList.prototype;
  const { resolve, changes } = StateMerger.prototype;
  EntryList.prototype.under = function (newer) {
    const both = under.call(this, newer);
    entries += both.size;
    return both;
  };
  EntryList.prototype.present = function () {
    entries += this.size;
    return present.call(this);
  };
  StateMerger.prototype.resolve = function (room, states, fresh) {
    for (const state of states) entries += state.size;
    return resolve.call(this, room, states, fresh);
  };
  StateMerger.prototype.changes = function (from, to) {
    entries += from.size + to.size;
    return changes.call(this, from, to);
  };
  try {
    await work();
    return entries;
  } finally {
    Object.assign(EntryList.prototype, { under, present });
    Object.assign(StateMerger.prototype, { resolve, changes });
  }
}

describe('a remote event that comes after all that the room has', function () {
  this.timeout(60_000);
  let clone: TestDatabase;
  let services: EventServices;
  beforeEach(async () => {
    clone = await cloneDatabase();
    services = await eventServices(clone.database);
  });
  afterEach(async () => {
    await services.writer.close();
    await clone.drop();
  });

  const roomWith = async (members: number): Promise<RemoteRoom> => {
    const room: Room = await makeRoom(services, ALICE, '10');
    await services.events.sendAll(
      room,
      Array.from({ length: members }, (_, i) => membership(`@user${i}:${SERVER}`, `@user${i}:${SERVER}`, 'join')),
    );
    const remote = new RemoteRoom(services, room);
    await remote.catchUp();
    await remote.accepted(membership(CAROL, CAROL, 'join'));
    return remote;
  };

  it('costs what it changes, whatever the number of members', async () => {
    const remote = await roomWith(300);
    const events = 128;
    const said = await copiedEntries(async () => {
      for (let i = 0; i < events; i++) await remote.accepted(message(CAROL, `${i}`));
    });
    expect(said).to.equal(0);
    const renamed = await copiedEntries(async () => {
      for (let i = 0; i < events; i++) await remote.accepted(membership(CAROL, CAROL, 'join', { displayname: `${i}` }));
    });
    // What every change writes: the few changes since the row before it, and now and then the many of a long time.
    expect(renamed / events).to.be.below(60);
    await remote.verify();
  });

  it('costs no more for a message that comes beside others, as long as all stand in one state', async () => {
    const remote = await roomWith(300);
    const fork = remote.replay.extremities;
    const copied = await copiedEntries(async () => {
      for (let i = 0; i < 5; i++) await remote.accepted({ ...message(CAROL, `beside ${i}`), prev: fork });
      await remote.accepted(message(CAROL, 'after them'));
    });
    expect(copied).to.equal(0);
    expect(remote.room.head.extremities).to.have.length(1);
    await remote.verify();
  });
});
