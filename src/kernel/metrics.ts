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

/** Metrics as a port: declared once by name, then only counted. */
export interface Metrics {
  counter(name: string, help: string, labelNames?: readonly string[]): Counter;
  gauge(name: string, help: string, labelNames?: readonly string[]): Gauge;
  histogram(name: string, help: string, buckets: readonly number[], labelNames?: readonly string[]): Histogram;
  /** A gauge that is asked for its value when it is scraped; one for each set of labels. */
  gaugeOf(name: string, help: string, read: () => number, labels?: Labels): void;
}

/** Counts nothing: for tests of parts whose metrics do not matter. */
export const noMetrics: Metrics = {
  counter: () => ({ inc() {} }),
  gauge: () => ({ set() {} }),
  histogram: () => ({ observe() {} }),
  gaugeOf() {},
};
