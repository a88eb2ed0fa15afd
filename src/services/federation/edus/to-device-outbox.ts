import { hash } from 'node:crypto';
import { AnsweredBatches } from '#src/kernel/concurrency/batches.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { DeviceMessages, RemoteDeviceMessages } from '#src/services/e2ee/to-device/to-device-service.ts';
import { type EduSource, NO_EDUS, type TakenEdus } from '#src/services/federation/outbound/edu-source.ts';
import type { Database } from '#src/storage/database.ts';
import {
  deleteDestinationMessages,
  type DestinationMessageRow,
  destinationsOfMessages,
  forgetDestinationMessages,
  keepDestinationMessages,
  nextDestinationMessages,
} from '#src/storage/federation/destination-to-device.ts';
import { isUnavailable } from '#src/storage/failures.ts';

/** Characters of what goes into one EDU, unless one message is longer. */
const CHARACTERS_OF_EDU = 60_000;
/** Characters of the EDUs of one transaction. */
const CHARACTERS_OF_TRANSACTION = 1_000_000;
const KEPT_AT_ONCE = 1_000;
const DELETED_AT_ONCE = 100;

export interface ToDeviceOutboxOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly allows: (serverName: string) => boolean;
  /** Called when messages are pending for a server. */
  readonly wake: (destination: string) => void;
}

/**
 * To-device messages for users of other servers: stored from before their sender is answered until they have arrived, in order to each
 * server, and sent before the events that are decrypted with their keys. Server-Server API, "Send-to-device messaging".
 */
export class ToDeviceOutbox implements EduSource, RemoteDeviceMessages {
  readonly #options: ToDeviceOutboxOptions;
  /** Servers for which something may be kept, each with a number that is new when more has come. */
  readonly #waiting = new Map<string, number>();
  #comings = 0;
  readonly #keeping: AnsweredBatches<readonly DestinationMessageRow[], undefined>;
  readonly #deleting: AnsweredBatches<readonly number[], undefined>;

  constructor(options: ToDeviceOutboxOptions) {
    this.#options = options;
    const { clock, database } = options;
    this.#keeping = new AnsweredBatches({
      name: 'federation to-device',
      most: KEPT_AT_ONCE,
      isHopeless: isUnavailable,
      work: async (batch) => {
        await keepDestinationMessages(database, batch.flat(), clock.now());
        return () => undefined;
      },
    });
    this.#deleting = new AnsweredBatches({
      name: 'federation to-device delivered',
      most: DELETED_AT_ONCE,
      isHopeless: isUnavailable,
      work: async (batch) => {
        await deleteDestinationMessages(database, batch.flat());
        return () => undefined;
      },
    });
  }

  /** @param key of the sender's transaction: repeated calls with the same key store the messages once */
  async send(sender: string, type: string, messages: DeviceMessages, key: string): Promise<void> {
    const rows: DestinationMessageRow[] = [];
    for (const [destination, users] of byServer(messages)) {
      if (!this.#options.allows(destination)) continue;
      parted(users).forEach((part, index) => {
        const messageId = hash('sha256', JSON.stringify([key, destination, index]), 'base64url').slice(0, 32);
        const json = JSON.stringify({ message_id: messageId, messages: part, sender, type });
        rows.push({ destination, messageId, json });
      });
    }
    if (rows.length === 0) return;
    await this.#keeping.ask(rows);
    for (const destination of new Set(rows.map((row) => row.destination))) {
      this.#note(destination);
      this.#options.wake(destination);
    }
  }

  async kept(): Promise<readonly string[]> {
    const destinations = await destinationsOfMessages(this.#options.database);
    for (const destination of destinations) this.#note(destination);
    return destinations;
  }

  has(destination: string): boolean {
    return this.#waiting.has(destination);
  }

  async take(destination: string, limit: number, characters: number): Promise<TakenEdus> {
    const coming = this.#waiting.get(destination);
    if (coming === undefined) return NO_EDUS;
    // They wait while they are read, too: the attempt may be over before that, and the next one begun.
    const rows = await nextDestinationMessages(this.#options.database, destination, limit + 1);
    const taken: typeof rows = [];
    let left = Math.min(CHARACTERS_OF_TRANSACTION, characters);
    for (const row of rows) {
      left -= row.json.length;
      if (taken.length >= limit || (taken.length > 0 && left < 0)) break;
      taken.push(row);
    }
    if (taken.length === 0) {
      if (this.#waiting.get(destination) === coming) this.#waiting.delete(destination);
      return NO_EDUS;
    }
    // Until these are deleted, they wait.
    const hasMore = taken.length < rows.length;
    const ids = taken.map(({ id }) => id);
    return {
      edus: taken.map(({ json }) => ({ edu_type: 'm.direct_to_device', content: JSON.parse(json) as JsonObject })),
      identity: taken.map(({ messageId }) => messageId),
      holdsEventsBack: hasMore,
      delivered: () => this.#deleting.ask(ids),
    };
  }

  async skip(destination: string): Promise<void> {
    const [first] = await nextDestinationMessages(this.#options.database, destination, 1);
    if (first !== undefined) await this.#deleting.ask([first.id]);
  }

  /** Nothing is dropped: the events that they decrypt wait as well. */
  away(): void {
    // Nothing is dropped.
  }

  #note(destination: string): void {
    this.#waiting.set(destination, (this.#comings += 1));
  }

  async forget(destination: string): Promise<void> {
    if (this.#waiting.delete(destination)) await forgetDestinationMessages(this.#options.database, destination);
  }
}

const byServer = (messages: DeviceMessages): Map<string, DeviceMessages> => {
  const servers = new Map<string, Record<string, DeviceMessages[string]>>();
  for (const [userId, devices] of Object.entries(messages)) {
    const server = domainOf(userId);
    if (server === undefined) continue;
    const users = servers.get(server);
    if (users === undefined) servers.set(server, { [userId]: devices });
    else users[userId] = devices;
  }
  return servers;
};

/** Messages in parts that are each small enough for an EDU. */
const parted = (messages: DeviceMessages): readonly DeviceMessages[] => {
  const parts: Record<string, Record<string, JsonObject>>[] = [{}];
  let characters = 0;
  for (const [userId, devices] of Object.entries(messages))
    for (const [deviceId, content] of Object.entries(devices)) {
      const size = JSON.stringify(content).length + userId.length + deviceId.length;
      if (characters > 0 && characters + size > CHARACTERS_OF_EDU) {
        parts.push({});
        characters = 0;
      }
      characters += size;
      const part = parts.at(-1) ?? {};
      part[userId] = { ...part[userId], [deviceId]: content };
    }
  return parts;
};
