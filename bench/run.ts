import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { describeMachine, type Machine } from './machine.ts';
import { Meter } from './measure.ts';
import { Progress } from './progress.ts';
import { readBefore, shortcomings, summary, textTable, writeReport, type Outcome } from './report.ts';
import { BenchServer, raiseOwnFileLimit } from './server.ts';
import type { Measurement, Workload } from './workload.ts';
import { workloads } from './workloads/index.ts';

const USAGE = `npm run bench -- [options] [NAMES]

  NAMES           workloads whose names begin so: ${workloads.map(({ id }) => id).join(', ')};
                  attacks.F08 is one of the attacks, attacks.cost those whose names begin so
  --only NAMES    the same, comma-separated
  --quick         shorter and smaller: a smoke test, figures are not comparable
  --profile       processor profiles of the server, phase by phase, into bench/out/profiles (costs speed)
  --before FILE   JSON report of an earlier run, to compare each figure with
  --out FOLDER    where the report goes. Default: bench/reports for a whole run, bench/out (not kept) for any other

Starts servers of its own with the embedded database, on loopback addresses. Exit code 1 if a figure misses its floor or fails.
`;

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    only: { type: 'string' },
    quick: { type: 'boolean', default: false },
    profile: { type: 'boolean', default: false },
    out: { type: 'string' },
    before: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
if (options.help) {
  process.stdout.write(USAGE);
  process.exit(0);
}

const names = [...positionals, ...(options.only?.split(',') ?? [])].map((name) => name.trim());
const wanted = names.map((name) => {
  const [workload = '', ...part] = name.split('.');
  return { name, workload, part: part.join('.') };
});
const chosen = workloads.filter(
  ({ id }) => wanted.length === 0 || wanted.some(({ workload }) => id.startsWith(workload)),
);
const unknown = wanted.filter(({ workload }) => !workloads.some(({ id }) => id.startsWith(workload)));
if (unknown.length > 0) {
  process.stderr.write(`no workload begins with ${unknown.map(({ name }) => name).join(', ')}\n\n${USAGE}`);
  process.exit(2);
}
const wants = (id: string, part: string): boolean => {
  const parts = wanted.filter((name) => name.part !== '' && id.startsWith(name.workload));
  return parts.length === 0 || parts.some((name) => part.startsWith(name.part));
};
const whole = chosen.length === workloads.length && !options.quick && !options.profile;
const folder = options.out ?? join(import.meta.dirname, whole ? 'reports' : 'out');
const profileFolder = options.profile ? join(import.meta.dirname, 'out', 'profiles') : undefined;

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));

const before = options.before === undefined ? undefined : await readBefore(options.before);
const progress = new Progress();
const startedAt = new Date().toISOString();
const openFiles = await raiseOwnFileLimit();
let machine: Machine | undefined;
const outcomes: Outcome[] = [];
for (const [index, workload] of chosen.entries()) {
  progress.begin(`[${index + 1}/${chosen.length} ${workload.id}]`);
  const outcome = await perform(workload);
  outcomes.push(outcome);
  progress.end();
  process.stdout.write(`\n${workload.title} (${outcome.seconds.toFixed(0)} s)\n${textTable(outcome)}\n`);
}
machine ??= await describeMachine('not started', openFiles);
const leftOut = workloads.filter((workload) => !chosen.includes(workload)).map(({ id }) => id);
const report = await writeReport(folder, { startedAt, quick: options.quick, machine, outcomes, leftOut, before });
process.stdout.write(`\n${summary(outcomes)}\n${report}\n`);
const { below, failed } = shortcomings(outcomes);
process.exit(below + failed === 0 ? 0 : 1);

/** Runs one workload on a server of its own. Does not reject: an error is part of the result. */
async function perform(workload: Workload): Promise<Outcome> {
  const start = performance.now();
  const measurements: Measurement[] = [];
  let server: BenchServer | undefined;
  let failure: string | undefined;
  const limitSeconds = options.quick ? Math.ceil(workload.limitSeconds / 3) : workload.limitSeconds;
  let timer: NodeJS.Timeout | undefined;
  try {
    progress.say('starting a server');
    server = await BenchServer.start(workload.server, options.profile);
    const [row] = await server.sql<{ version: string }>(`select current_setting('server_version') as version`);
    machine ??= await describeMachine(row?.version ?? 'unknown', openFiles);
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`not done after ${limitSeconds} s`)), limitSeconds * 1000);
    });
    const work = workload.run({
      server,
      meter: new Meter(server, profileFolder),
      pick: (full, quick) => (options.quick ? quick : full),
      wants: (part) => wants(workload.id, part),
      progress: (text) => progress.say(text),
      report(id, value, cost, note) {
        const figure = workload.figures.find((one) => one.id === id);
        if (figure === undefined) throw new Error(`${workload.id} declares no figure ${id}`);
        measurements.push({
          figure,
          value,
          ...(cost === undefined ? {} : { cost }),
          ...(note === undefined ? {} : { note }),
        });
      },
    });
    // After the time limit the server is stopped; errors of the remaining work are ignored.
    work.catch(() => undefined);
    await Promise.race([work, late]);
  } catch (error) {
    failure = [(error as Error).message, ...(server?.complaints() ?? [])].join('\n  server: ');
  } finally {
    clearTimeout(timer);
    await server?.dispose();
  }
  return {
    workload,
    measurements,
    seconds: (performance.now() - start) / 1000,
    ...(failure === undefined ? {} : { error: failure }),
  };
}
