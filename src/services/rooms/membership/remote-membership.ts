import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

/** A join or knock that needs another server: this one is not in the room, or no user of it may authorise the join. */
export interface RemoteEntry {
  readonly userId: string;
  readonly roomId: string;
  /** Servers that may be in the room, best first. Others that are likely to be are asked after them. */
  readonly servers: readonly string[];
  /** The content of the member event, but for its membership. */
  readonly content: JsonObject;
  /** The room's state has to let guests in. */
  readonly isGuest?: boolean | undefined;
  /** What an identity server signed for an invite by address. */
  readonly thirdPartySigned?: { readonly sender: string; readonly signed: JsonObject } | undefined;
}

/** Changes of membership that need other servers. */
export interface RemoteMembership {
  /** Whether a membership has to be asked of other servers: this one is not in the room, or does not know yet who is banned from it. */
  isNeeded(room: Room | undefined, userId: string, how: 'join' | 'knock' | 'leave'): boolean;
  /**
   * Joins or knocks through another server.
   *
   * @returns false when a user of this server came into the room meanwhile: then it can be done here
   * @throws MatrixError what the other servers said
   */
  enter(how: 'join' | 'knock', request: RemoteEntry): Promise<boolean>;
  /** Rejects an invite to, or takes back a knock at, a room that this server is not in. Does so whether or not another server can be reached. */
  leave(room: Room, userId: string, reason: string | undefined): Promise<void>;
  /**
   * Has the invited user's server sign an invite, and stores it.
   *
   * @returns the invite
   * @throws MatrixError M_FORBIDDEN, and what that server says
   */
  invite(room: Room, sender: string, target: string, content: JsonObject): Promise<StoredEvent>;
}
