import type { Subscribable } from '#src/kernel/signal.ts';
import type { DeviceListChange } from '#src/services/e2ee/device-lists/device-list-changes.ts';
import type { DeviceListDeltas } from '../device-lists/device-list-deltas.ts';
import type { Section, SectionRequest, SectionView, Waker } from '../engine/section.ts';

/** `device_lists`: users whose devices have to be queried again. Client-Server API, "Extensions to /sync" of "End-to-End Encryption". */
export class DeviceListsSection implements Section {
  readonly name = 'device_lists';
  readonly hasRoomParts = false;
  readonly opensOnlyWhenWoken = true;
  readonly #deltas: DeviceListDeltas;
  readonly #changed: Subscribable<DeviceListChange>;

  constructor(deltas: DeviceListDeltas, changed: Subscribable<DeviceListChange>) {
    this.#deltas = deltas;
    this.#changed = changed;
  }

  listen(waker: Waker): void {
    this.#changed.subscribe(({ userId, seenBy }) => {
      if (seenBy === undefined) waker.companions(userId);
      else waker.user(seenBy);
    });
  }

  open({ user, since, isInitial }: SectionRequest): SectionView {
    // "only present on an incremental sync": a client that knows nothing asks for all keys anyway.
    if (isInitial) return {};
    return {
      general: async ({ vector }) => {
        const delta = await this.#deltas.between(user, since, vector);
        if (delta.changed.length + delta.left.length === 0) return undefined;
        return { members: { device_lists: JSON.stringify(delta) }, isNews: true };
      },
    };
  }
}
