import type { Clock } from '#src/kernel/clock.ts';
import type { DeliveryGroup, PauseOf } from './ports.ts';

/** Longest pause of a group: one destination of it soon finds out that it is over, and none can delay the others for long. */
const MAX_GROUP_PAUSE_MS = 60_000;
const MAX_PAUSED_GROUPS = 10_000;

export interface DeliveryGroupsOptions {
  readonly clock: Pick<Clock, 'now'>;
  readonly pauseOf: PauseOf;
  /** All destinations are of one group when left out. */
  readonly groupOf: ((destination: string) => DeliveryGroup) | undefined;
  /** Told of a destination that was ready when its group was paused. */
  readonly paused: (destination: string, until: number) => void;
}

/**
 * The lines of destinations that are ready, one for each group. Groups take turns, and none uses all slots. A group that is unreachable is
 * paused, and then one of its destinations at a time finds out whether it is back.
 */
export class DeliveryGroups {
  readonly #options: DeliveryGroupsOptions;
  /** Destinations ready to be sent to, in order, by group; the next group is first. */
  readonly #ready = new Map<string, Set<string>>();
  /** How many of each group are being sent to. */
  readonly #busy = new Map<string, number>();
  /** Unreachable groups: failures in a row, and the end of the pause. */
  readonly #paused = new Map<string, { readonly failures: number; readonly until: number }>();

  constructor(options: DeliveryGroupsOptions) {
    this.#options = options;
  }

  /** Puts a destination at the end of the line of its group. @returns the group's name */
  add(destination: string): string {
    const { name } = this.#groupOf(destination);
    const ready = this.#ready.get(name);
    if (ready === undefined) this.#ready.set(name, new Set([destination]));
    else ready.add(destination);
    return name;
  }

  /** Removes and returns the next destination: the first of the next group below its limit. */
  next(): string | undefined {
    for (const [group, ready] of this.#ready) {
      const [destination] = ready;
      if (destination !== undefined && (this.#busy.get(group) ?? 0) >= this.#maxOf(group, destination)) continue;
      this.#ready.delete(group);
      if (destination === undefined) continue;
      ready.delete(destination);
      if (ready.size > 0) this.#ready.set(group, ready);
      return destination;
    }
    return undefined;
  }

  /** Concurrency limit of a group; 1 while it is paused, to probe whether it is back. */
  #maxOf(group: string, destination: string): number {
    return this.#paused.has(group) ? 1 : this.#groupOf(destination).most;
  }

  /** One more of a group is being sent to. */
  begin(group: string): void {
    this.#busy.set(group, (this.#busy.get(group) ?? 0) + 1);
  }

  /** One fewer. */
  end(group: string): void {
    const left = (this.#busy.get(group) ?? 1) - 1;
    if (left > 0) this.#busy.set(group, left);
    else this.#busy.delete(group);
  }

  /** Until when the group of a destination is paused, in milliseconds; 0 when it never was. */
  pausedUntil(destination: string): number {
    return this.#paused.get(this.#groupOf(destination).name)?.until ?? 0;
  }

  /** Pauses an unreachable group, each time for twice as long. @returns the end of the pause */
  pause(name: string): number {
    const known = this.#paused.get(name);
    const now = this.#options.clock.now();
    // Another concurrent send has already paused the group.
    if (known !== undefined && known.until > now) return known.until;
    const failures = (known?.failures ?? 0) + 1;
    const at = now + Math.min(this.#options.pauseOf(failures), MAX_GROUP_PAUSE_MS);
    this.#paused.delete(name);
    for (const oldest of this.#paused.keys()) {
      if (this.#paused.size < MAX_PAUSED_GROUPS) break;
      this.#paused.delete(oldest);
    }
    this.#paused.set(name, { failures, until: at });
    const ready = this.#ready.get(name);
    this.#ready.delete(name);
    for (const destination of ready ?? []) this.#options.paused(destination, at);
    return at;
  }

  /** Ends the pause of a group, and forgets its failures: something got through. */
  resume(name: string): void {
    this.#paused.delete(name);
  }

  #groupOf(destination: string): DeliveryGroup {
    return this.#options.groupOf?.(destination) ?? EVERYBODY;
  }
}

/** The group of all destinations, where `groupOf` is left out. */
const EVERYBODY: DeliveryGroup = { name: '', most: Infinity };
