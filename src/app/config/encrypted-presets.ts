import type { Preset } from '#src/services/rooms/creation/room-presets.ts';

/** The presets whose rooms are encrypted from the start, by `room.encryption_by_default`. */
export const ENCRYPTED_PRESETS: Readonly<Record<'off' | 'invite' | 'all', readonly Preset[]>> = {
  off: [],
  invite: ['private_chat', 'trusted_private_chat'],
  all: ['private_chat', 'trusted_private_chat', 'public_chat'],
};
