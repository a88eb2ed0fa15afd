import type { Member } from '#src/services/room-model/room/membership.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

/** How many member events we remember having sent to one device. */
const SENT_MEMBERS = 5000;

/**
 * Which member events a device was sent already: room and user -> the event. Client-Server API, "Lazy-loading room members": they are
 * redundant then. Bounded, the oldest being forgotten first; takes no room until there is something to remember.
 */
export class SentMembers {
  readonly #events = new Map<string, number>();

  /** Remembers an event. @returns whether the device has it already */
  remember(roomNid: number, userId: string, event: number): boolean {
    const key = `${roomNid} ${userId}`;
    if (this.#events.get(key) === event) return true;
    this.#events.delete(key);
    this.#events.set(key, event);
    if (this.#events.size > SENT_MEMBERS) {
      for (const oldest of this.#events.keys()) {
        this.#events.delete(oldest);
        break;
      }
    }
    return false;
  }
}

/** A user who syncs: which rooms are theirs, and who waits for news. */
export class SyncUser {
  readonly userId: string;
  /** Room number -> the user's membership; every room they ever had one in. */
  readonly memberships = new Map<number, Member>();
  /** The rooms that they are joined to. Holding them here keeps them in memory. */
  readonly joined = new Map<number, Room>();
  readonly #waiters = new Set<() => void>();
  readonly #sentMembers = new Map<string, SentMembers>();
  #version = 0;
  #uses = 0;

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

  /** Keeps the user in memory until the returned function is called. */
  hold(): () => void {
    this.#uses++;
    return () => {
      this.#uses--;
    };
  }
  get isInUse(): boolean {
    return this.#uses > 0 || this.#waiters.size > 0;
  }

  /** What a device was sent. */
  sentMembers(deviceId: string): SentMembers {
    let sent = this.#sentMembers.get(deviceId);
    if (sent === undefined) this.#sentMembers.set(deviceId, (sent = new SentMembers()));
    return sent;
  }

  /** A device starts anew: nothing that it was sent counts any more. */
  forgetSentMembers(deviceId: string): void {
    this.#sentMembers.delete(deviceId);
  }
}
