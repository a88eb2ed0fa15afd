import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import type { NotificationClass } from '#src/protocol/push/default-class.ts';
import type { MentionKind } from '#src/services/events/building/notification-class.ts';
import type { ReadPositions } from '#src/services/push/receipts/room-receipts.ts';
import { type NotifyRule, type UnreadCount, UnreadList } from './unread-list.ts';

/** What a user has not read in a room. */
export interface RoomUnread extends UnreadCount {
  /** By id of the thread's root; threads with nothing unread are left out. */
  readonly threads: ReadonlyMap<string, UnreadCount>;
}

/** Approximate bytes of the other members. */
const STATE_BYTES = 150;
const EXCEPTION_BYTES = 32;
const THREAD_BYTES = 100;
const NO_THREADS: RoomUnread['threads'] = new Map();

/** An event as unread counts look at it. */
export interface CountedEvent {
  readonly nid: number;
  /** Whether the user sent it. */
  readonly own: boolean;
  readonly flags: number;
  /** Id of the thread's root; undefined in the main timeline. */
  readonly root: string | undefined;
  readonly exception: MentionKind | undefined;
}

/** What the flags of an event say of its class. */
export const classOfFlags = (flags: number): NotificationClass =>
  (flags & EVENT_FLAGS.notifies) === 0 ? 'none' : (flags & EVENT_FLAGS.highlightsAll) === 0 ? 'notify' : 'highlight';

/**
 * One user's unread events in one room, up to a position. Everything at or before the user's join counts as read, and
 * by sending into a thread (or the main timeline) a user has read it up to there.
 */
export class UnreadState {
  /** Position at which the user joined. */
  readonly since: number;
  /** How many changes of the past there had been in any room when it was read. */
  readonly readAt: number;
  /** Users whose events do not count. */
  readonly ignored: ReadonlySet<string>;
  readonly #main = new UnreadList();
  /** None in most rooms for most users, as with the exceptions: there are as many of these as users and rooms. */
  #threads: Map<string, UnreadList> | undefined;
  /** Every event up to here has been looked at. */
  #cursor: number;
  /** The user's exceptions for events that were committed since this state is in memory and not looked at yet. */
  #exceptions: Map<number, MentionKind> | undefined;

  constructor(since: number, cursor: number, ignored: ReadonlySet<string>, readAt: number) {
    this.since = since;
    this.ignored = ignored;
    this.readAt = readAt;
    this.#cursor = cursor;
  }

  get cursor(): number {
    return this.#cursor;
  }

  /** Rough size in memory, in bytes. */
  get size(): number {
    let size = STATE_BYTES + this.#main.bytes + (this.#exceptions?.size ?? 0) * EXCEPTION_BYTES;
    for (const list of this.#threads?.values() ?? []) size += THREAD_BYTES + list.bytes;
    return size;
  }

  /** Position up to which nothing is unread, in the main timeline or a thread. */
  get readUpTo(): number {
    let upTo = Math.min(this.#cursor, this.#main.upToFirst);
    for (const list of this.#threads?.values() ?? []) upTo = Math.min(upTo, list.upToFirst);
    return upTo;
  }

  /** Notes what was decided for the user when the event was made. */
  note(nid: number, exception: MentionKind): void {
    if (nid > this.#cursor) (this.#exceptions ??= new Map<number, MentionKind>()).set(nid, exception);
  }

  /** What was noted for an event. */
  exceptionOf(nid: number): MentionKind | undefined {
    return this.#exceptions?.get(nid);
  }

  add(event: CountedEvent): void {
    if (event.own) this.#list(event.root)?.readUpTo(event.nid);
    else
      this.#list(event.root, true).add(
        event.nid,
        classOfFlags(event.flags),
        event.exception,
        (event.flags & EVENT_FLAGS.notifiesFollowers) !== 0,
      );
  }

  /** Says that every event up to here has been added. */
  moveTo(cursor: number): void {
    this.#cursor = cursor;
    if (this.#exceptions === undefined) return;
    for (const nid of this.#exceptions.keys()) if (nid <= cursor) this.#exceptions.delete(nid);
    if (this.#exceptions.size === 0) this.#exceptions = undefined;
  }

  /** Forgets what receipts say has been read. */
  read(positions: ReadPositions): void {
    const everything = positions.unthreaded ?? 0;
    this.#main.readUpTo(Math.max(everything, positions.main ?? 0));
    if (this.#threads === undefined) return;
    for (const [root, list] of this.#threads) {
      list.readUpTo(Math.max(everything, positions.threadsFloor, positions.threads.get(root) ?? 0));
      if (list.size === 0) this.#threads.delete(root);
    }
    if (this.#threads.size === 0) this.#threads = undefined;
  }

  /** @param inThread the user's notification mode for a thread, by the id of its root */
  count(upTo: number, main: NotifyRule, inThread: (root: string) => NotifyRule = () => main): RoomUnread {
    const { notification, highlight } = this.#main.count(upTo, main);
    if (this.#threads === undefined) return { notification, highlight, threads: NO_THREADS };
    const threads = new Map<string, UnreadCount>();
    for (const [root, list] of this.#threads) {
      const count = list.count(upTo, inThread(root));
      if (count.notification > 0) threads.set(root, count);
    }
    return { notification, highlight, threads };
  }

  /** Whether an event notifies the user, and is not read. */
  has(nid: number, main: NotifyRule, inThread: (root: string) => NotifyRule): boolean {
    if (this.#main.has(nid, main)) return true;
    for (const [root, list] of this.#threads ?? []) if (list.has(nid, inThread(root))) return true;
    return false;
  }

  #list(root: string | undefined, create: true): UnreadList;
  #list(root: string | undefined): UnreadList | undefined;
  #list(root: string | undefined, create = false): UnreadList | undefined {
    if (root === undefined) return this.#main;
    let list = this.#threads?.get(root);
    if (list === undefined && create)
      (this.#threads ??= new Map<string, UnreadList>()).set(root, (list = new UnreadList()));
    return list;
  }
}
