import { ReportDesk } from '#src/services/admin/reports/report-desk.ts';
import { Destinations } from '#src/services/admin/servers/destinations.ts';
import { Statistics } from '#src/services/admin/statistics/statistics.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Auditing } from './audit.ts';
import type { RoomAdministration } from './room-administration.ts';
import type { Servers } from './servers.ts';

/** What administrators see to that is neither of one user nor of one room. */
export interface Administration {
  readonly reportDesk: ReportDesk;
  readonly destinations: Destinations;
  readonly statistics: Statistics;
}

export function composeAdministration(
  below: Platform & Auditing & Pick<Servers, 'backoff' | 'contacts'> & Pick<RoomAdministration, 'storedEvents'>,
): Slice<Administration> {
  const { auditLog, backoff, clock, contacts, database, storedEvents } = below;
  return {
    name: 'administration',
    services: {
      reportDesk: new ReportDesk({ database, clock, auditLog, events: storedEvents }),
      destinations: new Destinations({ database, auditLog, backoff, contacts }),
      statistics: new Statistics(database),
    },
  };
}
