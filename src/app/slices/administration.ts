import { Announcements } from '#src/services/admin/notices/announcements.ts';
import { ServerNotices } from '#src/services/admin/notices/server-notices.ts';
import { ReportReview } from '#src/services/admin/reports/report-review.ts';
import { Destinations } from '#src/services/admin/servers/destinations.ts';
import { Statistics } from '#src/services/admin/statistics/statistics.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Tasks } from './admin-tasks.ts';
import type { Auditing } from './audit.ts';
import type { Events } from './events.ts';
import type { Memberships } from './membership.ts';
import type { RoomModel } from './room-model.ts';
import type { UserData } from './user-data.ts';
import type { Users } from './users.ts';
import type { RoomAdministration } from './room-administration.ts';
import type { Servers } from './servers.ts';

/** Administration that concerns neither one user nor one room. */
export interface Administration {
  readonly reportReview: ReportReview;
  readonly destinations: Destinations;
  readonly statistics: Statistics;
  readonly serverNotices: ServerNotices;
  readonly announcements: Announcements;
}

export function composeAdministration(
  below: Platform &
    Auditing &
    Tasks &
    Users &
    RoomModel &
    Events &
    Memberships &
    Pick<UserData, 'invitePermission' | 'tags'> &
    Pick<Servers, 'backoff' | 'contacts'> &
    Pick<RoomAdministration, 'storedEvents'>,
): Slice<Administration> {
  const { auditLog, backoff, clock, contacts, database, storedEvents } = below;
  const serverNotices = new ServerNotices({
    database,
    auditLog,
    users: below.users,
    profiles: below.profiles,
    rooms: below.rooms,
    events: below.events,
    joins: below.joins,
    membership: below.membership,
    tags: below.tags,
    invitePermission: below.invitePermission,
    serverName: below.config.serverName,
    roomVersion: below.config.room.defaultVersion,
    language: below.config.email.language,
    config: below.config.serverNotices,
  });
  const tasks = below.adminTasks;
  return {
    name: 'administration',
    services: {
      reportReview: new ReportReview({ database, clock, auditLog, events: storedEvents }),
      destinations: new Destinations({ database, auditLog, backoff, contacts }),
      statistics: new Statistics(database),
      serverNotices,
      announcements: new Announcements({ database, logger: below.logger, tasks, notices: serverNotices }),
    },
    start: () => serverNotices.start(),
  };
}
