import type { ThreadSubscriptionRecord } from '#src/storage/push/thread-subscriptions.ts';

/** A thread, by the event that it begins with. */
export interface Thread {
  readonly roomNid: number;
  readonly roomId: string;
  readonly root: string;
  readonly rootNid: number;
}

/** A thread subscription or its end. MSC4306. */
export interface ThreadDecision extends Thread {
  /** Whether the subscription is automatic; undefined: unsubscribed. */
  readonly automatic: boolean | undefined;
  /**
   * Position of the room at which it was decided: what comes later notifies who follows the thread, and a client that knows nothing later
   * does not follow it again by itself.
   */
  readonly at: number;
  /** Position of the decision in the stream of the user's shard. */
  readonly pos: number;
}

/** Bytes of a subscription in memory, without the id of the root. */
const DECISION_BYTES = 150;

const keyOf = (roomNid: number, root: string): string => `${roomNid} ${root}`;

/** All that one user decided about threads, in memory. */
export class UserThreads {
  readonly #decisions = new Map<string, ThreadDecision>();
  #latest = 0;
  #hasBegun = false;
  #bytes = DECISION_BYTES;

  constructor(rows: readonly ThreadSubscriptionRecord[]) {
    const ids = new Map<number, string>();
    for (const { room, roomId, root, rootNid, automatic, at, pos } of rows) {
      if (room === 0 || roomId === null) {
        if (room === 0) this.begin();
        continue;
      }
      // One string for all threads of a room.
      const id = ids.get(room) ?? roomId;
      ids.set(room, id);
      this.decide({ roomNid: room, roomId: id, root, rootNid, automatic: automatic ?? undefined, at, pos });
    }
  }

  /** Whether the user follows threads at all: whether one of their clients has asked for them. */
  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  /** About how many bytes this takes. */
  get weight(): number {
    return this.#bytes;
  }

  /** How many decisions there are. */
  get count(): number {
    return this.#decisions.size;
  }

  begin(): void {
    this.#hasBegun = true;
  }

  /** Adds a decision; a newer one that is here already stays. */
  decide(decision: ThreadDecision): void {
    const key = keyOf(decision.roomNid, decision.root);
    const before = this.#decisions.get(key);
    if (before !== undefined && before.pos > decision.pos) return;
    if (before === undefined) this.#bytes += DECISION_BYTES + decision.root.length;
    this.#decisions.delete(key);
    this.#decisions.set(key, decision);
    this.#latest = Math.max(this.#latest, decision.pos);
  }

  forget(roomNid: number, root: string): void {
    if (this.#decisions.delete(keyOf(roomNid, root))) this.#bytes -= DECISION_BYTES + root.length;
  }

  of(roomNid: number, root: string): ThreadDecision | undefined {
    return this.#decisions.size === 0 ? undefined : this.#decisions.get(keyOf(roomNid, root));
  }

  /** Whether the user follows a thread. */
  follows(roomNid: number, root: string): boolean {
    return this.of(roomNid, root)?.automatic !== undefined;
  }

  /** The thread that was unsubscribed longest ago, the first to be dropped. */
  oldestLeft(): ThreadDecision | undefined {
    let oldest: ThreadDecision | undefined;
    for (const decision of this.#decisions.values())
      if (decision.automatic === undefined && (oldest === undefined || decision.pos < oldest.pos)) oldest = decision;
    return oldest;
  }

  /** The decisions after one position and up to another, the latest first. */
  between(after: number, upTo: number): readonly ThreadDecision[] {
    if (after >= this.#latest) return [];
    return [...this.#decisions.values()]
      .filter(({ pos }) => pos > after && pos <= upTo)
      .toSorted((a, b) => b.pos - a.pos);
  }
}
