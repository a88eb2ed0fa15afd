import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import type { Pdu } from './pdu.ts';

/** A state event as the invited, the knocking and the curious see it. Client-Server API, "Stripped state". */
export interface StrippedStateEvent extends JsonObject {
  readonly type: string;
  readonly state_key: string;
  readonly sender: string;
  readonly content: JsonObject;
  /** Of the m.room.create of rooms whose id is its hash: without it the hash cannot be checked. */
  readonly origin_server_ts?: number;
}

/** The types of state (all with the empty state key) that stripped state consists of. `m.room.create` is required. */
export const STRIPPED_STATE_TYPES = [
  'm.room.create',
  'm.room.name',
  'm.room.avatar',
  'm.room.topic',
  'm.room.join_rules',
  'm.room.canonical_alias',
  'm.room.encryption',
] as const;

/**
 * "Stripped state events can only have the `sender`, `type`, `state_key` and `content` properties present." In rooms whose id is the hash
 * of their m.room.create, the invited user's server has to be able to compute it: what it lacks for that, the time, comes with it.
 */
export function strippedState(
  event: Pick<Pdu, 'type' | 'sender' | 'content'> & { readonly state_key?: string; readonly origin_server_ts?: number },
  version?: Pick<RoomVersion, 'roomIdIsCreateHash'>,
): StrippedStateEvent {
  const { type, sender, content, state_key: stateKey = '', origin_server_ts: ts } = event;
  const stripped = { type, state_key: stateKey, sender, content };
  const isHashed = version?.roomIdIsCreateHash === true && type === 'm.room.create' && stateKey === '';
  return isHashed && ts !== undefined ? { ...stripped, origin_server_ts: ts } : stripped;
}
