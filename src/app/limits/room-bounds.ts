import { MAX_ANNOTATION_KEY } from '#src/protocol/content/content-rules.ts';
import { MAX_EVENT_BYTES, MAX_KEY_LENGTH } from '#src/protocol/events/pdu-format.ts';
import { MAX_STICKY_MS } from '#src/protocol/events/sticky.ts';
import { MAX_TIMEOUT_MS, MAX_TYPING } from '#src/services/ephemeral/typing/typing-service.ts';
import {
  SENDING_IN_ROOM,
  MAX_WAITING as POLICY_SERVERS_MAX_WAITING,
} from '#src/services/events/policy/policy-servers.ts';
import { MAX_EXTREMITIES } from '#src/services/room-model/room/building-head.ts';
import { REMOTE_INVITES_AT_ONCE } from '#src/services/rooms/creation/room-creation.ts';
import { BATCH_SIZE as DELAYED_SCHEDULE_BATCH_SIZE } from '#src/services/rooms/delayed-events/delayed-schedule.ts';
import { TEXTS_BYTES } from '#src/services/rooms/directory/directory-index.ts';
import { MAX_ALLOWED as ROOM_SUMMARIES_MAX_ALLOWED } from '#src/services/rooms/directory/room-summaries.ts';
import {
  MAX_ALLOWED as RESTRICTED_JOINS_MAX_ALLOWED,
  MAX_ALLOWED_FOR_SERVERS,
} from '#src/services/rooms/membership/restricted-joins.ts';
import { BATCH_SIZE as USER_REDACTIONS_BATCH_SIZE } from '#src/services/rooms/redactions/user-redactions.ts';
import { MAX_REASON as REPORT_SERVICE_MAX_REASON } from '#src/services/rooms/reports/report-service.ts';
import { MAX_RELATED, MAX_TYPES } from '#src/services/rooms/sending/related-redactions.ts';
import { type FixedBounds, inBytes, inTime } from './fixed-bounds.ts';

/** Fixed bounds: rooms and events. */
export const ROOM_BOUNDS: FixedBounds = {
  title: 'Rooms and events',
  why: 'What is in a room is sent to everybody who is in it, and stays there.',
  rows: [
    {
      what: 'An event',
      most: inBytes(MAX_EVENT_BYTES),
      beyond: '413 `M_TOO_LARGE`',
    },
    {
      what: '`type` and `state_key` of an event',
      most: `${MAX_KEY_LENGTH} bytes each`,
      beyond: '413 `M_TOO_LARGE`',
    },
    {
      what: 'The key of a reaction',
      most: `${MAX_ANNOTATION_KEY} bytes`,
      beyond: '400 `M_BAD_JSON`',
    },
    {
      what: 'Time for which an event is sticky (MSC4354)',
      most: inTime(MAX_STICKY_MS),
      beyond: 'it ends after that',
    },
    {
      what: 'Time for which a user is shown typing',
      most: inTime(MAX_TIMEOUT_MS),
      beyond: 'it ends',
    },
    {
      what: 'Users who are shown typing in one room',
      most: String(MAX_TYPING),
      beyond: 'who was heard of longest ago is not shown any more',
    },
    {
      what: 'Rooms that a restricted join rule (`allow`) names',
      most: `${RESTRICTED_JOINS_MAX_ALLOWED}; ${MAX_ALLOWED_FOR_SERVERS} where another server asks to join`,
      beyond: 'further ones do not count',
    },
    {
      what: 'Memory for names, topics and aliases of listed rooms, which are searched',
      most: inBytes(TEXTS_BYTES),
      beyond: 'those of the other rooms are read at each search',
      metric: 'tsudoi_cache_size{cache="directory_texts"}',
    },
    {
      what: 'Rooms that allow joining, in the summary of a room',
      most: String(ROOM_SUMMARIES_MAX_ALLOWED),
      beyond: 'the others are not named',
    },
    {
      what: 'Reason of a report',
      most: `${REPORT_SERVICE_MAX_REASON} characters`,
      beyond: 'it is cut',
    },
    {
      what: 'Events that are redacted together with the one to which they relate',
      most: `${MAX_RELATED}, the newest`,
      beyond: 'the others stay',
    },
    {
      what: 'Types of relations that a redaction names for that',
      most: String(MAX_TYPES),
      beyond: '400 `M_BAD_JSON`',
    },
    {
      what: 'Events of a user that one request redacts (MSC4194)',
      most: String(USER_REDACTIONS_BATCH_SIZE),
      beyond: 'the answer says `is_more_events`, and the client asks again',
    },
    {
      what: 'Members of other servers who are asked at the same time when a room is made',
      most: String(REMOTE_INVITES_AT_ONCE),
      beyond: 'they wait',
    },
    {
      what: 'Delayed events that are in memory because their time has come',
      most: String(DELAYED_SCHEDULE_BATCH_SIZE),
      beyond: 'they wait',
    },
    {
      what: 'Newest events of a room that no later one follows (forward extremities)',
      most: String(MAX_EXTREMITIES),
      beyond: 'one more does not count for the state of the room until an event is built on it',
    },
    {
      what: 'Events of one room that are sent while its policy server is asked',
      most: `${SENDING_IN_ROOM} at the same time; ${POLICY_SERVERS_MAX_WAITING} may wait`,
      beyond: '429 `M_LIMIT_EXCEEDED`',
      metric: 'tsudoi_limited_requests_total{limiter="policy server"}',
    },
  ],
};
