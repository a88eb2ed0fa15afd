import type { Random } from '#src/kernel/random.ts';
import { covers, shardOfPosition } from '#src/protocol/wire/position.ts';
import type { ApplicationService } from '#src/services/accounts/appservices/application-service.ts';
import type { FollowedEvent } from '#src/services/events/stream/followed-event.ts';
import {
  appendAppserviceLog,
  type AppserviceDelivery,
  appserviceDeliveries,
  type AppserviceLogEntry,
  appserviceLogEnds,
  dropAppserviceLog,
  forgetAppserviceDeliveries,
} from '#src/storage/appservices/deliveries.ts';
import type { Database } from '#src/storage/database.ts';
import { followerCursors } from '#src/storage/events/event-followers.ts';
import type { Interest } from '../interest/interest.ts';
import { type Logged, ServiceLog } from './service-log.ts';

/** The name of the cursor up to which the logs hold all events. */
const LOGGED = 'appservices_log';
/** Characters of the prefix of a service's transaction ids. */
const RUN_LENGTH = 10;

export interface AppserviceLogOptions {
  readonly database: Database;
  readonly random: Random;
  readonly interest: Pick<Interest, 'of'>;
  /** Whether anything is kept for a service. */
  readonly receives: (service: ApplicationService) => boolean;
  /** Events that wait for one service at most: the oldest are dropped. */
  readonly maxWaiting: number;
  /** Called when events that waited for a service were dropped, since it was unreachable for too long. */
  readonly dropped: (service: string, events: number) => void;
}

/**
 * The log of events for each application service, in order: an event is assigned when it comes, and stored as its position in a row that it
 * shares with those that came with it.
 */
export class AppserviceLog {
  readonly #options: AppserviceLogOptions;
  readonly #services = new Map<string, ServiceLog>();
  /** Positions up to which all events were appended, by shard. */
  #logged: number[] = [];
  /** The last write failed with an unknown result. */
  #isUnsure = false;

  constructor(options: AppserviceLogOptions) {
    this.#options = options;
  }

  /** Finds where the last process was. @param isKnown whether a service is registered */
  async open(isKnown: (service: string) => boolean): Promise<void> {
    const { database } = this.#options;
    const deliveries = await appserviceDeliveries(database);
    const ends = await appserviceLogEnds(database);
    const gone = [...deliveries.map(({ service }) => service), ...ends.keys()].filter((service) => !isKnown(service));
    if (gone.length > 0) await forgetAppserviceDeliveries(database, [...new Set(gone)]);
    for (const delivery of deliveries)
      if (isKnown(delivery.service)) this.#put(delivery, ends.get(delivery.service) ?? 0);
    for (const [service, end] of ends)
      if (isKnown(service) && !this.#services.has(service)) this.#put(this.#fresh(service), end);
    await this.#readLogged();
  }

  /** The log of a service. */
  of(service: string): ServiceLog {
    return this.#services.get(service) ?? this.#put(this.#fresh(service), 0);
  }

  peek(service: string): ServiceLog | undefined {
    return this.#services.get(service);
  }

  /**
   * Appends events to the logs of interested services. They may come again, and are appended once.
   *
   * @returns the services that have news
   */
  async append(events: readonly FollowedEvent[]): Promise<readonly string[]> {
    const { database, interest, receives } = this.#options;
    if (this.#isUnsure) await this.#lookAgain();
    const fresh = events.filter(({ event, isLate }) => isLate === true || !covers(this.#logged, event.nid));
    const interested = await interest.of(fresh);
    const found = new Map<string, Omit<Logged, 'place'>[]>();
    for (const [index, { room, event }] of fresh.entries())
      for (const service of interested[index] ?? []) {
        if (!receives(service)) continue;
        const known = found.get(service.id);
        const logged = { room: room.nid, nid: event.nid, known: event };
        if (known === undefined) found.set(service.id, [logged]);
        else known.push(logged);
      }
    if (found.size === 0) return [];
    const entries = Array.from(found, ([service, its]): AppserviceLogEntry => {
      const rooms = its.map(({ room }) => room);
      return { service, last: this.of(service).end + its.length, rooms, events: its.map(({ nid }) => nid) };
    });
    this.#isUnsure = true;
    const reached = newestOf(fresh);
    await appendAppserviceLog(database, entries, LOGGED, reached);
    this.#isUnsure = false;
    for (const [shard, position] of reached) this.#logged[shard] = Math.max(position, this.#logged[shard] ?? 0);
    for (const [service, its] of found) {
      this.of(service).append(its);
      await this.#bound(service);
    }
    return [...found.keys()];
  }

  /** Drops everything that waits for a service. */
  async clear(service: string): Promise<void> {
    const log = this.#services.get(service);
    if (log === undefined || log.waiting === 0) return;
    await dropAppserviceLog(this.#options.database, service, log.end);
    log.dropUpTo(log.end);
  }

  /** Deletes the logs of services that are not registered any more. */
  async forget(services: readonly string[]): Promise<void> {
    for (const service of services) this.#services.delete(service);
    await forgetAppserviceDeliveries(this.#options.database, services);
  }

  async #bound(service: string): Promise<void> {
    const { database, dropped, maxWaiting } = this.#options;
    const log = this.of(service);
    const surplus = log.waiting - maxWaiting;
    if (surplus <= 0) return;
    // Somewhat more than has to go, so that it is not done for each of the next ones.
    const upTo = log.end - Math.floor(maxWaiting * 0.9);
    await dropAppserviceLog(database, service, upTo);
    dropped(service, log.dropUpTo(upTo));
  }

  async #lookAgain(): Promise<void> {
    const ends = await appserviceLogEnds(this.#options.database);
    for (const [service, end] of ends) this.of(service).endsAt(end);
    await this.#readLogged();
    this.#isUnsure = false;
  }

  async #readLogged(): Promise<void> {
    this.#logged = [];
    for (const { pos, shard } of await followerCursors(this.#options.database, LOGGED)) this.#logged[shard] = pos;
  }

  #put(delivery: AppserviceDelivery, end: number): ServiceLog {
    const log = new ServiceLog(delivery, end);
    this.#services.set(delivery.service, log);
    return log;
  }

  #fresh(service: string): AppserviceDelivery {
    return { ...NOTHING_SENT, service, run: this.#options.random.string(RUN_LENGTH) };
  }
}

const NOTHING_SENT = {
  delivered: 0,
  begun: null,
  done: 0,
  sending: null,
  extras: null,
  devices: null,
  failures: 0,
  refusals: 0,
  retryAt: null,
  successTs: null,
  failure: null,
  socketTs: null,
} as const;

const newestOf = (events: readonly FollowedEvent[]): Map<number, number> => {
  const newest = new Map<number, number>();
  for (const { event, isLate } of events) {
    const shard = shardOfPosition(event.nid);
    if (isLate !== true) newest.set(shard, Math.max(event.nid, newest.get(shard) ?? 0));
  }
  return newest;
};
