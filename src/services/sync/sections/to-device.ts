import type { Subscribable } from '#src/kernel/signal.ts';
import { shardOfName } from '#src/protocol/wire/position.ts';
import type { DeviceInboxes } from '#src/services/e2ee/to-device/device-inboxes.ts';
import type { Part, Section, SectionRequest, SectionView, Waker } from '../engine/section.ts';

/** "100 messages is recommended as a reasonable limit." Client-Server API, "Send-to-Device messaging". */
const MOST = 100;

/** Messages from other devices, each once. No filter concerns them. Client-Server API, "Send-to-Device messaging". */
export class ToDeviceSection implements Section {
  readonly name = 'to_device';
  readonly cursor = 't';
  readonly #inboxes: DeviceInboxes;
  readonly #arrived: Subscribable<readonly string[]>;

  /** @param arrived fires with the users for whose devices messages were committed */
  constructor(inboxes: DeviceInboxes, arrived: Subscribable<readonly string[]>) {
    this.#inboxes = inboxes;
    this.#arrived = arrived;
  }

  listen(waker: Waker): void {
    this.#arrived.subscribe((userIds) => {
      for (const userId of userIds) waker.user(userId);
    });
  }

  async open({ userId, deviceId, since }: SectionRequest): Promise<SectionView> {
    if (deviceId === undefined) return {};
    const shard = shardOfName(userId);
    // "the server should infer that any send-to-device messages in that response have been delivered successfully, and delete them"
    if (this.#inboxes.peek(userId, deviceId) !== false)
      await this.#inboxes.acknowledge(userId, deviceId, since[shard] ?? 0);
    return {
      general: async ({ vector }): Promise<Part | undefined> => {
        if (this.#inboxes.peek(userId, deviceId) === false) return undefined;
        const { messages, resumeAfter } = await this.#inboxes.oldest(userId, deviceId, vector[shard] ?? 0, MOST);
        if (messages.length === 0) return undefined;
        return {
          list: 'to_device',
          events: messages,
          isNews: true,
          ...(resumeAfter === undefined ? {} : { until: resumeAfter }),
        };
      },
    };
  }
}
