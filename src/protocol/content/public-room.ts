/** A room in a list of public rooms; members are named as in the JSON. Client-Server API, `PublicRoomsChunk`. */
export interface PublicRoom {
  readonly room_id: string;
  readonly name?: string;
  readonly topic?: string;
  readonly canonical_alias?: string;
  readonly avatar_url?: string;
  readonly num_joined_members: number;
  readonly world_readable: boolean;
  readonly guest_can_join: boolean;
  readonly join_rule: string;
  readonly room_type?: string;
}
