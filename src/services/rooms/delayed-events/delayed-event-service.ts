import type { Clock } from '#src/kernel/clock.ts';
import type { Random } from '#src/kernel/random.ts';
import { SerialByKey } from '#src/kernel/concurrency/serial.ts';
import { limitExceeded } from '#src/protocol/errors/limit-exceeded.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isRoomId } from '#src/protocol/identifiers/identifiers.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { transactionKey } from '#src/services/events/building/transaction-ids.ts';
import { deviceless, type SendingClient } from '#src/services/accounts/sessions/requester.ts';
import type { Reader } from '#src/services/reading/client-events/client-events.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import type { Database } from '#src/storage/database.ts';
import {
  cancelDelayedEventsOf,
  type DelayedEventRecord,
  delayedEventById,
  delayedEventOfTxn,
  finaliseDelayedEvent,
  insertDelayedEvent,
  nextDueOfUser,
} from '#src/storage/rooms/delayed-events.ts';
import { assertContent } from '#src/services/rooms/sending/content-check.ts';
import { type DelayedEvent, delayedEventOf } from './delayed-event.ts';
import type { DelayRestarts } from './delay-restarts.ts';
import type { DelayedEventLocks } from './delayed-event-locks.ts';
import type { DelayedSchedule } from './delayed-schedule.ts';
import type { DelayedSending } from './delayed-sending.ts';

/** 62^32: nobody guesses one. */
const ID_LENGTH = 32;

/** What can be done with a delayed event. MSC4140, "Managing scheduled delayed events". */
export const DELAYED_ACTIONS = ['send', 'cancel', 'restart'] as const;
export type DelayedAction = (typeof DELAYED_ACTIONS)[number];

/** What a client wants to be sent later. */
export interface DelayedEventRequest {
  readonly roomId: string;
  readonly type: string;
  /** Absent for message events. */
  readonly stateKey?: string | undefined;
  readonly content: JsonObject;
  /** Milliseconds from now. */
  readonly delayMs: number;
  /** Milliseconds since the epoch, for those who may choose it. */
  readonly ts?: number | undefined;
  readonly stickyDurationMs?: number | undefined;
  /** Absent where the endpoint has none. */
  readonly txnId?: string | undefined;
  /** Asked for by a parameter of /send or /state, as it was before there was an endpoint for it. */
  readonly isOlderForm: boolean;
}

export interface DelayedEventServiceOptions {
  readonly serverName: string;
  readonly database: Database;
  readonly writer: Pick<Writer, 'settled'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly schedule: DelayedSchedule;
  readonly sending: DelayedSending;
  readonly restarts: DelayRestarts;
  readonly turns: DelayedEventLocks;
  /** Longest delay in milliseconds; null: any. */
  readonly maxDelayMs: number | null;
  /** Most that a user may have scheduled; null: any number. */
  readonly maxScheduled: number | null;
}

/** Schedules events that are sent later, and manages them. MSC4140. */
export class DelayedEventService {
  readonly #options: DelayedEventServiceOptions;
  readonly #scheduling = new SerialByKey<string>();

  constructor(options: DelayedEventServiceOptions) {
    this.#options = options;
  }

  /**
   * Schedules an event. Whether it may be sent is decided when its time has come; content that never may is refused now.
   *
   * @returns the id under which it is managed; the same one for the same transaction
   * @throws MatrixError M_FORBIDDEN when the delay is too long (older form: M_UNKNOWN) or nothing may be scheduled at all,
   *   M_LIMIT_EXCEEDED when too much is, M_BAD_JSON, M_INVALID_PARAM
   */
  async schedule(sender: Reader & SendingClient, request: DelayedEventRequest): Promise<string> {
    const { clock, database, maxScheduled, random, schedule, serverName } = this.#options;
    if (request.stickyDurationMs !== undefined && request.stateKey !== undefined)
      throw new MatrixError(
        'M_INVALID_PARAM',
        'State events cannot be sticky: leave out state_key, or the sticky duration.',
      );
    this.#assertDelay(request);
    if (!isRoomId(request.roomId))
      throw new MatrixError('M_INVALID_PARAM', `${request.roomId} is not a valid room ID.`);
    const { content, roomId, stateKey, type } = request;
    assertContent({ type, stateKey, content }, { serverName, roomId });
    const { userId } = sender;
    // One after the other: of two requests of a transaction the second finds the first, and nobody gets past the limit.
    return this.#scheduling.run(userId, async () => {
      const now = clock.now();
      const made = await insertDelayedEvent(
        database,
        {
          delayId: random.string(ID_LENGTH),
          userId,
          deviceId: sender.deviceId ?? null,
          roomId: request.roomId,
          type: request.type,
          stateKey: request.stateKey ?? null,
          content: JSON.stringify(request.content),
          originServerTs: request.ts ?? null,
          stickyDurationMs: request.stickyDurationMs ?? null,
          olderForm: request.isOlderForm,
          txn: transactionOf(sender, request),
          delayMs: request.delayMs,
          scheduledAt: now,
        },
        maxScheduled,
      );
      if (made === undefined) throw await this.#tooMany(userId, now);
      if (made.is_new) schedule.expect(now + request.delayMs);
      return made.delay_id;
    });
  }

  /** The delayed event that a device has scheduled under a transaction id; undefined when there is none. */
  async scheduled(
    sender: Reader & SendingClient,
    request: Pick<DelayedEventRequest, 'roomId' | 'type' | 'txnId' | 'isOlderForm'>,
  ): Promise<string | undefined> {
    const txn = transactionOf(sender, request);
    return txn === null ? undefined : delayedEventOfTxn(this.#options.database, txn);
  }

  #assertDelay({ delayMs, isOlderForm }: DelayedEventRequest): void {
    const { clock, maxDelayMs, maxScheduled } = this.#options;
    if (maxScheduled === 0) throw new MatrixError('M_FORBIDDEN', 'Events cannot be scheduled on this server.');
    if (maxDelayMs !== null && delayMs > maxDelayMs) {
      const message = `The delay is too long: ${maxDelayMs} ms is the most that this server allows.`;
      const limit = {
        'org.matrix.msc4140.errcode': 'M_MAX_DELAY_EXCEEDED',
        'org.matrix.msc4140.max_delay': maxDelayMs,
      };
      throw new MatrixError(isOlderForm ? 'M_UNKNOWN' : 'M_FORBIDDEN', message, limit);
    }
    if (delayMs <= 0 || !Number.isSafeInteger(clock.now() + delayMs))
      throw new MatrixError('M_BAD_JSON', 'The delay must be a number of milliseconds above 0.');
  }

  async #tooMany(userId: string, now: number): Promise<MatrixError> {
    const next = await nextDueOfUser(this.#options.database, userId);
    const message = 'The maximum number of delayed events has been reached.';
    return limitExceeded('delayed_events.max_scheduled', Math.max((next ?? now) - now, 1), message);
  }

  /**
   * Does something with a delayed event. What was done already is a success, so that clients can repeat requests.
   *
   * @param userId only if it is theirs; undefined: any client that knows the id may
   * @throws MatrixError M_NOT_FOUND; M_UNKNOWN (409) when it ended otherwise; with `send` all that keeps an event from being sent
   */
  async manage(action: DelayedAction, delayId: string, userId: string | undefined): Promise<void> {
    const { turns } = this.#options;
    // What does not look like an id of ours needs no turn and no statement.
    if (!/^[A-Za-z0-9]{32}$/.test(delayId)) throw notFound();
    await turns.take(delayId, async () => {
      if (action === 'restart') await this.#restart(delayId, userId);
      else if (action === 'cancel') await this.#cancel(delayId, userId);
      else await this.#send(delayId, userId);
    });
  }

  async #restart(delayId: string, userId: string | undefined): Promise<void> {
    const { clock, restarts } = this.#options;
    if (await restarts.restart({ delayId, userId, at: clock.now() })) return;
    throw conflict(await this.#existing(delayId, userId));
  }

  async #cancel(delayId: string, userId: string | undefined): Promise<void> {
    const { clock, database } = this.#options;
    let record = await this.#existing(delayId, userId);
    if (record.finalised_ts === null) {
      if (await finaliseDelayedEvent(database, delayId, { ts: clock.now() })) return;
      record = await this.#existing(delayId, userId);
    }
    if (record.event_id !== null) throw conflict(record);
  }

  async #send(delayId: string, userId: string | undefined): Promise<void> {
    const record = await this.#existing(delayId, userId);
    if (record.finalised_ts !== null) {
      if (record.event_id === null) throw conflict(record);
      return;
    }
    // "The homeserver SHOULD keep the delayed event scheduled": what is wrong may be right by its time.
    const error = await this.#options.sending.send(record);
    if (error !== undefined) throw error;
  }

  async #existing(delayId: string, userId: string | undefined): Promise<DelayedEventRecord> {
    const record = await delayedEventById(this.#options.database, delayId);
    if (record === undefined || (userId !== undefined && record.user_id !== userId)) throw notFound();
    // The event that it names was committed with it, and may not be published yet.
    if (record.event_id !== null) await this.#options.writer.settled();
    return record;
  }

  /** A user's delayed event, over or not. @throws MatrixError M_NOT_FOUND */
  async one(userId: string, delayId: string): Promise<DelayedEvent> {
    return delayedEventOf(await this.#existing(delayId, userId));
  }

  /** Cancels everything that a user has scheduled: the account is deactivated. */
  async cancelAll(userId: string): Promise<void> {
    await cancelDelayedEventsOf(this.#options.database, userId, this.#options.clock.now());
  }
}

const transactionOf = (
  sender: Reader & SendingClient,
  { isOlderForm, roomId, type, txnId }: Pick<DelayedEventRequest, 'isOlderForm' | 'roomId' | 'type' | 'txnId'>,
): string | null => {
  if (txnId === undefined) return null;
  const scope = `${isOlderForm ? 'delayed send' : 'delayed_event'}/${roomId}/${type}`;
  const { deviceId, userId } = sender;
  return transactionKey({ userId, deviceId, client: deviceless(sender), scope, txnId });
};

const notFound = (): MatrixError => new MatrixError('M_NOT_FOUND', 'There is no such delayed event.');

/**
 * Clients that schedule in the older form know finalised events as events that are not there any more: they look at the errcode, and
 * schedule anew.
 */
const conflict = (record: DelayedEventRecord): MatrixError => {
  const outcome = record.event_id === null ? 'cancelled' : 'sent';
  return new MatrixError(
    record.older_form ? 'M_NOT_FOUND' : 'M_UNKNOWN',
    `This delayed event has been ${outcome} already.`,
    {},
    409,
  );
};
