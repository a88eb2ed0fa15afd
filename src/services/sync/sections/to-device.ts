import type { Subscribable } from '#src/kernel/signal.ts';
import type { Eventually } from '#src/kernel/concurrency/steps.ts';
import { type PositionVector, shardOfName } from '#src/protocol/wire/position.ts';
import type { DeviceInboxes } from '#src/services/e2ee/to-device/device-inboxes.ts';
import type { Part, Section, SectionRequest, SectionView, Waker } from '../engine/section.ts';

/** "100 messages is recommended as a reasonable limit." Client-Server API, "Send-to-Device messaging". */
export const MAX = 100;

const EMPTY_VIEW: SectionView = {};

/** To-device messages, each once. Filters do not apply to them. Client-Server API, "Send-to-Device messaging". */
export class ToDeviceSection implements Section {
  readonly name = 'to_device';
  readonly hasRoomParts = false;
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

  open({ userId, deviceId, since }: SectionRequest): Eventually<SectionView> {
    if (deviceId === undefined) return EMPTY_VIEW;
    const view: SectionView = {
      general: ({ vector }) =>
        this.#inboxes.peek(userId, deviceId) === false ? undefined : this.#oldest(userId, deviceId, vector),
    };
    // "the server should infer that any send-to-device messages in that response have been delivered successfully, and delete them"
    if (this.#inboxes.peek(userId, deviceId) === false) return view;
    return this.#inboxes.acknowledge(userId, deviceId, since[shardOfName(userId)] ?? 0).then(() => view);
  }

  async #oldest(userId: string, deviceId: string, upTo: PositionVector): Promise<Part | undefined> {
    const end = upTo[shardOfName(userId)] ?? 0;
    const { messages, resumeAfter } = await this.#inboxes.oldest(userId, deviceId, end, MAX);
    if (messages.length === 0) return undefined;
    return {
      list: 'to_device',
      events: messages,
      isNews: true,
      ...(resumeAfter === undefined ? {} : { until: resumeAfter }),
    };
  }
}
