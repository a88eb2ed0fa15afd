import { WINDOW_MS as OUTAGE_LOGGER_WINDOW_MS } from '#src/app/ground/outage-logger.ts';
import { MAX as PAGES_MAX } from '#src/http/synapse-admin/parts/pages.ts';
import { MAX as SCHEDULED_TASKS_MAX } from '#src/http/synapse-admin/scheduled_tasks.ts';
import { MOST_LINES, WINDOW_MS as LOG_FLOOD_WINDOW_MS } from '#src/kernel/logging/log-flood.ts';
import { MAX_ADMIN_LOGINS } from '#src/services/accounts/sessions/session-service.ts';
import { MAX_NOTE_LENGTH } from '#src/services/admin/reports/report-review.ts';
import { MAX_LISTED as ROOM_LIST_MAX_LISTED } from '#src/services/admin/rooms/room-list.ts';
import { MAX_OPEN as ADMIN_TASKS_MAX_OPEN } from '#src/services/admin/tasks/admin-tasks.ts';
import { MAX_USERS as USER_LISTING_MAX_USERS } from '#src/services/admin/users/user-listing.ts';
import { MAX_PAGE_LENGTH } from '#src/services/media/media-moderation.ts';
import { type FixedBounds, inTime } from './fixed-bounds.ts';

/** Fixed bounds: administration, and the log. */
export const ADMINISTRATION_BOUNDS: FixedBounds = {
  title: 'Administration, and the log',
  why: 'So that neither a request for everything nor a fault that repeats itself fills memory or the log.',
  rows: [
    {
      what: 'Tasks of administrators that are not done',
      most: String(ADMIN_TASKS_MAX_OPEN),
      beyond: '429 `M_LIMIT_EXCEEDED`',
      metric: 'tsudoi_limited_requests_total{limiter="admin_tasks"}',
    },
    {
      what: 'One page of a list: users, rooms, media of a room, tasks, and everything else',
      most: `${USER_LISTING_MAX_USERS}, ${ROOM_LIST_MAX_LISTED}, ${MAX_PAGE_LENGTH}, ${SCHEDULED_TASKS_MAX}, ${PAGES_MAX}`,
      beyond: 'less than was asked for',
    },
    {
      what: 'Sessions in which administrators act as one user',
      most: String(MAX_ADMIN_LOGINS),
      beyond: 'the oldest ends',
    },
    {
      what: 'Note of an administrator about a report',
      most: `${MAX_NOTE_LENGTH} characters`,
      beyond: '400 `M_BAD_JSON`',
    },
    {
      what: 'Lines of the log of each kind while the database is away',
      most: `1 in ${inTime(OUTAGE_LOGGER_WINDOW_MS)}`,
      beyond: 'the next line says how many more there were',
      metric: 'tsudoi_log_lines_total{level}',
    },
    {
      what: 'Lines of the log for refusals of one kind',
      most: `${MOST_LINES} in ${inTime(LOG_FLOOD_WINDOW_MS)}`,
      beyond: 'the next line says how many more there were',
      metric: 'tsudoi_log_lines_total{level}',
    },
  ],
};
