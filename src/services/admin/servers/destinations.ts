import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Actor } from '#src/services/audit/actor.ts';
import type { AuditLog } from '#src/services/audit/audit-log.ts';
import {
  countDestinationRooms,
  countDestinations,
  type DestinationOrder,
  type DestinationPage,
  destinationRoomList,
  type DestinationRow,
  findDestination,
  listDestinations,
} from '#src/storage/admin/destinations.ts';
import type { Database } from '#src/storage/database.ts';

export { DESTINATION_ORDERS } from '#src/storage/admin/destinations.ts';
export type { DestinationRow } from '#src/storage/admin/destinations.ts';

export interface DestinationsOptions {
  readonly database: Database;
  readonly auditLog: AuditLog;
  /** When servers that could not be reached are tried again. */
  readonly backoff: {
    outages(): readonly (readonly [
      destination: string,
      outage: { readonly since: number; readonly retryAt: number },
    ])[];
    outageOf(destination: string): { readonly since: number; readonly retryAt: number } | undefined;
    reached(destination: string): void;
  };
  /** Wakes everything that waits for a server. */
  readonly contacts: { heardOf(destination: string): void };
}

/** Other servers as administrators see them. */
export class Destinations {
  readonly #options: DestinationsOptions;

  constructor(options: DestinationsOptions) {
    this.#options = options;
  }

  /** @param part of the names of those that are listed */
  list(
    part: string | undefined,
    order: DestinationOrder,
    page: DestinationPage,
  ): Promise<{ readonly destinations: readonly DestinationRow[]; readonly total: number }> {
    const { backoff, database } = this.#options;
    const outages = backoff.outages().map(([destination, { retryAt, since }]) => ({ destination, retryAt, since }));
    return database.read(async (tx) => ({
      destinations: await listDestinations(tx, { outages, part }, order, page),
      total: await countDestinations(tx, { outages, part }),
    }));
  }

  /** @throws MatrixError M_NOT_FOUND for a server that is not known here */
  async get(destination: string): Promise<DestinationRow> {
    const { backoff, database } = this.#options;
    const found = await findDestination(database, destination);
    const { retryAt = null, since = null } = backoff.outageOf(destination) ?? {};
    const position = found?.position ?? null;
    if (position === null && since === null && found?.hasUsers !== true)
      throw new MatrixError('M_NOT_FOUND', 'Unknown destination');
    return { destination, position, retryAt, since };
  }

  /** The rooms in which its users are. @throws MatrixError M_NOT_FOUND */
  async rooms(
    destination: string,
    page: DestinationPage,
  ): Promise<{
    readonly rooms: readonly { readonly roomId: string; readonly position: number }[];
    readonly total: number;
  }> {
    await this.get(destination);
    return this.#options.database.read(async (tx) => ({
      rooms: await destinationRoomList(tx, destination, page),
      total: await countDestinationRooms(tx, destination),
    }));
  }

  /** Has a server that could not be reached tried again at once. @throws MatrixError M_NOT_FOUND; M_UNKNOWN where nothing waits */
  async resetConnection(actor: Actor, destination: string): Promise<void> {
    const { auditLog, backoff, contacts, database } = this.#options;
    const { retryAt, since } = await this.get(destination);
    if (since === null)
      throw new MatrixError('M_UNKNOWN', 'The retry timing does not need to be reset for this destination.');
    await database.write((tx) =>
      auditLog.record(tx, actor, {
        action: 'destination.reset_connection',
        target: destination,
        before: { failure_ts: since, retry_ts: retryAt },
      }),
    );
    backoff.reached(destination);
    contacts.heardOf(destination);
  }
}
