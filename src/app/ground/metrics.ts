import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';
import type {
  Counter as CounterPort,
  Gauge as GaugePort,
  Histogram as HistogramPort,
  Labels,
  Metrics,
} from '#src/kernel/metrics.ts';

/** The longest time that a timer can have, in milliseconds: some weeks. */
const NEVER_MS = 2 ** 31 - 1;

/** Metrics for Prometheus: ours (`tsudoi_...`), and the process's. */
export class PrometheusMetrics implements Metrics {
  readonly #registry = new Registry();
  /** What sets the gauges that are asked for their values, by name and labels. */
  readonly #reads = new Map<string, Map<string, () => void>>();

  constructor() {
    // How late the event loop runs, `LoopWatch` knows. What measures it here would wake the process a hundred times a second.
    collectDefaultMetrics({ register: this.#registry, eventLoopMonitoringPrecision: NEVER_MS });
    for (const { name } of this.#registry.getMetricsAsArray())
      if (name.startsWith('nodejs_eventloop_lag')) this.#registry.removeSingleMetric(name);
  }

  /** Media type of `render()`'s text. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  /** All of it in Prometheus' text format. */
  render(): Promise<string> {
    return this.#registry.metrics();
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

  /** Stops measuring. */
  close(): void {
    this.#registry.clear();
  }

  /** Two parts may declare the same metric; they count into one. */
  #once<M>(name: string, make: () => M): M {
    return (this.#registry.getSingleMetric(name) as M | undefined) ?? make();
  }
}
