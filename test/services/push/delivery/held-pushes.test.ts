import { expect } from 'chai';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import { HeldPushes, type HeldPush } from '#src/services/push/delivery/held-pushes.ts';
import { ManualClock } from '#test/support/manual-clock.ts';

const MINUTE_MS = 60_000;

/** A log of pushes that are due, and what becomes of them. */
class Scene {
  readonly clock = new ManualClock();
  readonly log: HeldPush[] = [];
  readonly told: number[] = [];
  readonly setAside: number[] = [];
  /** Places that cannot be told, or read. */
  readonly untellable = new Set<number>();
  readonly unreadable = new Set<number>();
  /** Why nothing at all works. */
  trouble: Error | undefined;
  failures = 0;
  readonly held = new HeldPushes({
    clock: this.clock,
    timers: this.clock,
    tell: async (pushes) => {
      this.#refuse(pushes, this.untellable);
      this.told.push(...pushes.map(({ position }) => position));
    },
    read: async (after, limit) => {
      const pushes = this.log.filter(({ position }) => position > after).slice(0, limit);
      this.#refuse(pushes, this.unreadable);
      return { pushes, last: pushes.at(-1)?.position, isFull: pushes.length === limit };
    },
    placeAfter: async (position) => this.log.find((push) => push.position > position)?.position,
    isPassing: (err) => err === this.trouble,
    onFailure: () => (this.failures += 1),
    onSetAside: (position) => this.setAside.push(position),
  });

  #refuse(pushes: readonly HeldPush[], places: ReadonlySet<number>): void {
    if (this.trouble !== undefined) throw this.trouble;
    const place = pushes.find(({ position }) => places.has(position))?.position;
    if (place !== undefined) throw new Error(`nothing can be done with ${place}`);
  }

  /** Puts pushes at the end of the log. */
  append(from: number, upTo: number, isHeard = true, size = 500): void {
    for (let position = from; position <= upTo; position++) {
      const about = { kind: 'event' as const, room: {} as Room, event: { size } as StoredEvent };
      const push = { position, at: this.clock.now(), about };
      this.log.push(push);
      if (isHeard) this.held.add(push);
    }
  }

  begin(told = 0): void {
    this.held.open(told);
    this.held.start();
  }
}

const places = (from: number, upTo: number): number[] => Array.from({ length: upTo - from + 1 }, (_, i) => from + i);

describe('pushes in their grace period', () => {
  it('are in memory up to 32 MiB of their events; the others are read from the log, and all are handed on in order', async () => {
    const scene = new Scene();
    scene.begin();
    await scene.held.idle();
    scene.append(1, 2_000, true, 65_536);
    expect(scene.held.waiting).to.be.within(500, 512);
    await scene.clock.advance(MINUTE_MS);
    expect(scene.told).to.deep.equal(places(1, 2_000));
    await scene.held.idle();
    scene.append(2_001, 2_400, true, 65_536);
    // The first of them may be under way already.
    expect(scene.held.waiting, 'what was handed on takes no place').to.be.within(399, 400);
    await scene.clock.advance(MINUTE_MS);
    expect(scene.told).to.deep.equal(places(1, 2_400));
    await scene.held.close();
  });

  it('are all handed on but for those that cannot be handed on, which are set aside', async () => {
    const scene = new Scene();
    scene.begin();
    await scene.held.idle();
    for (const place of [200, 201, 700]) scene.untellable.add(place);
    scene.append(1, 1_000);
    await scene.clock.advance(MINUTE_MS);
    expect(scene.setAside).to.deep.equal([200, 201, 700]);
    const others = places(1, 1_000).filter((place) => !scene.untellable.has(place));
    expect(scene.told).to.deep.equal(others);
    expect(scene.held.told).to.equal(1_000);
    await scene.held.close();
  });

  it('are all handed on after a restart but for those that cannot be read', async () => {
    const scene = new Scene();
    for (const place of [3, 4]) scene.unreadable.add(place);
    scene.append(1, 600, false);
    scene.begin();
    await scene.clock.advance(MINUTE_MS);
    expect(scene.setAside).to.deep.equal([3, 4]);
    expect(scene.told).to.deep.equal([1, 2, ...places(5, 600)]);
    await scene.held.close();
  });

  it('are handed on without a pause after a failing one when another one fails shortly after it', async () => {
    const scene = new Scene();
    for (const place of places(1, 300)) scene.untellable.add(place);
    scene.append(1, 400, false);
    scene.begin();
    await scene.clock.advance(MINUTE_MS);
    expect(scene.setAside).to.deep.equal(places(1, 300));
    expect(scene.told).to.deep.equal(places(301, 400));
    expect(scene.failures).to.equal(5);
    await scene.held.close();
  });

  it('are never set aside because of database errors', async () => {
    const scene = new Scene();
    scene.trouble = new Error('no connection');
    scene.append(1, 10, false);
    scene.begin();
    await scene.clock.advance(MINUTE_MS);
    expect([scene.told, scene.setAside]).to.deep.equal([[], []]);
    scene.trouble = undefined;
    await scene.clock.advance(MINUTE_MS);
    expect([scene.told, scene.setAside]).to.deep.equal([places(1, 10), []]);
    await scene.held.close();
  });

  it('are read from the push log when they are not in memory', async () => {
    const scene = new Scene();
    scene.begin();
    await scene.held.idle();
    scene.append(1, 2);
    scene.append(3, 4, false);
    scene.held.fallBehind();
    scene.append(5, 6);
    await scene.clock.advance(MINUTE_MS);
    expect(scene.told).to.deep.equal(places(1, 6));
    await scene.held.close();
  });
});
