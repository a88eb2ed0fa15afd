import { isDeviceId } from '#src/protocol/identifiers/device-names.ts';
import { deviceless, type SendingClient } from '#src/services/accounts/sessions/requester.ts';
import type { ShadowBanned } from '#src/services/accounts/moderation/shadow-bans.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { Signal } from '#src/kernel/signal.ts';
import { DAY_MS } from '#src/kernel/dates.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isUserId } from '#src/protocol/identifiers/identifiers.ts';
import { isWellFormedJson, type JsonObject } from '#src/protocol/json/json-value.ts';
import { shardOfName } from '#src/protocol/wire/position.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import { TransactionIds, transactionKey } from '#src/services/events/building/transaction-ids.ts';
import type { Database } from '#src/storage/database.ts';
import { devicesOfUsers, type ToDeviceRow } from '#src/storage/e2ee/to-device.ts';
import { violatesUnique } from '#src/storage/failures.ts';
import type { DeviceInboxes } from './device-inboxes.ts';
import type { InboxBounds } from './inbox-bounds.ts';

/** Messages of one request, for one device each. */
export const MAX_MESSAGES = 10_000;
/** Characters of one message's content. */
export const MAX_MESSAGE_LENGTH = 65_536;
/** Characters of what all of one request come to, when those for all devices of users are written for each. */
export const MAX_REQUEST_LENGTH = 8 * 1024 * 1024;
/** Characters of their type, as an event's. */
const MAX_TYPE_LENGTH = 255;
/** "meaning all known devices for the user" */
const ALL_DEVICES = '*';

/** User -> device id or `*` -> content. Client-Server API, `PUT /sendToDevice/{eventType}/{txnId}`. */
export type DeviceMessages = Readonly<Record<string, Readonly<Record<string, JsonObject>>>>;

/** The device that sends. */
export interface DeviceMessageSender extends SendingClient {
  readonly userId: string;
}

/** Messages for devices of users of other servers. Server-Server API, "Send-to-device messaging". */
export interface RemoteDeviceMessages {
  /**
   * Queues messages for other servers; resolves when they will be delivered whatever happens to this process.
   *
   * @param key of the sender's transaction: for each they are delivered once, however often this is called
   */
  send(sender: string, type: string, messages: DeviceMessages, key: string): Promise<void>;
}

export interface ToDeviceServiceOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly writer: Writer;
  readonly inboxes: DeviceInboxes;
  readonly bounds: InboxBounds;
  readonly isLocal: (userId: string) => boolean;
  readonly remote: RemoteDeviceMessages;
  /** Shadow-banned users: their messages reach only their own devices. */
  readonly shadowBans?: ShadowBanned;
}

/** Delivers messages between devices. Client-Server API, "Send-to-Device messaging". */
export class ToDeviceService {
  readonly #options: ToDeviceServiceOptions;
  readonly #transactions: TransactionIds;
  /** Fires when messages for devices of these users are committed. */
  readonly arrived = new Signal<readonly string[]>();

  constructor(options: ToDeviceServiceOptions) {
    this.#options = options;
    this.#transactions = new TransactionIds(options.database, options.clock);
  }

  /** Whether a transaction was carried out: then nothing of the request is looked at again. */
  async isDone(sender: DeviceMessageSender, type: string, txnId: string): Promise<boolean> {
    return (await this.#transactions.answered(keyOf(sender, type, txnId))) !== undefined;
  }

  /**
   * Sends messages, once for each transaction id. Those for devices that do not exist are dropped.
   *
   * @throws MatrixError M_TOO_LARGE, M_BAD_JSON
   */
  async send(sender: DeviceMessageSender, type: string, txnId: string, messages: DeviceMessages): Promise<void> {
    const key = keyOf(sender, type, txnId);
    await this.#transactions.once(key, async () => {
      if ((await this.#transactions.earlier(key)) !== undefined) return '';
      if (type.length > MAX_TYPE_LENGTH)
        throw new MatrixError('M_TOO_LARGE', `The type of an event can have ${MAX_TYPE_LENGTH} characters at most.`);
      check(messages);
      if (!isWellFormedJson({ type, messages }))
        throw new MatrixError('M_BAD_JSON', 'A text in the messages holds half of a surrogate pair.');
      const { isLocal, remote, shadowBans } = this.#options;
      // Those of the shadow-banned reach their own devices only.
      const isBanned = shadowBans?.has(sender.userId) === true;
      const users = Object.entries(messages).filter(
        ([userId]) => isUserId(userId) && (!isBanned || userId === sender.userId),
      );
      const remoteUsers = users.filter(([userId]) => !isLocal(userId));
      if (remoteUsers.length > 0) await remote.send(sender.userId, type, Object.fromEntries(remoteUsers), key);
      await this.deliver(sender.userId, type, Object.fromEntries(users.filter(([userId]) => isLocal(userId))), key);
      return '';
    });
  }

  /**
   * Delivers what another server sent, once for each message id of its, whatever happens to the process. Users of other servers are left
   * out, and so are devices that do not exist. Server-Server API, "Send-to-device messaging".
   *
   * @param origin the server that sent it, which the sender is a user of
   * @throws MatrixError M_TOO_LARGE
   */
  async receive(
    origin: string,
    messageId: string,
    sender: string,
    type: string,
    messages: DeviceMessages,
  ): Promise<void> {
    const key = transactionKey({
      userId: sender,
      deviceId: undefined,
      scope: `federation ${origin}`,
      txnId: messageId,
    });
    await this.#transactions.once(key, async () => {
      if ((await this.#transactions.earlier(key)) !== undefined) return '';
      check(messages);
      const local = Object.entries(messages).filter(([userId]) => this.#options.isLocal(userId));
      await this.deliver(sender, type, Object.fromEntries(local), key);
      return '';
    });
  }

  /**
   * Puts messages into the inboxes of devices of this server. Those for what can be no user or no device are left out: no row of theirs may fail the
   * batch in which others are written.
   *
   * @param transaction written in the same commit, so that it is carried out once
   */
  async deliver(sender: string, type: string, given: DeviceMessages, transaction?: string): Promise<void> {
    const { database, bounds, clock, writer, inboxes } = this.#options;
    const messages = deliverable(given);
    const toAll = Object.entries(messages).filter(([, devices]) => Object.hasOwn(devices, ALL_DEVICES));
    const known =
      toAll.length === 0
        ? []
        : await devicesOfUsers(
            database,
            toAll.map(([userId]) => userId),
          );
    checkWritten(type, messages, known);
    const written: Omit<ToDeviceRow, 'pos'>[] = [];
    for (const [userId, devices] of Object.entries(messages)) {
      for (const [named, content] of Object.entries(devices)) {
        const text = JSON.stringify({ content, sender, type });
        if (named !== ALL_DEVICES) written.push({ userId, deviceId: named, content: text });
        else
          for (const device of known)
            if (device.userId === userId && !Object.hasOwn(devices, device.deviceId))
              written.push({ userId, deviceId: device.deviceId, content: text });
      }
    }
    const bytes = written.reduce((sum, { content }) => sum + content.length, 0);
    const txns =
      transaction === undefined ? [] : [{ key: transaction, eventId: '', day: Math.floor(clock.now() / DAY_MS) }];
    if (written.length === 0 && txns.length === 0) return;
    const receivers = [...new Set(written.map(({ userId }) => userId))];
    try {
      await writer.write(sender, bytes, () => {
        const rows = written.map((row): ToDeviceRow => ({ ...row, pos: writer.allocate(shardOfName(row.userId)) }));
        return {
          positions: rows.map(({ pos }) => pos),
          devices: { toDevice: rows, txns },
          publish: () => {
            for (const { userId, deviceId, pos, content } of rows) inboxes.add(userId, deviceId, { pos, content });
            this.arrived.emit(receivers);
          },
        };
      });
    } catch (error) {
      if (!violatesUnique(error, 'txn_pkey')) throw error;
      // It was committed before, by an attempt whose answer got lost: what lies in memory does not know.
      for (const { userId, deviceId } of written) inboxes.forget(userId, deviceId);
      this.arrived.emit(receivers);
    }
    for (const { userId, deviceId } of await bounds.written(written)) inboxes.forget(userId, deviceId);
  }
}

const keyOf = (sender: DeviceMessageSender, type: string, txnId: string): string =>
  transactionKey({
    userId: sender.userId,
    deviceId: sender.deviceId,
    client: deviceless(sender),
    scope: `sendToDevice ${type}`,
    txnId,
  });

const deliverable = (messages: DeviceMessages): DeviceMessages =>
  Object.fromEntries(
    Object.entries(messages).flatMap(([userId, devices]) => {
      if (!isUserId(userId)) return [];
      const named = Object.entries(devices).filter(([deviceId]) => isDeviceId(deviceId));
      return [[userId, Object.fromEntries(named)] as const];
    }),
  );

const check = (messages: DeviceMessages): void => {
  let count = 0;
  for (const devices of Object.values(messages)) {
    for (const content of Object.values(devices)) {
      count += 1;
      if (JSON.stringify(content).length > MAX_MESSAGE_LENGTH)
        throw new MatrixError(
          'M_TOO_LARGE',
          `A message for a device can have ${MAX_MESSAGE_LENGTH} characters at most.`,
        );
    }
  }
  if (count > MAX_MESSAGES)
    throw new MatrixError('M_TOO_LARGE', `One request can send ${MAX_MESSAGES} messages at most.`);
};

/** A message for all devices of a user who has thousands is one in the request, and thousands in the database. @throws MatrixError M_TOO_LARGE */
const checkWritten = (type: string, messages: DeviceMessages, known: readonly { readonly userId: string }[]): void => {
  const devicesOf = new Map<string, number>();
  for (const { userId } of known) devicesOf.set(userId, (devicesOf.get(userId) ?? 0) + 1);
  let count = 0;
  let characters = 0;
  for (const [userId, devices] of Object.entries(messages))
    for (const [deviceId, content] of Object.entries(devices)) {
      const copies = deviceId === ALL_DEVICES ? (devicesOf.get(userId) ?? 0) : 1;
      count += copies;
      characters += copies * (JSON.stringify(content).length + type.length);
    }
  if (count > MAX_MESSAGES)
    throw new MatrixError('M_TOO_LARGE', `One request can send ${MAX_MESSAGES} messages at most.`);
  if (characters > MAX_REQUEST_LENGTH)
    throw new MatrixError(
      'M_TOO_LARGE',
      `The messages of one request can have ${MAX_REQUEST_LENGTH} characters at most, for all devices together.`,
    );
};
