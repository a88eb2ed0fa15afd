import type { Eventually } from '#src/kernel/concurrency/steps.ts';
import type { PositionVector, SyncPosition } from '#src/protocol/wire/position.ts';
import type { RoomPlan } from './room-plan.ts';
import type { Answer } from './sent-to-client.ts';
import type { SyncFilter } from './sync-filter.ts';
import type { SyncUser } from './sync-user.ts';

/** Wakes users who have changes. Cheap enough for every commit; a marked user is woken once, after the whole commit. */
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
   * Position of the client's token, by shard; zero without a token. The client sent it, so it has
   * received everything up to here.
   */
  readonly since: PositionVector;
  /** The parsed token; undefined without one. The same for all rooms of a response. */
  readonly acknowledged: SyncPosition | undefined;
  /** The response being made, to record what it contains. */
  readonly answer: Answer;
  /** The ephemeral count of the token; 0 when it is of another process. */
  readonly sinceCount: number;
  /** For sections that keep a rest: the number of the one that the client is to be sent next; 0 for one of another run of the process. */
  readonly rest?: number | undefined;
  /** Initial sync. */
  readonly isInitial: boolean;
  /** `full_state`. */
  readonly fullState: boolean;
  /** The name under which state up to the end of the timeline is wanted; undefined: up to its start, as `state`. */
  readonly stateAfter: string | undefined;
  /** The users that the reader ignores, as of now. Client-Server API, "Ignoring Users". */
  readonly ignored: () => ReadonlySet<string>;
  /** Whether the user has changed one of their global pieces of account data, and the client does not know of it. */
  readonly hasChanged: (type: string) => boolean;
}

/** Content that a section adds to a response, for one room or outside of rooms. */
export interface Part {
  /** Members by name: JSON texts. */
  readonly members?: Readonly<Record<string, string>>;
  /** Events for a list that sections may share, `"<list>":{"events":[…]}`: JSON texts. */
  readonly list?: string;
  readonly events?: readonly string[];
  /** Whether this ends a long-poll. Repeated content, such as counts, does not. */
  readonly isNews: boolean;
  /**
   * For sections with a `cursor`, in general parts only: not everything fitted, and what came after this position of the user's shard is
   * for the next response, whose `since` is this position. For those that keep a rest it is the number of that, greater than 0.
   */
  readonly until?: number;
}

/**
 * A section opened for one response. Whatever it has in memory it answers at once, without a promise. `changedRooms` is called in the turn of the event loop in which the end of the response is fixed;
 * later calls must not return anything after that end.
 */
export interface SectionView {
  /** Joined rooms with changes other than events, by number. */
  changedRooms?(upTo: SyncPosition): Iterable<number>;
  /** Loads the data of several rooms for `room`, in as few statements as for one. */
  prepare?(rooms: readonly RoomPlan[], upTo: SyncPosition): Eventually<void>;
  /** The part of one room; undefined for nothing. */
  room?(plan: RoomPlan, upTo: SyncPosition): Eventually<Part | undefined>;
  /** The part outside of rooms; undefined for nothing. */
  general?(upTo: SyncPosition): Eventually<Part | undefined>;
}

/**
 * One stream in sync: its changes since a position, their JSON, and the signals that wake waiting requests. The engine
 * knows none of them; the composition lists them, in the order in which they are written.
 */
export interface Section {
  /** Name by which encoders other than `v3` find this section. */
  readonly name: string;
  /** One lower-case letter, its own in sync tokens: for sections whose response is bounded, and so may end before the others. */
  readonly cursor?: string;
  /** Its responses end before the others by what it keeps in memory for the next one (`Part.until`, `SectionRequest.rest`), not by a position. */
  readonly keepsRemainder?: true;
  /**
   * Its content changes only with its own wakes, account data and memberships. So it is opened only after one
   * of these since the client's position. Its `open` neither notes nor deletes anything.
   */
  readonly opensOnlyWhenWoken?: true;
  /**
   * False for sections without parts for rooms: they are not opened again for rooms that did not fit into an earlier response, but the view
   * of this response sees these rooms, too.
   */
  readonly hasRoomParts?: false;
  /** Subscribes to changes. Called once. */
  listen?(waker: Waker): void;
  /** Opens the section for a response, and reads what it will need; without anything to read it answers at once. */
  open(request: SectionRequest): Eventually<SectionView>;
}
