import type { AnyTaskKind } from '#src/services/admin/tasks/task.ts';
import { updateKind, type UpdateKind } from '#src/services/admin/updates/background-updates.ts';
import { annotationsUpdate } from '#src/services/admin/updates/annotations-update.ts';
import { relationsUpdate } from '#src/services/admin/updates/relations-update.ts';
import { roomOverviewsUpdate } from '#src/services/admin/updates/room-overviews-update.ts';
import { userDirectoryUpdate } from '#src/services/admin/updates/user-directory-update.ts';
import { TaskRunner } from '#src/services/admin/tasks/task-runner.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Tasks } from './admin-tasks.ts';
import type { Administration } from './administration.ts';
import type { MediaAdministration } from './media-administration.ts';
import type { RoomAdministration } from './room-administration.ts';
import type { Privacy } from './privacy.ts';
import type { RoomModel } from './room-model.ts';
import type { People } from './user-directory.ts';

/** The services that do the tasks. */
type Below = Platform &
  Tasks &
  Administration &
  MediaAdministration &
  Privacy &
  People &
  Pick<RoomModel, 'rooms'> &
  Pick<RoomAdministration, 'roomOverviews' | 'roomTasks'> & {
    readonly moreTaskKinds?: readonly AnyTaskKind[] | undefined;
  };

/** The kinds of tasks, one per line. */
export const kindsOf = ({
  announcements,
  mediaMaintenance,
  roomTasks,
  userTasks,
}: Pick<Below, 'announcements' | 'mediaMaintenance' | 'roomTasks' | 'userTasks'>): readonly AnyTaskKind[] => [
  announcements,
  mediaMaintenance.kind,
  ...roomTasks,
  ...userTasks,
];

/** The background updates of derived data, one per line. */
const updatesOf = ({
  clock,
  database,
  directoryEntries: entries,
  roomOverviews: overviews,
  rooms,
}: Below): UpdateKind[] =>
  [
    roomOverviewsUpdate({ database, rooms, overviews }),
    userDirectoryUpdate({ database, rooms, entries }),
    annotationsUpdate({ database }),
    relationsUpdate({ database }),
  ].map((update) => updateKind(update, clock));

export interface TaskRunning {
  readonly updateKinds: readonly UpdateKind[];
  readonly taskRunner: TaskRunner;
}

export function composeTaskRunner(below: Below): Slice<TaskRunning> {
  const { adminTasks, clock, database, logger, moreTaskKinds = [] } = below;
  const updateKinds = updatesOf(below);
  const kinds = [...kindsOf(below), ...updateKinds, ...moreTaskKinds];
  return {
    name: 'task runner',
    services: { updateKinds, taskRunner: new TaskRunner({ database, clock, logger, tasks: adminTasks, kinds }) },
  };
}
