import type { NotificationClass } from '#src/protocol/push/default-class.ts';
import { MENTION_KINDS, type MentionKind } from '#src/services/events/building/notification-class.ts';
import { classUnder, type RoomMode } from '#src/services/push/rules/user-rules.ts';

/** How much is unread. */
export interface UnreadCount {
  readonly notification: number;
  readonly highlight: number;
}

/** Why an event is in the list; its index is kept with the position. */
const REASONS = ['class', 'classHighlight', 'notify', 'highlight'] as const;

/** What the reasons amount to under a mode: a user's exceptions hold under every one. */
const contribution = (reason: (typeof REASONS)[number], mode: RoomMode): NotificationClass => {
  if (reason === 'class') return classUnder(mode, 'notify');
  if (reason === 'classHighlight') return classUnder(mode, 'highlight');
  return reason;
};

/** Positions are whole numbers below 2^50: two more bits for the reason fit. */
const encode = (nid: number, reason: number): number => nid * 4 + reason;
const nidOf = (entry: number): number => Math.floor(entry / 4);

/** What is unread for one user in one thread (or the main timeline), in order of position. */
export class UnreadList {
  #entries: number[] = [];
  readonly #totals = [0, 0, 0, 0];

  get size(): number {
    return this.#entries.length;
  }

  /** Adds an event that came after all that are here, unless it is nothing to the user. */
  add(nid: number, eventClass: NotificationClass, exception: MentionKind | undefined): void {
    let reason: number;
    if (exception === undefined) {
      if (eventClass === 'none') return;
      reason = eventClass === 'notify' ? 0 : 1;
    } else {
      if (exception === MENTION_KINDS.silent) return;
      reason = exception === MENTION_KINDS.notify ? 2 : 3;
    }
    this.#entries.push(encode(nid, reason));
    this.#totals[reason] = (this.#totals[reason] ?? 0) + 1;
  }

  /** Forgets everything up to this position: it has been read. */
  readUpTo(nid: number): void {
    const end = this.#firstAfter(nid);
    if (end === 0) return;
    for (const entry of this.#entries.slice(0, end)) this.#totals[entry % 4] = (this.#totals[entry % 4] ?? 0) - 1;
    this.#entries = this.#entries.slice(end);
  }

  /** What is unread up to this position. */
  count(upTo: number, mode: RoomMode): UnreadCount {
    let totals: readonly number[] = this.#totals;
    const end = this.#firstAfter(upTo);
    if (end < this.#entries.length) {
      const some = [0, 0, 0, 0];
      for (const entry of this.#entries.slice(0, end)) some[entry % 4] = (some[entry % 4] ?? 0) + 1;
      totals = some;
    }
    let notification = 0;
    let highlight = 0;
    for (const [index, reason] of REASONS.entries()) {
      const means = contribution(reason, mode);
      if (means !== 'none') notification += totals[index] ?? 0;
      if (means === 'highlight') highlight += totals[index] ?? 0;
    }
    return { notification, highlight };
  }

  #firstAfter(nid: number): number {
    let end = this.#entries.length;
    // The whole list or nothing is what is asked for nearly always.
    if (end === 0 || nidOf(this.#entries[end - 1] ?? 0) <= nid) return end;
    let start = 0;
    while (start < end) {
      const middle = (start + end) >>> 1;
      if (nidOf(this.#entries[middle] ?? 0) <= nid) start = middle + 1;
      else end = middle;
    }
    return start;
  }
}
