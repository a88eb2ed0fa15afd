import type { NotificationClass } from '#src/protocol/push/default-class.ts';
import { MENTION_KINDS, type MentionKind } from '#src/services/events/building/notification-class.ts';
import { MAX_EVENTS, MAX_MENTIONS } from '#src/storage/push/unread.ts';
import { classUnder, type ThreadMode } from '#src/services/push/rules/user-rules.ts';
import { UnreadEntries } from './unread-entries.ts';

/** How much is unread. */
export interface UnreadCount {
  readonly notification: number;
  readonly highlight: number;
}

/** Why an event is in the list; its index is kept with the position. */
const REASONS = ['class', 'classHighlight', 'notify', 'highlight', 'followers'] as const;
const NONE: readonly number[] = REASONS.map(() => 0);

/** Whether it is so for this user, and not by what the event is for all. */
const isException = (reason: number): boolean => REASONS[reason] === 'notify' || REASONS[reason] === 'highlight';

/** What the reasons amount to under a mode: a user's exceptions hold under every one. */
const contribution = (reason: (typeof REASONS)[number], mode: ThreadMode): NotificationClass => {
  // What notifies everybody comes last in the rules: whatever it is, it notifies those who follow its thread.
  if (reason === 'class') return classUnder(mode, 'notify', true);
  if (reason === 'followers') return classUnder(mode, 'none', true);
  if (reason === 'classHighlight') return classUnder(mode, 'highlight');
  return reason;
};

/** So many of the newest entries are kept, and of those before them, so many that mention the user: the same as is read from the database. */
const MAX = MAX_EVENTS;
const MAX_OLDER = MAX_MENTIONS;
/** What a list takes beside its entries. */
const LIST_BYTES = 200;
/** How many more there may be until the others are dropped in one go. */
const SLACK = 250;

/** How a user is notified of a thread: by `mode` from a position on, and by `before` of earlier events. */
export interface NotifyRule {
  readonly mode: ThreadMode;
  /** Position of the last event to which `before` applies; 0 for none. */
  readonly since?: number;
  readonly before?: ThreadMode;
}

const MODES: readonly ThreadMode[] = ['all', 'mentions', 'muted', 'followed'];
const NOTIFY_RULES = new Map(MODES.map((mode): [ThreadMode, NotifyRule] => [mode, { mode }]));

/** By `mode` at every position. */
export const notifyRuleWith = (mode: ThreadMode): NotifyRule => NOTIFY_RULES.get(mode) ?? { mode };

/** By mode, which reasons notify and which of them highlight. */
const MEANINGS = new Map(MODES.map((mode) => [mode, REASONS.map((reason) => contribution(reason, mode))] as const));

/** What so many entries for each reason amount to, beside what others do. */
const sum = (totals: readonly number[], mode: ThreadMode, others?: UnreadCount): UnreadCount => {
  let notification = others?.notification ?? 0;
  let highlight = others?.highlight ?? 0;
  const meanings = MEANINGS.get(mode) ?? [];
  for (let reason = 0; reason < meanings.length; reason++) {
    if (meanings[reason] !== 'none') notification += totals[reason] ?? 0;
    if (meanings[reason] === 'highlight') highlight += totals[reason] ?? 0;
  }
  return { notification, highlight };
};

/** What is unread for one user in one thread (or the main timeline), in order of position. */
export class UnreadList {
  #entries = new UnreadEntries();
  readonly #totals = [...NONE];
  #bound = MAX + SLACK;

  get size(): number {
    return this.#entries.size;
  }

  /** Rough size in memory, in bytes. */
  get bytes(): number {
    return LIST_BYTES + this.#entries.bytes;
  }

  /** Position before the first event that is unread. */
  get upToFirst(): number {
    return (this.#entries.first ?? Infinity) - 1;
  }

  /** Adds an event that came after all that are here, unless it does not notify the user. */
  add(nid: number, eventClass: NotificationClass, exception: MentionKind | undefined, notifiesFollowers = false): void {
    let reason: number;
    if (exception === undefined) {
      if (eventClass === 'none' && !notifiesFollowers) return;
      reason = eventClass === 'none' ? 4 : eventClass === 'notify' ? 0 : 1;
    } else {
      if (exception === MENTION_KINDS.silent) return;
      reason = exception === MENTION_KINDS.notify ? 2 : 3;
    }
    this.#entries.push(nid, reason);
    this.#change(reason, 1);
    if (this.#entries.size >= this.#bound) this.#drop();
  }

  /** Drops what is too old to count. */
  #drop(): void {
    const all = this.#entries;
    const firstNew = all.size - MAX;
    let surplus = -MAX_OLDER;
    let index = 0;
    all.visit(Infinity, (_nid, reason) => {
      if (index < firstNew && isException(reason)) surplus += 1;
      index += 1;
    });
    const kept = new UnreadEntries();
    this.#totals.fill(0);
    index = 0;
    all.visit(Infinity, (nid, reason) => {
      const isOlder = index < firstNew;
      index += 1;
      if (isOlder && !isException(reason)) return;
      if (isOlder && surplus > 0) {
        surplus -= 1;
        return;
      }
      kept.push(nid, reason);
      this.#change(reason, 1);
    });
    this.#entries = kept;
    this.#bound = kept.size + SLACK;
  }

  /** Forgets everything up to this position: it has been read. */
  readUpTo(nid: number): void {
    this.#entries.shift(nid, (_nid, reason) => this.#change(reason, -1));
  }

  #change(reason: number, by: number): void {
    this.#totals[reason] = (this.#totals[reason] ?? 0) + by;
  }

  /** What is unread up to this position. */
  count(upTo: number, { mode, since = 0, before = mode }: NotifyRule): UnreadCount {
    const all = this.#entries;
    const isSplit = since > 0 && before !== mode && all.size > 0;
    // The whole list is what is asked for nearly always.
    if (!isSplit && upTo >= all.last) return sum(this.#totals, mode);
    const earlier = [...NONE];
    const later = [...NONE];
    all.visit(upTo, (nid, reason) => {
      const totals = isSplit && nid <= since ? earlier : later;
      totals[reason] = (totals[reason] ?? 0) + 1;
    });
    return sum(later, mode, sum(earlier, before));
  }

  /** Whether an event is here, and notifies the user. */
  has(nid: number, { mode, since = 0, before = mode }: NotifyRule): boolean {
    const reason = REASONS[this.#entries.at(nid) ?? -1];
    return reason !== undefined && contribution(reason, nid <= since ? before : mode) !== 'none';
  }
}
