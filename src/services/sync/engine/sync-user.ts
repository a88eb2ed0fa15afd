import { isSamePosition, type SyncPosition } from '#src/protocol/wire/position.ts';
import type { Member } from '#src/services/room-model/room/membership.ts';
import type { RoomStub } from '#src/services/room-model/room/room-stub.ts';
import { SentToClient } from './sent-to-client.ts';

/** Member events that are remembered as sent to one device. */
const SENT_MEMBERS = 5000;
/** Recent responses whose positions are remembered, over all devices. */
const ANSWERS = 8;

/** Stands for all sections where the number of one is wanted. */
export const EVERY_SECTION = -1;
/** Stands for no `opensOnlyWhenWoken` section: only messages came, which the room section always reads. */
export const NO_SECTION = -2;

/** A position that an answer led to, and the user's version when it was made. */
interface SentPosition {
  readonly position: SyncPosition;
  readonly version: number;
}

/** A user who syncs: their rooms, and the requests that wait for news. */
export class SyncUser {
  readonly userId: string;
  /** Room number -> the user's membership; every room they ever had one in. */
  readonly memberships = new Map<number, Member>();
  /** The rooms that they are joined to, whether they are in memory or not. */
  readonly joined = new Map<number, RoomStub>();
  readonly #waiters = new Set<() => void>();
  readonly #sentMembers = new Map<string, SentToClient<number>>();
  #version = 0;
  /** By section, the version that it made last. */
  readonly #woken: number[] = [];
  /** The last version that may concern every section. */
  #allWoken = 0;
  readonly #sent: SentPosition[] = [];
  #uses = 0;

  constructor(userId: string) {
    this.userId = userId;
  }

  /** Incremented with each change that may concern the user. */
  get version(): number {
    return this.#version;
  }
  get isWaiting(): boolean {
    return this.#waiters.size > 0;
  }

  /** @param section whose news it is, by its number */
  mark(section: number): void {
    this.#version++;
    if (section === EVERY_SECTION) this.#allWoken = this.#version;
    else if (section >= 0) this.#woken[section] = this.#version;
  }

  /** Whether a section may have news that came after a version. */
  isWokenSince(section: number, version: number): boolean {
    return this.#allWoken > version || (this.#woken[section] ?? 0) > version;
  }

  /** Remembers up to where an answer told. */
  noteSent(position: SyncPosition): void {
    // The first version of a position counts: later changes are new to a client at that position.
    if (this.versionAt(position) !== undefined) return;
    if (this.#sent.length === ANSWERS) this.#sent.shift();
    this.#sent.push({ position, version: this.#version });
  }

  /** The version that belongs to a position; undefined when that is not remembered. */
  versionAt(position: SyncPosition): number | undefined {
    for (let index = this.#sent.length - 1; index >= 0; index--) {
      const sent = this.#sent[index];
      if (sent !== undefined && isSamePosition(sent.position, position)) return sent.version;
    }
    return undefined;
  }

  /** Wakes all waiting requests. */
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

  /** Keeps the user in memory until as many times `release` is called. */
  hold(): void {
    this.#uses++;
  }
  release(): void {
    this.#uses--;
  }
  get isInUse(): boolean {
    return this.#uses > 0 || this.#waiters.size > 0;
  }

  /**
   * Which member events a device has: room and user -> the event. Client-Server API, "Lazy-loading room members": they are redundant then.
   */
  sentMembers(deviceId: string): SentToClient<number> {
    let sent = this.#sentMembers.get(deviceId);
    if (sent === undefined) this.#sentMembers.set(deviceId, (sent = new SentToClient(SENT_MEMBERS)));
    return sent;
  }

  /** A device came with a position: it has the member events of the answers that ended there. */
  acknowledgeMembers(deviceId: string, since: SyncPosition): void {
    this.#sentMembers.get(deviceId)?.acknowledge(since);
  }

  /** A device starts anew: nothing that it was sent counts any more. */
  forgetSentMembers(deviceId: string): void {
    this.#sentMembers.delete(deviceId);
  }
}
