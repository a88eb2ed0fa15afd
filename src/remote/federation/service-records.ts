import { atMost } from '#src/kernel/caches/at-most.ts';
import { CountedCache } from '#src/kernel/caches/counted-cache.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { OnceByKey } from '#src/kernel/caches/once.ts';
import type { Random } from '#src/kernel/random.ts';
import { MINUTE_MS } from '#src/kernel/dates.ts';

/** The host and port of a service. */
export interface ServiceTarget {
  readonly host: string;
  readonly port: number;
}

/** An SRV record. */
export interface ServiceRecord {
  readonly name: string;
  readonly port: number;
  readonly priority: number;
  readonly weight: number;
}

export interface ServiceRecordsOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** The records of a name. Rejects with `code` ENOTFOUND or ENODATA where there are none. */
  readonly resolve: (name: string) => Promise<readonly ServiceRecord[]>;
}

interface Known {
  /** Undefined: there are no records. Empty: the service is "decidedly not available at this domain". */
  readonly records: readonly ServiceRecord[] | undefined;
  readonly expiresAt: number;
}

const FOUND_MS = 30 * MINUTE_MS;
const NONE_MS = 10 * MINUTE_MS;
const FAILED_MS = MINUTE_MS;
const MAX_NAMES = 20_000;
const MAX_RECORDS = 8;
const HOST = /^[0-9A-Za-z._-]{1,255}$/;

/** SRV records of hosts. RFC 2782. */
export class ServiceRecords {
  readonly #options: ServiceRecordsOptions;
  readonly #known = new CountedCache<string, Known>('service_records', atMost(MAX_NAMES));
  readonly #asking = new OnceByKey<string, Known>();

  constructor(options: ServiceRecordsOptions) {
    this.#options = options;
  }

  /**
   * The targets of a service of a host, in the order in which to try them; undefined when it has no records.
   *
   * @param service `_matrix-fed._tcp`
   */
  async targets(service: string, hostname: string): Promise<readonly ServiceTarget[] | undefined> {
    const name = `${service}.${hostname}`;
    const known = this.#known.get(name);
    const { records } =
      known !== undefined && this.#options.clock.now() < known.expiresAt
        ? known
        : await this.#asking.run(name, () => this.#ask(name));
    return records === undefined ? undefined : this.#ordered(records);
  }

  async #ask(name: string): Promise<Known> {
    const known = await this.#look(name);
    this.#known.set(name, known);
    return known;
  }

  async #look(name: string): Promise<Known> {
    const { clock, resolve } = this.#options;
    try {
      const found = await resolve(name);
      if (found.length === 0) return { records: undefined, expiresAt: clock.now() + NONE_MS };
      const records = found.filter((record) => HOST.test(record.name) && record.name !== '.' && record.port > 0);
      return { records: records.slice(0, MAX_RECORDS), expiresAt: clock.now() + FOUND_MS };
    } catch (error) {
      const code: unknown = error instanceof Error && 'code' in error ? error.code : undefined;
      const isNone = code === 'ENOTFOUND' || code === 'ENODATA';
      return { records: undefined, expiresAt: clock.now() + (isNone ? NONE_MS : FAILED_MS) };
    }
  }

  /** "A client MUST attempt to contact the target host with the lowest-numbered priority it can reach"; among equals by weight and chance. */
  #ordered(records: readonly ServiceRecord[]): ServiceTarget[] {
    const ranked = records.map((record) => ({ record, rank: this.#chance() ** (1 / Math.max(record.weight, 0.001)) }));
    ranked.sort((a, b) => a.record.priority - b.record.priority || b.rank - a.rank);
    return ranked.map(({ record }) => ({ host: record.name.replace(/\.$/, ''), port: record.port }));
  }

  /** Above 0, at most 1. */
  #chance(): number {
    return (this.#options.random.bytes(2).readUInt16BE() + 1) / 65_536;
  }
}
