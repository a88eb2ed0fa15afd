import type { Room } from '#src/services/room-model/room/room.ts';
import type { ListedRoom } from './room-lists.ts';

/** A hero of a room without a name. */
export interface Hero {
  readonly userId: string;
  readonly displayname: string | undefined;
  readonly avatarUrl: string | undefined;
}

/** Where an event stands in the state. */
export interface StateEntry {
  readonly type: string;
  readonly stateKey: string;
}

/** What an answer says of a room. Events are JSON texts. */
export interface RoomAnswer {
  readonly listed: ListedRoom<Room>;
  readonly isInitial: boolean;
  /** Null when it was removed; undefined when it is unchanged. */
  readonly name: string | null | undefined;
  readonly avatar: string | null | undefined;
  readonly heroes: readonly Hero[] | undefined;
  /** Undefined when the room is not a direct chat and the client knows it. */
  readonly isDm: boolean | undefined;
  readonly requiredState: readonly string[];
  /** State that is there no more: the resolution of a fork took it away. */
  readonly removedState: readonly StateEntry[];
  readonly timeline: string | undefined;
  readonly prevBatch: string | undefined;
  readonly isLimited: boolean;
  /** The client knew the room with a shorter timeline. */
  readonly isExpanded: boolean;
  /** How many of the timeline's events are new to the connection. */
  readonly live: number;
  /** For users who are not in the room. */
  readonly strippedState: readonly object[] | undefined;
  readonly notification: number;
  readonly highlight: number;
  /** The names of the lists that it is in. */
  readonly lists: readonly string[];
}
