import type { Clock } from '#src/kernel/clock.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Timer, Timers } from '#src/kernel/timers.ts';
import { writeAll } from '#src/kernel/concurrency/write-all.ts';
import type { Database } from '#src/storage/database.ts';
import { type DeviceSighting, writeSightings } from '#src/storage/accounts/devices.ts';
import { isUnavailable } from '#src/storage/failures.ts';
import { deviceKey } from '#src/protocol/identifiers/device-names.ts';

export interface DeviceActivityDependencies {
  readonly database: Database;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
  /** Milliseconds between two writes; default one minute. */
  readonly intervalMs?: number;
  /** Devices that may wait to be written; more are not noted. Default 100 000. */
  readonly maxPending?: number;
}

const BATCH = 1_000;

/** When and from where devices were last seen: kept in memory, and written in batches, at most once per device and interval. */
export class DeviceActivity {
  readonly #deps: DeviceActivityDependencies;
  readonly #timer: Timer;
  #pending = new Map<string, DeviceSighting>();
  #writing: Promise<void> = Promise.resolve();

  constructor(deps: DeviceActivityDependencies) {
    this.#deps = deps;
    // A kill loses up to a minute of these times.
    this.#timer = deps.timers.every(deps.intervalMs ?? 60_000, () => void this.flush());
  }

  /** Notes that a device was used. */
  seen(userId: string, deviceId: string, ip: string, userAgent: string | undefined): void {
    const key = deviceKey(userId, deviceId);
    if (!this.#pending.has(key) && this.#pending.size >= (this.#deps.maxPending ?? 100_000)) return;
    this.#pending.set(key, {
      userId,
      deviceId,
      ts: this.#deps.clock.now(),
      ip,
      userAgent: userAgent?.slice(0, 512).replaceAll('\0', ''),
    });
  }

  /** What is known of a device beyond what is written. */
  latest(userId: string, deviceId: string): DeviceSighting | undefined {
    return this.#pending.get(deviceKey(userId, deviceId));
  }

  /** Writes what was seen since the last time. What cannot be written is logged: it does not matter much. */
  flush(): Promise<void> {
    const { database, logger } = this.#deps;
    const sightings = [...this.#pending.values()];
    this.#pending = new Map();
    if (sightings.length === 0) return this.#writing;
    this.#writing = this.#writing.then(async () => {
      for (let start = 0; start < sightings.length; start += BATCH)
        await writeAll(
          sightings.slice(start, start + BATCH),
          (some) => writeSightings(database, some),
          isUnavailable,
          (some, err) => logger.warn('last-seen times of devices could not be stored', { err, devices: some.length }),
        );
    });
    return this.#writing;
  }

  /** Stops the timer and writes what is left. */
  async close(): Promise<void> {
    this.#timer.cancel();
    await this.flush();
  }
}
