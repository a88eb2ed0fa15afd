import { Background } from '#src/kernel/concurrency/background.ts';
import type { Clock } from '#src/kernel/clock.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Metrics } from '#src/kernel/metrics.ts';
import type { Random } from '#src/kernel/random.ts';
import { systemTimers, type Timers } from '#src/kernel/timers.ts';
import type { ApplicationService } from '#src/services/accounts/appservices/application-service.ts';
import type { Appservices } from '#src/services/accounts/appservices/appservices.ts';
import { DeliveryQueue } from '#src/services/delivery/queue/delivery-queue.ts';
import type {
  Batch,
  DeliveryProgress,
  DeliverySource,
  Outcome,
  Positioned,
} from '#src/services/delivery/queue/ports.ts';
import type { FollowedEvent } from '#src/services/events/stream/followed-event.ts';
import {
  type AppserviceDelivery,
  noteSocket,
  saveAppserviceDelivery,
  saveAppserviceDone,
} from '#src/storage/appservices/deliveries.ts';
import type { Delivery } from '#src/storage/delivery/deliveries.ts';
import type { Database } from '#src/storage/database.ts';
import type { OpenSockets } from '../sockets/open-sockets.ts';
import type { ExtraSource } from '../transactions/extra-source.ts';
import { type CarriedMessage, type Extras, NO_EXTRAS, type TransactionSender } from '../transactions/transaction.ts';
import type { AppserviceEvents } from './appservice-events.ts';
import type { AppserviceLog } from './appservice-log.ts';
import { AppserviceMetrics } from './appservice-metrics.ts';
import type { ServiceLog } from './service-log.ts';
import { carriesNothing, type ComposedTransaction, MAX_EVENTS, TransactionComposer } from './transaction-composer.ts';

/** In logs and metrics. */
const NAME = 'appservices';
const FIRST_PAUSE_MS = 1_000;
export const MAX_PAUSE_MS = 300_000;
/** After a transaction, what comes so soon goes out together: milliseconds. */
const GATHER_MS = 50;
/** Services that are sent to at once. */
const CONCURRENCY = 50;
/** Time for transactions under way when the server stops. */
const CLOSE_MS = 3_000;
/** A transaction that failed so often is no longer held in memory, and put together anew when it is tried again. */
const HELD_FAILURES = 3;
/** The pause for a service without a URL and an open WebSocket; opening one ends it. */
const NO_ADDRESS_PAUSE_MS = 3_600_000;

/** The state of a service's transactions. */
export interface AppserviceState {
  /** Events that wait. */
  readonly waiting: number;
  /** How many transactions in a row failed. */
  readonly failures: number;
  /** When it is tried again, in milliseconds. */
  readonly retryAt: number | null;
  /** When something arrived last, in milliseconds. */
  readonly lastSuccess: number | null;
  /** Why the last transaction did not arrive. */
  readonly failure: string | null;
}

export interface AppserviceTransactionsOptions {
  readonly database: Database;
  readonly appservices: Pick<Appservices, 'all' | 'byId' | 'changed'>;
  readonly log: AppserviceLog;
  readonly events: AppserviceEvents;
  /** What transactions carry beside events. */
  readonly extras: readonly ExtraSource[];
  /** Deletes messages that arrived. */
  readonly received: (messages: readonly CarriedMessage[]) => Promise<void>;
  readonly sender: TransactionSender;
  readonly sockets: Pick<OpenSockets, 'changed'>;
  /** Whether anything is kept for a service. */
  readonly receives: (service: ApplicationService) => boolean;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/**
 * Sends application services what they are interested in: events in order and at least once, and what passes. A transaction that was begun
 * is sent again under the same id with the same content, whatever happens to this process. Application Service API, "Pushing events".
 */
export class AppserviceTransactions {
  readonly #options: AppserviceTransactionsOptions;
  readonly #queue: DeliveryQueue<ComposedTransaction>;
  readonly #held = new Map<string, ComposedTransaction>();
  /** Events that a service is sent at once, where that is fewer than usual: it refused more. */
  readonly #most = new Map<string, number>();
  /** Services whose transaction is replaced by smaller ones. */
  readonly #splitting = new Set<string>();
  /** Why the last transaction of a service did not arrive. */
  readonly #failures = new Map<string, string>();
  readonly #cleaning: Background;
  readonly #removed = new Set<string>();
  /** Services whose WebSocket was opened or closed. */
  readonly #noted = new Set<string>();
  #isOpen = false;
  readonly #composer: TransactionComposer;
  readonly #metrics: AppserviceMetrics;

  constructor(options: AppserviceTransactionsOptions) {
    this.#options = options;
    const { appservices, clock, logger, metrics, random, timers } = options;
    this.#composer = new TransactionComposer(options);
    this.#metrics = new AppserviceMetrics(metrics);
    this.#queue = new DeliveryQueue<ComposedTransaction>({
      name: NAME,
      progress: this.#progress,
      source: this.#source,
      send: (service, batch, signal) => this.#send(service, batch, signal),
      clock,
      timers,
      random,
      logger,
      metrics,
      concurrency: CONCURRENCY,
      batchSize: 1,
      firstPauseMs: FIRST_PAUSE_MS,
      maxPauseMs: MAX_PAUSE_MS,
      // They end by themselves, whatever time it is.
      gather: { ms: GATHER_MS, timers: systemTimers },
    });
    this.#cleaning = new Background(
      'application services that are gone',
      () => this.#clean(),
      (err) => logger.error('logs of unregistered application services could not be deleted', { err }),
    );
    options.sockets.changed.subscribe(({ service }) => this.#socketChanged(service));
    appservices.changed.subscribe(({ changed, removed }) => {
      for (const id of removed) this.#removed.add(id);
      if (this.#isOpen) this.#cleaning.wake();
      for (const { id } of changed) {
        this.#most.delete(id);
        if (this.#isOpen) this.#queue.inContact(id);
        if (this.#isOpen) this.#queue.wake(id);
      }
    });
  }

  /** Finds what the last process left. */
  async open(): Promise<void> {
    const { appservices, log } = this.#options;
    await log.open((id) => appservices.byId(id) !== undefined);
    this.#removed.clear();
  }

  /** Resumes it. */
  async start(): Promise<void> {
    const { appservices } = this.#options;
    this.#isOpen = true;
    await this.#clean();
    for (const { id } of appservices.all()) this.#metrics.measure(id, this.stateOf(id));
    await this.#queue.start();
  }

  /** Takes committed events in. They may come again. */
  async take(events: readonly FollowedEvent[]): Promise<void> {
    for (const id of await this.#options.log.append(events)) {
      this.#metrics.measure(id, this.stateOf(id));
      this.#queue.wake(id);
    }
  }

  /** Wakes the delivery to a service, since something beside events waits for it. */
  wake(id: string): void {
    if (this.#isOpen) this.#queue.wake(id);
  }

  /** Notes that a service was heard of: if it could not be reached before, it is tried now. */
  inContact(id: string): void {
    if (!this.#isOpen) return;
    this.#queue.inContact(id);
    this.#queue.wake(id);
  }

  /** The state of a service's transactions. */
  stateOf(id: string): AppserviceState {
    const log = this.#options.log.peek(id);
    const { failure = null, failures = 0, retryAt = null, successTs = null } = log?.delivery ?? {};
    return { waiting: log?.waiting ?? 0, failures, retryAt, lastSuccess: successTs, failure };
  }

  /** A service opened a WebSocket, or closed it: from now on, what it has none for waits for a while. */
  #socketChanged(id: string): void {
    const { clock, log } = this.#options;
    const its = log.of(id);
    its.delivery = { ...its.delivery, socketTs: clock.now() };
    this.#noted.add(id);
    this.#cleaning.wake();
    this.inContact(id);
  }

  /** Resolves when nothing is being sent, and nothing could be: what is left waits for its next try. */
  async idle(): Promise<void> {
    await this.#cleaning.idle();
    await this.#queue.idle();
  }

  /** Begins nothing new, and breaks off what takes long. */
  async drain(): Promise<void> {
    await this.#cleaning.close();
    await this.#queue.close(CLOSE_MS);
  }

  async #clean(): Promise<void> {
    const { appservices, database, extras, log, receives } = this.#options;
    for (const id of this.#noted) {
      this.#noted.delete(id);
      const known = log.peek(id);
      if (known !== undefined && appservices.byId(id) !== undefined) await noteSocket(database, known.delivery);
    }
    const removed = [...this.#removed].filter((id) => appservices.byId(id) === undefined);
    for (const id of removed) {
      this.#removed.delete(id);
      this.#held.delete(id);
      this.#metrics.removed(id);
      for (const source of extras) source.forget(id);
    }
    if (removed.length > 0) await log.forget(removed);
    // Its queue finds out that nothing is left, and forgets how far it was.
    for (const id of removed) this.#queue.inContact(id);
    // Nothing piles up for a service that cannot receive anything.
    for (const service of appservices.all()) if (!receives(service)) await log.clear(service.id);
  }

  readonly #progress: DeliveryProgress = {
    read: (id) => Promise.resolve(this.#deliveryOf(id)),
    save: (delivery) => this.#save(delivery),
    // Every service is tried once when the process starts; one that fails again waits as long as before.
    unfinished: (after) =>
      Promise.resolve(
        this.#ids(after).flatMap((id) => {
          const known = this.#deliveryOf(id);
          return known === undefined || (known.batchEnd === null && known.retryAt === null)
            ? []
            : [{ ...known, retryAt: null }];
        }),
      ),
  };

  readonly #source: DeliverySource<ComposedTransaction> = {
    next: async (id) => {
      const held = await this.#next(id);
      return held === undefined
        ? []
        : [{ position: held.number, item: held } satisfies Positioned<ComposedTransaction>];
    },
    behind: (after) => Promise.resolve(this.#ids(after)),
  };

  #ids(after: string): string[] {
    const ids = this.#options.appservices.all().map(({ id }) => id);
    return ids.filter((id) => id > after).toSorted((a, b) => (a < b ? -1 : 1));
  }

  #deliveryOf(id: string): Delivery | undefined {
    const log = this.#options.log.peek(id);
    if (log === undefined) return undefined;
    const { begun, delivered, failures, refusals, retryAt } = log.delivery;
    return { destination: id, position: delivered, batchEnd: begun, failures, refusals, retryAt, isGone: false };
  }

  /** The transaction that was begun, or another one. */
  async #next(id: string): Promise<ComposedTransaction | undefined> {
    const { appservices, log } = this.#options;
    const service = appservices.byId(id);
    if (service === undefined) return undefined;
    const its = log.of(id);
    const { begun, delivered } = its.delivery;
    const held = this.#held.get(id);
    if (held?.number === delivered + 1) return held;
    const next = begun === null ? await this.#begin(service, its) : await this.#composer.again(service, its, begun);
    if (next === undefined) this.#held.delete(id);
    else this.#held.set(id, next);
    return next;
  }

  async #begin(service: ApplicationService, log: ServiceLog): Promise<ComposedTransaction | undefined> {
    for (;;) {
      const next = await this.#composer.begin(service, log, this.#most.get(service.id) ?? MAX_EVENTS);
      if (next === undefined || !('nothingUpTo' in next)) return next;
      const { nothingUpTo: done } = next;
      await this.#arrived(log, { delivered: log.delivery.delivered, done, told: undefined });
      if (log.end <= done) return undefined;
    }
  }

  async #save(to: Delivery): Promise<void> {
    const { log, received } = this.#options;
    const id = to.destination;
    const its = log.peek(id);
    if (its === undefined) return;
    const { delivery } = its;
    if (to.position <= delivery.delivered) {
      await this.#put(its, this.#underWay(delivery, to));
      return;
    }
    const held = this.#held.get(id);
    if (this.#splitting.delete(id)) {
      await this.#put(its, { ...delivery, ...AT_REST, delivered: to.position });
    } else {
      const extras = delivery.extras === null ? NO_EXTRAS : (JSON.parse(delivery.extras) as Extras);
      if (extras.messages.length > 0) await received(extras.messages);
      const done = delivery.sending ?? delivery.done;
      await this.#arrived(its, { delivered: to.position, done, told: extras.told });
    }
    if (held !== undefined && held.number <= to.position) this.#held.delete(id);
    this.#metrics.measure(id, this.stateOf(id));
  }

  /** A transaction begins, or failed. */
  #underWay(delivery: AppserviceDelivery, { batchEnd, destination, failures, refusals, retryAt }: Delivery) {
    const held = this.#held.get(destination);
    const begins = delivery.begun === null && held !== undefined && held.number === batchEnd;
    return {
      ...delivery,
      begun: batchEnd,
      ...(begins
        ? { sending: held.sending, extras: carriesNothing(held.extras) ? null : JSON.stringify(held.extras) }
        : {}),
      failures,
      refusals,
      retryAt,
      failure: failures + refusals > 0 ? (this.#failures.get(destination) ?? delivery.failure) : delivery.failure,
    };
  }

  async #put(log: ServiceLog, delivery: AppserviceDelivery): Promise<void> {
    await saveAppserviceDelivery(this.#options.database, delivery);
    log.delivery = { ...delivery, socketTs: log.delivery.socketTs };
    this.#metrics.measure(delivery.service, this.stateOf(delivery.service));
  }

  async #arrived(
    log: ServiceLog,
    to: { readonly delivered: number; readonly done: number; readonly told: readonly number[] | undefined },
  ): Promise<void> {
    const { clock, database } = this.#options;
    const { delivered, done, told } = to;
    const { delivery } = log;
    const devices = told ?? delivery.devices;
    const next = { ...delivery, ...AT_REST, delivered, done, extras: null, devices, successTs: clock.now() };
    await saveAppserviceDone(database, next);
    log.delivery = { ...next, socketTs: log.delivery.socketTs };
  }

  async #send(id: string, { items: [held] }: Batch<ComposedTransaction>, signal: AbortSignal): Promise<Outcome> {
    const { appservices, logger, sender } = this.#options;
    const service = appservices.byId(id);
    if (held === undefined || service === undefined) return { kind: 'later', afterMs: NO_ADDRESS_PAUSE_MS };
    const sent = await sender.send(service, held, signal);
    if (signal.aborted && sent.kind !== 'arrived') return { kind: 'retry' };
    if (sent.kind === 'nowhere') return { kind: 'later', afterMs: NO_ADDRESS_PAUSE_MS };
    this.#metrics.sent(id, sent.kind);
    if (sent.kind === 'arrived') {
      this.#failures.delete(id);
      const most = this.#most.get(id);
      if (most !== undefined && most * 2 < MAX_EVENTS) this.#most.set(id, most * 2);
      else this.#most.delete(id);
      this.#metrics.arrived(id, held.events);
      return { kind: 'done', hasMore: held.isFull };
    }
    this.#failures.set(id, sent.reason);
    const { failures } = this.#options.log.of(id).delivery;
    const fields = { appservice: id, transaction: held.id, reason: sent.reason, failures: failures + 1 };
    if (failures === 0) logger.warn('a transaction to an application service failed; it is retried', fields);
    else logger.debug('a transaction to an application service failed again', fields);
    if (sent.kind === 'refused') {
      if (held.events <= 1) return { kind: 'refused' };
      // What is wrong with it is found by halves: others under other names.
      this.#most.set(id, Math.ceil(held.events / 2));
      this.#splitting.add(id);
      return { kind: 'done', hasMore: true };
    }
    if (failures + 1 >= HELD_FAILURES) this.#held.delete(id);
    return sent.afterMs === undefined ? { kind: 'retry' } : { kind: 'retry', afterMs: sent.afterMs };
  }
}

/** What is so when nothing is under way to a service. */
const AT_REST = { begun: null, sending: null, failures: 0, refusals: 0, retryAt: null, failure: null } as const;
