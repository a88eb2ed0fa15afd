import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import type { TopologicalPosition } from '#src/protocol/wire/position.ts';
import type { Database } from '#src/storage/database.ts';
import { localUsersAmong, type PurgeScanRecord } from '#src/storage/retention/purges.ts';

/** Which events of a room are to be purged. */
export interface PurgeParams {
  /** Those that were sent before a time, in milliseconds since the epoch. */
  readonly beforeTs?: number | undefined;
  /** Those that stand before a place in the room's history. */
  readonly before?: TopologicalPosition | undefined;
  /** Keep events of local users. */
  readonly keepsLocal?: boolean | undefined;
}

/** Judges which events of a room are old. */
export class PurgeCriteria {
  /** Of a purge by time alone how far it has come is remembered under the time; undefined for others. */
  readonly beforeTs: number | undefined;
  readonly #params: PurgeParams;
  readonly #database: Database;
  /** By number, whether users are of this server. */
  readonly #local = new Map<number, boolean>();

  constructor(database: Database, params: PurgeParams) {
    this.#database = database;
    this.#params = params;
    this.beforeTs = params.before === undefined && params.keepsLocal !== true ? params.beforeTs : undefined;
  }

  /** Reads what judging these takes. */
  async prepare(records: readonly PurgeScanRecord[]): Promise<void> {
    if (this.#params.keepsLocal !== true) return;
    const unknown = [...new Set(records.map(({ sender }) => sender))].filter((sender) => !this.#local.has(sender));
    if (unknown.length === 0) return;
    const local = new Set(await localUsersAmong(this.#database, unknown));
    for (const sender of unknown) this.#local.set(sender, local.has(sender));
  }

  /** Each event is judged by its own time, or by its own place. Outliers have no place in the history. */
  isOld(record: PurgeScanRecord): boolean {
    const { before, beforeTs, keepsLocal } = this.#params;
    if (keepsLocal === true && this.#local.get(record.sender) !== false) return false;
    if ((record.flags & EVENT_FLAGS.outlier) !== 0) return true;
    if (beforeTs !== undefined && record.ts < beforeTs) return true;
    return (
      before !== undefined && (record.topo < before.topo || (record.topo === before.topo && record.nid < before.nid))
    );
  }
}
