/** The event, as push rules look at it. */

import { isWordUnit } from '#src/protocol/matching/glob.ts';

/** What push rules read of an event: the client format of it. Further members are matched by `key` like these. */
export interface PushEvent {
  readonly type: string;
  readonly sender: string;
  readonly room_id?: string;
  readonly state_key?: string;
  readonly content: Readonly<Record<string, unknown>>;
  readonly [member: string]: unknown;
}

/**
 * An event made ready for evaluation by many users: texts are folded to one case, and taken apart into words, once, not once for every
 * user and rule. "Case-insensitive" is taken as: equal after Unicode lower-casing.
 */
export class PushSubject {
  readonly event: PushEvent;
  // Most events are asked for neither.
  #folded: Map<string, string> | undefined;
  #words: Map<string, ReadonlySet<string>> | undefined;

  constructor(event: PushEvent) {
    this.event = event;
  }

  /** @param text a value of this event */
  folded(text: string): string {
    let folded = this.#folded?.get(text);
    if (folded === undefined) {
      folded = foldCase(text);
      (this.#folded ??= new Map()).set(text, folded);
    }
    return folded;
  }

  /** The words of a folded value of this event: all stretches of `a-z 0-9 _` that nothing of the kind stands next to. */
  words(folded: string): ReadonlySet<string> {
    let words = this.#words?.get(folded);
    if (words === undefined) (this.#words ??= new Map()).set(folded, (words = new Set(folded.match(WORDS))));
    return words;
  }
}

const WORDS = /[A-Za-z0-9_]+/g;

/** Whether a folded text is one word, of which `PushSubject.words` tells whether it occurs. */
export function isOneWord(folded: string): boolean {
  for (let i = 0; i < folded.length; i++) if (!isWordUnit(folded.charCodeAt(i))) return false;
  return folded !== '';
}

export function foldCase(text: string): string {
  return text.toLowerCase();
}

/** Whether an event has `m.mentions`: then its text is not searched. Client-Server API, "User and room mentions". */
export const saysWhomItMentions = (event: Pick<PushEvent, 'content'>): boolean =>
  Object.hasOwn(event.content, 'm.mentions');

/** What a rule may ask about the room and the user whose rules are evaluated. */
export interface PushContext extends RoomPushContext {
  readonly userId: string;
  /** The user's display name in the room. */
  readonly displayName?: string | undefined;
  /** Whether the user follows the thread that the event is in; undefined when it is in none. MSC4306. */
  readonly followsThread?: boolean | undefined;
}

/** What a rule may ask about the room, the same for every user. */
export interface RoomPushContext {
  /** Joined members of the room. */
  readonly memberCount: number;
  /** Power level of the event's sender; `Infinity` for creators of a room of version 12 or later. */
  readonly senderPowerLevel: number;
  /** `notifications` of the room's power levels. */
  readonly notificationPowerLevels?: Readonly<Record<string, number>> | undefined;
}
