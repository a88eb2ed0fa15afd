import { roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import { eventIdText } from '#src/services/room-model/event/event-ids.ts';
import type { Database } from '#src/storage/database.ts';
import { latestStateResets } from '#src/storage/federation/state-resets.ts';

/** A state reset as administrators see it. */
export interface ListedStateReset {
  readonly room_id: string;
  /** The event with which the fork came. */
  readonly event_id: string;
  /** Milliseconds since the epoch. */
  readonly ts: number;
  /** How many members were joined and are not any more. */
  readonly members: number;
  /** One of them. */
  readonly example?: string;
  /** Whether the power levels are older ones again. */
  readonly power_levels: boolean;
}

const MAX = 100;

/** Lists state resets, for administrators: where state resolution returned to older state. */
export class StateResets {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** The latest, the newest first. */
  async latest(): Promise<readonly ListedStateReset[]> {
    return (await latestStateResets(this.#database, MAX)).flatMap((record) => {
      const version = roomVersion(record.version);
      if (version === undefined) return [];
      const { example, members, power, room_id: roomId, ts } = record;
      return {
        room_id: roomId,
        event_id: eventIdText(version, record.event_id),
        ts,
        members,
        power_levels: power,
        ...(example === null ? {} : { example }),
      };
    });
  }
}
