import { expect } from 'chai';
import fc from 'fast-check';
import { silentLogger } from '#src/kernel/logger.ts';
import { noMetrics } from '#src/kernel/metrics.ts';
import { systemRandom } from '#src/kernel/random.ts';
import type { Timers } from '#src/kernel/timers.ts';
import { DeliveryQueue } from '#src/services/delivery/queue/delivery-queue.ts';
import type {
  Batch,
  DeliveryGroup,
  DeliveryProgress,
  Outcome,
  Positioned,
} from '#src/services/delivery/queue/ports.ts';
import { Deliveries, type Delivery } from '#src/storage/delivery/deliveries.ts';
import { cloneDatabase } from '#test/support/database.ts';
import { ManualClock } from '#test/support/manual-clock.ts';

const FIRST_MS = 1_000;
const MAX_MS = 60_000;
const BATCH = 5;
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const forever = (): Promise<never> => new Promise(() => {});

type Mood = 'takes' | 'is away' | 'throws';

/** Progress in memory: what a database keeps. */
const kept = (): DeliveryProgress => {
  const rows = new Map<string, Delivery>();
  return {
    read: async (destination) => rows.get(destination),
    save: async (delivery) => void rows.set(delivery.destination, delivery),
    unfinished: async (after, limit) =>
      [...rows.values()]
        .filter((row) => row.destination > after && !row.isGone && (row.retryAt !== null || row.batchEnd !== null))
        .toSorted((a, b) => (a.destination < b.destination ? -1 : 1))
        .slice(0, limit),
  };
};

/** Destinations with moods, items for them, and a process that delivers and is killed. */
class World {
  readonly clock = new ManualClock();
  readonly items = new Map<string, Positioned<number>[]>();
  readonly moods = new Map<string, Mood>();
  /** Items that every destination refuses. */
  readonly poison = new Set<number>();
  readonly arrived = new Map<string, number[]>();
  readonly attempts: { readonly destination: string; readonly id: string; readonly at: number }[] = [];
  /** What each batch held, by destination and id. */
  readonly #held = new Map<string, readonly number[]>();
  readonly #progress: DeliveryProgress;
  readonly #concurrency: number;
  readonly #groupOf: ((destination: string) => DeliveryGroup) | undefined;
  readonly #gatherMs: number;
  /** How often the source was asked, and progress read and written. */
  readonly asked = { next: 0, read: 0, save: 0 };
  maxAtOnce = 0;
  queue!: DeliveryQueue<number>;
  #process = 0;
  #position = 0;

  /**
   * @param groupOf groups share a fate: who is away says so of their group
   * @param gatherMs how long a destination is left alone that a batch arrived at; 0 for not at all
   */
  constructor(
    progress: DeliveryProgress = kept(),
    concurrency = 3,
    groupOf?: (destination: string) => DeliveryGroup,
    gatherMs = 0,
  ) {
    this.#groupOf = groupOf;
    this.#gatherMs = gatherMs;
    this.#progress = progress;
    this.#concurrency = concurrency;
  }

  /** A new process; the one before is killed: nothing that it began comes back to it. */
  async start(): Promise<void> {
    const process = (this.#process += 1);
    const isAlive = (): boolean => this.#process === process;
    const alive = async <T>(what: Promise<T>): Promise<T> => {
      const result = await what;
      await turn();
      return isAlive() ? result : forever();
    };
    const sending = new Set<string>();
    const progress = this.#progress;
    const timers: Timers = {
      after: (ms, callback) => this.clock.after(ms, () => isAlive() && callback()),
      every: (ms, callback) => this.clock.every(ms, () => isAlive() && callback()),
      sleep: (ms, signal) => this.clock.sleep(ms, signal),
    };
    this.queue = new DeliveryQueue<number>({
      name: 'test',
      progress: {
        read: (destination) => {
          this.asked.read += 1;
          return alive(progress.read(destination));
        },
        save: (delivery) => {
          this.asked.save += 1;
          return isAlive() ? alive(progress.save(delivery)) : forever();
        },
        unfinished: (after, limit) => alive(progress.unfinished(after, limit)),
      },
      source: {
        next: (destination, after, limit, upTo = Infinity) => {
          this.asked.next += 1;
          return alive(
            Promise.resolve(
              (this.items.get(destination) ?? [])
                .filter(({ position }) => position > after && position <= upTo)
                .slice(0, limit),
            ),
          );
        },
        behind: async (after, limit) =>
          [...this.items.keys()]
            .filter((destination) => destination > after)
            .toSorted()
            .slice(0, limit),
      },
      send: async (destination, batch) => {
        if (!isAlive()) return forever();
        expect(sending.has(destination), 'two batches at once to one destination').to.equal(false);
        sending.add(destination);
        this.maxAtOnce = Math.max(this.maxAtOnce, sending.size);
        try {
          return await alive(Promise.resolve(this.#receive(destination, batch)));
        } finally {
          sending.delete(destination);
        }
      },
      clock: this.clock,
      timers,
      random: systemRandom,
      logger: silentLogger,
      metrics: noMetrics,
      concurrency: this.#concurrency,
      batchSize: BATCH,
      firstPauseMs: FIRST_MS,
      maxPauseMs: MAX_MS,
      ...(this.#groupOf === undefined ? {} : { groupOf: this.#groupOf }),
      ...(this.#gatherMs === 0 ? {} : { gather: { ms: this.#gatherMs, timers } }),
    });
    await this.queue.start();
  }

  #receive(destination: string, { id, items }: Batch<number>): Outcome {
    this.attempts.push({ destination, id, at: this.clock.now() });
    const key = `${destination} ${id}`;
    expect(this.#held.get(key) ?? items, 'a batch that is sent again').to.deep.equal(items);
    const isRepeated = this.#held.has(key) && (this.arrived.get(destination) ?? []).includes(items[0]!);
    this.#held.set(key, items);
    const mood = this.moods.get(destination) ?? 'takes';
    if (mood === 'throws') throw new Error('cannot be sent');
    if (mood === 'is away') return { kind: 'retry', isOfGroup: this.#groupOf !== undefined };
    if (items.some((item) => this.poison.has(item))) return { kind: 'refused' };
    if (!isRepeated) this.arrived.set(destination, [...(this.arrived.get(destination) ?? []), ...items]);
    return { kind: 'done' };
  }

  add(destination: string, count = 1, isPoison = false): void {
    for (let i = 0; i < count; i++) {
      const position = (this.#position += 1);
      this.items.set(destination, [...(this.items.get(destination) ?? []), { position, item: position }]);
      if (isPoison) this.poison.add(position);
    }
    this.queue.wake(destination);
  }

  async settle(): Promise<void> {
    await this.clock.advance(0);
    await this.queue.idle();
  }

  /** Lets time pass in small steps, so that what waits for each other is done. */
  async pass(ms: number, step = MAX_MS): Promise<void> {
    for (let passed = 0; passed < ms; passed += step) {
      await this.clock.advance(Math.min(step, ms - passed));
      await this.queue.idle();
    }
  }

  /** Lets time pass until nothing waits for it any more. */
  async finish(): Promise<void> {
    await this.settle();
    for (let i = 0; i < 2_000 && this.clock.pending > 0; i++) await this.pass(MAX_MS);
    expect(this.clock.pending, 'what still waits').to.equal(0);
  }

  wanted(destination: string): number[] {
    return (this.items.get(destination) ?? []).flatMap(({ item }) => (this.poison.has(item) ? [] : [item]));
  }
}

const DESTINATIONS = ['a', 'b', 'c', 'd', 'e', 'f'];

describe('a queue of deliveries', function () {
  this.timeout(60_000);

  it('delivers every item to every destination in order, across outages and kills, except items that are always refused', async () => {
    const destination = fc.constantFrom(...DESTINATIONS);
    const step = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({ do: fc.constant('add' as const), destination, count: fc.integer({ min: 1, max: 12 }) }),
      },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('poison' as const), destination }) },
      {
        weight: 3,
        arbitrary: fc.record({
          do: fc.constant('mood' as const),
          destination,
          mood: fc.constantFrom<Mood>('takes', 'is away', 'takes'),
        }),
      },
      {
        weight: 3,
        arbitrary: fc.record({ do: fc.constant('turns' as const), count: fc.integer({ min: 1, max: 12 }) }),
      },
      {
        weight: 2,
        arbitrary: fc.record({ do: fc.constant('time' as const), ms: fc.integer({ min: 1, max: 20_000 }) }),
      },
      { weight: 2, arbitrary: fc.constant({ do: 'kill' as const }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('contact' as const), destination }) },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.boolean(),
        fc.constantFrom(0, 100),
        fc.array(step, { minLength: 10, maxLength: 120, size: 'max' }),
        async (areGrouped, gatherMs, steps) => {
          const groupOf = (one: string): DeliveryGroup => ({ name: one < 'c' ? 'first' : 'others', most: 2 });
          const world = new World(kept(), 3, areGrouped ? groupOf : undefined, gatherMs);
          await world.start();
          for (const one of steps) {
            if (one.do === 'add') world.add(one.destination, one.count);
            else if (one.do === 'poison') world.add(one.destination, 1, true);
            else if (one.do === 'mood') world.moods.set(one.destination, one.mood);
            else if (one.do === 'time') await world.clock.advance(one.ms);
            else if (one.do === 'kill') await world.start();
            else if (one.do === 'contact') world.queue.inContact(one.destination);
            else for (let i = 0; i < one.count; i++) await turn();
          }
          world.moods.clear();
          await world.finish();
          for (const name of DESTINATIONS)
            expect(world.arrived.get(name) ?? [], name).to.deep.equal(world.wanted(name));
          expect(world.maxAtOnce).to.be.at.most(3);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('leaves alone who cannot be reached, for pauses that double up to a limit, and returns at once when they are heard of', async () => {
    const world = new World();
    await world.start();
    world.moods.set('a', 'is away');
    world.add('a', 1);
    await world.settle();
    await world.pass(300_000, 500);
    const times = world.attempts.map(({ at }) => at);
    const pauses = times.slice(1).map((at, i) => at - times[i]!);
    for (const [i, pause] of pauses.entries()) {
      const least = Math.min(FIRST_MS * 2 ** i, MAX_MS);
      expect(pause).to.be.within(least, Math.min(least * 1.25, MAX_MS) + 500);
    }
    world.add('a', 2);
    await world.settle();
    const before = world.attempts.length;
    world.moods.clear();
    world.queue.inContact('a');
    await world.settle();
    expect(world.attempts.length).to.equal(before + 2);
    expect(world.arrived.get('a')).to.deep.equal([1, 2, 3]);
  });

  it('pauses an unreachable group together, probes it with one destination, and reads nothing for the others', async () => {
    const MANY = 500;
    const names = Array.from({ length: MANY }, (_, i) => `away ${i}`);
    const world = new World(kept(), 20, (one) => ({ name: one.startsWith('away') ? 'away' : 'there', most: 16 }));
    await world.start();
    for (const name of names) world.moods.set(name, 'is away');
    for (const name of names) world.add(name, 3);
    world.add('there', 1);
    await world.settle();
    expect(world.attempts.length, 'those that were being asked').to.be.at.most(17);
    expect(world.arrived.get('there'), 'another group').to.have.length(1);
    const first = { ...world.asked };
    expect(first.read).to.be.at.most(MANY + 1);
    expect(first.save).to.be.at.most(MANY + 40);
    expect(first.next).to.be.at.most(20);
    // Whatever else comes for them is nothing to do.
    for (const name of names) world.add(name, 3);
    await world.settle();
    expect(world.asked).to.deep.equal(first);
    const tried = world.attempts.length;
    await world.pass(600_000, 1_000);
    const rounds = world.attempts.length - tried;
    // After 1, 3, 7, 15, 31 s, and then every minute.
    expect(rounds).to.be.within(8, 40);
    expect(world.asked.next - first.next).to.equal(rounds);
    expect(world.asked.read - first.read).to.equal(0);
    expect(world.asked.save - first.save).to.be.at.most(2 * rounds);
    const before = world.attempts.length;
    world.moods.clear();
    world.queue.inContact('away 7');
    await world.settle();
    expect(world.attempts[before]?.destination, 'who is heard of is asked at once').to.equal('away 7');
    await world.finish();
    for (const name of names) expect(world.arrived.get(name), name).to.deep.equal(world.wanted(name));
  });

  it('gathers items that follow a delivered batch, and sends an item at once after a quiet time', async () => {
    const GATHER_MS = 100;
    const world = new World(kept(), 20, undefined, GATHER_MS);
    const names = Array.from({ length: 50 }, (_, i) => `server ${i}`);
    /** Everything that needs no time to pass. */
    const turns = async (): Promise<void> => {
      for (let i = 0; i < 100; i++) await turn();
    };
    await world.start();
    for (const name of names) world.add(name);
    await turns();
    expect(world.attempts.length, 'the first one').to.equal(50);
    // 200 in 200 ms, and one batch holds five of them.
    for (let count = 0; count < 200; count++) {
      for (const name of names) world.add(name);
      await world.clock.advance(1);
      await turn();
    }
    expect(world.attempts.length - 50, 'while it goes on').to.be.within(1, 2 * 50);
    await world.finish();
    for (const name of names) expect(world.arrived.get(name), name).to.deep.equal(world.wanted(name));
    await world.clock.advance(GATHER_MS);
    await turns();
    const before = world.attempts.length;
    world.add('server 7');
    await turns();
    expect(
      world.attempts.slice(before).map(({ destination }) => destination),
      'after a quiet time',
    ).to.deep.equal(['server 7']);
    // `idle` does not wait for the clock.
    world.add('server 7');
    await world.queue.idle();
    expect(world.attempts.length - before).to.equal(2);
    expect(world.clock.pending).to.equal(0);
  });

  it('sends urgent items without gathering, also those that arrive during a send', async () => {
    const world = new World(kept(), 20, undefined, 100);
    const turns = async (): Promise<void> => {
      for (let i = 0; i < 100; i++) await turn();
    };
    await world.start();
    world.add('a');
    await turns();
    world.add('a');
    await turns();
    expect(world.attempts.length, 'what may wait').to.equal(1);
    world.queue.hurry('a');
    await turns();
    expect(world.attempts.length, 'what came after a batch').to.equal(2);
    world.add('a');
    await world.clock.advance(100);
    world.add('a');
    world.queue.hurry('a');
    await turns();
    await world.finish();
    expect(world.arrived.get('a')).to.deep.equal(world.wanted('a'));
  });

  it('keeps the pause of a destination over a restart', async () => {
    const world = new World();
    await world.start();
    world.moods.set('a', 'is away');
    world.add('a', 1);
    await world.settle();
    await world.pass(20_000, 500);
    const before = world.attempts.length;
    await world.start();
    await world.settle();
    expect(world.attempts.length).to.equal(before);
    world.moods.clear();
    await world.pass(60_000);
    expect(world.arrived.get('a')).to.deep.equal([1]);
  });

  it('lets thousands of destinations take turns, a batch each, some at once, and keeps nothing of those that are done', async () => {
    const world = new World(kept(), 20);
    await world.start();
    world.add('busy', 100);
    for (let i = 0; i < 3_000; i++) world.add(`other ${i}`, 1);
    await world.settle();
    expect(world.maxAtOnce).to.equal(20);
    const order = world.attempts.map(({ destination }) => destination);
    expect(order.filter((one) => one === 'busy')).to.have.length(20);
    // Between two batches of the busy one, everybody else who waits has a turn.
    const [first, second] = order.flatMap((one, i) => (one === 'busy' ? [i] : []));
    expect(second! - first!).to.be.greaterThan(2_900);
    expect(world.arrived.size).to.equal(3_001);
    expect(world.clock.pending).to.equal(0);
  });

  it('gives up only refused items, and gives batches with different items different ids', async () => {
    const world = new World();
    await world.start();
    world.add('a', 2);
    world.add('a', 1, true);
    world.add('a', 9);
    await world.finish();
    expect(world.arrived.get('a')).to.deep.equal([1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
  });

  it('finishes running batches when it closes, and aborts slow ones, which are sent again unchanged', async () => {
    const database = await cloneDatabase();
    try {
      const clock = new ManualClock();
      const sent: Batch<string>[] = [];
      let isSlow = true;
      const queueOf = (): DeliveryQueue<string> =>
        new DeliveryQueue<string>({
          name: 'test',
          progress: new Deliveries(database.database, 'test'),
          source: {
            next: async (_destination, after, limit, upTo = 3) =>
              [1, 2, 3]
                .filter((n) => n > after && n <= upTo)
                .slice(0, limit)
                .map((n) => ({ position: n, item: `item ${n}` })),
            behind: async (after) => (after === '' ? ['remote'] : []),
          },
          send: async (_destination, batch, signal) => {
            sent.push(batch);
            if (!isSlow) return { kind: 'done' };
            await new Promise((_resolve, reject) =>
              signal.addEventListener('abort', () => reject(new Error('broken off'))),
            );
            return { kind: 'done' };
          },
          clock,
          timers: clock,
          random: systemRandom,
          logger: silentLogger,
          metrics: noMetrics,
          concurrency: 2,
          batchSize: 2,
          firstPauseMs: FIRST_MS,
          maxPauseMs: MAX_MS,
        });
      const first = queueOf();
      await first.start();
      while (sent.length === 0) await turn();
      let isClosed = false;
      const closing = first.close(5_000).then(() => (isClosed = true));
      await clock.advance(4_999);
      expect(isClosed).to.equal(false);
      await clock.advance(1);
      await closing;

      isSlow = false;
      const second = queueOf();
      await second.start();
      await second.idle();
      expect(sent).to.deep.equal([
        { id: '0-2', items: ['item 1', 'item 2'] },
        { id: '0-2', items: ['item 1', 'item 2'] },
        { id: '2-3', items: ['item 3'] },
      ]);
      const third = queueOf();
      await third.start();
      await third.idle();
      expect(sent).to.have.length(3);
      await Promise.all([second.close(0), third.close(0)]);
    } finally {
      await database.drop();
    }
  });

  it('sends nothing to a destination that is gone, also after a restart, until it is revived', async () => {
    const progress = kept();
    const sent: number[][] = [];
    let outcome: Outcome = { kind: 'gone' };
    const clock = new ManualClock();
    const queueOf = (): DeliveryQueue<number> =>
      new DeliveryQueue<number>({
        name: 'test',
        progress,
        source: {
          next: async (_destination, after) => [1, 2].filter((n) => n > after).map((n) => ({ position: n, item: n })),
          behind: async (after) => (after === '' ? ['a'] : []),
        },
        send: async (_destination, { items }) => {
          sent.push([...items]);
          return outcome;
        },
        clock,
        timers: clock,
        random: systemRandom,
        logger: silentLogger,
        metrics: noMetrics,
        concurrency: 1,
        batchSize: 2,
        firstPauseMs: FIRST_MS,
        maxPauseMs: MAX_MS,
      });
    const first = queueOf();
    await first.start();
    await first.idle();
    first.wake('a');
    await first.idle();
    const second = queueOf();
    await second.start();
    await second.idle();
    expect(sent).to.deep.equal([[1, 2]]);
    outcome = { kind: 'done' };
    await second.revive('a');
    await second.idle();
    expect(sent).to.deep.equal([
      [1, 2],
      [1, 2],
    ]);
  });
});
