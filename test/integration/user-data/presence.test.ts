import { expect } from 'chai';
import type { PresenceContent } from '#src/services/ephemeral/presence/user-presence.ts';
import { until } from '#test/support/until.ts';
import { World } from './world.ts';

const ALICE = '@alice:test';
const BOB = '@bob:test';

describe('presence', () => {
  let world: World;
  const told: string[] = [];
  beforeEach(async () => {
    world = await World.begin();
    told.length = 0;
    world.services.presence.changed.subscribe(({ userId }) => void told.push(userId));
  });
  afterEach(() => world.end());

  it('tells others once, however often somebody syncs', async () => {
    await world.services.presence.read(ALICE, ALICE);
    world.services.presence.seen(ALICE, 'online', 'PHONE');
    expect(told).to.deep.equal([ALICE]);
    for (let i = 0; i < 2; i++) {
      await world.app.clock.advance(20_000);
      world.services.presence.seen(ALICE, 'online', 'PHONE');
    }
    expect(told).to.deep.equal([ALICE]);
    expect(world.services.presence.presenceOf(ALICE)?.content).to.deep.equal({
      presence: 'online',
      last_active_ago: 40_000,
      currently_active: true,
    });
  });

  /** Asks for news every half a minute, as clients do. */
  const poll = async (minutes: number, device = 'PHONE', says: 'online' | 'offline' = 'online'): Promise<void> => {
    for (let i = 0; i < 2 * minutes; i++) {
      world.services.presence.seen(ALICE, says, device, 30_000);
      await world.app.clock.advance(30_000);
    }
  };
  const content = (): PresenceContent | undefined => world.services.presence.presenceOf(ALICE)?.content;

  it('makes those unavailable who do nothing but ask for news, and online again when they do something', async () => {
    await world.services.presence.read(ALICE, ALICE);
    await poll(4);
    expect(content()).to.include({ presence: 'online', currently_active: false });
    await poll(2);
    expect(content()).to.include({ presence: 'unavailable', last_active_ago: 360_000 });
    await poll(60);
    expect(content()?.presence).to.equal('unavailable');
    world.services.userActions.note(ALICE, 'PHONE');
    expect(content()).to.deep.equal({ presence: 'online', last_active_ago: 0, currently_active: true });
    // Coming, with its first activity; not so active; idle; active.
    expect(told).to.deep.equal([ALICE, ALICE, ALICE, ALICE]);
  });

  it('keeps those active who go on doing something, and tells that once', async () => {
    await world.services.presence.read(ALICE, ALICE);
    for (let i = 0; i < 60; i++) {
      world.services.presence.seen(ALICE, 'online', 'PHONE');
      world.services.userActions.note(ALICE, 'PHONE');
      await world.app.clock.advance(10_000);
    }
    expect(content()).to.include({ presence: 'online', currently_active: true, last_active_ago: 10_000 });
    expect(told).to.deep.equal([ALICE]);
  });

  it('makes those online who do something without ever asking for news, until they have gone', async () => {
    world.services.userActions.note(ALICE, 'BRIDGE');
    await until('alice is read', () => content());
    expect(content()).to.deep.equal({ presence: 'online', last_active_ago: 0, currently_active: true });
    await world.app.clock.advance(80_000);
    expect(content()?.presence).to.equal('offline');
    world.services.userActions.note(ALICE);
    expect(content()?.presence).to.equal('online');
  });

  it('makes those online who say that they are away, and then do something', async () => {
    await world.services.presence.set(ALICE, ALICE, 'unavailable', 'lunch');
    world.services.userActions.note(ALICE);
    expect(content()).to.include({ presence: 'online', status_msg: 'lunch' });
    world.services.presence.seen(ALICE, 'unavailable', 'PHONE');
    expect(content()?.presence).to.equal('unavailable');
    world.services.userActions.note(ALICE, 'PHONE');
    expect(content()?.presence).to.equal('online');
  });

  it('gives nobody away who does not want to be counted', async () => {
    await world.services.presence.set(ALICE, ALICE, 'offline', undefined);
    world.services.userActions.note(ALICE, 'PHONE');
    expect(content()?.presence).to.equal('offline');
    await world.app.clock.advance(600_000);
    await poll(2, 'PHONE', 'offline');
    world.services.userActions.note(ALICE, 'PHONE');
    world.services.userActions.note(ALICE);
    expect(content()?.presence, 'the sync says so').to.equal('offline');
    expect(told).to.deep.equal([]);
    world.services.presence.seen(ALICE, 'online', 'DESKTOP');
    expect(content()?.presence, 'another device').to.equal('online');
  });

  it('takes a device for there as long as its sync may take', async () => {
    await world.services.presence.read(ALICE, ALICE);
    world.services.presence.seen(ALICE, 'online', 'PHONE', 240_000);
    await world.app.clock.advance(230_000);
    expect(content()?.presence).to.equal('online');
    await world.app.clock.advance(60_000);
    expect(content()?.presence).to.equal('offline');
  });

  it('reads what is known of a user at their first sync', async () => {
    const news = new Promise((resolve) => world.services.presence.changed.subscribe(resolve));
    world.services.presence.seen(BOB, 'online');
    await news;
    expect(world.services.presence.presenceOf(BOB)?.content).to.include({ presence: 'online' });
  });

  it('lets the most present device decide', async () => {
    await world.services.presence.read(ALICE, ALICE);
    world.services.presence.seen(ALICE, 'online', 'PHONE');
    world.services.presence.seen(ALICE, 'unavailable', 'DESKTOP');
    expect(world.services.presence.presenceOf(ALICE)?.content.presence).to.equal('online');
    world.services.presence.seen(ALICE, 'unavailable', 'PHONE');
    expect(world.services.presence.presenceOf(ALICE)?.content.presence).to.equal('unavailable');
    expect(told).to.have.length(2);
  });

  it('makes those offline who do not come back', async () => {
    await world.services.presence.read(ALICE, ALICE);
    world.services.presence.seen(ALICE, 'online');
    const { current } = world.services.ephemeral;
    await world.app.clock.advance(60_000);
    expect(world.services.presence.presenceOf(ALICE)?.content).to.include({
      presence: 'online',
      currently_active: false,
    });
    await world.app.clock.advance(20_000);
    expect(world.services.presence.presenceOf(ALICE)?.content)
      .to.include({ presence: 'offline' })
      .and.not.have.property('currently_active');
    expect(world.services.presence.changedSince(current)).to.deep.equal([ALICE]);
    expect(world.services.presence.changedSince(world.services.ephemeral.current)).to.deep.equal([]);
  });

  it('makes those idle, then offline, who say that they are online and do nothing', async () => {
    await world.services.presence.set(ALICE, ALICE, 'online', 'here');
    await world.app.clock.advance(4 * 60_000);
    expect(world.services.presence.presenceOf(ALICE)?.content.presence).to.equal('online');
    await world.app.clock.advance(61_000);
    expect(world.services.presence.presenceOf(ALICE)?.content.presence).to.equal('unavailable');
    await world.app.clock.advance(80_000);
    expect(world.services.presence.presenceOf(ALICE)?.content).to.include({ presence: 'offline', status_msg: 'here' });
  });

  it('writes changes together, and remembers the status message across a restart', async () => {
    await world.services.presence.set(ALICE, ALICE, 'online', 'busy');
    await world.services.presence.set(BOB, BOB, 'online', undefined);
    const sent = await world.app.statementNames(async () => {
      for (let i = 0; i < 29; i++) {
        world.services.presence.seen(ALICE, 'online');
        world.services.presence.seen(BOB, 'online');
        await world.app.clock.advance(1_000);
      }
      await world.app.clock.advance(2_000);
      await world.services.presence.close();
    });
    expect(sent.filter((name) => name.startsWith('presence'))).to.have.length(1);
    const again = await world.restart();
    await again.room(ALICE, [BOB]);
    expect(await again.services.presence.read(BOB, ALICE)).to.include({ presence: 'offline', status_msg: 'busy' });
    await again.services.presence.close();
    world = again;
  });

  it('does not touch anything for a sync that asks not to be counted', async () => {
    await world.services.presence.read(ALICE, ALICE);
    world.services.presence.seen(ALICE, 'offline');
    expect(told).to.deep.equal([]);
    expect(world.services.presence.presenceOf(ALICE)?.content).to.deep.equal({ presence: 'offline' });
  });
});
