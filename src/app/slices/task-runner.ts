import type { AnyTaskKind } from '#src/services/admin/tasks/task.ts';
import { TaskRunner } from '#src/services/admin/tasks/task-runner.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Tasks } from './admin-tasks.ts';
import type { Administration } from './administration.ts';
import type { MediaAdministration } from './media-administration.ts';
import type { RoomAdministration } from './room-administration.ts';
import type { Privacy } from './privacy.ts';

/** By what tasks are done. */
type Below = Platform &
  Tasks &
  Administration &
  MediaAdministration &
  Privacy &
  Pick<RoomAdministration, 'roomTasks'> & { readonly moreTaskKinds?: readonly AnyTaskKind[] | undefined };

/** Every kind of task: a line for each. */
const kindsOf = ({ announcements, mediaMaintenance, roomTasks, userTasks }: Below): readonly AnyTaskKind[] => [
  announcements,
  mediaMaintenance.kind,
  ...roomTasks,
  ...userTasks,
];

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
