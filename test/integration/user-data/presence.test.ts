import { expect } from 'chai';
import { World } from './world.ts';

const ALICE = '@alice:test';
const BOB = '@bob:test';

describe('presence', () => {
  let world: World;
  const told: string[] = [];
  beforeEach(async () => {
    world = await World.begin();
    told.length = 0;
    world.presence.changed.subscribe(({ userId }) => told.push(userId));
  });
  afterEach(() => world.end());

  it('tells others once, however often somebody syncs', async () => {
    await world.presence.read(ALICE, ALICE);
    world.presence.seen(ALICE, 'online', 'PHONE');
    expect(told).to.deep.equal([ALICE]);
    for (let i = 0; i < 5; i++) {
      await world.clock.advance(20_000);
      world.presence.seen(ALICE, 'online', 'PHONE');
    }
    expect(told).to.deep.equal([ALICE]);
    expect(world.presence.presenceOf(ALICE)?.content).to.deep.equal({
      presence: 'online',
      last_active_ago: 0,
      currently_active: true,
    });
  });

  it('reads what is known of a user at their first sync', async () => {
    const news = new Promise((resolve) => world.presence.changed.subscribe(resolve));
    world.presence.seen(BOB, 'online');
    await news;
    expect(world.presence.presenceOf(BOB)?.content).to.include({ presence: 'online' });
  });

  it('lets the most present device decide', async () => {
    await world.presence.read(ALICE, ALICE);
    world.presence.seen(ALICE, 'online', 'PHONE');
    world.presence.seen(ALICE, 'unavailable', 'DESKTOP');
    expect(world.presence.presenceOf(ALICE)?.content.presence).to.equal('online');
    world.presence.seen(ALICE, 'unavailable', 'PHONE');
    expect(world.presence.presenceOf(ALICE)?.content.presence).to.equal('unavailable');
    expect(told).to.have.length(2);
  });

  it('makes those offline who do not come back', async () => {
    await world.presence.read(ALICE, ALICE);
    world.presence.seen(ALICE, 'online');
    const { current } = world.ephemeral;
    await world.clock.advance(60_000);
    expect(world.presence.presenceOf(ALICE)?.content).to.include({ presence: 'online', currently_active: false });
    await world.clock.advance(20_000);
    expect(world.presence.presenceOf(ALICE)?.content)
      .to.include({ presence: 'offline' })
      .and.not.have.property('currently_active');
    expect(world.presence.changedSince(current)).to.deep.equal([ALICE]);
    expect(world.presence.changedSince(world.ephemeral.current)).to.deep.equal([]);
  });

  it('makes those idle, then offline, who say that they are online and do nothing', async () => {
    await world.presence.set(ALICE, ALICE, 'online', 'here');
    await world.clock.advance(4 * 60_000);
    expect(world.presence.presenceOf(ALICE)?.content.presence).to.equal('online');
    await world.clock.advance(61_000);
    expect(world.presence.presenceOf(ALICE)?.content.presence).to.equal('unavailable');
    await world.clock.advance(80_000);
    expect(world.presence.presenceOf(ALICE)?.content).to.include({ presence: 'offline', status_msg: 'here' });
  });

  it('writes changes together, and remembers the status message across a restart', async () => {
    await world.presence.set(ALICE, ALICE, 'online', 'busy');
    await world.presence.set(BOB, BOB, 'online', undefined);
    const sent = await world.statements(async () => {
      for (let i = 0; i < 29; i++) {
        world.presence.seen(ALICE, 'online');
        world.presence.seen(BOB, 'online');
        await world.clock.advance(1_000);
      }
      await world.clock.advance(2_000);
      await world.presence.close();
    });
    expect(sent).to.equal(1);
    const again = await world.restart();
    expect(await again.presence.read(BOB, ALICE)).to.include({ presence: 'offline', status_msg: 'busy' });
    await again.presence.close();
    world = again;
  });

  it('does not touch anything for a sync that asks not to be counted', async () => {
    await world.presence.read(ALICE, ALICE);
    world.presence.seen(ALICE, 'offline');
    expect(told).to.deep.equal([]);
    expect(world.presence.presenceOf(ALICE)?.content).to.deep.equal({ presence: 'offline' });
  });
});
