import { expect } from 'chai';
import type { PositionVector } from '#src/protocol/wire/position.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { PastStates } from '#src/services/sync/engine/past-states.ts';
import { SyncPlanner } from '#src/services/sync/engine/plan.ts';
import { RejoinedRooms } from '#src/services/sync/engine/rejoined-rooms.ts';
import { StateWanted } from '#src/services/sync/sliding/required-state.ts';
import { RoomSpans } from '#src/services/sync/sliding/room-spans.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { ALICE, type EventServices, eventServices, makeRoom, topic } from '#test/support/event-services.ts';

describe('the state at the end of a response', function () {
  this.timeout(60_000);
  let clone: TestDatabase;
  let world: EventServices;
  let moved: Room;
  let quiet: Room;
  let end: PositionVector;

  before(async () => {
    clone = await cloneDatabase();
    world = await eventServices(clone.database);
  });
  beforeEach(async () => {
    moved = await makeRoom(world);
    quiet = await makeRoom(world);
    end = world.writer.committed();
    await world.events.send(moved, topic(ALICE, 'after the end'));
  });
  after(() => clone.drop());

  /** Past states; while they are read a room gets new state. */
  const states = (): Pick<PastStates, 'at'> => {
    const past = new PastStates(clone.database, world.states);
    return {
      at: async (wanted) => {
        expect(wanted.map(({ room }) => room)).to.deep.equal([moved.nid]);
        const found = await past.at(wanted);
        await world.events.send(quiet, topic(ALICE, 'during the reading'));
        return found;
      },
    };
  };
  const upTo = ({ shard }: Room): number => end[shard] ?? 0;

  it('of sync has nothing that came to a room while the past of another one was read', async () => {
    const second = quiet.stateChain;
    const planner = new SyncPlanner({
      ...world,
      database: clone.database,
      states: states(),
      past: world.visibility.past,
      rejoined: new RejoinedRooms({ ...world, states: new PastStates(clone.database, world.states) }),
    });
    const planned = [moved, quiet].map((room) => ({
      room: room.stub,
      member: room.member(ALICE)!,
      section: 'join' as const,
      isFull: true,
      isNew: false,
      after: 0,
      upTo: upTo(room),
      end: undefined,
      onlyLeave: false,
    }));
    const { rooms } = await planner.read(planned);
    expect(rooms[0]?.end.changesTo(moved.stateChain)).to.have.length(1);
    expect(rooms[1]?.end.changesTo(second)).to.deep.equal([]);
    expect(rooms[1]?.end.changesTo(quiet.stateChain)).to.have.length(1);
  });

  it('of sliding sync has nothing that came to a room while the past of another one was read', async () => {
    const second = quiet.stateChain;
    const spans = new RoomSpans({ ...world, states: states(), left: { plan: () => expect.fail('nobody left') } });
    const candidates = [moved, quiet].map((room) => ({
      wanted: {
        listed: { room: room.stub, member: room.member(ALICE)!, facts: {} as never, bumpStamp: 0, activity: 0 },
        timelineLimit: 1,
        state: StateWanted.of([], ALICE),
        lists: [],
        sent: undefined,
      },
      isInitial: true,
      isExpanded: false,
      byCounts: false,
    }));
    const { spans: read } = await spans.read(candidates, ALICE, end);
    expect(read[1]?.plan.end.changesTo(second)).to.deep.equal([]);
    expect(read[1]?.plan.end.changesTo(quiet.stateChain)).to.have.length(1);
    expect(read[0]?.plan.end.changesTo(moved.stateChain)).to.have.length(1);
  });
});
