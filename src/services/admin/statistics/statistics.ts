import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import {
  countMediaUsage,
  largestRooms,
  listMediaUsage,
  type MediaUsageFilter,
  type MediaUsageOrder,
  type MediaUsageRow,
} from '#src/storage/admin/statistics.ts';
import type { Database } from '#src/storage/database.ts';

export { MEDIA_USAGE_ORDERS } from '#src/storage/admin/statistics.ts';

/** Rooms that are named as the largest. */
const MAX_LISTED = 10;

/** Statistics of the space that users' media and rooms take. */
export class Statistics {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** How much the users of this server have uploaded; users without media are left out. @throws MatrixError M_INVALID_PARAM */
  async mediaByUser(
    filter: MediaUsageFilter,
    order: MediaUsageOrder,
    page: { readonly isDescending: boolean; readonly limit: number; readonly offset: number },
  ): Promise<{ readonly users: readonly MediaUsageRow[]; readonly total: number }> {
    const { fromTs = 0, untilTs } = filter;
    if (untilTs !== undefined && untilTs <= fromTs)
      throw new MatrixError('M_INVALID_PARAM', 'Query parameter until_ts must be greater than from_ts.');
    return this.#database.read(async (tx) => ({
      users: await listMediaUsage(tx, filter, order, page),
      total: await countMediaUsage(tx, filter),
    }));
  }

  /** The ten rooms that take most space in the database, by the sample that PostgreSQL keeps for its own plans: an estimate, in bytes. */
  roomsBySize(): Promise<readonly { readonly roomId: string; readonly size: number }[]> {
    return largestRooms(this.#database, MAX_LISTED);
  }
}
