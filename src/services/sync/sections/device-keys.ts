import { CountedCache } from '#src/kernel/caches/counted-cache.ts';
import { atMost } from '#src/kernel/caches/at-most.ts';
import type { DeviceKeyCounts, KeyCounts } from '#src/services/e2ee/device-keys/key-counts.ts';
import type { Part, Section, SectionRequest, SectionView, Waker } from '../engine/section.ts';

/** Cached parts, one for each distinct count. */
const KEPT_PARTS = 1_000;
const EMPTY_VIEW: SectionView = {};

/** Encoded counts. */
interface SentCounts {
  readonly news: Part;
  readonly noNews: Part;
}

/**
 * `device_one_time_keys_count` and `device_unused_fallback_key_types`. They are in every response, also when empty: clients without any
 * key upload some when they see that. Client-Server API, "Extensions to /sync" of "End-to-End Encryption".
 */
export class DeviceKeysSection implements Section {
  readonly name = 'device_keys';
  readonly hasRoomParts = false;
  readonly #counts: DeviceKeyCounts;
  /** The counts that each device was sent last: only a different count is a change. */
  readonly #sent = new WeakMap<object, Map<string, KeyCounts>>();
  /** Parts by count, shared by all devices with the same count. */
  readonly #parts = new CountedCache<string, SentCounts>('device_key_parts', atMost(KEPT_PARTS));
  readonly #partOf = new WeakMap<KeyCounts, SentCounts>();

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
    let sent = this.#sent.get(user);
    if (sent === undefined) this.#sent.set(user, (sent = new Map()));
    const before = sent.get(deviceId);
    const part = this.#part(counts);
    if (before !== counts) sent.set(deviceId, counts);
    const isNews = !isInitial && before !== undefined && !isSame(before, counts);
    return isNews ? part.news : part.noNews;
  }

  #part(counts: KeyCounts): SentCounts {
    const known = this.#partOf.get(counts);
    if (known !== undefined) return known;
    const oneTime = JSON.stringify(counts.oneTime);
    const fallback = JSON.stringify(counts.unusedFallback);
    const key = `${oneTime} ${fallback}`;
    let part = this.#parts.get(key);
    if (part === undefined) {
      const members = {
        device_one_time_keys_count: oneTime,
        device_unused_fallback_key_types: fallback,
        'org.matrix.msc2732.device_unused_fallback_key_types': fallback,
      };
      part = { news: { members, isNews: true }, noNews: { members, isNews: false } };
      this.#parts.set(key, part);
    }
    this.#partOf.set(counts, part);
    return part;
  }
}

const isSame = (one: KeyCounts, other: KeyCounts): boolean =>
  one === other ||
  JSON.stringify([one.oneTime, one.unusedFallback]) === JSON.stringify([other.oneTime, other.unusedFallback]);
