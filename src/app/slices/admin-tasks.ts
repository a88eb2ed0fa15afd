import { AdminTasks } from '#src/services/admin/tasks/admin-tasks.ts';
import type { AnyTaskKind } from '#src/services/admin/tasks/task.ts';
import { TaskRunner } from '#src/services/admin/tasks/task-runner.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Auditing } from './audit.ts';

/** What administrators ask for that takes long. */
export interface Tasks {
  readonly adminTasks: AdminTasks;
}

export const composeAdminTasks = ({ auditLog, clock, database, random }: Platform & Auditing): Slice<Tasks> => ({
  name: 'admin tasks',
  services: { adminTasks: new AdminTasks({ database, clock, random, auditLog }) },
});

/** By what tasks are done. */
type Below = Platform & Tasks & { readonly moreTaskKinds?: readonly AnyTaskKind[] | undefined };

/** Every kind of task: a line for each. */
const kindsOf = (_below: Below): readonly AnyTaskKind[] => [];

export interface TaskRunning {
  readonly taskRunner: TaskRunner;
}

export function composeTaskRunner(below: Below): Slice<TaskRunning> {
  const { adminTasks, clock, database, logger, moreTaskKinds = [] } = below;
  const kinds = [...kindsOf(below), ...moreTaskKinds];
  return {
    name: 'task runner',
    services: { taskRunner: new TaskRunner({ database, clock, logger, tasks: adminTasks, kinds }) },
  };
}
