import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { MemberProfile } from './profile-source.ts';

/** A membership that only another server can give: in a room that this server is not in. */
export interface RemoteJoin {
  readonly userId: string;
  readonly roomId: string;
  /** Servers that may be in the room, best first. */
  readonly servers: readonly string[];
  readonly profile: MemberProfile;
  readonly reason: string | undefined;
}

/** Changes of membership that need other servers. */
export interface RemoteMembership {
  /** Joins or knocks through another server. */
  enter(how: 'join' | 'knock', request: RemoteJoin): Promise<void>;
  /** Rejects an invite to, or takes back a knock at, a room that this server is not in. */
  leave(userId: string, roomId: string, reason: string | undefined): Promise<void>;
  /** Has the invited user's server sign an invite, and stores it. */
  invite(room: Room, sender: string, target: string, content: JsonObject): Promise<void>;
}
