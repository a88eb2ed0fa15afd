import { LiveCache } from '#src/kernel/caches/live-cache.ts';
import { SerialByKey } from '#src/kernel/concurrency/serial.ts';
import { Signal } from '#src/kernel/signal.ts';
import { quotaFull } from '#src/protocol/errors/quota-full.ts';
import { SUBSCRIBED_THREAD_RULE_ID, UNSUBSCRIBED_THREAD_RULE_ID } from '#src/protocol/push/default-rules.ts';
import { shardOfName } from '#src/protocol/wire/position.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import type { PushRuleService } from '#src/services/push/rules/push-rule-service.ts';
import type { Database } from '#src/storage/database.ts';
import { threadSubscriptionsOf, type ThreadSubscriptionRow } from '#src/storage/push/thread-subscriptions.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { type Thread, type ThreadDecision, UserThreads } from './user-threads.ts';

export interface FollowedThreadsOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly writer: Writer;
  readonly pushRules: Pick<PushRuleService, 'enable'>;
  /** Most thread subscriptions that are stored for a user. */
  readonly most: number;
  /** Bytes that users may take in memory. */
  readonly cacheBytes: number;
}

/** A change of a thread subscription. */
export type ThreadChange = Pick<ThreadDecision, 'automatic' | 'at'>;

/**
 * Users' thread subscriptions, the same for all their devices. MSC4306.
 *
 * The push rules on threads are enabled with a user's first request about subscriptions: until then events in threads
 * notify as others do.
 */
export class FollowedThreads {
  readonly #options: FollowedThreadsOptions;
  readonly #users: LiveCache<UserThreads>;
  readonly #changes = new SerialByKey<string>();
  /** Fires once a decision is committed. */
  readonly changed = new Signal<{ readonly userId: string }>();

  constructor(options: FollowedThreadsOptions) {
    this.#options = options;
    this.#users = new LiveCache({
      name: 'followed_threads',
      maxSize: options.cacheBytes,
      sizeOf: (threads) => threads.weight,
    });
  }

  /** Forgets an erased user. */
  forget(userId: string): void {
    this.#users.forget(userId);
  }

  /** A user's subscriptions, if they are in memory. */
  peek(userId: string): UserThreads | undefined {
    return this.#users.peek(userId);
  }

  /** The subscriptions of users; those that are not in memory are read in one statement. */
  loadAll(userIds: readonly string[]): Promise<ReadonlyMap<string, UserThreads>> {
    return this.#users.getAll(userIds, async (missing) => {
      const { database, interner } = this.#options;
      const names = await interner.ensure({ users: missing });
      const byUser = Map.groupBy(
        await threadSubscriptionsOf(
          database,
          missing.map((userId) => names.user(userId)),
        ),
        ({ user }) => user,
      );
      return new Map(missing.map((userId) => [userId, new UserThreads(byUser.get(names.user(userId)) ?? [])]));
    });
  }

  async load(userId: string): Promise<UserThreads> {
    return (await this.loadAll([userId])).get(userId) ?? new UserThreads([]);
  }

  /** Enables the push rules on threads for a user, once: one of their clients supports thread subscriptions. */
  async begin(userId: string): Promise<void> {
    if (this.peek(userId)?.hasBegun === true || (await this.load(userId)).hasBegun) return;
    await this.#changes.run(userId, async () => {
      if ((await this.load(userId)).hasBegun) return;
      // The rules first: a process that ends between the two does both again.
      await this.#options.pushRules.enable(userId, 'postcontent', [
        UNSUBSCRIBED_THREAD_RULE_ID,
        SUBSCRIBED_THREAD_RULE_ID,
      ]);
      await this.#write(userId, [{ room: 0, root: '', rootNid: 0, automatic: null, at: 0 }], [], (threads) =>
        threads.begin(),
      );
    });
  }

  /**
   * Changes a thread subscription of a user. Changes of one user run one after the other.
   *
   * @param change gets the current subscription; undefined leaves it unchanged
   * @throws MatrixError M_TOO_LARGE when the user follows as many threads as this server keeps, and what `change` throws
   */
  async decide(
    userId: string,
    thread: Thread,
    change: (before: ThreadDecision | undefined) => ThreadChange | undefined,
  ): Promise<void> {
    await this.begin(userId);
    await this.#changes.run(userId, async () => {
      const threads = await this.load(userId);
      const { roomNid, root, rootNid } = thread;
      const before = threads.of(roomNid, root);
      const after = change(before);
      if (after === undefined) return;
      const removed = before === undefined && threads.count >= this.#options.most ? [this.#oldestLeft(threads)] : [];
      const row = { room: roomNid, root, rootNid, automatic: after.automatic ?? null, at: after.at };
      await this.#write(userId, [row], removed, (known, pos) => {
        for (const old of removed) known.forget(old.roomNid, old.root);
        known.decide({ ...thread, ...after, pos });
      });
    });
  }

  #oldestLeft(threads: UserThreads): ThreadDecision {
    const oldest = threads.oldestLeft();
    if (oldest === undefined)
      throw quotaFull(
        'quotas.thread_subscriptions',
        `A user follows at most ${this.#options.most} threads on this server.`,
      );
    return oldest;
  }

  async #write(
    userId: string,
    rows: readonly Omit<ThreadSubscriptionRow, 'user' | 'pos'>[],
    removed: readonly ThreadDecision[],
    change: (threads: UserThreads, pos: number) => void,
  ): Promise<void> {
    const { interner, writer } = this.#options;
    const user = await interner.userNid(userId);
    writer.assertAccepting();
    const pos = writer.allocate(shardOfName(userId));
    await writer.append({
      positions: [pos],
      streams: {
        threadSubscriptions: rows.map((row) => ({ ...row, user, pos })),
        removedThreadSubscriptions: removed.map(({ roomNid, root }) => ({ user, room: roomNid, root })),
      },
      publish: () => {
        this.#users.update(userId, (threads) => change(threads, pos));
        this.changed.emit({ userId });
      },
    });
  }
}
