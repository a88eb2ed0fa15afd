/** Labels of one sample; keep their values few (operation names, status classes), never user or room ids. */
export type Labels = Readonly<Record<string, string>>;

export interface Counter {
  inc(labels?: Labels, by?: number): void;
}
export interface Gauge {
  set(value: number, labels?: Labels): void;
}
export interface Histogram {
  /** `value` in the unit that the metric's name ends with (seconds, bytes). */
  observe(value: number, labels?: Labels): void;
}

/** A value with its labels. */
export interface Sample {
  readonly labels: Labels;
  readonly value: number;
}

/** What values are of that are read when they are asked for. */
export interface ReadMetric {
  readonly name: string;
  readonly help: string;
  /** A counter never falls as long as the process lives. */
  readonly kind: 'gauge' | 'counter';
  readonly labelNames?: readonly string[];
  /** Reads them; what fails or takes too long is left out. */
  readonly read: () => Iterable<Sample> | Promise<Iterable<Sample>>;
}

/** Metrics as a port: declared once by name, then only counted. */
export interface Metrics {
  counter(name: string, help: string, labelNames?: readonly string[]): Counter;
  gauge(name: string, help: string, labelNames?: readonly string[]): Gauge;
  histogram(name: string, help: string, buckets: readonly number[], labelNames?: readonly string[]): Histogram;
  /** A gauge that is asked for its value when it is scraped; one for each set of labels. */
  gaugeOf(name: string, help: string, read: () => number, labels?: Labels): void;
  /** Values that are read when they are scraped, with labels that are known by then. */
  valuesOf(metric: ReadMetric): void;
}

/** Counts nothing: for tests of parts whose metrics do not matter. */
export const noMetrics: Metrics = {
  counter: () => ({ inc() {} }),
  gauge: () => ({ set() {} }),
  histogram: () => ({ observe() {} }),
  gaugeOf() {},
  valuesOf() {},
};
