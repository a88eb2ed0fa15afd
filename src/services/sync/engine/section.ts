import type { Eventually } from '#src/kernel/steps.ts';
import type { PositionVector, SyncPosition } from '#src/protocol/wire/position.ts';
import type { RoomPlan } from './room-plan.ts';
import type { Answer } from './sent-to-client.ts';
import type { SyncFilter } from './sync-filter.ts';
import type { SyncUser } from './sync-user.ts';

/** Wakes users for whom there is news. Cheap enough to be called for every commit; a marked user is woken once, after all of it. */
export interface Waker {
  user(userId: string): void;
  /** A user, in all sections: what other sections show may have changed as well. */
  userForAll(userId: string): void;
  /** All members of a room. */
  room(roomNid: number): void;
  /** A user, and all users who share a room with them. */
  companions(userId: string): void;
}

/** The reader of a response, and what their client knows already. */
export interface SectionRequest {
  readonly user: SyncUser;
  readonly userId: string;
  /** Undefined for readers without a device. */
  readonly deviceId: string | undefined;
  readonly filter: SyncFilter;
  /**
   * Up to where the client was told, by shard: before everything when it knows nothing. It has said so itself with the token that it
   * sent, so what it was told up to here it has received.
   */
  readonly since: PositionVector;
  /** All of what the client was told, as its token says it; undefined when it comes without one. The same for all rooms of an answer. */
  readonly acknowledged: SyncPosition | undefined;
  /** The answer that is being made, for what is noted of it. */
  readonly answer: Answer;
  /** The same for what is counted in memory; 0 when it knows nothing of this run of the process. */
  readonly sinceCount: number;
  /** For sections that keep a rest: the number of the one that the client is to be sent next; 0 for one of another run of the process. */
  readonly rest?: number | undefined;
  /** The client knows nothing at all. */
  readonly isInitial: boolean;
  /** The client wants the whole state of its rooms, known or not. */
  readonly fullState: boolean;
  /** The name under which state up to the end of the timeline is wanted; undefined: up to its start, as `state`. */
  readonly stateAfter: string | undefined;
  /** The users that the reader ignores, as of now. Client-Server API, "Ignoring Users". */
  readonly ignored: () => ReadonlySet<string>;
  /** Whether the user has changed one of their global pieces of account data, and the client does not know of it. */
  readonly hasChanged: (type: string) => boolean;
}

/** What a section adds to a response, for one room or in general. */
export interface Part {
  /** Members by name: JSON texts. */
  readonly members?: Readonly<Record<string, string>>;
  /** Events for a list that sections may share, `"<list>":{"events":[…]}`: JSON texts. */
  readonly list?: string;
  readonly events?: readonly string[];
  /** Worth a response by itself. What is repeated for completeness, such as counts, waits for something that is news. */
  readonly isNews: boolean;
  /**
   * For sections with a `cursor`, in general parts only: not everything fitted, and what came after this position of the user's shard is
   * for the next response, whose `since` is this position. For those that keep a rest it is the number of that, greater than 0.
   */
  readonly until?: number;
}

/**
 * A section opened for one response. Whatever it has in memory it answers at once, without a promise. `changedRooms` is called in the turn of the event loop in which the end of the response is fixed;
 * what comes afterwards tells nothing that lies past that end.
 */
export interface SectionView {
  /** Rooms that the user is in, by number, which are to be told of although nothing was sent there. */
  changedRooms?(upTo: SyncPosition): Iterable<number>;
  /** Makes known what `room` needs of several rooms, in as few statements as for one. */
  prepare?(rooms: readonly RoomPlan[], upTo: SyncPosition): Eventually<void>;
  /** The part of one room; undefined for nothing. */
  room?(plan: RoomPlan, upTo: SyncPosition): Eventually<Part | undefined>;
  /** The part outside of rooms; undefined for nothing. */
  general?(upTo: SyncPosition): Eventually<Part | undefined>;
}

/**
 * One stream of what sync shows: what changed since a position, how that is written, and what wakes those who wait for it. The engine
 * knows none of them; the composition lists them, in the order in which they are written.
 */
export interface Section {
  /** Encoders that place a section otherwise than its parts say find it by this name. */
  readonly name: string;
  /** One lower-case letter, its own in sync tokens: for sections whose response is bounded, and so may end before the others. */
  readonly cursor?: string;
  /** Its responses end before the others by what it keeps in memory for the next one (`Part.until`, `SectionRequest.rest`), not by a position. */
  readonly keepsRest?: true;
  /**
   * What it tells changes by nothing but what it wakes for, account data, and who is in which room: it is asked only when there was one
   * of these since the client's position. Its `open` neither notes nor deletes anything.
   */
  readonly isQuietUntilWoken?: true;
  /**
   * False for sections without parts for rooms: they are not opened again for rooms that did not fit into an earlier response, but the view
   * of this response sees these rooms, too.
   */
  readonly tellsOfRooms?: false;
  /** Subscribes to what makes news. Called once. */
  listen?(waker: Waker): void;
  /** Opens the section for a response, and reads what it will need; without anything to read it answers at once. */
  open(request: SectionRequest): Eventually<SectionView>;
}
