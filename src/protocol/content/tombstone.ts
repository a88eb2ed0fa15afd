import type { JsonObject } from '#src/protocol/json/json-value.ts';

/** The room that an `m.room.tombstone` names as the successor of its own. Client-Server API, "Room Upgrades". */
export const successorIn = (tombstone: JsonObject | undefined): string | undefined => {
  const successor = tombstone?.['replacement_room'];
  return typeof successor === 'string' ? successor : undefined;
};
