import { Type } from 'typebox';
import { defineJob, type JobDefinition, jobHandler } from '#src/jobs/job-definition.ts';
import { JobQueues } from '#src/jobs/job-queues.ts';
import { silentLogger } from '#src/kernel/logger.ts';
import { noMetrics } from '#src/kernel/metrics.ts';
import { systemTimers } from '#src/kernel/timers.ts';
import { Database } from '#src/storage/database.ts';

// A process that begins a job, says so, and never ends it: a test kills it.
const [url = ''] = process.argv.slice(2);
const note = defineJob({
  name: 'test.note',
  queue: 'maintenance',
  payload: Type.Object({ n: Type.Integer() }),
  attempts: 3,
  backoffMs: 20,
});
const store = url.startsWith('redis')
  ? ({ kind: 'redis', url, prefix: 'tsudoi-test' } as const)
  : ({
      kind: 'postgres',
      pool: (await Database.open({ url, logger: silentLogger, metrics: noMetrics })).queueConnections(4),
    } as const);
const definitions = [note] as unknown as JobDefinition[];
const queues = new JobQueues({ store, definitions, logger: silentLogger, timers: systemTimers, lockMs: 1_000 });
await queues.open();
await queues.work([
  jobHandler(note, async () => {
    process.stdout.write('begun\n');
    await new Promise((resolve) => setTimeout(resolve, 60_000));
    return undefined;
  }),
]);
await queues.add('test.note', { n: 99 }, `killed-${process.pid}`);
