import { AdminTasks } from '#src/services/admin/tasks/admin-tasks.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Auditing } from './audit.ts';

/** Long-running tasks of administrators. */
export interface Tasks {
  readonly adminTasks: AdminTasks;
}

export const composeAdminTasks = ({ auditLog, clock, database, random }: Platform & Auditing): Slice<Tasks> => ({
  name: 'admin tasks',
  services: { adminTasks: new AdminTasks({ database, clock, random, auditLog }) },
});
