import { BackgroundUpdates } from '#src/services/admin/updates/background-updates.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Tasks } from './admin-tasks.ts';
import type { Auditing } from './audit.ts';
import type { Jobs } from './jobs.ts';
import type { TaskRunning } from './task-runner.ts';

/** Background updates, as administrators see them. */
export interface Updates {
  readonly backgroundUpdates: BackgroundUpdates;
}

export const composeBackgroundUpdates = (below: Platform & Auditing & Tasks & TaskRunning & Jobs): Slice<Updates> => {
  const { adminTasks: tasks, auditLog, database, queues, updateKinds: kinds } = below;
  return {
    name: 'background updates',
    services: { backgroundUpdates: new BackgroundUpdates({ database, auditLog, tasks, queues, kinds }) },
  };
};
