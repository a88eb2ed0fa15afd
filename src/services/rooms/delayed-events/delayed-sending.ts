import type { Clock } from '#src/kernel/clock.ts';
import type { RateLimiter } from '#src/kernel/limits/rate-limiter.ts';
import { limitExceeded } from '#src/protocol/errors/limit-exceeded.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { RoomSending } from '#src/services/rooms/sending/room-sending.ts';
import { type Writer, WriterOverloadedError } from '#src/services/commit/writer.ts';
import type { Account } from '#src/services/accounts/users/user-service.ts';
import type { Database } from '#src/storage/database.ts';
import { type DelayedEventRecord, finaliseDelayedEvent } from '#src/storage/rooms/delayed-events.ts';
import { userDeactivated, userLocked } from '#src/services/accounts/users/account-errors.ts';

/** What is later than this is late because of the server: it was down, or its database. */
const LATE_MS = 5_000;

export interface DelayedSendingOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly rateLimiter: RateLimiter;
  readonly users: { account(userId: string): Promise<Account | undefined> };
  readonly roomSending: RoomSending;
  readonly writer: Pick<Writer, 'assertOwner'>;
}

/** Sends delayed events, each as if its sender sent it at this moment. MSC4140, "Power levels are evaluated at the point of sending". */
export class DelayedSending {
  readonly #options: DelayedSendingOptions;

  constructor(options: DelayedSendingOptions) {
    this.#options = options;
  }

  /**
   * Sends one that is scheduled. That it was sent is committed together with the event: however the process ends, it is sent once.
   *
   * @returns why it may not be sent; undefined when it was
   * @throws what has nothing to do with the event: it may be tried again
   */
  async send(record: DelayedEventRecord): Promise<MatrixError | undefined> {
    try {
      const account = await this.#options.users.account(record.user_id);
      this.#assertAllowed(record, account);
      await this.#deliver(record, account);
      return undefined;
    } catch (error) {
      // More than the server can write, or its end, is no fault of the event.
      const isRefusal = error instanceof MatrixError && error.status < 500 && !(error instanceof WriterOverloadedError);
      if (!isRefusal) throw error;
      // A process whose place another one has taken knows the rooms of before.
      await this.#options.writer.assertOwner();
      return error;
    }
  }

  #assertAllowed(record: DelayedEventRecord, account: Account | undefined): void {
    if (account?.deactivated === true) throw userDeactivated();
    if (account?.locked === true) throw userLocked();
    if (!this.#isLimited(record, account)) return;
    const verdict = this.#options.rateLimiter.take('message', record.user_id);
    if (!verdict.ok)
      throw limitExceeded('message', verdict.retryAfterMs, 'Too many events were sent when the time of this one came.');
  }

  #isLimited(record: DelayedEventRecord, account: Account | undefined): boolean {
    return account?.rateLimitExempt !== true && !this.#isLate(record);
  }

  /** Then it comes together with others from which its sender kept it apart; how many they are has a limit of its own. */
  #isLate({ scheduled_at: since, delay_ms: delay }: DelayedEventRecord): boolean {
    return since + delay + LATE_MS < this.#options.clock.now();
  }

  async #deliver(record: DelayedEventRecord, account: Account | undefined): Promise<void> {
    const { database, clock, roomSending, writer } = this.#options;
    const sender = {
      userId: record.user_id,
      deviceId: record.device_id ?? undefined,
      isGuest: account?.isGuest === true,
      isSuspended: account?.suspended === true,
      rateLimited: this.#isLimited(record, account),
    };
    const { eventId, isWritten } = await roomSending.scheduled(sender, {
      delayId: record.delay_id,
      roomId: record.room_id,
      type: record.type,
      stateKey: record.state_key ?? undefined,
      content: JSON.parse(record.content) as JsonObject,
      ts: record.origin_server_ts ?? undefined,
      stickyDurationMs: record.sticky_duration_ms ?? undefined,
    });
    // The room's state said this already: there was nothing to commit it with.
    if (isWritten) return;
    await writer.assertOwner();
    await finaliseDelayedEvent(database, record.delay_id, { ts: clock.now(), eventId });
  }
}
