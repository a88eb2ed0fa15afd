import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

/** How a user's notification differs from the class that the event carries. */
export const MENTION_KINDS = { silent: 0, notify: 1, highlight: 2 } as const;
export type MentionKind = (typeof MENTION_KINDS)[keyof typeof MENTION_KINDS];

/** Whom an event notifies. */
export interface NotificationVerdict {
  /** Notifies every member who has only the default rules. */
  readonly notifies: boolean;
  /** Highlights for every such member. */
  readonly highlightsAll: boolean;
  /** Said in a thread, and notifies those who follow it whatever its class is. */
  readonly notifiesFollowers: boolean;
  /** Those for whom it is otherwise; local members only. */
  readonly exceptions: readonly { readonly userId: string; readonly kind: MentionKind }[];
}

/** An event before it has a position. */
export interface ClassifiedEvent {
  readonly type: string;
  readonly sender: string;
  readonly content: JsonObject;
  readonly state_key?: string;
}

/** The flags of an event that say whom it notifies. */
export const flagsOfVerdict = ({ notifies, highlightsAll, notifiesFollowers }: NotificationVerdict): number =>
  (notifies ? EVENT_FLAGS.notifies : 0) |
  (highlightsAll ? EVENT_FLAGS.highlightsAll : 0) |
  (notifiesFollowers ? EVENT_FLAGS.notifiesFollowers : 0);

/** Decides once, when an event is made, whom it notifies. */
export interface NotificationClassifier {
  /**
   * Reads what `classify` needs to know about the room's local members, for these events; costs nothing once it is known.
   */
  prepare(room: Room, events: readonly Pick<ClassifiedEvent, 'content'>[]): Promise<void> | undefined;
  classify(room: Room, event: ClassifiedEvent): NotificationVerdict;
}
