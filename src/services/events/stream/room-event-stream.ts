import type { Logger } from '#src/kernel/logger.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Member } from '#src/services/room-model/room/membership.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { MentionRow } from '#src/storage/events/event-rows.ts';

/** A membership that changed. */
export interface MemberChange {
  readonly before: Member | undefined;
  readonly after: Member;
}

/** An event that has just been committed, with the change of membership that it made. */
export interface CommittedEvent {
  readonly event: StoredEvent;
  readonly member: MemberChange | undefined;
  /** Those for whom it notifies otherwise than its class says. */
  readonly mentions: readonly Pick<MentionRow, 'user' | 'kind'>[];
  /** Events that came before it relate to it. */
  readonly wasAwaited?: boolean;
}

/** Events were committed: told once for each commit and room, in the order of commits. */
export interface Appended {
  readonly kind: 'appended';
  readonly room: Room;
  readonly events: readonly CommittedEvent[];
  /** Memberships that changed because branches of the room's history were resolved, not by an event of this commit. */
  readonly resolvedMembers?: readonly MemberChange[];
}

/** An event that was hidden as soft-failed is shown from now on. */
export interface Revealed {
  readonly kind: 'revealed';
  readonly room: Room;
  readonly event: StoredEvent;
}

/** Old events of a room were purged. */
export interface Purged {
  readonly kind: 'purged';
  readonly room: Room;
}

/** Events of a room that had been purged are back out of an archive. */
export interface Restored {
  readonly kind: 'restored';
  readonly room: Room;
}

/** All that can happen to the events of rooms. */
export type RoomStreamEvent = Appended | Revealed | Purged | Restored;

type Kind = RoomStreamEvent['kind'];
type OfKind<K extends Kind> = Extract<RoomStreamEvent, { readonly kind: K }>;

/** Runs in the turn of the commit. It returns nothing, not even a promise: nobody waits for it, so it must be done when it returns. */
export type RoomStreamListener<K extends Kind = Kind> = (happened: OfKind<K>) => undefined;

/**
 * The stream of room events: whoever changes what a room's events are publishes it here, after the commit and in its turn.
 *
 * Only caches listen. A listener must neither wait nor fail: one that throws is logged, and the others hear of it all the same. What is
 * derived from events follows them by a cursor (`EventFollower`), and what must happen because of an event is a job that is
 * committed with it (`FollowUps`).
 */
export class RoomEventStream {
  readonly #listeners: { readonly [K in Kind]: Set<RoomStreamListener<K>> } = {
    appended: new Set(),
    revealed: new Set(),
    purged: new Set(),
    restored: new Set(),
  };
  readonly #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** @returns stops listening */
  on<K extends Kind>(kind: K, listener: RoomStreamListener<K>): () => void {
    const listeners: Set<RoomStreamListener<K>> = this.#listeners[kind];
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
    };
  }

  publish<K extends Kind>(happened: OfKind<K> & { readonly kind: K }): void {
    const listeners: ReadonlySet<RoomStreamListener<K>> = this.#listeners[happened.kind as K];
    for (const listener of listeners) {
      try {
        listener(happened);
      } catch (err) {
        const { kind, room } = happened;
        this.#logger.error('a listener to the stream of room events failed', { kind, room_id: room.roomId, err });
      }
    }
  }
}
