import { familyMs, machineMs, processMs } from './process-times.ts';
import { profileDuring } from './profile.ts';
import type { BenchServer } from './server.ts';

/** Cost of a phase per operation, apart from time. */
export interface Cost {
  readonly operations: number;
  readonly seconds: number;
  /** SQL statements that the server sent, BEGIN and COMMIT included. */
  readonly statements: number;
  readonly walBytes: number;
  /** Milliseconds of processor time, user and system. Undefined where there is no /proc. */
  readonly serverCpuMs: number | undefined;
  readonly postgresCpuMs: number | undefined;
  /** Processor time of the load generator. */
  readonly clientCpuMs: number;
  /** How late the server's event loop ran, 99th percentile of the phase, in milliseconds. */
  readonly loopDelayP99Ms: number | undefined;
  /** Share of the machine's processor time used by other processes: above a few percent the figures are noisy. */
  readonly othersShare: number | undefined;
}

/** Milliseconds of processor time that were taken so far. */
interface Times {
  readonly server: number | undefined;
  readonly postgres: number | undefined;
  readonly client: number;
  readonly machine: ReturnType<typeof machineMs>;
}

interface Reading extends Times {
  readonly at: number;
  readonly statements: number;
  readonly wal: number;
  readonly loopP99Ms: number | undefined;
}

/** Reads the counters before and after a phase. */
export class Meter {
  readonly #server: BenchServer;
  /** Folder for processor profiles of the phases; undefined without profiling. */
  readonly #profileFolder: string | undefined;

  constructor(server: BenchServer, profileFolder?: string) {
    this.#server = server;
    this.#profileFolder = profileFolder;
  }

  /** Runs a phase; what it cost is divided by the operations it says it did. */
  async during<R extends { readonly operations: number }>(
    label: string,
    phase: () => Promise<R>,
  ): Promise<{ result: R; cost: Cost }> {
    const port = this.#server.inspectPort;
    const folder = this.#profileFolder;
    if (port === undefined || folder === undefined) return this.#measured(phase);
    return profileDuring(port, `${folder}/${label}.cpuprofile`, () => this.#measured(phase));
  }

  /** Runs a phase, with a profile of it where profiles are made. Of what it cost it tells only what the others on the machine took. */
  async profiled<R>(
    label: string,
    phase: () => Promise<R>,
  ): Promise<{ readonly result: R; readonly othersShare: number | undefined }> {
    const port = this.#server.inspectPort;
    const folder = this.#profileFolder;
    const before = this.#times();
    const result =
      port === undefined || folder === undefined
        ? await phase()
        : await profileDuring(port, `${folder}/${label}.cpuprofile`, phase);
    return { result, othersShare: othersShare(before, this.#times()) };
  }

  #times(): Times {
    const own = process.cpuUsage();
    return {
      server: processMs(this.#server.pid),
      postgres: familyMs(this.#server.postgresPid),
      client: (own.user + own.system) / 1000,
      machine: machineMs(),
    };
  }

  async #measured<R extends { readonly operations: number }>(
    phase: () => Promise<R>,
  ): Promise<{ result: R; cost: Cost }> {
    const before = await this.#read();
    const result = await phase();
    const after = await this.#read();
    const { operations } = result;
    const per = (later: number | undefined, earlier: number | undefined): number | undefined =>
      later === undefined || earlier === undefined ? undefined : (later - earlier) / operations;
    return {
      result,
      cost: {
        operations,
        seconds: (after.at - before.at) / 1000,
        statements: (after.statements - before.statements) / operations,
        walBytes: (after.wal - before.wal) / operations,
        serverCpuMs: per(after.server, before.server),
        postgresCpuMs: per(after.postgres, before.postgres),
        clientCpuMs: (after.client - before.client) / operations,
        loopDelayP99Ms: after.loopP99Ms,
        othersShare: othersShare(before, after),
      },
    };
  }

  async #read(): Promise<Reading> {
    const server = this.#server;
    const [row] = await server.sql<{ wal: string }>(`select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') as wal`);
    // Each reading of this gauge begins a new interval, so that the one after the phase speaks of the phase.
    const metrics = await server.metrics();
    const loop = metrics.get('tsudoi_event_loop_delay_p99_seconds');
    return {
      ...this.#times(),
      at: performance.now(),
      statements: metrics.get('tsudoi_sql_statements_total') ?? 0,
      wal: Number(row?.wal ?? 0),
      loopP99Ms: loop === undefined ? undefined : loop * 1000,
    };
  }
}

function othersShare(before: Times, after: Times): number | undefined {
  if (before.machine === undefined || after.machine === undefined) return undefined;
  const ours = (reading: Times): number => (reading.server ?? 0) + (reading.postgres ?? 0) + reading.client;
  const busy = after.machine.busy - before.machine.busy;
  const whole = after.machine.whole - before.machine.whole;
  return whole === 0 ? undefined : Math.max(0, busy - (ours(after) - ours(before))) / whole;
}
