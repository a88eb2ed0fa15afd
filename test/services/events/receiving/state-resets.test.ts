import { expect } from 'chai';
import { type Line, recordingLogger } from '#test/support/recording-logger.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import {
  ALICE,
  type EventServices,
  eventServices,
  makeRoom,
  membership,
  message,
} from '#test/support/event-services.ts';
import { levels } from '#test/support/random-forks.ts';
import { CAROL, DAVE, EVE, RemoteRoom } from '#test/support/federation/remote-room.ts';

const FRANK = '@frank:b.example';

describe('a resolution of a fork', function () {
  this.timeout(60_000);
  let clone: TestDatabase;
  let services: EventServices;
  let lines: Line[];

  before(async () => {
    clone = await cloneDatabase();
  });
  beforeEach(async () => {
    lines = [];
    services = await eventServices(clone.database, { logger: recordingLogger(lines) });
  });
  after(() => clone.drop());

  /** What was logged of resolutions that took something back. */
  const resets = (): Line['fields'][] =>
    lines
      .filter(({ message: text }) => text === 'the resolution of a fork reset state of a room')
      .map(({ fields }) => fields);

  const room = async (): Promise<RemoteRoom> => {
    const remote = new RemoteRoom(services, await makeRoom(services, ALICE, '12'));
    await remote.catchUp();
    for (const user of [CAROL, DAVE, EVE]) await remote.accepted(membership(user, user, 'join'));
    await services.events.send(remote.room, levels({ users: { [CAROL]: 100, [DAVE]: 50 }, state_default: 50 }));
    await remote.catchUp();
    return remote;
  };

  it('that undoes joins without an event is logged and listed for administrators', async () => {
    const remote = await room();
    const base = [...remote.replay.extremities];
    await remote.accepted(membership(FRANK, FRANK, 'join'));
    const closed = await remote.accepted({
      type: 'm.room.join_rules',
      sender: CAROL,
      stateKey: '',
      content: { join_rule: 'invite' },
      prev: base,
    });
    expect(remote.room.isJoined(FRANK)).to.equal(false);
    expect(resets()).to.deep.equal([
      { room_id: remote.room.roomId, event_id: closed, members: 1, example: FRANK, power: false },
    ]);
    const [told] = await services.stateResets.latest();
    expect(told).to.deep.include({
      room_id: remote.room.roomId,
      event_id: closed,
      members: 1,
      example: FRANK,
      power_levels: false,
    });
  });

  it('that takes power levels back is told as well, with the event by which it came', async () => {
    const remote = new RemoteRoom(services, await makeRoom(services, ALICE, '10'));
    await remote.catchUp();
    for (const user of [CAROL, DAVE]) await remote.accepted(membership(user, user, 'join'));
    const users = { [ALICE]: 100, [CAROL]: 100, [DAVE]: 90 };
    await services.events.send(remote.room, levels({ users, state_default: 50 }));
    await remote.catchUp();
    const base = [...remote.replay.extremities];
    // Dave makes Eve powerful on one branch; on the other one Dave is not allowed to any more.
    const raised = await remote.accepted({
      ...levels({ users: { ...users, [EVE]: 50 }, state_default: 50 }),
      sender: DAVE,
      prev: base,
    });
    expect(remote.room.stateEvent('m.room.power_levels')?.eventId).to.equal(raised);
    const banned = await remote.accepted({ ...membership(CAROL, DAVE, 'leave'), prev: base });
    const now = remote.room.stateEvent('m.room.power_levels')!.eventId;
    expect(remote.replay.current.get('m.room.power_levels\0')).to.equal(now);
    expect(now).not.to.equal(raised);
    expect(resets()).to.deep.equal([
      { room_id: remote.room.roomId, event_id: banned, members: 0, example: undefined, power: true },
    ]);
    const [told] = await services.stateResets.latest();
    expect(told).to.deep.include({ room_id: remote.room.roomId, event_id: banned, members: 0, power_levels: true });
  });

  it('after a ban, a kick or a leave is not reported', async () => {
    const remote = await room();
    const base = [...remote.replay.extremities];
    await remote.accepted({ ...membership(EVE, EVE, 'join', { displayname: 'E' }), prev: base });
    await remote.accepted({ ...membership(CAROL, EVE, 'ban'), prev: base });
    await remote.accepted({ ...membership(DAVE, DAVE, 'leave'), prev: base });
    await services.events.send(remote.room, message(ALICE, 'merged'));
    expect(remote.room.isJoined(EVE)).to.equal(false);
    expect(resets()).to.deep.equal([]);
  });
});
