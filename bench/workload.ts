import type { Cost, Meter } from './measure.ts';
import type { BenchServer, BenchServerOptions } from './server.ts';

/** Floor and target of a figure. A figure below its floor blocks a release. */
export interface Goal {
  readonly better: 'lower' | 'higher';
  readonly floor: number;
  readonly target: number;
}

/** One line of the report, declared before it is measured. */
export interface Figure {
  /** Stable: reports of different days are compared by it. */
  readonly id: string;
  readonly title: string;
  /** 'ms', '/s', 'bytes', 'KiB', 'MiB' or '' for a count. */
  readonly unit: string;
  /** Absent for a figure that is only informative. */
  readonly goal?: Goal;
}

export type Verdict = 'below floor' | 'floor met' | 'target met' | 'failed' | '';

/** A figure with what was measured. */
export interface Measurement {
  readonly figure: Figure;
  readonly value: number;
  readonly cost?: Cost;
  readonly note?: string;
}

export interface WorkloadContext {
  readonly server: BenchServer;
  readonly meter: Meter;
  /** The first in a full run, the second with --quick. */
  readonly pick: (full: number, quick: number) => number;
  /** Whether this part is to be run: where parts are named (`attacks.F08`), only those are. */
  readonly wants: (part: string) => boolean;
  /** Reports progress. */
  readonly progress: (text: string) => void;
  /** @throws if the workload does not declare such a figure */
  readonly report: (id: string, value: number, cost?: Cost, note?: string) => void;
}

/** A scenario: a server of its own, users, and the figures that are measured. */
export interface Workload {
  readonly id: string;
  readonly title: string;
  readonly figures: readonly Figure[];
  readonly server?: BenchServerOptions;
  /** Seconds after which it counts as hung, in a full run. A third of that with --quick. */
  readonly limitSeconds: number;
  run(context: WorkloadContext): Promise<void>;
}

export const lower = (floor: number, target: number): Goal => ({ better: 'lower', floor, target });
export const higher = (floor: number, target: number): Goal => ({ better: 'higher', floor, target });

export function verdictOf(value: number, goal: Goal | undefined): Verdict {
  if (goal === undefined) return '';
  const reaches = (mark: number): boolean => (goal.better === 'lower' ? value <= mark : value >= mark);
  if (reaches(goal.target)) return 'target met';
  return reaches(goal.floor) ? 'floor met' : 'below floor';
}

/** The value below which `share` (0 to 1) of them lie. NaN when there are none. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(sorted.length * share) - 1))] ?? Number.NaN;
}
