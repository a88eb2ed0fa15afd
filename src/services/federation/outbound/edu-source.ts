import type { JsonObject } from '#src/protocol/json/json-value.ts';

/** An ephemeral event for another server. Server-Server API, "EDUs". */
export interface Edu {
  readonly edu_type: string;
  readonly content: JsonObject;
}

/** EDUs in flight in a transaction. */
export interface TakenEdus {
  readonly edus: readonly Edu[];
  /** Identifies the EDUs among them that must arrive once: two transactions with the same identity are the same. */
  readonly identity: readonly string[];
  /** More EDUs wait behind these that have to arrive before events: the keys that decrypt them. */
  readonly holdsEventsBack: boolean;
  /** They arrived: they need not be kept any more. */
  readonly delivered: () => Promise<void>;
}

/** A source of EDUs. */
export interface EduSource {
  /**
   * Whether something may wait for a destination: true as long as `take` may still give something, also while what was taken has not arrived,
   * and after `take` or `delivered` failed. On false it is forgotten how often the destination could not be reached, and nothing more is asked
   * for until it is woken.
   */
  has(destination: string): boolean;
  /**
   * EDUs that wait for a destination, in order, and so many at most, of about so many characters unless one of them has more. Those that do not
   * arrive are taken again.
   */
  take(destination: string, limit: number, characters: number): Promise<TakenEdus>;
  /** What comes first for a destination cannot be read or written again and again: it is given up, so that the rest does not wait for it. */
  skip(destination: string): Promise<void> | void;
  /** Destinations of which something was kept by earlier processes. */
  kept?(): Promise<readonly string[]>;
  /** A destination could not be reached several times: what will not matter any more is dropped. */
  away(destination: string): void;
  /** A destination is gone, or shares no room with this server any more. */
  forget(destination: string): Promise<void> | void;
}

export const NO_EDUS: TakenEdus = {
  edus: [],
  identity: [],
  holdsEventsBack: false,
  delivered: () => Promise.resolve(),
};

/** Ephemeral EDUs, in memory only: they may be lost or repeated, and need not precede events. */
export const ephemeralEdus = (edus: readonly Edu[], delivered: () => void): TakenEdus => ({
  edus,
  identity: [],
  holdsEventsBack: false,
  delivered: () => Promise.resolve(delivered()),
});
