import { EventStream } from '#src/kernel/event-stream.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Member } from '#src/services/room-model/room/membership.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { LateEventRow, MentionRow } from '#src/storage/events/event-rows.ts';

/** A membership that changed. */
export interface MemberChange {
  readonly before: Member | undefined;
  readonly after: Member;
}

/** An event that has just been committed, with the change of membership that it made. */
export interface CommittedEvent {
  readonly event: StoredEvent;
  readonly member: MemberChange | undefined;
  /** Users whose notification differs from the event's class. */
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

/**
 * Remote events are here now that are shown to nobody, or to those only who read the past: soft-failed and rejected ones, outliers, and backfilled
 * ones. Others that name them waited for them perhaps.
 */
export interface Stored {
  readonly kind: 'stored';
  readonly room: Room;
  readonly eventIds: readonly string[];
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

/** The full state of a partially joined room is known. */
export interface Completed {
  readonly kind: 'completed';
  readonly room: Room;
  /** Servers in the room that the answer of the join did not name: they were sent nothing since. */
  readonly servers: readonly string[];
  /** Position of the join. */
  readonly join: number;
}

/** A room was deleted whole: nothing is found of it any more, and its object is empty. */
export interface Deleted {
  readonly kind: 'deleted';
  readonly room: Room;
  /** The users of this server who had a membership in it, whatever it was. */
  readonly localUsers: readonly string[];
}

/** All that can happen to the events of rooms. */
export type RoomStreamEvent = Appended | Stored | Revealed | Purged | Restored | Completed | Deleted;

/**
 * The stream of room events: the service that changes a room's events publishes it here, after the commit and in its turn.
 *
 * Only caches listen. What is derived from events follows them by a cursor (`EventFollower`), and what must happen because of an event
 * is a job that is committed with it (`FollowUps`).
 */
export class RoomEventStream extends EventStream<RoomStreamEvent> {
  /** By name, whether a follower processes an event. */
  readonly #followers = new Map<string, (room: Room, event: StoredEvent) => boolean>();

  constructor(logger: Logger) {
    super('room events', logger, ({ room }) => ({ room_id: room.roomId }));
  }

  /** Has a follower process events that are shown late, too. @param wants whether it processes an event */
  follow(name: string, wants: (room: Room, event: StoredEvent) => boolean): void {
    this.#followers.set(name, wants);
  }

  /**
   * The rows by which followers process an event that they have passed: those belong into the commit that shows it, so that none misses it
   * however the process ends.
   */
  lateRows(room: Room, event: StoredEvent): readonly LateEventRow[] {
    return [...this.#followers].flatMap(([follower, wants]) =>
      wants(room, event) ? { follower, room: room.nid, event: event.nid } : [],
    );
  }
}
