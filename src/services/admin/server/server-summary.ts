import { statfs } from 'node:fs/promises';
import { uptime } from 'node:process';
import type { Clock } from '#src/kernel/clock.ts';
import type { JobQueues } from '#src/jobs/job-queues.ts';
import { countTotals, databaseBytes, outboxState, type Totals } from '#src/storage/admin/server-facts.ts';
import type { Database } from '#src/storage/database.ts';
import type { RecentErrors } from '#src/kernel/logging/recent-errors.ts';

/** Milliseconds for which counts are cached. */
const REMEMBERED_MS = 60_000;

export interface ServerSummaryOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly queues: Pick<JobQueues, 'counts' | 'names'>;
  readonly recentErrors: Pick<RecentErrors, 'counts'>;
  /** How many users are syncing at this moment. */
  readonly syncing: () => number;
  readonly dataDir: string;
}

/** What a console shows of the server at a glance. Times are milliseconds, sizes bytes. */
export interface Summary {
  readonly startedTs: number;
  readonly uptimeMs: number;
  readonly syncing: number;
  readonly memoryBytes: number;
  /** Warnings and errors since the process began. */
  readonly warnings: number;
  readonly errors: number;
  /** Jobs by queue and state, and those that are on their way there. */
  readonly queues: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly outbox: number;
  readonly disk: { readonly freeBytes: number; readonly totalBytes: number };
  readonly databaseBytes: number;
  /** Counted a minute ago at most. */
  readonly totals: Totals;
}

/** Puts the summary together. */
export class ServerSummary {
  readonly #options: ServerSummaryOptions;
  #totals: { readonly until: number; readonly counted: Promise<Totals> } | undefined;

  constructor(options: ServerSummaryOptions) {
    this.#options = options;
  }

  async read(): Promise<Summary> {
    const { clock, database, queues, recentErrors, syncing } = this.#options;
    const uptimeMs = Math.round(uptime() * 1_000);
    const [totals, bytes, outbox, disk, counts] = await Promise.all([
      this.#count(),
      databaseBytes(database),
      outboxState(database),
      this.disk(),
      Promise.all(queues.names.map(async (name) => [name, await queues.counts(name)] as const)),
    ]);
    const { error, warn } = recentErrors.counts;
    return {
      startedTs: clock.now() - uptimeMs,
      uptimeMs,
      syncing: syncing(),
      memoryBytes: process.memoryUsage.rss(),
      warnings: warn,
      errors: error,
      queues: Object.fromEntries(counts),
      outbox: outbox.jobs,
      disk,
      databaseBytes: bytes,
      totals,
    };
  }

  /** The disk on which the data directory lies. */
  async disk(): Promise<{ readonly freeBytes: number; readonly totalBytes: number }> {
    const { bavail, blocks, bsize } = await statfs(this.#options.dataDir);
    return { freeBytes: bavail * bsize, totalBytes: blocks * bsize };
  }

  #count(): Promise<Totals> {
    const { clock, database } = this.#options;
    const now = clock.monotonic();
    if (this.#totals !== undefined && this.#totals.until > now) return this.#totals.counted;
    const counted = countTotals(database);
    this.#totals = { until: now + REMEMBERED_MS, counted };
    counted.catch(() => (this.#totals = undefined));
    return counted;
  }
}
