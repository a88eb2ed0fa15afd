import { LRUCache } from 'lru-cache';
import type { Member } from '#src/services/rooms/membership.ts';
import type { Room } from '#src/services/rooms/room.ts';

/** How many member events we remember having sent to one device. */
const SENT_MEMBERS = 5000;

/** A user who syncs: which rooms are theirs, and who waits for news. */
export class SyncUser {
  readonly userId: string;
  /** Room number -> the user's membership; every room they ever had one in. */
  readonly memberships = new Map<number, Member>();
  /** The rooms that they are joined to. Holding them here keeps them in memory. */
  readonly joined = new Map<number, Room>();
  readonly #waiters = new Set<() => void>();
  readonly #sentMembers = new Map<string, LRUCache<string, number>>();
  #version = 0;

  constructor(userId: string) {
    this.userId = userId;
  }

  /** Changes whenever something happened that the user might be shown. */
  get version(): number {
    return this.#version;
  }
  get isWaiting(): boolean {
    return this.#waiters.size > 0;
  }

  mark(): void {
    this.#version++;
  }

  /** Wakes everybody who waits. */
  wake(): void {
    for (const waiter of [...this.#waiters]) waiter();
  }

  /** @returns stops waiting */
  addWaiter(waiter: () => void): () => void {
    this.#waiters.add(waiter);
    return () => {
      this.#waiters.delete(waiter);
    };
  }

  /**
   * Which member events a device was sent already. Client-Server API, "Lazy-loading room members": they are redundant then.
   *
   * @param forget true for a device that starts anew
   */
  sentMembers(deviceId: string, forget: boolean): LRUCache<string, number> {
    let sent = this.#sentMembers.get(deviceId);
    if (sent === undefined || forget) {
      sent = new LRUCache({ max: SENT_MEMBERS });
      this.#sentMembers.set(deviceId, sent);
    }
    return sent;
  }
}
