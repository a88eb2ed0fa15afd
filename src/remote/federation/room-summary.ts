import type { StrippedStateEvent } from '#src/protocol/events/stripped-state.ts';
import { isRoomAlias, isRoomId, isUserId, parseMxcUri } from '#src/protocol/identifiers/identifiers.ts';
import { isServerName } from '#src/protocol/identifiers/server-name.ts';
import { isJsonObject, isWellFormedJson, type JsonObject, type JsonValue } from '#src/protocol/json/json-value.ts';
import type { PublicRoom } from '#src/protocol/content/public-room.ts';

/** The summary of a room by another server; members are named as in the JSON. */
export interface RemoteRoomSummary extends PublicRoom {
  readonly room_version?: string;
  readonly encryption?: string;
  /** The rooms whose members may join. */
  readonly allowed_room_ids?: readonly string[];
}

/** A child of a space, as reported by another server. */
export interface RemoteSpaceChild extends StrippedStateEvent {
  readonly origin_server_ts: number;
}

/** Characters of names, types and the like, and of topics. Both are far more than a list shows. */
const MAX_NAME_LENGTH = 2_048;
const MAX_TOPIC_LENGTH = 16_384;
/** Maximum number of rooms in a restricted join rule. */
const MAX_ALLOWED = 1_000;

const textIn = (value: JsonValue | undefined, longest = MAX_NAME_LENGTH): string | undefined =>
  typeof value === 'string' && value !== '' ? value.slice(0, longest).toWellFormed() : undefined;

/** A summary with all its valid members; undefined without a room id. Client-Server API, `PublicRoomsChunk`. */
export const remoteRoomSummary = (given: JsonValue): RemoteRoomSummary | undefined => {
  if (!isJsonObject(given)) return undefined;
  const { room_id: roomId, num_joined_members: joined, canonical_alias: alias, avatar_url: avatar } = given;
  if (!isRoomId(roomId)) return undefined;
  const allowed = given['allowed_room_ids'] ?? given['allowed_spaces'];
  const texts = {
    name: textIn(given['name']),
    topic: textIn(given['topic'], MAX_TOPIC_LENGTH),
    canonical_alias: isRoomAlias(alias) ? alias : undefined,
    avatar_url: parseMxcUri(avatar) === undefined ? undefined : (avatar as string),
    room_type: textIn(given['room_type']),
    // Servers from before v1.15 use the names of MSC3266.
    room_version: textIn(given['room_version'] ?? given['im.nheko.summary.room_version']),
    encryption: textIn(given['encryption'] ?? given['im.nheko.summary.encryption']),
    allowed_room_ids: Array.isArray(allowed) ? allowed.filter(isRoomId).slice(0, MAX_ALLOWED) : undefined,
  };
  return {
    room_id: roomId,
    ...(Object.fromEntries(Object.entries(texts).filter(([, value]) => value !== undefined)) as Partial<typeof texts>),
    num_joined_members: typeof joined === 'number' && Number.isSafeInteger(joined) && joined > 0 ? joined : 0,
    world_readable: given['world_readable'] === true,
    guest_can_join: given['guest_can_join'] === true,
    // "If the room does not have a join rule": a missing join rule lets no one in.
    join_rule: textIn(given['join_rule']) ?? 'invite',
  } as RemoteRoomSummary;
};

/** The rooms of a directory's list, where a missing join rule means `public`. */
export const remotePublicRoom = (given: JsonValue): RemoteRoomSummary | undefined => {
  const summary = remoteRoomSummary(given);
  if (summary === undefined || (isJsonObject(given) && typeof given['join_rule'] === 'string')) return summary;
  // "When not present, the room is assumed to be public." Client-Server API, `PublicRoomsChunk`.
  return { ...summary, join_rule: 'public' };
};

/** A child of a space; undefined for an invalid one. Client-Server API, "m.space.child". */
export const remoteSpaceChild = (given: JsonValue): RemoteSpaceChild | undefined => {
  if (!isJsonObject(given) || given['type'] !== 'm.space.child') return undefined;
  const { state_key: roomId, sender, content, origin_server_ts: ts } = given;
  if (!isRoomId(roomId) || !isUserId(sender) || !isJsonObject(content) || viaIn(content).length === 0) return undefined;
  if (!isWellFormedJson(content)) return undefined;
  if (typeof ts !== 'number' || !Number.isSafeInteger(ts)) return undefined;
  return { type: 'm.space.child', state_key: roomId, sender, content, origin_server_ts: ts };
};

/** Servers that a child's event, a link or a query names. */
const MAX_VIA = 20;

/** The valid server names of `via`. */
export const viaIn = ({ via }: JsonObject): readonly string[] =>
  Array.isArray(via) ? via.filter(isServerName).slice(0, MAX_VIA) : [];
