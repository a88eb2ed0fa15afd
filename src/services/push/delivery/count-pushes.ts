import { Background } from '#src/kernel/concurrency/background.ts';
import type { Clock } from '#src/kernel/clock.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Timer, Timers } from '#src/kernel/timers.ts';
import type { FollowedEvent } from '#src/services/events/stream/followed-event.ts';
import { type PusherRef, type PusherRegistry, takesCounts } from '#src/services/push/pushers/pusher-registry.ts';
import type { ReceiptService } from '#src/services/push/receipts/receipt-service.ts';
import type { PushRuleService } from '#src/services/push/rules/push-rule-service.ts';
import type { FollowedThreads } from '#src/services/push/threads/followed-threads.ts';
import type { BadgeCounts } from '#src/services/push/unread/badge-counts.ts';
import type { AccountDataService } from '#src/services/user-data/account-data/account-data-service.ts';
import { IGNORED_USER_LIST } from '#src/services/user-data/account-data/ignored-users.ts';
import { INVITE_FILTER, INVITE_PERMISSION } from '#src/services/user-data/account-data/invite-permission.ts';
import type { Database } from '#src/storage/database.ts';
import { deletePushChecks, pushChecks } from '#src/storage/push/pushes.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { heldPush, type HeldPushes } from './held-pushes.ts';
import type { PushLog } from './push-log.ts';
import type { PushRecipients } from './push-recipients.ts';
import type { PushSender } from './push-sender.ts';
import type { RecentPushes } from './recent-pushes.ts';

/** Milliseconds for which a badge may still count redacted events. */
const LATER_MS = 30_000;

/** Types of account data that decide what a badge counts. */
const COUNTED_BY: ReadonlySet<string> = new Set([IGNORED_USER_LIST, INVITE_PERMISSION, INVITE_FILTER]);

export interface CountPushesOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly registry: PusherRegistry;
  readonly recipients: PushRecipients;
  readonly pushRules: PushRuleService;
  readonly followedThreads: Pick<FollowedThreads, 'changed'>;
  readonly accountData: AccountDataService;
  readonly receipts: ReceiptService;
  readonly badges: BadgeCounts;
  readonly sender: PushSender;
  readonly log: PushLog;
  readonly recent: RecentPushes;
  readonly held: HeldPushes;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
  /** Milliseconds that a user has to read an event before it is pushed. */
  readonly graceMs: number;
}

/**
 * Pushes unread counts (badges) that change without an event to push: by receipts, redactions, push rules, account data. Push Gateway API,
 * `counts`.
 */
export class CountPushes {
  readonly #options: CountPushesOptions;
  /** Users whose pushers may have an outdated count, with the latest mark of their receipts. */
  #unsure = new Map<string, number | undefined>();
  readonly #background: Background;
  /** Users whose count is computed later. */
  readonly #later = new Set<string>();
  #laterTimer: Timer | undefined;

  constructor(options: CountPushesOptions) {
    this.#options = options;
    this.#background = new Background(
      'push counts',
      () => this.#pushAll(),
      (err) => options.logger.error('unread counts could not be pushed', { err }),
    );
    this.#listen();
  }

  #listen(): void {
    const { accountData, badges, followedThreads, pushRules, receipts, registry } = this.#options;
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
  }

  /** Checks the users whom the last process left unchecked. */
  async start(): Promise<void> {
    const checks = await pushChecks(this.#options.database);
    const names = await this.#options.interner.named({ users: checks.map(({ user }) => user) });
    for (const { user, mark } of checks) this.#check(names.userName(user), mark);
  }

  idle(): Promise<void> {
    return this.#background.idle();
  }

  close(): Promise<void> {
    this.#laterTimer?.cancel();
    return this.#background.close();
  }

  /** Users whose unread count may have become smaller by an event. To the others, the event is pushed with the count. */
  *readBy({ room, event: { sender, stateKey, type } }: FollowedEvent): Generator<string> {
    // The sender of an event has read what came before it.
    if (this.#mayBeLess(sender)) yield sender;
    if (type === 'm.room.member' && stateKey !== undefined && this.#mayBeLess(stateKey)) yield stateKey;
    if (type !== 'm.room.redaction') return;
    for (const userId of this.#options.recipients.audienceOf(room))
      if (this.#mayBeLess(userId)) this.#checkLater(userId);
  }

  /** Whether a pusher of the user was last sent a count above 0. */
  #mayBeLess(userId: string): boolean {
    const { registry, sender } = this.#options;
    return registry
      .of(userId)
      .some(({ destination }) => registry.lastSentCountOf(destination) > 0 || sender.isTelling(destination));
  }

  /** Counts for many users at once, and not at once: a user who redacts again and again must not keep the database busy. */
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
    this.#background.wake();
  }

  async #pushAll(): Promise<void> {
    while (this.#unsure.size > 0) {
      const unsure = this.#unsure;
      this.#unsure = new Map();
      try {
        await this.push(unsure);
      } catch (error) {
        for (const [userId, mark] of unsure) if (!this.#unsure.has(userId)) this.#unsure.set(userId, mark);
        throw error;
      }
    }
  }

  /** Pushes the unread counts of users to those of their pushers that were last sent another count. */
  async push(users: ReadonlyMap<string, number | undefined>): Promise<void> {
    const { badges, clock, database, graceMs, held, interner, log, recent, registry, sender } = this.#options;
    const rows: { room: null; event: null; user_nid: number; ts: number }[] = [];
    const checks: { readonly user: number; readonly mark: number }[] = [];
    const byUser = new Map<number, readonly PusherRef[]>();
    for (const [userId, mark] of users) {
      if (mark !== undefined) checks.push({ user: await interner.userNid(userId), mark });
      const pushers = registry.of(userId).filter(takesCounts);
      if (pushers.length === 0) continue;
      const unread = await badges.of(userId);
      // A pusher to which a request is under way may get an older count by it: the count is compared again before it is sent.
      const outdated = pushers.filter(
        ({ destination }) => registry.lastSentCountOf(destination) !== unread || sender.isTelling(destination),
      );
      if (outdated.length === 0) continue;
      const user = await interner.userNid(userId);
      byUser.set(user, outdated);
      rows.push({ room: null, event: null, user_nid: user, ts: clock.now() });
    }
    if (rows.length > 0)
      await log.append(rows, (records) => {
        for (const record of records) {
          recent.add({ ...record, pushScope: 'asked', isInMain: false, exceptions: new Map() });
          const pushers = (byUser.get(record.user_nid ?? 0) ?? []).filter(takesCounts);
          held.add(heldPush(record, graceMs, { kind: 'counts', pushers }));
        }
      });
    if (checks.length > 0) await deletePushChecks(database, checks);
  }
}
