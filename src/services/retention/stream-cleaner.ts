import type { Clock } from '#src/kernel/clock.ts';
import type { Timers } from '#src/kernel/timers.ts';
import { forgetAuditRows } from '#src/storage/audit/audit-log.ts';
import { forgetTasks } from '#src/storage/admin/admin-tasks.ts';
import { deleteExpiredAdminLogins } from '#src/storage/accounts/admin-logins.ts';
import { deleteExpiredValidations } from '#src/storage/accounts/threepid-validations.ts';
import { forgetMailsSent } from '#src/storage/mail/mails-sent.ts';
import type { Database } from '#src/storage/database.ts';
import { trimToDevice, trimToDeviceOfUsers, type InboxLimits } from '#src/storage/e2ee/to-device.ts';
import { forgetSurplusTransactions, forgetTransactions } from '#src/storage/federation/inbound.ts';
import { trimDestinationMessages } from '#src/storage/federation/destination-to-device.ts';
import { trimStateResets } from '#src/storage/federation/state-resets.ts';
import { deleteExpiredSticky } from '#src/storage/events/sticky-events.ts';
import { deleteOldTxns, deleteReadMentions, type MentionPlace } from '#src/storage/retention/stream-cleaning.ts';
import { deleteExpiredMedia } from '#src/storage/media/media.ts';
import { trimPushDeliveries, trimPushes } from '#src/storage/push/pushes.ts';
import { deleteUnclaimedInvites } from '#src/storage/rooms/third-party-invites.ts';
import { DAY_MS } from '#src/kernel/dates.ts';

/** Days for which an invited address is kept that is not bound to any account. */
const UNCLAIMED_DAYS = 365;
/** Days for which it is remembered that a mail was sent: longer than its job lives. */
const MAIL_DAYS = 14;
/** Days for which administrators can look at tasks that have ended. */
const TASK_DAYS = 7;

/** Days for which transactions of other servers are remembered, and how many of one server: it repeats the one that it heard nothing of. */
const FEDERATION_TRANSACTION_DAYS = 1;
const FEDERATION_TRANSACTIONS = 1_000;
/** State resets that administrators can look at. */
const STATE_RESETS = 1_000;

/** Days for which messages for devices wait for a server that cannot be reached, and how many of them. */
const OUTBOX_DAYS = 30;
const OUTBOX_MESSAGES = 20_000;

export interface StreamCleanerOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly timers: Timers;
  /** Whole days for which transaction ids are remembered. */
  readonly transactionDays: number;
  /** What may wait for one device. */
  readonly inboxLimits: InboxLimits;
  /** For how many milliseconds pushes are kept that could not be sent. */
  readonly pushRetryMs: number;
  /** Days for which the audit log is kept; null for ever. */
  readonly auditDays: number | null;
  /** Rows that are looked at in one statement. */
  readonly batchSize: number;
  /** Milliseconds between two statements. */
  readonly pauseMs: number;
}

/**
 * Deletes old rows of stream tables: transaction ids that no client will repeat any more, exceptions from notifications
 * before their users' read positions, expired sticky events, to-device messages that were never fetched, and those for servers that never came
 * back, uploads that were announced and never came, remembered transactions of other servers, old entries of the audit log, finished tasks of
 * administrators, pushes that were sent or given up, invited addresses that were not bound for a year, addresses that were not validated in time,
 * expired logins of administrators as users, and the log of mails that were sent. The outbox is emptied by handing over its jobs.
 */
export class StreamCleaner {
  readonly #options: StreamCleanerOptions;

  constructor(options: StreamCleanerOptions) {
    this.#options = options;
  }

  /** @returns what was deleted; as much as there was until the signal came */
  async clean(signal: AbortSignal): Promise<{
    readonly transactions: number;
    readonly mentions: number;
    readonly stickyEvents: number;
    readonly invitations: number;
    readonly validations: number;
    readonly mailsSent: number;
    readonly toDevice: number;
    readonly toDeviceAway: number;
    readonly announcedMedia: number;
    readonly pushes: number;
  }> {
    const { database, clock, batchSize, inboxLimits, pushRetryMs, transactionDays } = this.#options;
    const firstDay = Math.floor(clock.now() / DAY_MS) - transactionDays;
    const transactions = await this.#all(signal, () => deleteOldTxns(database, firstDay, batchSize));
    const stickyEvents = await this.#all(signal, () => deleteExpiredSticky(database, clock.now(), batchSize));
    const unclaimed = clock.now() - UNCLAIMED_DAYS * DAY_MS;
    const invitations = await this.#all(signal, () => deleteUnclaimedInvites(database, unclaimed, batchSize));
    const validations = await this.#all(signal, () => deleteExpiredValidations(database, clock.now(), batchSize));
    await this.#all(signal, () => deleteExpiredAdminLogins(database, clock.now(), batchSize));
    const mailsSent = await this.#all(signal, () =>
      forgetMailsSent(database, clock.now() - MAIL_DAYS * DAY_MS, batchSize),
    );
    const ofDevices = await this.#all(signal, () => trimToDevice(database, inboxLimits, batchSize));
    const ofUsers = await this.#all(signal, () => trimToDeviceOfUsers(database, inboxLimits, batchSize));
    const toDevice = ofDevices + ofUsers;
    const before = clock.now() - OUTBOX_DAYS * DAY_MS;
    const toDeviceAway = await this.#all(signal, () =>
      trimDestinationMessages(database, { before, keep: OUTBOX_MESSAGES, limit: batchSize }),
    );
    const announcedMedia = await this.#all(signal, () => deleteExpiredMedia(database, clock.now(), batchSize));
    await this.#all(signal, () =>
      forgetTransactions(database, clock.now() - FEDERATION_TRANSACTION_DAYS * DAY_MS, batchSize),
    );
    if (!signal.aborted) await trimStateResets(database, STATE_RESETS);
    if (!signal.aborted) await forgetSurplusTransactions(database, FEDERATION_TRANSACTIONS);
    const pushes = await this.#all(signal, () => trimPushes(database, clock.now() - pushRetryMs, batchSize));
    await this.#all(signal, () => trimPushDeliveries(database, batchSize));
    await this.#all(signal, () => forgetTasks(database, clock.now() - TASK_DAYS * DAY_MS, batchSize));
    const { auditDays } = this.#options;
    if (auditDays !== null)
      await this.#all(signal, () => forgetAuditRows(database, clock.now() - auditDays * DAY_MS, batchSize));
    let mentions = 0;
    let place: MentionPlace = { user_nid: 0, room: 0, pos: 0 };
    while (!signal.aborted) {
      const block = await deleteReadMentions(database, place, batchSize);
      if (block === undefined) break;
      mentions += block.deleted;
      place = block;
      await this.#pause(signal);
    }
    return {
      transactions,
      mentions,
      stickyEvents,
      invitations,
      validations,
      mailsSent,
      toDevice,
      toDeviceAway,
      announcedMedia,
      pushes,
    };
  }

  /** Deletes one batch after the other. @returns how many rows */
  async #all(signal: AbortSignal, batch: () => Promise<number>): Promise<number> {
    let all = 0;
    while (!signal.aborted) {
      const deleted = await batch();
      all += deleted;
      if (deleted < this.#options.batchSize) break;
      await this.#pause(signal);
    }
    return all;
  }

  #pause(signal: AbortSignal): Promise<void> {
    return this.#options.timers.sleep(this.#options.pauseMs, signal);
  }
}
