import { runTask, runUpdate } from '#src/jobs/definitions.ts';
import { type JobHandler, jobHandler } from '#src/jobs/job-definition.ts';
import type { TaskRunner } from '#src/services/admin/tasks/task-runner.ts';

/** Does the tasks of a lane, in whichever of the two queues its job lies. */
const handlerOf =
  (definition: typeof runTask) =>
  (runner: TaskRunner): JobHandler =>
    jobHandler(definition, async ({ lane }, signal) => ((await runner.run(lane, signal)) ? undefined : 'interrupted'));

export const runTaskHandler = handlerOf(runTask);
export const runUpdateHandler = handlerOf(runUpdate);
