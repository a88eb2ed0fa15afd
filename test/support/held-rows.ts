import pg from 'pg';
import { until } from './until.ts';

const WAITING = `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;

/** Rows of a server's database that a test holds: what the server does comes to a stop there, so that it can be killed in the middle of it. */
export class HeldRows {
  readonly #client: pg.Client;

  private constructor(client: pg.Client) {
    this.#client = client;
  }

  /** @param url of the database; `text`: a statement that locks what is held */
  static async hold(url: string, text: string, values: readonly unknown[] = []): Promise<HeldRows> {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    await client.query('begin');
    await client.query(text, [...values]);
    return new HeldRows(client);
  }

  /** Resolves when a statement waits for them: the database tells nobody of that. */
  async areWaitedFor(): Promise<void> {
    await until('a statement waits for what is held', async () => {
      // A transaction sees what it saw first.
      await this.#client.query('select pg_stat_clear_snapshot()');
      return (await this.#client.query(WAITING)).rows.length > 0;
    });
  }

  /** Lets go of them. */
  async release(): Promise<void> {
    await this.#client.query('rollback');
    await this.#client.end();
  }
}
