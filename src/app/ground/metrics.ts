import { Counter, Gauge, Histogram, type Metric, Registry, collectDefaultMetrics } from 'prom-client';
import type {
  Counter as CounterPort,
  Gauge as GaugePort,
  Histogram as HistogramPort,
  Labels,
  Metrics,
  ReadMetric,
  Sample,
} from '#src/kernel/metrics.ts';
import { systemTimers } from '#src/kernel/timers.ts';

/** The longest time that a timer can have, in milliseconds: some weeks. */
const NEVER_MS = 2 ** 31 - 1;
/** Milliseconds to wait for values that have to be queried. */
const READ_MS = 3_000;

/**
 * The metrics of the process, which are measured once however many servers run in it: the library's observer of garbage collections is
 * never disconnected, and would keep whatever else is in the registry that it writes to.
 */
let processRegistry: Registry | undefined;

const metricsOfProcess = (): Registry => {
  if (processRegistry !== undefined) return processRegistry;
  const register = new Registry();
  // `LoopWatch` measures the delay of the event loop. The library's own measurement would wake the process a hundred times a second.
  collectDefaultMetrics({ register, eventLoopMonitoringPrecision: NEVER_MS });
  for (const { name } of register.getMetricsAsArray())
    if (name.startsWith('nodejs_eventloop_lag')) register.removeSingleMetric(name);
  return (processRegistry = register);
};

/** Metrics for Prometheus: ours (`tsudoi_...`), and the process's. */
export class PrometheusMetrics implements Metrics {
  readonly #registry = new Registry();
  readonly #ofProcess = metricsOfProcess();
  /** The functions that query the values of gauges, by name and labels. */
  readonly #reads = new Map<string, Map<string, () => void>>();

  /** Media type of `render()`'s text. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  /** All metrics in Prometheus' text format. */
  async render(): Promise<string> {
    const [ofProcess, own] = await Promise.all([this.#ofProcess.metrics(), this.#registry.metrics()]);
    return `${ofProcess}\n${own}`;
  }

  counter(name: string, help: string, labelNames: readonly string[] = []): CounterPort {
    const counter = this.#once(name, () => new Counter({ name, help, labelNames, registers: [this.#registry] }));
    return { inc: (labels = {}, by = 1) => counter.inc({ ...labels }, by) };
  }

  gauge(name: string, help: string, labelNames: readonly string[] = []): GaugePort {
    const gauge = this.#once(name, () => new Gauge({ name, help, labelNames, registers: [this.#registry] }));
    return { set: (value, labels = {}) => gauge.set({ ...labels }, value) };
  }

  histogram(name: string, help: string, buckets: readonly number[], labelNames: readonly string[] = []): HistogramPort {
    const histogram = this.#once(
      name,
      () => new Histogram({ name, help, labelNames, buckets: [...buckets], registers: [this.#registry] }),
    );
    return { observe: (value, labels = {}) => histogram.observe({ ...labels }, value) };
  }

  gaugeOf(name: string, help: string, read: () => number, labels: Labels = {}): void {
    const reads = this.#reads.get(name) ?? new Map<string, () => void>();
    this.#reads.set(name, reads);
    const gauge = this.#once(name, () => {
      const collect = (): void => {
        for (const set of reads.values()) set();
      };
      return new Gauge({ name, help, labelNames: Object.keys(labels), registers: [this.#registry], collect });
    });
    reads.set(JSON.stringify(labels), () => gauge.set({ ...labels }, read()));
  }

  valuesOf(metric: ReadMetric): void {
    this.#once(metric.name, () => {
      const read = new ReadValues(metric);
      this.#registry.registerMetric(read as unknown as Metric);
      return read;
    });
  }

  /** Derives a metric from others: their values under another name and with other labels; values with the same labels are added up. */
  alias(alias: Alias): void {
    this.#once(alias.name, () => {
      const made = new AliasValues(alias, (name) => this.#metric(name) as Read | undefined);
      this.#registry.registerMetric(made as unknown as Metric);
      return made;
    });
  }

  /** Names, kinds, labels and descriptions of everything that is measured. */
  async described(): Promise<readonly MetricDescription[]> {
    const metrics = [...this.#ofProcess.getMetricsAsArray(), ...this.#registry.getMetricsAsArray()];
    return metrics.map((metric) => {
      const { help, labelNames = [], name, type } = metric as unknown as Described;
      return { name, kind: typeof type === 'string' ? type : kindOf(metric), help, labelNames: [...labelNames] };
    });
  }

  /** Stops measuring. */
  close(): void {
    this.#registry.clear();
  }

  /** Two parts may declare the same metric; they count into one. */
  #once<M>(name: string, make: () => M): M {
    return (this.#metric(name) as M | undefined) ?? make();
  }

  #metric(name: string): Metric | undefined {
    return this.#registry.getSingleMetric(name) ?? this.#ofProcess.getSingleMetric(name);
  }
}

/** A metric as `docs/metrics.md` describes it. */
export interface MetricDescription {
  readonly name: string;
  readonly kind: string;
  readonly help: string;
  readonly labelNames: readonly string[];
}

/** The description of one of the library's metrics. */
interface Described {
  readonly name: string;
  readonly help: string;
  readonly type?: string;
  readonly labelNames?: readonly string[];
}

const kindOf = (metric: unknown): string =>
  metric instanceof Counter ? 'counter' : metric instanceof Histogram ? 'histogram' : 'gauge';

/** A metric of the library whose values are queried when it is read. */
class ReadValues {
  readonly name: string;
  readonly help: string;
  readonly type: ReadMetric['kind'];
  readonly labelNames: readonly string[];
  readonly aggregator = 'sum';
  readonly #read: ReadMetric['read'];
  #reading: Promise<Iterable<Sample>> | undefined;

  constructor({ help, kind, labelNames = [], name, read }: ReadMetric) {
    this.name = name;
    this.help = help;
    this.type = kind;
    this.labelNames = labelNames;
    this.#read = read;
  }

  async get(): Promise<object> {
    const { aggregator, help, name, type } = this;
    return { name, help, type, aggregator, values: [...(await this.#values())] };
  }

  reset(): void {}

  /** A query without an answer so far is not made again. */
  async #values(): Promise<Iterable<Sample>> {
    this.#reading ??= Promise.resolve()
      .then(() => this.#read())
      .catch(() => [])
      .finally(() => (this.#reading = undefined));
    return Promise.race([this.#reading, systemTimers.sleep(READ_MS).then(() => [])]);
  }
}

/** A metric that is derived from others. */
export interface Alias {
  readonly name: string;
  readonly of: string | readonly string[];
  /** For a histogram, only these values: `_count`. */
  readonly part?: '_count' | '_sum';
  /** The name of the first one when left out. */
  readonly kind?: 'gauge' | 'counter';
  readonly labelNames?: readonly string[];
  /** Which values are meant. */
  readonly where?: (labels: Labels) => boolean;
  readonly labels: (labels: Labels) => Labels;
}

/** A metric as the library returns it. */
interface Read {
  readonly type?: string;
  get(): Promise<{
    readonly type: string;
    readonly values: readonly { readonly labels: Labels; readonly value: number; readonly metricName?: string }[];
  }>;
}

class AliasValues {
  readonly name: string;
  readonly help: string;
  readonly labelNames: readonly string[];
  readonly aggregator = 'sum';
  readonly #alias: Alias;
  readonly #of: readonly string[];
  readonly #find: (name: string) => Read | undefined;

  constructor(alias: Alias, find: (name: string) => Read | undefined) {
    this.#alias = alias;
    this.#of = typeof alias.of === 'string' ? [alias.of] : alias.of;
    this.#find = find;
    this.name = alias.name;
    this.help = `as Synapse calls what ${this.#of.join(' and ')} ${this.#of.length === 1 ? 'says' : 'say'}`;
    this.labelNames = alias.labelNames ?? [];
  }

  get type(): string {
    const [first] = this.#of.flatMap((name) => this.#find(name) ?? []);
    return this.#alias.kind ?? first?.type ?? kindOf(first);
  }

  async get(): Promise<object> {
    const { labels: relabel, part = '', where = () => true } = this.#alias;
    const sums = new Map<string, { labels: Labels; metricName: string; value: number }>();
    for (const of of this.#of) {
      const { values } = (await this.#find(of)?.get()) ?? { values: [] };
      for (const { labels, metricName = of, value } of values) {
        const ending = metricName.slice(of.length);
        if (!where(labels) || (part !== '' && ending !== part)) continue;
        const { le, ...rest } = labels as { readonly le?: unknown };
        const own = { ...(le === undefined ? {} : { le }), ...relabel(rest as Labels) } as Labels;
        const name = this.name + (part === '' ? ending : '');
        const key = name + JSON.stringify(own);
        const sum = sums.get(key);
        if (sum === undefined) sums.set(key, { labels: own, metricName: name, value });
        else sum.value += value;
      }
    }
    const { aggregator, help, name, type } = this;
    return { name, help, type, aggregator, values: [...sums.values()] };
  }

  reset(): void {}
}
