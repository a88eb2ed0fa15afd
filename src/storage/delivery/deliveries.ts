import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

/** The delivery state of a destination. */
export interface Delivery {
  readonly destination: string;
  /** Everything up to here is delivered, or given up. */
  readonly position: number;
  /** The last position of the batch that was begun and is not answered. */
  readonly batchEnd: number | null;
  /** How often in a row the destination could not be reached. */
  readonly failures: number;
  /** How often in a row it refused what it was sent. */
  readonly refusals: number;
  /** When to try again, in milliseconds. */
  readonly retryAt: number | null;
  /** It is not to be sent anything any more. */
  readonly isGone: boolean;
}

const COLUMNS = `destination, position, batch_end as "batchEnd", failures, refusals, retry_at as "retryAt", gone as "isGone"`;
const READ = sql('delivery', `select ${COLUMNS} from deliveries where queue = $1 and destination = any($2::text[])`);
const SAVE = sql(
  'delivery_save',
  `insert into deliveries (queue, destination, position, batch_end, failures, refusals, retry_at, gone)
   select $1, d.* from unnest($2::text[], $3::bigint[], $4::bigint[], $5::int[], $6::int[], $7::bigint[], $8::boolean[]) d
   on conflict (queue, destination) do update set position = excluded.position, batch_end = excluded.batch_end,
     failures = excluded.failures, refusals = excluded.refusals, retry_at = excluded.retry_at, gone = excluded.gone`,
);
const UNFINISHED = sql(
  'deliveries_unfinished',
  `select ${COLUMNS} from deliveries
   where queue = $1 and destination > $2 and not gone and (retry_at is not null or batch_end is not null) order by destination limit $3`,
);

const FORGET = sql('delivery_forget', 'delete from deliveries where queue = $1 and destination = any($2::text[])');

/** The deliveries of one queue, by destination. */
export class Deliveries {
  readonly #database: Database;
  readonly #queue: string;

  constructor(database: Database, queue: string) {
    this.#database = database;
    this.#queue = queue;
  }

  async read(destination: string): Promise<Delivery | undefined> {
    return (await this.readAll([destination]))[0];
  }

  /** The states of several destinations; those without one are left out. */
  readAll(destinations: readonly string[]): Promise<Delivery[]> {
    return this.#database.query<Delivery>(READ, [this.#queue, destinations]);
  }

  save(delivery: Delivery): Promise<void> {
    return this.saveAll([delivery]);
  }

  /** Of several destinations, each of them once. */
  async saveAll(deliveries: readonly Delivery[]): Promise<void> {
    await this.#database.query(SAVE, [
      this.#queue,
      deliveries.map(({ destination }) => destination),
      deliveries.map(({ position }) => position),
      deliveries.map(({ batchEnd }) => batchEnd),
      deliveries.map(({ failures }) => failures),
      deliveries.map(({ refusals }) => refusals),
      deliveries.map(({ retryAt }) => retryAt),
      deliveries.map(({ isGone }) => isGone),
    ]);
  }

  /** Deletes the states of destinations that do not exist any more. */
  async forgetAll(destinations: readonly string[]): Promise<void> {
    await this.#database.query(FORGET, [this.#queue, destinations]);
  }

  /** Those that wait for their next try, or were broken off, in order from after a destination. */
  unfinished(after: string, limit: number): Promise<Delivery[]> {
    return this.#database.query<Delivery>(UNFINISHED, [this.#queue, after, limit]);
  }
}
