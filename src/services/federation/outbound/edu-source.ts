import type { JsonObject } from '#src/protocol/json/json-value.ts';

/** An ephemeral event for another server. Server-Server API, "EDUs". */
export interface Edu {
  readonly edu_type: string;
  readonly content: JsonObject;
}

/** EDUs that are on their way in a transaction. */
export interface TakenEdus {
  readonly edus: readonly Edu[];
  /** What makes those among them the same that must arrive once: two transactions with the same are the same. */
  readonly identity: readonly string[];
  /** More wait behind these that events have to wait for: what they are decrypted with. */
  readonly holdsEventsBack: boolean;
  /** They arrived: they need not be kept any more. */
  delivered(): Promise<void>;
}

/** Where EDUs come from. */
export interface EduSource {
  /**
   * Whether something may wait for a destination: true as long as `take` may still give something, also while what was taken has not arrived,
   * and after `take` or `delivered` failed. On false it is forgotten how often the destination could not be reached, and nothing more is asked
   * for until somebody wakes it.
   */
  has(destination: string): boolean;
  /** EDUs that wait for a destination, in order, and so many at most. Those that do not arrive are taken again. */
  take(destination: string, limit: number): Promise<TakenEdus>;
  /** Destinations of which something was kept by earlier processes. */
  kept?(): Promise<readonly string[]>;
  /** A destination could not be reached several times: what will not matter any more goes. */
  away(destination: string): void;
  /** A destination is no more, or shares nothing with this server any more. */
  forget(destination: string): Promise<void> | void;
}

export const NO_EDUS: TakenEdus = {
  edus: [],
  identity: [],
  holdsEventsBack: false,
  delivered: () => Promise.resolve(),
};
