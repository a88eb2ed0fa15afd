import { runTask, runUpdate } from '#src/jobs/definitions.ts';
import { type JobHandler, jobHandler } from '#src/jobs/job-definition.ts';
import type { TaskRunner } from '#src/services/admin/tasks/task-runner.ts';

export const runTaskHandler = (runner: TaskRunner): JobHandler =>
  jobHandler(runTask, async ({ lane }, signal) => ((await runner.run(lane, signal)) ? undefined : 'interrupted'));

export const runUpdateHandler = (runner: TaskRunner): JobHandler =>
  jobHandler(runUpdate, async ({ lane }, signal) => ((await runner.run(lane, signal)) ? undefined : 'interrupted'));
