import { expect } from 'chai';
import { RoomWeight } from '#src/services/room-model/room/room-weight.ts';

const events = (...sizes: number[]): { event: { size: number } }[] => sizes.map((size) => ({ event: { size } }));

describe('The weight of a room in memory', () => {
  it('is that of its state, its members, its newest events and its chain', () => {
    const empty = new RoomWeight().weigh({ state: [], members: 0, sizes: [] });
    const full = new RoomWeight().weigh({ state: events(1_000, 500), members: 3, sizes: [400, 80, 0] });
    expect(full - empty).to.be.greaterThanOrEqual(1_980);
    expect(full - empty).to.be.lessThan(2 * 1_980);
  });

  it('is taken again when the room has grown by a quarter, and not before', () => {
    const weight = new RoomWeight();
    expect(weight.hasGrown, 'before it was weighed').to.equal(true);
    const bytes = weight.weigh({ state: events(6_000), members: 0, sizes: [] });
    expect(weight.bytes).to.equal(bytes);
    weight.addEvent(bytes / 4);
    expect(weight.hasGrown).to.equal(false);
    weight.addMembers(1);
    expect(weight.hasGrown).to.equal(true);
    expect(weight.bytes, 'until it is weighed').to.equal(bytes);
  });

  it('is taken again when all of the room is new', () => {
    const weight = new RoomWeight();
    weight.weigh({ state: [], members: 0, sizes: [] });
    weight.forget();
    expect(weight.hasGrown).to.equal(true);
  });
});
