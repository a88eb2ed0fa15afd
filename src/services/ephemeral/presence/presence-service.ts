import { CountedCache } from '#src/kernel/caches/counted-cache.ts';
import type { ShadowBanned } from '#src/services/accounts/moderation/shadow-bans.ts';
import { Ongoing } from '#src/kernel/concurrency/background.ts';
import type { Clock } from '#src/kernel/clock.ts';
import type { Logger } from '#src/kernel/logger.ts';
import { OnceByKey } from '#src/kernel/caches/once.ts';
import { Signal, type Subscribable } from '#src/kernel/signal.ts';
import type { Timer, Timers } from '#src/kernel/timers.ts';
import { LoopYield } from '#src/kernel/event-loop/loop-yield.ts';
import { writeAll } from '#src/kernel/concurrency/write-all.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { UserAction } from '#src/services/accounts/users/user-actions.ts';
import type { EphemeralCounter } from '#src/services/commit/ephemeral-counter.ts';
import type { Database } from '#src/storage/database.ts';
import { type PresenceRecord, presenceOf, storePresence } from '#src/storage/ephemeral/presence.ts';
import { isUnavailable } from '#src/storage/failures.ts';
import { type PresenceContent, type PresenceState, UserPresence } from './user-presence.ts';

/** How often users are looked for who became idle or offline. */
const SWEEP_MS = 5_000;
/** How long changes are gathered before they are written: no user is written more often than that. */
const STORE_MS = 30_000;
/** Characters of a status message: it is stored, and shown to all users who share a room with the user. */
export const MAX_STATUS_LENGTH = 2_048;
/** Bytes that users take in memory. */
export const CACHE_BYTES = 32 * 1024 * 1024;
/** Users who are looked at, or written, in one turn of the event loop. */
export const USERS_AT_ONCE = 500;
/** Latest changes that can be listed without looking through all users. */
const LOG_LENGTH = 4_096;

export interface PresenceServiceOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
  readonly ephemeral: EphemeralCounter;
  /** Shadow-banned users: others do not see their presence. */
  readonly shadowBans?: ShadowBanned;
  /** False: nothing is kept, and every user is offline. */
  readonly enabled: boolean;
  /** Milliseconds without doing anything after which a user is `unavailable`. */
  readonly idleMs: number;
  /** Fires for each action of a user. */
  readonly acted: Subscribable<UserAction>;
  /** Whether two users are in a room together. */
  readonly sharesRoom: (a: string, b: string) => Promise<boolean>;
  /** Bytes that users may take in memory; default 32 MiB. */
  readonly cacheBytes?: number;
  /** Waits for the next turn of the event loop; default `setImmediate`. */
  readonly nextTurn?: () => Promise<void>;
}

/** The presence of users. Client-Server API, "Presence". A change is published only when others would see a difference. */
export class PresenceService {
  readonly #options: PresenceServiceOptions;
  /** Users known of late, the offline ones included. */
  readonly #known: CountedCache<string, UserPresence>;
  /** Users who are not offline: their state changes with time. */
  readonly #active = new Map<string, UserPresence>();
  /** What those weigh. */
  #activeBytes = 0;
  readonly #loading = new OnceByKey<string, UserPresence>();
  /** What users who are not offline may weigh; beyond it users of other servers are ignored who would become that. */
  readonly #maxBytes: number;
  readonly #log: { readonly userId: string; readonly at: number }[] = [];
  /** What runs behind the requests. */
  readonly #ongoing = new Ongoing();
  readonly #unstored = new Set<UserPresence>();
  #sweep: Timer | undefined;
  #isSweeping = false;
  #store: Timer | undefined;
  /** Fires when what others see of a user changed. */
  readonly changed = new Signal<{ readonly userId: string; readonly at: number }>();

  constructor(options: PresenceServiceOptions) {
    this.#options = options;
    this.#maxBytes = options.cacheBytes ?? CACHE_BYTES;
    this.#known = new CountedCache('presence', { maxSize: this.#maxBytes, sizeCalculation: ({ weight }) => weight });
    options.acted.subscribe((action) => this.#acted(action));
  }

  /** What others see of a user, with the ephemeral count of the last change; undefined when nothing is known of them. */
  presenceOf(userId: string): { readonly content: PresenceContent; readonly at: number } | undefined {
    const user = this.#peek(userId);
    return user === undefined ? undefined : { content: user.content(this.#options.clock.now()), at: user.at };
  }

  /** Users whose presence changed after this ephemeral count. */
  changedSince(count: number): readonly string[] {
    const oldest = this.#log[0];
    // From before the log's beginning all users who ever changed: too many is better than too few.
    if (oldest !== undefined && oldest.at > count + 1 && this.#log.length >= LOG_LENGTH) {
      return [...this.#known.values()].filter((user) => user.at > count).map((user) => user.userId);
    }
    let start = this.#log.length;
    while (start > 0 && (this.#log[start - 1]?.at ?? 0) > count) start--;
    return [...new Set(this.#log.slice(start).map((change) => change.userId))];
  }

  /**
   * Notes the presence that a device's sync sets; `offline` means that the sync does not count. Of several devices the most
   * present one decides.
   *
   * @param waitMs how long the sync may take
   */
  seen(userId: string, presence: PresenceState, deviceId = '', waitMs = 0): void {
    if (!this.#options.enabled) return;
    // A further sync of a client is not worth a row.
    this.#change(userId, (user, now) => user.seen(presence, deviceId, now, waitMs), false);
  }

  #acted({ userId, deviceId }: UserAction): void {
    const { clock, enabled } = this.#options;
    if (!enabled) return;
    const known = this.#peek(userId);
    if (known?.isActiveAt(clock.now()) !== true) this.#change(userId, (user, now) => user.acted(deviceId, now), true);
  }

  /** Changes a user at once when they are in memory, else as soon as they are read. */
  #change(userId: string, change: (user: UserPresence, now: number) => void, isNews: boolean): void {
    const user = this.#peek(userId);
    if (user !== undefined) this.#update(user, (now) => change(user, now), isNews);
    else {
      this.#ongoing.add(
        undefined,
        this.#load(userId).then(
          (loaded) => this.#update(loaded, (now) => change(loaded, now), isNews),
          (err: unknown) =>
            this.#options.logger.warn('the presence of a user could not be read', { user_id: userId, err }),
        ),
      );
    }
  }

  /**
   * Sets a user's own presence. A status message stays as it is when none is given.
   *
   * @throws MatrixError M_FORBIDDEN for another user's; M_INVALID_PARAM for a status message that is too long
   */
  async set(
    requester: string,
    userId: string,
    presence: PresenceState,
    statusMsg: string | null | undefined,
  ): Promise<void> {
    if (requester !== userId) throw new MatrixError('M_FORBIDDEN', 'You can only set your own presence.');
    if (statusMsg !== null && statusMsg !== undefined) assertStatus(statusMsg);
    if (!this.#options.enabled || this.#options.shadowBans?.has(userId) === true) return;
    const user = await this.#load(userId);
    this.#update(user, (now) => user.set(presence, statusMsg, now), true);
  }

  /** Receives the presence of another server's user. */
  receive(userId: string, content: PresenceContent): void {
    if (!this.#options.enabled) return;
    const isFull = this.#activeBytes >= this.#maxBytes;
    if (isFull && !this.#active.has(userId)) return;
    const user = this.#peek(userId) ?? new UserPresence(userId, undefined, undefined, this.#options.idleMs);
    // Nor do those who are there already grow.
    const { status_msg: _, ...rest } = content;
    this.#update(user, (now) => user.received(isFull ? rest : content, now), false);
  }

  /** The users who are not offline. */
  active(): Iterable<string> {
    return this.#active.keys();
  }

  /** Makes a deactivated user offline, and deletes their status message. */
  async leave(userId: string): Promise<void> {
    if (!this.#options.enabled) return;
    const user = await this.#load(userId);
    this.#update(user, (now) => user.set('offline', null, now), true);
    await this.#storeNow();
  }

  /**
   * A user's presence, for a requester.
   *
   * @throws MatrixError M_FORBIDDEN unless they are in a room together
   */
  async read(requester: string, userId: string): Promise<PresenceContent> {
    if (requester !== userId && !(await this.#options.sharesRoom(requester, userId))) {
      throw new MatrixError('M_FORBIDDEN', 'You are not allowed to see their presence: you share no room.');
    }
    if (!this.#options.enabled) return { presence: 'offline' };
    return (await this.#load(userId)).content(this.#options.clock.now());
  }

  /** Resolves when every sync that was noted counts, and what was being written is written. */
  idle(): Promise<void> {
    return this.#ongoing.idle();
  }

  /** Writes what is not written yet, and stops. */
  async close(): Promise<void> {
    this.#sweep?.cancel();
    this.#store?.cancel();
    await this.#storeNow();
  }

  #peek(userId: string): UserPresence | undefined {
    return this.#active.get(userId) ?? this.#known.get(userId);
  }

  #load(userId: string): Promise<UserPresence> {
    const known = this.#peek(userId);
    if (known !== undefined) return Promise.resolve(known);
    return this.#loading.run(userId, () => this.#read(userId));
  }

  async #read(userId: string): Promise<UserPresence> {
    const [row] = await presenceOf(this.#options.database, [userId]);
    // Whatever they were when they were written: nobody of this server is here before we have seen them.
    const user = new UserPresence(
      userId,
      row?.status_msg ?? undefined,
      row === undefined || row.last_active_ts === 0 ? undefined : row.last_active_ts,
      this.#options.idleMs,
    );
    this.#known.set(userId, user);
    return user;
  }

  /** @param isNews whether the user did something that is worth writing even when others see no change */
  #update(user: UserPresence, change: (now: number) => void, isNews: boolean): void {
    const before = user.visible;
    const { weight } = user;
    this.#activeBytes -= this.#active.get(user.userId)?.weight ?? 0;
    change(this.#options.clock.now());
    // It is weighed anew where it has become larger or smaller.
    if (this.#known.get(user.userId) !== user || user.weight !== weight) this.#known.set(user.userId, user);
    if (user.state === 'offline') this.#active.delete(user.userId);
    else {
      this.#active.set(user.userId, user);
      this.#activeBytes += user.weight;
    }
    // What other servers say, they say again after a restart.
    if (!user.hasReceived && (isNews || user.visible !== before)) {
      this.#unstored.add(user);
      this.#store ??= this.#options.timers.after(STORE_MS, () => this.#ongoing.add(undefined, this.#storeNow()));
    }
    if (this.#active.size > 0)
      this.#sweep ??= this.#options.timers.every(SWEEP_MS, () => this.#ongoing.add(undefined, this.#sweepNow()));
    if (user.visible === before) return;
    user.at = this.#options.ephemeral.next();
    this.#log.push({ userId: user.userId, at: user.at });
    if (this.#log.length >= 2 * LOG_LENGTH) this.#log.splice(0, this.#log.length - LOG_LENGTH);
    this.changed.emit({ userId: user.userId, at: user.at });
  }

  async #sweepNow(): Promise<void> {
    if (this.#isSweeping) return;
    this.#isSweeping = true;
    const loopYield = new LoopYield(USERS_AT_ONCE, this.#options.nextTurn);
    try {
      // Who comes meanwhile is looked at too, and who goes is not any more.
      for (const user of this.#active.values()) {
        this.#update(user, (now) => user.timePasses(now), false);
        const waiting = loopYield.after(1);
        if (waiting !== undefined) await waiting;
      }
    } finally {
      this.#isSweeping = false;
    }
    if (this.#active.size > 0) return;
    this.#sweep?.cancel();
    this.#sweep = undefined;
  }

  async #storeNow(): Promise<void> {
    this.#store = undefined;
    const users = [...this.#unstored];
    this.#unstored.clear();
    const { database, logger } = this.#options;
    // What could not be written is written with the next change; no message depends on it.
    const onFailed = (failed: readonly { readonly user_id: string }[], err: unknown): void =>
      logger.warn('presence could not be written', { users: failed.length, first: failed[0]?.user_id, err });
    const write = (some: readonly PresenceRecord[]): Promise<void> => storePresence(database, some);
    for (let at = 0; at < users.length; at += USERS_AT_ONCE)
      await writeAll(users.slice(at, at + USERS_AT_ONCE).map(rowOf), write, isUnavailable, onFailed);
  }
}

const rowOf = ({ userId, state, statusMsg, lastActive }: UserPresence): PresenceRecord => ({
  user_id: userId,
  state,
  status_msg: statusMsg ?? null,
  last_active_ts: lastActive ?? 0,
});

const assertStatus = (statusMsg: string): void => {
  if (statusMsg.length > MAX_STATUS_LENGTH)
    throw new MatrixError('M_INVALID_PARAM', `status_msg has at most ${MAX_STATUS_LENGTH} characters.`);
  if (!statusMsg.isWellFormed()) throw new MatrixError('M_INVALID_PARAM', 'status_msg holds half of a surrogate pair.');
};
