import { expect } from 'chai';
import { roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import { levelsBeforeLock, lockedLevels, upgradedLevels } from '#src/services/rooms/upgrade/upgraded-state.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { ALICE, BOB, type EventServices, eventServices, makeRoom } from '#test/support/event-services.ts';

describe('the power levels of an upgraded room', function () {
  this.timeout(60_000);
  let clone: TestDatabase;
  let services: EventServices;
  before(async () => {
    clone = await cloneDatabase();
    services = await eventServices(clone.database);
  });
  after(() => clone.drop());

  it('are integers of whatever was a level in the old room', async () => {
    const greatest = Number.MAX_SAFE_INTEGER;
    const old = await makeRoom(services, ALICE, '5');
    await services.events.send(old, {
      type: 'm.room.power_levels',
      sender: ALICE,
      stateKey: '',
      content: {
        users: { [ALICE]: '100', [BOB]: ' +12 ' },
        users_default: '50',
        ban: '99',
        redact: 12.5,
        'org.example.more': { kept: [1] },
        events: { 'm.room.name': '7' },
        notifications: { room: '20' },
      },
    });
    const before = await levelsBeforeLock(old, services.loader);
    expect(upgradedLevels(old, roomVersion('12')!, before, [ALICE])).to.deep.include({
      users: { [BOB]: 12 },
      users_default: 50,
      ban: 99,
      redact: 12,
      'org.example.more': { kept: [1] },
      events: { 'm.room.name': 7, 'm.room.tombstone': 150 },
      notifications: { room: 20 },
    });
    const huge = { ...before, users_default: String(greatest), ban: '99999999999999999999' };
    expect(upgradedLevels(old, roomVersion('12')!, huge, [ALICE])).to.deep.include({
      users_default: greatest,
      ban: greatest,
    });
    expect(lockedLevels(old)).to.deep.include({ events_default: 51, invite: 51 });
  });
});
