import { Background } from '#src/kernel/background.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { LoopYield } from '#src/kernel/loop-yield.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Metrics } from '#src/kernel/metrics.ts';
import type { Random } from '#src/kernel/random.ts';
import type { Timer, Timers } from '#src/kernel/timers.ts';
import { EVENT_FLAGS, HIDDEN_FLAGS } from '#src/protocol/events/event-flags.ts';
import { DeliveryQueue } from '#src/services/delivery/queue/delivery-queue.ts';
import { MENTION_KINDS, type MentionKind } from '#src/services/events/building/notification-class.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import type { FollowedEvent } from '#src/services/events/stream/followed-event.ts';
import { verdictFor } from '#src/services/push/notifications/notification-actions.ts';
import { hasRead, threadOf } from '#src/services/push/receipts/threads.ts';
import { StepBudget } from '#src/protocol/matching/step-budget.ts';
import type { PusherRef, PusherRegistry } from '#src/services/push/pushers/pusher-registry.ts';
import type { PusherService } from '#src/services/push/pushers/pusher-service.ts';
import type { ReceiptService } from '#src/services/push/receipts/receipt-service.ts';
import type { PushRuleService } from '#src/services/push/rules/push-rule-service.ts';
import type { UserRules } from '#src/services/push/rules/user-rules.ts';
import type { FollowedThreads } from '#src/services/push/threads/followed-threads.ts';
import type { BadgeCounts } from '#src/services/push/unread/badge-counts.ts';
import type { UnreadCounts } from '#src/services/push/unread/unread-counts.ts';
import { classOfFlags } from '#src/services/push/unread/unread-state.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import { type Membership, membershipOfCode } from '#src/services/room-model/room/membership.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { AccountDataService } from '#src/services/user-data/account-data/account-data-service.ts';
import { IGNORED_USER_LIST, type IgnoredUsers } from '#src/services/user-data/account-data/ignored-users.ts';
import {
  INVITE_FILTER,
  INVITE_PERMISSION,
  type InvitePermission,
} from '#src/services/user-data/account-data/invite-permission.ts';
import { Deliveries } from '#src/storage/delivery/deliveries.ts';
import type { Database } from '#src/storage/database.ts';
import {
  deletePushChecks,
  pushChecks,
  type PushOfUser,
  type PushRecord,
  pushesOfUser,
} from '#src/storage/push/pushes.ts';
import { roomsOfUser } from '#src/storage/room-model/event-reads.ts';
import { isOfDatabase } from '#src/storage/failures.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import type { GatewayHealth } from './gateway-health.ts';
import { PendingPushes, type PendingPush, type PushItem } from './pending-pushes.ts';
import { PushLog } from './push-log.ts';
import { PushProgress } from './push-progress.ts';
import type { PushRecipients } from './push-recipients.ts';
import type { PushSender } from './push-sender.ts';
import { type PushFacts, RecentPushes, type SettledUpTo } from './recent-pushes.ts';
import { type LogPage, HeldPushes, type HeldPush } from './held-pushes.ts';

const FIRST_PAUSE_MS = 1_000;
const MAX_PAUSE_MS = 3_600_000;
/** How often it is remembered how far everything has come. */
const REMEMBER_EVERY_MS = 5_000;
/** How long what was redacted may still be counted in a badge. */
const LATER_MS = 30_000;
/** Steps that the rules of a user may take to say whether they are told of an event. */
const MAX_STEPS = 500_000;
/** Users of whom it is found out in one turn of the event loop whether they are told of an event, an event each. */
const HANDED_OUT_AT_ONCE = 5_000;
/** Rooms that are read whole to find out what waits for one pusher. */
const MAX_LOADED = 100;
/** What is being sent gets so long when the server stops. */
const CLOSE_MS = 2_000;

/** Account data by which what a badge counts is another. */
const COUNTED_BY: ReadonlySet<string> = new Set([IGNORED_USER_LIST, INVITE_PERMISSION, INVITE_FILTER]);

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
  /** Pushers that are told of something at once. */
  readonly concurrency: number;
  /** For how many milliseconds an event may be read before pushers are told of it. */
  readonly graceMs: number;
  /** For how many milliseconds it is tried to tell them. */
  readonly retryMs: number;
}

/**
 * Tells HTTP pushers what notifies their users, and how much is unread when that changes otherwise. Client-Server API, "Push
 * Notifications"; Push Gateway API.
 *
 * An event that some pusher is told of is one row of the push log, which says in which order; how far each pusher has come, the delivery
 * queue knows. Who is told is worked out from the event's class when it comes, and whether they still are, when it is sent.
 */
export class PushDelivery {
  readonly #options: PushDeliveryOptions;
  readonly #log: PushLog;
  readonly #pending: PendingPushes;
  readonly #queue: DeliveryQueue<PushItem>;
  readonly #held: HeldPushes;
  readonly #recent = new RecentPushes();
  #rememberedAt = 0;
  /** Users of whom other things may be unread than their pushers know, with the latest mark of their receipts. */
  #unsure = new Map<string, number | undefined>();
  readonly #counting: Background;
  /** Users whose count is looked at a while later. */
  readonly #later = new Set<string>();
  #laterTimer: Timer | undefined;

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
      isWanted: (pusher, push) => this.#isWanted(pusher, push),
      read: (pusher, after, upTo, limit) => this.#read(pusher, after, upTo, limit),
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
    const setAside = metrics.counter(
      'tsudoi_pushes_set_aside_total',
      'pushes that could not be handed out to pushers again and again, and were passed over',
    );
    this.#held = new HeldPushes({
      clock,
      timers,
      tell: (pushes) => this.#handOut(pushes),
      read: (after, limit) => this.#recall(after, limit),
      placeAfter: (position) => this.#log.placeAfter(position),
      isPassing: isOfDatabase,
      onFailure: (err) => logger.error('pushes could not be handed out; trying again', { err }),
      onSetAside: (position, err) => {
        setAside.inc();
        logger.error('a push could not be handed out again and again, and is not tried any more', { position, err });
      },
    });
    this.#counting = new Background(
      'push counts',
      () => this.#tellCounts(),
      (err) => logger.error('pushers could not be told what is unread', { err }),
    );
    metrics.gaugeOf('tsudoi_pushers', 'pushers of all users', () => registry.size);
    metrics.gaugeOf('tsudoi_pushers_waiting', 'pushers for which something waits', () => this.#pending.size);
    metrics.gaugeOf('tsudoi_pushes_held', 'pushes in memory that may still be read before pushers are told', () => {
      return this.#held.waiting;
    });
    metrics.gaugeOf('tsudoi_pushes_lag', 'positions between the newest push and the last one that was handed out', () =>
      Math.max(this.#log.newest - this.#held.told, 0),
    );
    metrics.gaugeOf('tsudoi_push_gateways_away', 'push gateways that cannot be reached', () => health.away);
    this.#listen();
  }

  #listen(): void {
    const { accountData, badges, followedThreads, pushers, pushRules, receipts, registry } = this.#options;
    receipts.changed.subscribe(({ room, receipt: { userId }, mark }) => {
      badges.touch(userId, room.nid);
      if (mark !== undefined || registry.has(userId)) this.#check(userId, mark);
    });
    pushRules.changed.subscribe(({ userId }) => {
      badges.forget(userId);
      if (registry.has(userId)) this.#check(userId);
    });
    followedThreads.changed.subscribe(({ userId }) => {
      badges.forget(userId);
      if (registry.has(userId)) this.#check(userId);
    });
    accountData.changed.subscribe(({ userId, type }) => {
      if (COUNTED_BY.has(type) && registry.has(userId)) this.#check(userId);
    });
    // The application is in use: what could not be told it is tried at once.
    pushers.wasSet.subscribe(({ id }) => this.#queue.inContact(String(id)));
  }

  /** Resumes what the last process left. Pushers are known, and no event is processed yet. */
  async start(): Promise<void> {
    await this.#log.open();
    this.#recent.open(this.#log.newest);
    this.#held.open(this.#log.done);
    await this.#queue.start();
    this.#held.start();
    const checks = await pushChecks(this.#options.database);
    const names = await this.#options.interner.named({ users: checks.map(({ user }) => user) });
    for (const { user, mark } of checks) this.#check(names.userName(user), mark);
  }

  /** Takes committed events in. They may come again. */
  async take(events: readonly FollowedEvent[]): Promise<void> {
    const { badges, clock, recipients } = this.#options;
    const shown = events.filter(({ room, event }) => event.nid > 0 && recipients.concerns(room));
    if (shown.length === 0) return;
    await recipients.prepare(shown);
    const told = new Map<number, FollowedEvent>();
    const unsure = new Map<string, undefined>();
    for (const room of new Set(shown.map((followed) => followed.room)))
      for (const userId of recipients.audienceOf(room)) badges.touch(userId, room.nid);
    for (const followed of shown) {
      const { room, event } = followed;
      for (const userId of this.#readBy(followed)) unsure.set(userId, undefined);
      // Who they are is found out when it is due: by then most of them may have read it, or wait for a gateway that is away.
      if (recipients.areAny(room, event)) told.set(event.nid, followed);
    }
    const ts = clock.now();
    const rows = Array.from(told.values(), ({ room, event }) => ({
      room: room.nid,
      event: event.nid,
      user_nid: null,
      ts,
    }));
    if (rows.length > 0)
      await this.#log.append(rows, (records) => {
        for (const record of records) {
          const followed = told.get(record.event ?? 0);
          if (followed === undefined) continue;
          const { room, event } = followed;
          this.#recent.add({ ...record, ...recipients.factsOf(event) });
          this.#held.add(this.#unripe(record, { kind: 'event', room, event }));
        }
      });
    await this.#tellCountsOf(unsure);
    if (clock.now() - this.#rememberedAt >= REMEMBER_EVERY_MS) await this.#remember();
  }

  /** Resolves when nothing is being told, and nothing could be: what is left waits for its time. */
  async idle(): Promise<void> {
    await this.#counting.idle();
    await this.#held.idle();
    await this.#queue.idle();
    await this.#options.sender.idle();
  }

  /** Begins to tell nothing new. */
  async drain(): Promise<void> {
    this.#laterTimer?.cancel();
    await this.#held.close();
    await this.#counting.close();
    await this.#queue.close(CLOSE_MS);
    await this.#options.sender.idle();
  }

  /** Remembers how far everything has come. */
  close(): Promise<void> {
    return this.#remember();
  }

  async #remember(): Promise<void> {
    this.#rememberedAt = this.#options.clock.now();
    await this.#log.setDone(this.#pending.doneUpTo(this.#held.told));
  }

  /** Counts are told at once, unless an event before them still has to wait: pushers are told everything in order. */
  #unripe({ pos, ts }: PushRecord, about: HeldPush['about']): HeldPush {
    return { position: pos, at: about.kind === 'event' ? ts + this.#options.graceMs : ts, about };
  }

  /** Hands out what is due to all whom it still concerns, each room in one go. */
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
      if (event.nid <= settledUpTo[facts.toldIf] && facts.exceptions.size === 0) continue;
      // They may have got more than they take by what was handed out before.
      if (destinations.some(takes) && !isSettled(event.nid, facts)) users.push(userId);
    }
    if (users.length === 0) return;
    const usual: PendingPush = { position, at, item: { kind: 'event', room, event, exception: undefined } };
    for (const { pusher, exception } of recipients.of(room, event, users))
      this.#add(
        pusher.destination,
        exception === undefined ? usual : { position, at, item: { kind: 'event', room, event, exception } },
      );
  }

  #add(destination: string, push: PendingPush): void {
    if (this.#pending.isAway(destination)) return;
    if (this.#pending.add(destination, push)) this.#queue.wake(destination);
  }

  /** Reads pushes from the log: those that the last process made, and may not have sent, and those for which there was no room in memory. */
  async #recall(after: number, limit: number): Promise<LogPage> {
    const { interner, loader, recipients, registry, rooms } = this.#options;
    const records = await this.#log.after(after, limit);
    const loaded = await rooms.load(records.flatMap(({ room }) => room ?? []));
    const places = records.flatMap(({ room: nid, event }) => {
      const room = loaded.get(nid ?? 0);
      return room === undefined || event === null ? [] : [{ room, nid: event }];
    });
    const events = await loader.load(places);
    const followed = places.flatMap(({ room, nid }) => {
      const event = events.get(nid);
      return event === undefined ? [] : [{ room, event }];
    });
    await recipients.prepare(followed);
    const names = await interner.named({ users: records.flatMap(({ user_nid: user }) => user ?? []) });
    const pushes = records.flatMap((record) => {
      const room = loaded.get(record.room ?? 0);
      const event = events.get(record.event ?? 0);
      if (record.user_nid !== null) {
        const pushers = registry.of(names.userName(record.user_nid)).filter(wantsCounts);
        return this.#unripe(record, { kind: 'counts', pushers });
      }
      return room === undefined || event === undefined ? [] : this.#unripe(record, { kind: 'event', room, event });
    });
    return { pushes, last: records.at(-1)?.pos, isFull: records.length === limit };
  }

  /** What may concern the user of a pusher and is due, from memory or the database. */
  async #read({ userId }: PusherRef, after: number, upTo: number, limit: number): Promise<readonly PendingPush[]> {
    const { database, graceMs, interner, loader, rooms } = this.#options;
    // What was begun was due then, be it in the last process.
    const end = upTo === Infinity ? this.#held.dueUpTo : upTo;
    const user = await interner.userNid(userId);
    const rows =
      after >= this.#recent.floor
        ? await this.#recentOf(userId, user, after, end, limit)
        : await pushesOfUser(database, user, after, end, limit);
    const loaded = await rooms.load(rows.flatMap(({ room }) => room ?? []));
    const places = rows.flatMap(({ room: nid, event }) => {
      const room = loaded.get(nid ?? 0);
      return room === undefined || event === null ? [] : [{ room, nid: event }];
    });
    const events = await loader.load(places);
    return rows.map(({ pos, ts, room: roomNid, event: nid, kind }) => {
      const room = loaded.get(roomNid ?? 0);
      const event = events.get(nid ?? 0);
      const exception = (kind ?? undefined) as MentionKind | undefined;
      const item: PushItem | undefined =
        roomNid === null ? { kind: 'counts' } : room && event && { kind: 'event', room, event, exception };
      // An event that is no more is pushed to no one.
      return { position: pos, at: item === undefined ? 0 : ts + graceMs, item: item ?? { kind: 'counts' } };
    });
  }

  /** What may concern a user, from memory. What they have read is left out. */
  async #recentOf(userId: string, user: number, after: number, upTo: number, limit: number): Promise<PushOfUser[]> {
    const found: PushOfUser[] = [];
    for (const push of this.#recent.ofUser(user, after, upTo)) found.push({ ...push, kind: null });
    for (const [nid, room] of await this.#recentRoomsOf(userId, user, after)) {
      const settled = room && this.#settledUpTo(room, userId);
      const isSettled = room && this.#settledIn(room, userId);
      for (const pushes of this.#recent.ofRoom(nid, after, upTo, settled)) {
        let unsettled = 0;
        for (const push of pushes) {
          if (isSettled?.(push.event ?? 0, push) === true) continue;
          found.push({ ...push, kind: push.exceptions.get(user) ?? null });
          if ((unsettled += 1) === limit) break;
        }
      }
    }
    return found.toSorted((one, other) => one.pos - other.pos).slice(0, limit);
  }

  /**
   * Rooms with recent pushes that a user is in or invited to, by their numbers. Where many rooms have some, the database says which are
   * the user's, and of those only the ones in memory are looked into: a pusher that comes back must not have all the others read.
   */
  async #recentRoomsOf(userId: string, user: number, after: number): Promise<Map<number, Room | undefined>> {
    const { database, rooms } = this.#options;
    const recent = this.#recent.roomsAfter(after);
    if (recent.length > MAX_LOADED) {
      const own = (await roomsOfUser(database, user)).filter((row) => isIn(membershipOfCode(row.membership)));
      const ofUser = new Set(own.map((row) => row.room));
      return new Map(recent.flatMap((nid) => (ofUser.has(nid) ? [[nid, rooms.peek(nid)] as const] : [])));
    }
    const loaded = await rooms.load(recent);
    return new Map([...loaded].filter(([, room]) => isIn(room.member(userId)?.membership)));
  }

  /** Up to which event of a room a user need not be told of any that does not mention them, as far as that is known already. */
  #settledUpTo(room: Room, userId: string): SettledUpTo {
    const { pushRules, unread } = this.#options;
    const upTo = unread.countedFrom(userId, room);
    const rules = pushRules.peek(userId);
    return { unread: upTo, 'unread-of-all': rules !== undefined && hearsAllOf(rules, room) ? upTo : 0, asked: 0 };
  }

  /**
   * Says of events of a room whether a user need not be told of them any more, as far as that can be said by what is in memory.
   *
   * @param said where each user said something last
   */
  #settledIn(room: Room, userId: string, said: ReadonlyMap<string, number> = lastSaidIn(room)): IsSettled {
    const { pushRules, unread } = this.#options;
    const saidAt = said.get(userId) ?? 0;
    const rules = pushRules.peek(userId);
    const hearsAll = rules !== undefined && hearsAllOf(rules, room);
    let isUnread: ((nid: number) => boolean) | undefined;
    let isAsked = false;
    return (nid, { isInMain, toldIf }) => {
      if (toldIf === 'asked' || (toldIf === 'unread-of-all' && !hearsAll)) return false;
      // Who says something has read what came before it. Of those who say much, nothing else has to be in memory for this.
      if (isInMain && nid < saidAt) return true;
      if (!isAsked) isUnread = unread.peekUnread(userId, room);
      isAsked = true;
      return isUnread?.(nid) === false;
    };
  }

  /** Whether a pusher is still to be told: what was read meanwhile, redacted or given up on is not. */
  async #isWanted({ userId }: PusherRef, { at, item }: PendingPush): Promise<boolean> {
    const { clock, graceMs, ignoredUsers, invitePermission, retryMs, unread } = this.#options;
    if (clock.now() > at - graceMs + retryMs) return false;
    if (item.kind === 'counts') return true;
    const { room, event, exception } = item;
    // Invites to rooms that this server is not in are hidden from all but the invited.
    const isHidden = (event.flags & HIDDEN_FLAGS) !== 0 && (event.flags & EVENT_FLAGS.outOfBand) === 0;
    if (event.redactedBecause !== undefined || isHidden) return false;
    const member = room.member(userId);
    if (member?.membership === 'join')
      return (
        (await unread.isUnread(userId, room, event.nid)) ||
        (event.type === 'm.room.encrypted' && this.#isForClient(userId, room, event, exception))
      );
    if (member?.membership !== 'invite' || member.event !== event.nid) return false;
    if (exception === undefined || exception === MENTION_KINDS.silent) return false;
    if ((await ignoredUsers.of(userId)).has(event.sender)) return false;
    return (await invitePermission.of(userId)).fateOf(event.sender) === 'shown';
  }

  /** Whether an encrypted event is pushed so that the client finds out what it is, although it does not count as unread. MSC4028. */
  async #isForClient(
    userId: string,
    room: Room,
    event: StoredEvent,
    exception: MentionKind | undefined,
  ): Promise<boolean> {
    const { events, ignoredUsers, pushRules, receipts } = this.#options;
    const { since = Infinity } = room.member(userId) ?? {};
    if (!pushRules.defaults.encryptedEvents || since >= event.nid || event.sender === userId) return false;
    if ((await ignoredUsers.of(userId)).has(event.sender)) return false;
    const rules = await pushRules.rulesOf(userId);
    // What counts as unread is pushed as long as it is.
    if (exception === undefined && classOfFlags(event.flags) !== 'none' && hearsAllOf(rules, room)) return false;
    const thread = await threadOf(events, room, event);
    if (hasRead(event, thread, await receipts.readPositions(room, userId))) return false;
    const compiled = pushRules.compiledForPushes(userId, rules);
    return (
      verdictFor(room, event, { userId, displayName: undefined }, compiled, new StepBudget(MAX_STEPS))?.notify === true
    );
  }

  /** Who of a room has pushers, apart from those who are told what waits for them later, from the log. */
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
          settledUpTo: this.#settledUpTo(room, userId),
          isSettled: this.#settledIn(room, userId, said),
        });
    }
    return listeners;
  }

  /** Those for whom less may be unread because of an event. Others who are told of it are told the count with it. */
  *#readBy({ room, event: { sender, stateKey, type } }: FollowedEvent): Generator<string> {
    // Who sends something has read what came before.
    if (this.#mayBeLess(sender)) yield sender;
    if (type === 'm.room.member' && stateKey !== undefined && this.#mayBeLess(stateKey)) yield stateKey;
    if (type !== 'm.room.redaction') return;
    for (const userId of this.#options.recipients.audienceOf(room))
      if (this.#mayBeLess(userId)) this.#checkLater(userId);
  }

  /** Whether a user was told that anything is unread. */
  #mayBeLess(userId: string): boolean {
    const { registry, sender } = this.#options;
    return registry
      .of(userId)
      .some(({ destination }) => registry.toldOf(destination) > 0 || sender.isTelling(destination));
  }

  /** Has what is unread counted for many at once, now and then: a user who redacts again and again must not keep the database busy. */
  #checkLater(userId: string): void {
    this.#later.add(userId);
    this.#laterTimer ??= this.#options.timers.after(LATER_MS, () => {
      this.#laterTimer = undefined;
      const users = [...this.#later];
      this.#later.clear();
      for (const one of users) this.#check(one);
    });
  }

  #check(userId: string, mark?: number): void {
    this.#unsure.set(userId, mark ?? this.#unsure.get(userId));
    this.#counting.wake();
  }

  async #tellCounts(): Promise<void> {
    while (this.#unsure.size > 0) {
      const unsure = this.#unsure;
      this.#unsure = new Map();
      try {
        await this.#tellCountsOf(unsure);
      } catch (error) {
        for (const [userId, mark] of unsure) if (!this.#unsure.has(userId)) this.#unsure.set(userId, mark);
        throw error;
      }
    }
  }

  /** Tells pushers of users how much is unread, where they were told something else last. */
  async #tellCountsOf(users: ReadonlyMap<string, number | undefined>): Promise<void> {
    const { badges, clock, database, interner, registry, sender } = this.#options;
    const rows: { room: null; event: null; user_nid: number; ts: number }[] = [];
    const checks: { readonly user: number; readonly mark: number }[] = [];
    const byUser = new Map<number, readonly PusherRef[]>();
    for (const [userId, mark] of users) {
      if (mark !== undefined) checks.push({ user: await interner.userNid(userId), mark });
      const pushers = registry.of(userId).filter(wantsCounts);
      if (pushers.length === 0) continue;
      const unread = await badges.of(userId);
      // Who is being told of a count may not have it yet: whether it is this one shows when it is their turn again.
      const outdated = pushers.filter(
        ({ destination }) => registry.toldOf(destination) !== unread || sender.isTelling(destination),
      );
      if (outdated.length === 0) continue;
      const user = await interner.userNid(userId);
      byUser.set(user, outdated);
      rows.push({ room: null, event: null, user_nid: user, ts: clock.now() });
    }
    if (rows.length > 0)
      await this.#log.append(rows, (records) => {
        for (const record of records) {
          this.#recent.add({ ...record, toldIf: 'asked', isInMain: false, exceptions: new Map() });
          const pushers = (byUser.get(record.user_nid ?? 0) ?? []).filter(wantsCounts);
          this.#held.add(this.#unripe(record, { kind: 'counts', pushers }));
        }
      });
    if (checks.length > 0) await deletePushChecks(database, checks);
  }
}

type IsSettled = (nid: number, facts: Pick<PushFacts, 'toldIf' | 'isInMain'>) => boolean;

/** A user who is told of events of a room. */
interface Listener {
  readonly userId: string;
  readonly destinations: readonly string[];
  readonly settledUpTo: SettledUpTo;
  readonly isSettled: IsSettled;
}

/** Where each user said something in the main timeline last, by the events in memory. */
const lastSaidIn = (room: Room): ReadonlyMap<string, number> => {
  const said = new Map<string, number>();
  for (const event of room.ring.events)
    if (event.relation === undefined && event.type !== 'm.room.member') said.set(event.sender, event.nid);
  return said;
};

/** Whether what a user's mode for a room says of events holds for those in threads, too, and is everything. */
const hearsAllOf = (rules: UserRules, room: Room): boolean =>
  !rules.asksForThreads && rules.modeIn(room.roomId) === 'all';

/** Whether a user with this membership is told of what is sent. */
const isIn = (membership: Membership | undefined): boolean => membership === 'join' || membership === 'invite';

const wantsCounts = (pusher: PusherRef): boolean => pusher.enabled && pusher.wantsCounts;
