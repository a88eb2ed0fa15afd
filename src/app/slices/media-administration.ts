import { MediaMaintenance } from '#src/services/admin/media/media-maintenance.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Tasks } from './admin-tasks.ts';
import type { Auditing } from './audit.ts';
import type { Media } from './media.ts';

/** Administration of many files at once. */
export interface MediaAdministration {
  readonly mediaMaintenance: MediaMaintenance;
}

export const composeMediaAdministration = (below: Platform & Auditing & Tasks & Media): Slice<MediaAdministration> => {
  const { adminTasks: tasks, auditLog, config, database, mediaSweeps: sweeps } = below;
  const { serverName } = config;
  return {
    name: 'media administration',
    services: { mediaMaintenance: new MediaMaintenance({ database, auditLog, tasks, sweeps, serverName }) },
  };
};
