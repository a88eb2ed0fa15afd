import type { Clock } from '#src/kernel/clock.ts';
import { LoopYield } from '#src/kernel/event-loop/loop-yield.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Metrics } from '#src/kernel/metrics.ts';
import type { Random } from '#src/kernel/random.ts';
import type { Timers } from '#src/kernel/timers.ts';
import { DeliveryQueue } from '#src/services/delivery/queue/delivery-queue.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import type { FollowedEvent } from '#src/services/events/stream/followed-event.ts';
import type { PusherRegistry } from '#src/services/push/pushers/pusher-registry.ts';
import type { PusherService } from '#src/services/push/pushers/pusher-service.ts';
import type { ReceiptService } from '#src/services/push/receipts/receipt-service.ts';
import type { PushRuleService } from '#src/services/push/rules/push-rule-service.ts';
import type { FollowedThreads } from '#src/services/push/threads/followed-threads.ts';
import type { BadgeCounts } from '#src/services/push/unread/badge-counts.ts';
import type { UnreadCounts } from '#src/services/push/unread/unread-counts.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { AccountDataService } from '#src/services/user-data/account-data/account-data-service.ts';
import type { IgnoredUsers } from '#src/services/user-data/account-data/ignored-users.ts';
import type { InvitePermission } from '#src/services/user-data/account-data/invite-permission.ts';
import { Deliveries } from '#src/storage/delivery/deliveries.ts';
import type { Database } from '#src/storage/database.ts';
import { isOfDatabase } from '#src/storage/failures.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { CountPushes } from './count-pushes.ts';
import type { GatewayHealth } from './gateway-health.ts';
import { heldPush, type HeldPush, HeldPushes } from './held-pushes.ts';
import { type NextPush, PendingPushes, type PendingPush, type PushItem } from './pending-pushes.ts';
import { PushBacklog } from './push-backlog.ts';
import { PushLog } from './push-log.ts';
import { PushProgress } from './push-progress.ts';
import type { PushRecipients } from './push-recipients.ts';
import type { PushSender } from './push-sender.ts';
import { type IsSettled, lastSaidIn, PushRelevance } from './push-relevance.ts';
import { RecentPushes, type SettledUpTo } from './recent-pushes.ts';

const FIRST_PAUSE_MS = 1_000;
const MAX_PAUSE_MS = 3_600_000;
/** How often the progress is stored. */
const REMEMBER_EVERY_MS = 5_000;
/** Pairs of user and event that are checked in one turn of the event loop. */
const HANDED_OUT_AT_ONCE = 5_000;
/** Milliseconds that running requests get when the server stops. */
const CLOSE_MS = 2_000;

export interface PushDeliveryOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly rooms: RoomRegistry;
  readonly loader: EventLoader;
  readonly events: EventService;
  readonly registry: PusherRegistry;
  readonly pushers: PusherService;
  readonly recipients: PushRecipients;
  readonly pushRules: PushRuleService;
  readonly followedThreads: Pick<FollowedThreads, 'changed'>;
  readonly ignoredUsers: IgnoredUsers;
  readonly invitePermission: InvitePermission;
  readonly accountData: AccountDataService;
  readonly receipts: ReceiptService;
  readonly unread: UnreadCounts;
  readonly badges: BadgeCounts;
  readonly sender: PushSender;
  readonly health: GatewayHealth;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Pushers to which requests are sent at the same time. */
  readonly concurrency: number;
  /** Milliseconds that a user has to read an event before it is pushed. */
  readonly graceMs: number;
  /** Milliseconds for which sending is retried. */
  readonly retryMs: number;
}

/**
 * Pushes events that notify users, and changed unread counts, to their HTTP pushers. Client-Server API, "Push Notifications"; Push Gateway API.
 *
 * An event that is pushed to anybody is one row of the push log, which holds the order; the delivery queue holds the progress of each pusher.
 * The recipients are computed from the event's class when it is committed; whether it still concerns them, when it is sent.
 */
export class PushDelivery {
  readonly #options: PushDeliveryOptions;
  readonly #log: PushLog;
  readonly #pending: PendingPushes;
  readonly #queue: DeliveryQueue<PushItem>;
  readonly #held: HeldPushes;
  readonly #recent = new RecentPushes();
  readonly #relevance: PushRelevance;
  readonly #backlog: PushBacklog;
  readonly #counts: CountPushes;
  #rememberedAt = 0;

  constructor(options: PushDeliveryOptions) {
    this.#options = options;
    const { clock, concurrency, database, health, logger, metrics, random, registry, sender, timers } = options;
    this.#log = new PushLog(database, () => {
      this.#recent.miss();
      this.#held.fallBehind();
    });
    const deliveries = new Deliveries(database, 'push');
    this.#pending = new PendingPushes({
      registry,
      clock,
      isWanted: (pusher, push) => this.#relevance.isWanted(pusher, push),
      load: (push) => this.#load(push),
      read: (pusher, after, upTo, limit) => this.#backlog.read(pusher, after, upTo, limit),
      caughtUp: (destination, position) => progress.rest(destination, position),
    });
    const progress = new PushProgress({ deliveries, registry, clock, pending: this.#pending });
    this.#queue = new DeliveryQueue({
      name: 'push',
      progress,
      source: this.#pending,
      send: sender.send,
      clock,
      timers,
      random,
      logger,
      metrics,
      concurrency,
      batchSize: 1,
      firstPauseMs: FIRST_PAUSE_MS,
      maxPauseMs: MAX_PAUSE_MS,
      groupOf: (destination) => {
        const name = registry.byDestination(destination)?.gateway ?? '';
        return { name, most: health.maxAtOnce(name) };
      },
    });
    const setAside = metrics.counter('tsudoi_pushes_set_aside_total', 'pushes that failed repeatedly and were skipped');
    this.#held = new HeldPushes({
      clock,
      timers,
      tell: (pushes) => this.#handOut(pushes),
      read: (after, limit) => this.#backlog.page(after, limit),
      placeAfter: (position) => this.#log.placeAfter(position),
      isPassing: isOfDatabase,
      onFailure: (err) => logger.error('pushes could not be processed; trying again', { err }),
      onSetAside: (position, err) => {
        setAside.inc();
        logger.error('a push failed repeatedly and is skipped', { position, err });
      },
    });
    const parts = { ...options, log: this.#log, recent: this.#recent };
    this.#relevance = new PushRelevance(options);
    this.#backlog = new PushBacklog({ ...parts, relevance: this.#relevance, dueUpTo: () => this.#held.dueUpTo });
    this.#counts = new CountPushes({ ...parts, held: this.#held });
    metrics.gaugeOf('tsudoi_pushers', 'pushers of all users', () => registry.size);
    metrics.gaugeOf('tsudoi_pushers_waiting', 'pushers for which something waits', () => this.#pending.size);
    metrics.gaugeOf('tsudoi_pushes_held', 'pushes in memory whose grace period is not over', () => {
      return this.#held.waiting;
    });
    metrics.gaugeOf('tsudoi_pushes_lag', 'positions between the newest push and the last one that was processed', () =>
      Math.max(this.#log.newest - this.#held.told, 0),
    );
    metrics.gaugeOf('tsudoi_push_gateways_away', 'push gateways that cannot be reached', () => health.away);
    // The application is in use: pushes that failed are tried at once.
    options.pushers.wasSet.subscribe(({ id }) => this.#queue.inContact(String(id)));
  }

  /** Resumes from the stored progress. Pushers are loaded, and no event is processed yet. */
  async start(): Promise<void> {
    await this.#log.open();
    this.#recent.open(this.#log.newest);
    this.#held.open(this.#log.done);
    await this.#queue.start();
    this.#held.start();
    await this.#counts.start();
  }

  /** Takes committed events. They may come again. */
  async take(events: readonly FollowedEvent[]): Promise<void> {
    const { badges, clock, graceMs, recipients } = this.#options;
    const shown = events.filter(({ room, event }) => event.nid > 0 && recipients.concerns(room));
    if (shown.length === 0) return;
    await recipients.prepare(shown);
    const notifying = new Map<number, FollowedEvent>();
    const unsure = new Map<string, undefined>();
    for (const room of new Set(shown.map((followed) => followed.room)))
      for (const userId of recipients.audienceOf(room)) badges.touch(userId, room.nid);
    for (const followed of shown) {
      const { room, event } = followed;
      for (const userId of this.#counts.readBy(followed)) unsure.set(userId, undefined);
      // The recipients are computed when it is due: by then most of them may have read it, or have a gateway that cannot be reached.
      if (recipients.areAny(room, event)) notifying.set(event.nid, followed);
    }
    const ts = clock.now();
    const rows = Array.from(notifying.values(), ({ room, event }) => ({
      room: room.nid,
      event: event.nid,
      user_nid: null,
      ts,
    }));
    if (rows.length > 0)
      await this.#log.append(rows, (records) => {
        for (const record of records) {
          const followed = notifying.get(record.event ?? 0);
          if (followed === undefined) continue;
          const { room, event } = followed;
          this.#recent.add({ ...record, ...recipients.factsOf(event) });
          this.#held.add(heldPush(record, graceMs, { kind: 'event', room, event }));
        }
      });
    await this.#counts.push(unsure);
    if (clock.now() - this.#rememberedAt >= REMEMBER_EVERY_MS) await this.#remember();
  }

  /** Resolves when nothing is being sent, and nothing could be: what is left is not due yet. */
  async idle(): Promise<void> {
    await this.#counts.idle();
    await this.#held.idle();
    await this.#queue.idle();
    await this.#options.sender.idle();
  }

  /** Sends nothing new from now on. */
  async drain(): Promise<void> {
    await this.#held.close();
    await this.#counts.close();
    await this.#queue.close(CLOSE_MS);
    await this.#options.sender.idle();
  }

  /** Stores the progress. */
  close(): Promise<void> {
    return this.#remember();
  }

  async #remember(): Promise<void> {
    this.#rememberedAt = this.#options.clock.now();
    await this.#log.setDone(this.#pending.doneUpTo(this.#held.told));
  }

  /** Queues pushes that are due for all whom they still concern, room by room. */
  async #handOut(pushes: readonly HeldPush[]): Promise<void> {
    const { recipients } = this.#options;
    const loopYield = new LoopYield(HANDED_OUT_AT_ONCE);
    const followed = pushes.flatMap(({ about }) => (about.kind === 'event' ? [about] : []));
    await recipients.prepare(followed);
    const listeners = new Map<Room, readonly Listener[]>();
    for (const { room } of followed) if (!listeners.has(room)) listeners.set(room, this.#listenersOf(room));
    for (const push of pushes) {
      const { about } = push;
      if (about.kind === 'counts') {
        for (const { destination } of about.pushers) this.#add(destination, { ...push, item: { kind: 'counts' } });
        continue;
      }
      const known = listeners.get(about.room) ?? [];
      this.#handOutEvent(push, about, known);
      await loopYield.after(known.length);
    }
  }

  #handOutEvent(
    { position, at }: HeldPush,
    { room, event }: { readonly room: Room; readonly event: StoredEvent },
    listeners: readonly Listener[],
  ): void {
    if (listeners.length === 0) return;
    const { recipients } = this.#options;
    const facts = recipients.factsOf(event);
    const takes = (destination: string): boolean => this.#pending.takes(destination);
    const users: string[] = [];
    for (const { destinations, isSettled, settledUpTo, userId } of listeners) {
      if (event.nid <= settledUpTo[facts.pushScope] && facts.exceptions.size === 0) continue;
      // Their queues may have been filled by the pushes before.
      if (destinations.some(takes) && !isSettled(event.nid, facts)) users.push(userId);
    }
    if (users.length === 0) return;
    const about = { kind: 'event', room: room.nid, event: event.nid } as const;
    const usual: PendingPush = { position, at, item: { ...about, exception: undefined } };
    for (const { pusher, exception } of recipients.of(room, event, users))
      this.#add(pusher.destination, exception === undefined ? usual : { position, at, item: { ...about, exception } });
  }

  /** Room and event of a push that is sent next: both usually are in memory. */
  #load({ position, at, item }: PendingPush): NextPush | Promise<NextPush | undefined> {
    if (item.kind === 'counts') return { position, at, item };
    const { loader, rooms } = this.#options;
    const push = (room: Room, event: StoredEvent): NextPush => ({ position, at, item: { ...item, room, event } });
    const [known, remembered] = [rooms.peek(item.room), loader.peek(item.event)];
    if (known !== undefined && remembered !== undefined) return push(known, remembered);
    return rooms.byNid(item.room).then(async (room) => {
      const event = room && (await loader.one(room, item.event));
      return room && event && push(room, event);
    });
  }

  #add(destination: string, push: PendingPush): void {
    if (this.#pending.isAway(destination)) return;
    if (this.#pending.add(destination, push)) this.#queue.wake(destination);
  }

  /** Members of a room with pushers, without those whose pushes are read from the log later. */
  #listenersOf(room: Room): readonly Listener[] {
    const { recipients, registry } = this.#options;
    const listeners: Listener[] = [];
    const said = lastSaidIn(room);
    for (const userId of recipients.audienceOf(room)) {
      const destinations = registry.of(userId).map(({ destination }) => destination);
      if (destinations.some((destination) => this.#pending.takes(destination)))
        listeners.push({
          userId,
          destinations,
          settledUpTo: this.#relevance.settledUpTo(room, userId),
          isSettled: this.#relevance.settledIn(room, userId, said),
        });
    }
    return listeners;
  }
}

/** A user with pushers who gets events of a room. */
interface Listener {
  readonly userId: string;
  readonly destinations: readonly string[];
  readonly settledUpTo: SettledUpTo;
  readonly isSettled: IsSettled;
}
