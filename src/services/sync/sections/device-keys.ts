import { CountedCache } from '#src/kernel/caches/counted-cache.ts';
import { atMost } from '#src/kernel/caches/at-most.ts';
import type { DeviceKeyCounts, KeyCounts } from '#src/services/e2ee/device-keys/key-counts.ts';
import type { Part, Section, SectionRequest, SectionView, Waker } from '../engine/section.ts';

/** Cached parts, one for each distinct count. */
const KEPT_PARTS = 1_000;
const EMPTY_VIEW: SectionView = {};

/** How counts are told. */
interface Told {
  readonly news: Part;
  readonly noNews: Part;
}

/**
 * `device_one_time_keys_count` and `device_unused_fallback_key_types`. They are in every response, also when empty: clients without any
 * key upload some when they see that. Client-Server API, "Extensions to /sync" of "End-to-End Encryption".
 */
export class DeviceKeysSection implements Section {
  readonly name = 'device_keys';
  readonly tellsOfRooms = false;
  readonly #counts: DeviceKeyCounts;
  /** The counts that each device was sent last: only a different count is a change. */
  readonly #told = new WeakMap<object, Map<string, KeyCounts>>();
  /** Parts by count, shared by all devices with the same count. */
  readonly #parts = new CountedCache<string, Told>('device_key_parts', atMost(KEPT_PARTS));
  readonly #partOf = new WeakMap<KeyCounts, Told>();

  constructor(counts: DeviceKeyCounts) {
    this.#counts = counts;
  }

  listen(waker: Waker): void {
    this.#counts.changed.subscribe(({ userId }) => waker.user(userId));
  }

  open({ user, userId, deviceId, isInitial }: SectionRequest): SectionView {
    if (deviceId === undefined) return EMPTY_VIEW;
    return {
      general: () => {
        const counts = this.#counts.peek(userId, deviceId);
        return counts === undefined
          ? this.#counts.of(userId, deviceId).then((read) => this.#tell(user, deviceId, read, isInitial))
          : this.#tell(user, deviceId, counts, isInitial);
      },
    };
  }

  #tell(user: object, deviceId: string, counts: KeyCounts, isInitial: boolean): Part {
    let told = this.#told.get(user);
    if (told === undefined) this.#told.set(user, (told = new Map()));
    const before = told.get(deviceId);
    const part = this.#part(counts);
    if (before !== counts) told.set(deviceId, counts);
    const isNews = !isInitial && before !== undefined && !isSame(before, counts);
    return isNews ? part.news : part.noNews;
  }

  #part(counts: KeyCounts): Told {
    const known = this.#partOf.get(counts);
    if (known !== undefined) return known;
    const oneTime = JSON.stringify(counts.oneTime);
    const fallback = JSON.stringify(counts.unusedFallback);
    const key = `${oneTime} ${fallback}`;
    let told = this.#parts.get(key);
    if (told === undefined) {
      const members = {
        device_one_time_keys_count: oneTime,
        device_unused_fallback_key_types: fallback,
        'org.matrix.msc2732.device_unused_fallback_key_types': fallback,
      };
      told = { news: { members, isNews: true }, noNews: { members, isNews: false } };
      this.#parts.set(key, told);
    }
    this.#partOf.set(counts, told);
    return told;
  }
}

const isSame = (one: KeyCounts, other: KeyCounts): boolean =>
  one === other ||
  JSON.stringify([one.oneTime, one.unusedFallback]) === JSON.stringify([other.oneTime, other.unusedFallback]);
