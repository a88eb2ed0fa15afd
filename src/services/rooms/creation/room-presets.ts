import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';

const PRESETS = ['private_chat', 'public_chat', 'trusted_private_chat'] as const;
export type Preset = (typeof PRESETS)[number];

/** Since v12 only creators replace a room by another: 100 is what they can give away. */
export const DEFAULT_TOMBSTONE_LEVEL = 150;

/** The state that a preset stands for. Client-Server API, `POST /createRoom`. */
export const presetEvents = (preset: Preset): readonly { readonly type: string; readonly content: JsonObject }[] => [
  { type: 'm.room.join_rules', content: { join_rule: preset === 'public_chat' ? 'public' : 'invite' } },
  { type: 'm.room.history_visibility', content: { history_visibility: 'shared' } },
  // Without the event guests are kept out.
  ...(preset === 'public_chat' ? [] : [{ type: 'm.room.guest_access', content: { guest_access: 'can_join' } }]),
];

/**
 * The power levels with which rooms begin.
 *
 * @param operators who gets the level of the creator; since v12 they are creators themselves
 */
export const defaultPowerLevels = (
  version: RoomVersion,
  creator: string,
  preset: Preset,
  operators: readonly string[],
): JsonObject => {
  const { privilegedCreators } = version.auth;
  return {
    users: privilegedCreators ? {} : Object.fromEntries([creator, ...operators].map((userId) => [userId, 100])),
    users_default: 0,
    events: {
      'm.room.name': 50,
      'm.room.avatar': 50,
      'm.room.canonical_alias': 50,
      'm.room.power_levels': 100,
      'm.room.history_visibility': 100,
      'm.room.encryption': 100,
      'm.room.server_acl': 100,
      'm.room.tombstone': privilegedCreators ? DEFAULT_TOMBSTONE_LEVEL : 100,
    },
    events_default: 0,
    state_default: 50,
    ban: 50,
    kick: 50,
    redact: 50,
    invite: preset === 'public_chat' ? 50 : 0,
  };
};
