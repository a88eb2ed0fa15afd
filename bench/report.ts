import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Cost } from './measure.ts';
import { machineName, type Machine } from './machine.ts';
import { verdictOf, type Figure, type Measurement, type Verdict, type Workload } from './workload.ts';

/** A workload and its result. */
export interface Outcome {
  readonly workload: Workload;
  readonly measurements: readonly Measurement[];
  /** The error that ended it early. */
  readonly error?: string;
  readonly seconds: number;
}

/** Figures of an earlier run. */
export interface Before {
  /** What it ran: the revision, and the day. */
  readonly title: string;
  readonly values: ReadonlyMap<string, number>;
}

export interface Run {
  /** ISO 8601. */
  readonly startedAt: string;
  readonly quick: boolean;
  readonly machine: Machine;
  readonly outcomes: readonly Outcome[];
  /** Ids of the workloads that were left out. */
  readonly leftOut: readonly string[];
  /** What the figures are compared with. */
  readonly before?: Before | undefined;
}

const HEADINGS = [
  'figure',
  'measured',
  'floor',
  'target',
  'verdict',
  'SQL/op',
  'WAL/op',
  'server CPU/op',
  'PG CPU/op',
  'load CPU/op',
  'loop p99',
  'others',
] as const;
const BEFORE_HEADINGS = ['before', 'change'] as const;
/** Percent by which a figure may be worse than the baseline without a mark: the variation between runs of one revision. */
const SAME_PERCENT = 3;
type Cells = readonly string[];

/** Lines of the table: every declared figure, those that were not reached as failed. */
function rowsOf({ workload, measurements, error }: Outcome): Cells[] {
  const found = new Map(measurements.map((measurement) => [measurement.figure.id, measurement]));
  return workload.figures.map((figure) => {
    const measurement = found.get(figure.id);
    const goal = (mark: number | undefined): string => (mark === undefined ? '' : withUnit(mark, figure.unit));
    const common = [goal(figure.goal?.floor), goal(figure.goal?.target)];
    if (measurement === undefined) {
      return [figure.title, '-', ...common, error === undefined ? 'not measured' : 'FAILED', ...costCells(undefined)];
    }
    return [
      figure.title,
      withUnit(measurement.value, figure.unit),
      ...common,
      shown(verdictOf(measurement.value, figure.goal)),
      ...costCells(measurement.cost),
    ];
  });
}

function costCells(cost: Cost | undefined): Cells {
  if (cost === undefined) return ['', '', '', '', '', '', ''];
  const ms = (value: number | undefined): string => (value === undefined ? '-' : withUnit(value, 'ms'));
  return [
    short(cost.statements),
    withUnit(cost.walBytes, 'bytes'),
    ms(cost.serverCpuMs),
    ms(cost.postgresCpuMs),
    ms(cost.clientCpuMs),
    ms(cost.loopDelayP99Ms),
    cost.othersShare === undefined ? '-' : `${Math.round(cost.othersShare * 100)} %`,
  ];
}

/** Baseline and change of a figure. */
function changeCells(figure: Figure, value: number | undefined, before: number | undefined): Cells {
  if (before === undefined) return ['', ''];
  const was = withUnit(before, figure.unit);
  if (value === undefined || before === 0 || !Number.isFinite(value)) return [was, ''];
  const percent = (value / before - 1) * 100;
  const better = figure.goal?.better ?? (figure.unit.startsWith('/') || figure.unit === 'MiB/s' ? 'higher' : 'lower');
  const remark = (better === 'higher' ? -percent : percent) <= SAME_PERCENT ? '' : ' worse';
  return [was, `${percent >= 0 ? '+' : ''}${percent.toFixed(0)} %${remark}`];
}

function shown(verdict: Verdict): string {
  return verdict === 'below floor' ? 'BELOW FLOOR' : verdict;
}

/** Three significant digits. */
function short(value: number): string {
  if (!Number.isFinite(value)) return '-';
  const size = Math.abs(value);
  if (size >= 1000) return String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ' ');
  return value.toFixed(size >= 100 || size === 0 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3);
}

function withUnit(value: number, unit: Figure['unit']): string {
  if (unit === 'bytes' && Math.abs(value) >= 100_000) return `${short(value / 1000)} kB`;
  return unit === '' ? short(value) : `${short(value)}${unit.startsWith('/') ? '' : ' '}${unit}`;
}

/** The table of one workload for a terminal; `headings` false leaves the first line out. */
export function textTable(outcome: Outcome): string {
  const rows = [[...HEADINGS], ...rowsOf(outcome)];
  const widths = HEADINGS.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: Cells): string =>
    row
      .map((cell, column) =>
        column === 0 || column === 4 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!),
      )
      .join('  ')
      .trimEnd();
  const notes = outcome.measurements.flatMap(({ figure, note }) =>
    note === undefined ? [] : [`  ${figure.title}: ${note}`],
  );
  const error = outcome.error === undefined ? [] : [`  FAILED: ${outcome.error}`];
  return [...rows.map(line), ...notes, ...error].join('\n');
}

/** Figures by verdict; `failed` counts those of workloads that ended early. */
export function shortcomings(outcomes: readonly Outcome[]): {
  below: number;
  failed: number;
  met: number;
  target: number;
} {
  let [below, failed, met, target] = [0, 0, 0, 0];
  for (const { workload, measurements, error } of outcomes) {
    const values = new Map(measurements.map(({ figure, value }) => [figure.id, value]));
    for (const figure of workload.figures) {
      const value = values.get(figure.id);
      // A quick run omits some figures.
      if (value === undefined && error === undefined) continue;
      const verdict = value === undefined ? 'failed' : verdictOf(value, figure.goal);
      if (verdict === 'failed') failed += 1;
      else if (verdict === 'below floor') below += 1;
      else if (verdict === 'floor met') met += 1;
      else if (verdict === 'target met') target += 1;
    }
  }
  return { below, failed, met, target };
}

export function summary(outcomes: readonly Outcome[]): string {
  const { below, failed, met, target } = shortcomings(outcomes);
  return `${target} met the target, ${met} met the floor, ${below} below the floor, ${failed} failed`;
}

function machineLines(machine: Machine): [string, string][] {
  return [
    ['processor', `${machine.processor}, ${machine.cores} cores`],
    ['memory', `${(machine.memoryBytes / 2 ** 30).toFixed(1)} GiB`],
    ['system', `${machine.system}, ${machine.kernel}`],
    ['node', machine.node],
    ['PostgreSQL', machine.postgres],
    ['disk', `${machine.diskSyncMs.toFixed(2)} ms to write 8 KiB and sync (median)`],
    ['open files', String(machine.openFiles)],
    ['revision', machine.revision],
  ];
}

export function markdown(run: Run): string {
  const lines = [
    `# Bench of ${run.startedAt.slice(0, 10)}${run.quick ? ' (quick)' : ''}`,
    '',
    `${summary(run.outcomes)}. Server, PostgreSQL and load generator share the machine.`,
    '',
    '| | |',
    '|---|---|',
    ...machineLines(run.machine).map(([name, value]) => `| ${name} | ${value} |`),
    '',
    'Floors block a release, targets are the aim. SQL, WAL and processor time are per operation (a message, a room, a login; for',
    'fan-out a message with all its deliveries; for an initial sync one sync). "load" is the load generator itself. Loop p99 says how',
    'late the event loop of the server ran in that phase; "others" is the share of the machine that went to other processes meanwhile.',
  ];
  if (run.before !== undefined)
    lines.push(
      '',
      `"before" is ${run.before.title}; a change is called worse where it is by more than ${SAME_PERCENT} %.`,
    );
  if (run.leftOut.length > 0) lines.push('', `Left out: ${run.leftOut.join(', ')}.`);
  for (const outcome of run.outcomes) {
    const { before } = run;
    const isCompared = before !== undefined && outcome.workload.figures.some(({ id }) => before.values.has(id));
    const headings = isCompared ? [...HEADINGS, ...BEFORE_HEADINGS] : HEADINGS;
    lines.push(
      '',
      `## ${outcome.workload.title}`,
      '',
      `| ${headings.join(' | ')} |`,
      `|---|${'---:|'.repeat(3)}---|${'---:|'.repeat(headings.length - 5)}`,
    );
    const values = new Map(outcome.measurements.map(({ figure, value }) => [figure.id, value]));
    const changes = outcome.workload.figures.map((figure) =>
      isCompared ? changeCells(figure, values.get(figure.id), before.values.get(figure.id)) : [],
    );
    lines.push(...rowsOf(outcome).map((row, index) => `| ${[...row, ...(changes[index] ?? [])].join(' | ')} |`));
    const notes = outcome.measurements.flatMap(({ figure, note }) =>
      note === undefined ? [] : [`- ${figure.title}: ${note}`],
    );
    if (notes.length > 0) lines.push('', ...notes);
    if (outcome.error !== undefined) lines.push('', `FAILED: ${outcome.error.split('\n')[0] ?? ''}`);
  }
  return `${lines.join('\n')}\n`;
}

function json(run: Run): string {
  const workloads = run.outcomes.map(({ workload, measurements, error, seconds }) => ({
    id: workload.id,
    title: workload.title,
    seconds: Math.round(seconds),
    ...(error === undefined ? {} : { error }),
    figures: measurements.map(({ figure, value, cost, note }) => ({
      id: figure.id,
      title: figure.title,
      value,
      unit: figure.unit,
      ...figure.goal,
      verdict: verdictOf(value, figure.goal),
      ...(cost === undefined ? {} : { cost }),
      ...(note === undefined ? {} : { note }),
    })),
  }));
  return `${JSON.stringify({ startedAt: run.startedAt, quick: run.quick, machine: run.machine, workloads }, undefined, 2)}\n`;
}

/** What a report (its JSON) says. @throws if it is not one */
export async function readBefore(file: string): Promise<Before> {
  const { startedAt, machine, workloads } = JSON.parse(await readFile(file, 'utf8')) as {
    readonly startedAt: string;
    readonly machine: Machine;
    readonly workloads: readonly { readonly figures: readonly { readonly id: string; readonly value: number }[] }[];
  };
  const figures = workloads.flatMap((workload) => workload.figures);
  return {
    title: `revision ${machine.revision}, measured at ${startedAt.slice(0, 16).replace('T', ' ')}`,
    values: new Map(figures.map(({ id, value }) => [id, value])),
  };
}

/** Writes the report into a folder, as Markdown and as JSON. Path of the first. */
export async function writeReport(folder: string, run: Run): Promise<string> {
  await mkdir(folder, { recursive: true });
  const name = join(folder, `${run.startedAt.slice(0, 10)}-${machineName(run.machine)}`);
  await writeFile(`${name}.md`, markdown(run));
  await writeFile(`${name}.json`, json(run));
  return `${name}.md`;
}
