import type { DeviceKeyCounts, KeyCounts } from '#src/services/e2ee/device-keys/key-counts.ts';
import type { Section, SectionRequest, SectionView, Waker } from '../engine/section.ts';

/**
 * How many keys the device has left. Told in every response, also where there are none: clients without any key upload some when they
 * are told so. Client-Server API, "Extensions to /sync" of "End-to-End Encryption".
 */
export class DeviceKeysSection implements Section {
  readonly name = 'device_keys';
  readonly #counts: DeviceKeyCounts;
  /** What devices were told last: only another count is news. */
  readonly #told = new WeakMap<object, Map<string, KeyCounts>>();

  constructor(counts: DeviceKeyCounts) {
    this.#counts = counts;
  }

  listen(waker: Waker): void {
    this.#counts.changed.subscribe(({ userId }) => waker.user(userId));
  }

  open({ user, userId, deviceId, isInitial }: SectionRequest): SectionView {
    if (deviceId === undefined) return {};
    return {
      general: async () => {
        const counts = this.#counts.peek(userId, deviceId) ?? (await this.#counts.of(userId, deviceId));
        const told = this.#told.get(user) ?? new Map<string, KeyCounts>();
        this.#told.set(user, told);
        const before = told.get(deviceId);
        told.set(deviceId, counts);
        const fallback = JSON.stringify(counts.unusedFallback);
        return {
          members: {
            device_one_time_keys_count: JSON.stringify(counts.oneTime),
            device_unused_fallback_key_types: fallback,
            'org.matrix.msc2732.device_unused_fallback_key_types': fallback,
          },
          isNews: !isInitial && before !== undefined && !isSame(before, counts),
        };
      },
    };
  }
}

const isSame = (one: KeyCounts, other: KeyCounts): boolean =>
  one === other ||
  JSON.stringify([one.oneTime, one.unusedFallback]) === JSON.stringify([other.oneTime, other.unusedFallback]);
