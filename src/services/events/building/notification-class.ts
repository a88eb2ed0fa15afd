import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

/** How a user's notification differs from the class that the event carries. */
export const MENTION_KINDS = { silent: 0, notify: 1, highlight: 2 } as const;
export type MentionKind = (typeof MENTION_KINDS)[keyof typeof MENTION_KINDS];

/** The users that an event notifies. */
export interface NotificationVerdict {
  /** Notifies every member who has only the default rules. */
  readonly notifies: boolean;
  /** Highlights for every such member. */
  readonly highlightsAll: boolean;
  /** An event of a thread, which notifies users who follow the thread, whatever its class is. */
  readonly notifiesFollowers: boolean;
  /** Local members whose notification differs. */
  readonly exceptions: readonly { readonly userId: string; readonly kind: MentionKind }[];
}

/** An event before it has a position. */
export interface ClassifiedEvent {
  readonly type: string;
  readonly sender: string;
  readonly content: JsonObject;
  readonly state_key?: string;
}

/** The flags of an event that hold its notification class. */
export const flagsOfVerdict = ({ notifies, highlightsAll, notifiesFollowers }: NotificationVerdict): number =>
  (notifies ? EVENT_FLAGS.notifies : 0) |
  (highlightsAll ? EVENT_FLAGS.highlightsAll : 0) |
  (notifiesFollowers ? EVENT_FLAGS.notifiesFollowers : 0);

/** Decides once, when an event is created, which users it notifies. */
export interface NotificationClassifier {
  /**
   * Reads what `classify` needs to know about the room's local members, for these events; costs nothing once it is known.
   */
  prepare(room: Room, events: readonly Pick<ClassifiedEvent, 'content'>[]): Promise<void> | undefined;
  classify(room: Room, event: ClassifiedEvent): NotificationVerdict;
}
