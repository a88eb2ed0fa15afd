import { type Check, bad, type Finding, note, ok } from '#src/cli/finding.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { silentLogger } from '#src/kernel/logger.ts';
import { noMetrics } from '#src/kernel/metrics.ts';
import { inspectDatabase, type DatabaseState, queueState } from '#src/storage/admin/database-state.ts';
import { Database } from '#src/storage/database.ts';
import type { Config } from '../config/config.ts';

const OLD_JOB_MS = 900_000;
const SKEW_MS = 5_000;
/** A table is mentioned from this size and share of dead rows on. */
const LARGE_TABLE = 64 * 1024 ** 2;
const MUCH_DEAD = 0.4;

/** Checks size, settings and leftovers of an external database, and the jobs in it. */
export async function databaseChecks({ database: { poolSize, url }, redis }: Config, clock: Clock): Promise<Check[]> {
  if (url === null) return [];
  let database: Database;
  try {
    database = await Database.open({ url, poolSize: 3, logger: silentLogger, metrics: noMetrics });
  } catch {
    // Another check reports that it cannot be used.
    return [];
  }
  try {
    const state = await inspectDatabase(database);
    return [
      { what: 'database settings', ...settings(state, poolSize) },
      { what: 'database size', ...size(state) },
      { what: 'database clock', ...skew(state.now - clock.now()) },
      { what: 'queues', ...(await queues(database, clock, redis.url === null)) },
    ];
  } catch (error) {
    return [{ what: 'database settings', ...bad(`they cannot be read: ${(error as Error).message}`) }];
  } finally {
    await database.close();
  }
}

function settings({ settings: set }: DatabaseState, poolSize: number): Finding {
  const wrong: string[] = [];
  if (set['fsync'] === 'off') wrong.push('fsync is off, so that a power cut destroys the database: switch it on');
  if (set['full_page_writes'] === 'off')
    wrong.push('full_page_writes is off, so that a power cut may destroy tables: switch it on');
  if (set['synchronous_commit'] === 'off')
    wrong.push('synchronous_commit is off, so that a power cut loses messages that were acknowledged: switch it on');
  if (set['autovacuum'] === 'off') wrong.push('autovacuum is off, so that tables only grow: switch it on');
  const connections = Number(set['max_connections']);
  // The pool, connections of the queues, and some for others.
  if (connections < poolSize + 10)
    wrong.push(`max_connections is ${connections}, and each node takes up to ${poolSize + 7}: raise it`);
  return wrong.length > 0
    ? bad(wrong.join('; '))
    : ok(`safe, with ${connections} connections and ${String(set['shared_buffers'])} of shared buffers`);
}

const inUnits = (bytes: number): string =>
  bytes < 1024 ** 3 ? `${(bytes / 1024 ** 2).toFixed(0)} MiB` : `${(bytes / 1024 ** 3).toFixed(1)} GiB`;

function size({ bytes, tables }: DatabaseState): Finding {
  const largest = tables.slice(0, 3).map(({ bytes: of, name }) => `${name} ${inUnits(of)}`);
  const text = `${inUnits(bytes)}; the largest tables are ${largest.join(', ')}`;
  const bloated = tables.filter(
    ({ bytes: of, dead, live }) => of >= LARGE_TABLE && dead / Math.max(live + dead, 1) >= MUCH_DEAD,
  );
  return bloated.length === 0
    ? ok(text)
    : bad(
        `${text}. Much of ${bloated.map(({ name }) => name).join(', ')} is dead rows: run VACUUM on it, and look for transactions that never end`,
      );
}

const skew = (ms: number): Finding =>
  Math.abs(ms) <= SKEW_MS
    ? ok('the same as this machine’s')
    : bad(
        `${Math.round(Math.abs(ms) / 1_000)} s ${ms > 0 ? 'ahead of' : 'behind'} this machine’s: let both set their clocks by NTP`,
      );

async function queues(database: Database, clock: Clock, isHere: boolean): Promise<Finding> {
  const { failed, oldest, outbox } = await queueState(database, isHere);
  const age = oldest === null ? 0 : clock.now() - oldest;
  if (age > OLD_JOB_MS)
    return bad(
      `${outbox} jobs wait since ${Math.round(age / 60_000)} minutes to be handed over: start the server, or look in its log for why they are not`,
    );
  if (failed > 0)
    return note(`${failed} jobs were given up in the last week; the log has the error of each ("a job failed")`);
  return ok(outbox === 0 ? 'nothing waits' : `${outbox} jobs wait to be handed over`);
}
