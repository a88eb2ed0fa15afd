import { Type } from 'typebox';
import type { RoomSnapshot } from '#src/services/sync/legacy/initial-sync.ts';
import { anyObject, clientEvent, jsonList } from './room-schemas.ts';

/** Schema of a room at one moment. */
export const roomSnapshot = Type.Object({
  room_id: Type.String(),
  membership: Type.Optional(Type.String()),
  messages: Type.Optional(
    Type.Object({ start: Type.Optional(Type.String()), end: Type.String(), chunk: Type.Array(clientEvent) }),
  ),
  state: Type.Optional(Type.Array(clientEvent)),
  visibility: Type.Optional(Type.String()),
  account_data: Type.Optional(Type.Array(anyObject)),
});

const text = (value: string | undefined): string | undefined =>
  value === undefined ? undefined : JSON.stringify(value);

/** The JSON members of a room at one moment. */
export const snapshotMembers = (room: RoomSnapshot): Record<string, string | undefined> => {
  const { contents, membership } = room;
  const start = contents?.start === undefined ? '' : `"start":${JSON.stringify(contents.start)},`;
  return {
    room_id: text(room.roomId),
    // A knock is not among the words that this API has.
    membership: membership === 'knock' ? undefined : text(membership),
    visibility: text(room.visibility),
    messages: contents && `{${start}"end":${JSON.stringify(contents.end)},"chunk":${jsonList(contents.chunk)}}`,
    state: contents && jsonList(contents.state),
    account_data: contents && jsonList(contents.accountData),
    invite: room.invite,
  };
};
