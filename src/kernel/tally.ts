import type { Sample } from '#src/kernel/metrics.ts';

/** Counts what happened, by few names: what a metric is made of where the counting part need not know of metrics. */
export class Tally<Name extends string> {
  readonly #counts: Map<Name, number>;

  /** @param names what can happen; each is told of from the start, as 0 */
  constructor(...names: readonly Name[]) {
    this.#counts = new Map(names.map((name) => [name, 0]));
  }

  add(name: Name, by = 1): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + by);
  }

  of(name: Name): number {
    return this.#counts.get(name) ?? 0;
  }

  /** The counts with a label that has their names. */
  samples(label: string): Sample[] {
    return [...this.#counts].map(([name, value]) => ({ labels: { [label]: name }, value }));
  }
}
