import { Ongoing } from '#src/kernel/concurrency/background.ts';
import { EarliestTimer } from '#src/kernel/earliest-timer.ts';
import type { Random } from '#src/kernel/random.ts';
import type { Timer, Timers } from '#src/kernel/timers.ts';
import { doing, Work } from '#src/kernel/event-loop/work.ts';
import type { Delivery } from '#src/storage/delivery/deliveries.ts';
import { BatchDelivery, type BatchDeliveryOptions, fresh } from './batch-delivery.ts';
import { DeliveryGroups } from './delivery-groups.ts';
import type { DeliveryGroup, PauseOf } from './ports.ts';

const PAGE = 500;
/** After trouble of our own: the database, or the source. */
const INTERNAL_ERROR_PAUSE_MS = 2_000;
/** Random share that is added to a pause, so that destinations are not retried at the same moment. */
const JITTER = 0.25;

export interface DeliveryQueueOptions<Item> extends Omit<BatchDeliveryOptions<Item>, 'groups' | 'pauseOf' | 'signal'> {
  readonly timers: Timers;
  readonly random: Random;
  /** Destinations that are sent to at once. */
  readonly concurrency: number;
  /** Milliseconds of the first pause after a failure, which doubles with each further one, and of the longest. */
  readonly firstPauseMs: number;
  readonly maxPauseMs: number;
  /** Milliseconds to wait after so many failures in a row, where they do not simply double. */
  readonly pauseMs?: (failures: number) => number;
  /** Destinations that fail together, such as pushers of one gateway. All are of one group when left out. */
  readonly groupOf?: (destination: string) => DeliveryGroup;
  /**
   * For how many milliseconds a destination is left alone that a batch has just arrived at, so that what comes meanwhile goes out as one;
   * not at all when left out. The first batch after a quiet time never waits.
   */
  readonly gather?: { readonly ms: number; readonly timers: Pick<Timers, 'after'> };
}

/** A destination with pending items. Other destinations are not in memory. */
interface Active {
  state: 'ready' | 'sending' | 'gathering' | 'waiting';
  /** The group in whose line it waits, or is being sent to. */
  group: string;
  /** It is paused with its group, and the pause is being stored: it is not sent to until then. */
  isPutOff: boolean;
  /** An item arrived during a send, or the destination contacted this server. */
  hasNews: boolean;
  /** What came must not wait until more is gathered. */
  isHurried: boolean;
  wasInContact: boolean;
  delivery: Delivery | undefined;
  /** When to try again, in milliseconds. */
  at: number;
}

/**
 * Delivers the items of a source to many destinations: in order to each, at least once, also across kills. Only the progress of each
 * is stored. Destinations take turns, one batch each, several concurrently. One that cannot be reached is retried after growing
 * pauses. An item that is always refused is found by bisection and given up, so that it does not block the rest. Groups of
 * destinations take turns as well, and no group uses all slots. When a group is unreachable, all its destinations are paused
 * together: nothing is read for them, and one of them probes whether the group is back.
 */
export class DeliveryQueue<Item> {
  readonly #options: DeliveryQueueOptions<Item>;
  readonly #active = new Map<string, Active>();
  /** Destinations that gather items after a delivered batch, with the timer. */
  readonly #gathering = new Map<string, Timer>();
  readonly #sending = new Ongoing();
  readonly #puttingOff = new Ongoing();
  readonly #stop = new AbortController();
  readonly #groups: DeliveryGroups;
  readonly #delivery: BatchDelivery<Item>;
  /** One timer for all waiting destinations. */
  readonly #due: EarliestTimer;
  #isClosed = false;

  constructor(options: DeliveryQueueOptions<Item>) {
    this.#options = options;
    const { clock, groupOf, metrics, name, timers } = options;
    const pauseOf: PauseOf = (failures, wantedMs) => this.#pause(failures, wantedMs);
    this.#groups = new DeliveryGroups({
      clock,
      pauseOf,
      groupOf,
      paused: (destination, until) => {
        const active = this.#active.get(destination);
        if (active !== undefined) this.#putOff(destination, active, until);
      },
    });
    this.#delivery = new BatchDelivery({ ...options, groups: this.#groups, pauseOf, signal: this.#stop.signal });
    this.#due = new EarliestTimer(clock, timers, () => this.#wakeDue());
    const help = 'destinations for which there is something to do';
    metrics.gaugeOf('tsudoi_delivery_destinations', help, () => this.#active.size, { queue: name });
  }

  /** Resumes the deliveries of the previous process, and starts those for newer items. */
  async start(): Promise<void> {
    const { progress, source } = this.#options;
    await eachPage(
      (after) => progress.unfinished(after, PAGE),
      ({ destination }) => destination,
      (delivery) => this.#resume(delivery),
    );
    await eachPage(
      (after) => source.behind(after, PAGE),
      (destination) => destination,
      (destination) => this.wake(destination),
    );
  }

  /** Notes that the source may have new items for a destination. Cheap when the destination is active already. */
  wake(destination: string): void {
    const known = this.#active.get(destination);
    if (known === undefined) this.#begin(destination, undefined);
    else if (known.state === 'sending') known.hasNews = true;
  }

  /** Like `wake`, for an urgent item: it is sent without gathering. */
  hurry(destination: string): void {
    const known = this.#active.get(destination);
    if (known?.state === 'sending') known.isHurried = true;
    if (known?.state !== 'gathering') {
      this.wake(destination);
      return;
    }
    this.#gathering.get(destination)?.cancel();
    this.#gathered(destination);
  }

  /** Notes that a destination contacted this server: if it was unreachable, it is tried at once. */
  inContact(destination: string): void {
    const known = this.#active.get(destination);
    if (known === undefined) return;
    known.wasInContact = true;
    if (known.state === 'sending' || known.isPutOff) return;
    if (known.delivery !== undefined) known.delivery = { ...known.delivery, failures: 0, retryAt: null };
    if (known.state === 'waiting') this.#letIn(destination, known);
  }

  /** Reactivates a destination that was gone. Delivery resumes after its last delivered item. */
  async revive(destination: string): Promise<void> {
    const delivery = await this.#options.progress.read(destination);
    if (delivery?.isGone === true) await this.#options.progress.save({ ...delivery, isGone: false });
    const known = this.#active.get(destination);
    if (known?.delivery?.isGone === true) known.delivery = undefined;
    this.wake(destination);
  }

  /** Ends all gathering, and resolves when nothing is being sent and nothing is ready: the rest waits for its next attempt. */
  async idle(): Promise<void> {
    do {
      this.#gatherNoLonger();
      await this.#puttingOff.idle();
      await this.#sending.idle();
      await this.#puttingOff.idle();
    } while (this.#gathering.size > 0);
  }

  /** Starts no new batch, and waits for running ones; aborts them after `graceMs`. */
  async close(graceMs: number): Promise<void> {
    this.#gatherNoLonger();
    this.#isClosed = true;
    this.#due.cancel();
    const timer = this.#options.timers.after(graceMs, () => this.#stop.abort());
    await this.idle();
    timer.cancel();
  }

  #begin(destination: string, delivery: Delivery | undefined): Active {
    const active: Active = { ...UNTOUCHED, state: 'ready', delivery };
    this.#active.set(destination, active);
    this.#makeReady(destination, active);
    return active;
  }

  #resume(delivery: Delivery): void {
    const { destination, retryAt } = delivery;
    if (this.#active.has(destination)) return;
    if (retryAt === null || retryAt <= this.#options.clock.now()) {
      this.#begin(destination, delivery);
      return;
    }
    const active: Active = { ...UNTOUCHED, state: 'waiting', delivery, at: retryAt };
    this.#active.set(destination, active);
    this.#expect(retryAt);
  }

  #makeReady(destination: string, active: Active): void {
    const until = this.#groups.pausedUntil(destination);
    if (until > this.#options.clock.now()) this.#putOff(destination, active, until);
    else this.#letIn(destination, active);
  }

  #letIn(destination: string, active: Active): void {
    active.state = 'ready';
    active.group = this.#groups.add(destination);
    this.#pump();
  }

  /** Pauses a destination with its group. Nothing is read or sent for it until then, except its progress, once. */
  #putOff(destination: string, active: Active, at: number): void {
    if (active.delivery?.retryAt !== undefined && active.delivery.retryAt !== null) {
      this.#wait(active, at);
      return;
    }
    Object.assign(active, { state: 'waiting', at: Infinity, isPutOff: true });
    this.#puttingOff.add(undefined, this.#notePutOff(destination, active, at));
  }

  /** Stores the pause. Its items are in the source, so a kill loses none. */
  async #notePutOff(destination: string, active: Active, at: number): Promise<void> {
    const { clock, logger, name, progress } = this.#options;
    let until = at;
    try {
      const known = active.delivery ?? (await progress.read(destination)) ?? fresh(destination);
      if (known.isGone) {
        active.isPutOff = false;
        this.#active.delete(destination);
        return;
      }
      const putOff = { ...known, retryAt: at };
      await progress.save(putOff);
      active.delivery = putOff;
    } catch (err) {
      logger.error('the pause of a destination could not be stored', { queue: name, destination, err });
      active.delivery = undefined;
      until = clock.now() + INTERNAL_ERROR_PAUSE_MS;
    }
    active.isPutOff = false;
    if (this.#active.get(destination) !== active) return;
    if (active.wasInContact) this.#letIn(destination, active);
    else this.#wait(active, until);
  }

  #wait(active: Active, at: number): void {
    active.state = 'waiting';
    active.at = at;
    this.#expect(at);
  }

  #gather(destination: string, active: Active): void {
    const { gather } = this.#options;
    if (gather === undefined || this.#isClosed) {
      this.#makeReady(destination, active);
      return;
    }
    active.state = 'gathering';
    this.#gathering.set(
      destination,
      gather.timers.after(gather.ms, () => this.#gathered(destination)),
    );
  }

  #gathered(destination: string): void {
    this.#gathering.delete(destination);
    const active = this.#active.get(destination);
    if (active?.state === 'gathering') this.#makeReady(destination, active);
  }

  #gatherNoLonger(): void {
    for (const [destination, timer] of this.#gathering) {
      timer.cancel();
      this.#gathered(destination);
    }
  }

  #expect(at: number): void {
    if (this.#isClosed) return;
    const { clock, maxPauseMs } = this.#options;
    // The system clock may be changed meanwhile.
    this.#due.within(Math.min(Math.max(at - clock.now(), 0), maxPauseMs));
  }

  #wakeDue(): void {
    const now = this.#options.clock.now();
    let next = Infinity;
    for (const [destination, active] of this.#active) {
      if (active.state !== 'waiting' || active.isPutOff) continue;
      if (active.at <= now) this.#makeReady(destination, active);
      else next = Math.min(next, active.at);
    }
    if (next < Infinity) this.#expect(next);
  }

  #pump(): void {
    while (!this.#isClosed && this.#sending.size < this.#options.concurrency) {
      const destination = this.#groups.next();
      if (destination === undefined) return;
      const active = this.#active.get(destination);
      if (active === undefined) continue;
      const { group } = active;
      active.state = 'sending';
      this.#groups.begin(group);
      const work = new Work(`delivery ${this.#options.name}`);
      const turn = doing(work, () => this.#turn(destination, active)).finally(() => this.#groups.end(group));
      this.#sending.add(undefined, turn);
      // Items of batches that were not started are in the source, so a kill loses none.
      void turn.then(() => this.#pump());
    }
  }

  /** Sends a destination its next batch. */
  async #turn(destination: string, active: Active): Promise<void> {
    try {
      active.hasNews = false;
      active.isHurried = false;
      active.wasInContact = false;
      const next = await this.#delivery.deliver(destination, active);
      const isHurried = next === 'gather' && active.isHurried;
      if (next === 'more' || isHurried || (next === 'nothing' && active.hasNews)) this.#makeReady(destination, active);
      else if (next === 'nothing') this.#active.delete(destination);
      else if (next === 'gather') this.#gather(destination, active);
      else this.#wait(active, next);
    } catch (err) {
      const { clock, logger, name } = this.#options;
      logger.error('a delivery failed with an internal error; it is retried', {
        queue: name,
        destination,
        err,
      });
      // It is unknown whether the progress was written.
      active.delivery = undefined;
      this.#wait(active, clock.now() + INTERNAL_ERROR_PAUSE_MS);
    }
  }

  #pause(failures: number, wantedMs = 0): number {
    const { firstPauseMs, maxPauseMs, pauseMs, random } = this.#options;
    const chance = 1 + (JITTER * random.bytes(1).readUInt8()) / 255;
    const pause = pauseMs?.(failures) ?? firstPauseMs * 2 ** Math.min(failures - 1, 40);
    return Math.round(Math.min(Math.max(pause * chance, wantedMs), maxPauseMs));
  }
}

/** State of a new destination. */
const UNTOUCHED = {
  group: '',
  hasNews: false,
  isHurried: false,
  wasInContact: false,
  isPutOff: false,
  delivery: undefined,
  at: 0,
} as const;

const eachPage = async <T>(
  read: (after: string) => Promise<readonly T[]>,
  keyOf: (one: T) => string,
  take: (one: T) => void,
): Promise<void> => {
  for (let page = await read(''); ;) {
    for (const one of page) take(one);
    const last = page.at(-1);
    if (last === undefined) return;
    page = await read(keyOf(last));
  }
};
