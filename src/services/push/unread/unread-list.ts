import { firstIndex } from '#src/kernel/first-index.ts';
import type { NotificationClass } from '#src/protocol/push/default-class.ts';
import { MENTION_KINDS, type MentionKind } from '#src/services/events/building/notification-class.ts';
import { MAX_EVENTS, MAX_MENTIONS } from '#src/storage/push/unread.ts';
import { classUnder, type ThreadMode } from '#src/services/push/rules/user-rules.ts';

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
/** How many more there may be until the others are dropped in one go. */
const SLACK = 250;

/** Positions are whole numbers below 2^50: three more bits for the reason fit. */
const encode = (nid: number, reason: number): number => nid * 8 + reason;
const nidOf = (entry: number): number => Math.floor(entry / 8);
const reasonOf = (entry: number): number => entry % 8;

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
  #entries: number[] = [];
  readonly #totals = [...NONE];
  #bound = MAX + SLACK;

  get size(): number {
    return this.#entries.length;
  }

  /** Position before the first event that is unread. */
  get upToFirst(): number {
    const [first] = this.#entries;
    return first === undefined ? Infinity : nidOf(first) - 1;
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
    this.#entries.push(encode(nid, reason));
    this.#totals[reason] = (this.#totals[reason] ?? 0) + 1;
    if (this.#entries.length >= this.#bound) this.#drop();
  }

  /** Drops what is too old to count. */
  #drop(): void {
    const older = this.#entries.slice(0, -MAX).filter((entry) => isException(reasonOf(entry)));
    this.#entries = [...older.slice(-MAX_OLDER), ...this.#entries.slice(-MAX)];
    this.#bound = this.#entries.length + SLACK;
    for (const [reason, count] of this.#totalsOf(0, this.#entries.length).entries()) this.#totals[reason] = count;
  }

  /** Forgets everything up to this position: it has been read. */
  readUpTo(nid: number): void {
    const end = this.#firstAfter(nid);
    if (end === 0) return;
    for (const [reason, count] of this.#totalsOf(0, end).entries())
      this.#totals[reason] = (this.#totals[reason] ?? 0) - count;
    this.#entries = this.#entries.slice(end);
  }

  /** What is unread up to this position. */
  count(upTo: number, { mode, since = 0, before = mode }: NotifyRule): UnreadCount {
    const end = this.#firstAfter(upTo);
    const start = since === 0 || before === mode ? 0 : this.#firstAfter(Math.min(since, upTo));
    const later = start === 0 && end === this.#entries.length ? this.#totals : this.#totalsOf(start, end);
    return sum(later, mode, start === 0 ? undefined : sum(this.#totalsOf(0, start), before));
  }

  /** How many entries of a stretch there are for each reason. */
  #totalsOf(start: number, end: number): readonly number[] {
    const totals = [...NONE];
    for (const entry of this.#entries.slice(start, end)) totals[reasonOf(entry)] = (totals[reasonOf(entry)] ?? 0) + 1;
    return totals;
  }

  /** Whether an event is here, and notifies the user. */
  has(nid: number, { mode, since = 0, before = mode }: NotifyRule): boolean {
    const entry = this.#entries[this.#firstAfter(nid) - 1];
    const reason = entry === undefined || nidOf(entry) !== nid ? undefined : REASONS[reasonOf(entry)];
    return reason !== undefined && contribution(reason, nid <= since ? before : mode) !== 'none';
  }

  #firstAfter(nid: number): number {
    const end = this.#entries.length;
    // The whole list or nothing is what is asked for nearly always.
    if (end === 0 || nidOf(this.#entries[end - 1] ?? 0) <= nid) return end;
    return firstIndex(end, (index) => nidOf(this.#entries[index] ?? 0) <= nid);
  }
}
