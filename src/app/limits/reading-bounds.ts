import { STREAM_BYTES } from '#src/http/middleware/stream-reply.ts';
import { MAX_TERMS } from '#src/protocol/text/search-query.ts';
import {
  MAX_LIMIT as NOTIFICATION_LIST_MAX_LIMIT,
  MAX_STEPS as NOTIFICATION_LIST_MAX_STEPS,
} from '#src/services/push/notifications/notification-list.ts';
import { MAX_SCANNED as EVENT_BY_TIME_MAX_SCANNED } from '#src/services/reading/history/event-by-time.ts';
import {
  MAX_SCANNED as HISTORY_PAGES_MAX_SCANNED,
  CONCURRENCY as HISTORY_PAGES_CONCURRENCY,
  MAX_WAITING as HISTORY_PAGES_MAX_WAITING,
} from '#src/services/reading/history/history-pages.ts';
import { MAX_LIMIT as HISTORY_MAX_LIMIT } from '#src/services/reading/history/history.ts';
import {
  MAX_JUDGED_OF_EVENT,
  MAX_JUDGED as BUNDLED_AGGREGATIONS_MAX_JUDGED,
  MAX_REFERENCES,
  MAX_EDITS,
  MAX_EDITS_OF_ANSWER,
} from '#src/services/reading/relations/bundled-aggregations.ts';
import { MAX_OF_EVENT, MAX_READ } from '#src/services/reading/relations/relation-index.ts';
import {
  MAX_LIMIT as RELATIONS_MAX_LIMIT,
  MAX_SCANNED as RELATIONS_MAX_SCANNED,
  MAX_GATHERED,
} from '#src/services/reading/relations/relations.ts';
import {
  MAX_LIMIT as THREADS_LIST_MAX_LIMIT,
  MAX_SCANNED as THREADS_LIST_MAX_SCANNED,
  MAX_WALKED,
  MAX_LATER,
  MAX_PARTICIPATION,
  MAX_REPLIES_JUDGED,
  MAX_JUDGED as THREADS_LIST_MAX_JUDGED,
  READ_AT_ONCE,
  MAX_WAITING as THREADS_LIST_MAX_WAITING,
} from '#src/services/reading/relations/threads-list.ts';
import { MAX_AROUND } from '#src/services/reading/search/search-context.ts';
import {
  MAX_EXAMINED,
  MAX_SCANNED_TEXTS,
  MAX_STEPS as SEARCH_PAGES_MAX_STEPS,
} from '#src/services/reading/search/search-pages.ts';
import { MAX_UPGRADES } from '#src/services/reading/search/search-scope.ts';
import {
  MAX_TERM_LENGTH as SEARCH_SERVICE_MAX_TERM_LENGTH,
  MAX_LIMIT as SEARCH_SERVICE_MAX_LIMIT,
  MAX_EVENTS as SEARCH_SERVICE_MAX_EVENTS,
} from '#src/services/reading/search/search-service.ts';
import { MAX_TEXT, LOAD_AT_ONCE } from '#src/services/reading/state/room-state.ts';
import { MAX_LISTED as DIRECTORY_ENTRIES_MAX_LISTED } from '#src/services/reading/user-directory/directory-entries.ts';
import {
  MAX_LIMIT as USER_DIRECTORY_MAX_LIMIT,
  MAX_TERM_LENGTH as USER_DIRECTORY_MAX_TERM_LENGTH,
} from '#src/services/reading/user-directory/user-directory.ts';
import {
  MAX_LIMIT as PUBLIC_ROOMS_MAX_LIMIT,
  MAX_NAME_LENGTH,
  MAX_TOPIC_LENGTH,
} from '#src/services/rooms/directory/public-rooms.ts';
import { MAX_CHARACTERS as SPACE_CHILDREN_MAX_CHARACTERS } from '#src/services/rooms/spaces/space-children.ts';
import {
  MAX_LIMIT as SPACE_HIERARCHY_MAX_LIMIT,
  MAX_CHARACTERS as SPACE_HIERARCHY_MAX_CHARACTERS,
  MAX_LOOKED,
  MAX_VISITED,
  MAX_DEPTH,
  MAX_ASKED,
  MAX_WAIT_MS,
  KEPT_BYTES,
  PASSING_AT_ONCE,
  MAX_WAITING as SPACE_HIERARCHY_MAX_WAITING,
} from '#src/services/rooms/spaces/space-hierarchy.ts';
import { type FixedBounds, inBytes, inTime } from './fixed-bounds.ts';

/** Fixed bounds: reading rooms: history, relations, search. */
export const READING_BOUNDS: FixedBounds = {
  title: 'Reading rooms: history, relations, search',
  why: 'A small request could make the server look at very much. Pages end before that takes long.',
  rows: [
    {
      what: 'Events of one page of `/messages`',
      most: `${HISTORY_MAX_LIMIT}; the page ends earlier after ${HISTORY_PAGES_MAX_SCANNED} that the reader may not see, or the filter leaves out`,
      beyond: 'less than was asked for, with a token to continue',
    },
    {
      what: 'Pages of history that are read at the same time',
      most: `${HISTORY_PAGES_CONCURRENCY}; users take turns, and ${HISTORY_PAGES_MAX_WAITING} of one user may wait`,
      beyond: '429 `M_LIMIT_EXCEEDED`',
      metric: 'tsudoi_limited_requests_total{limiter="history_pages"}',
    },
    {
      what: 'Events that `/timestamp_to_event` looks at and the reader may not see',
      most: String(EVENT_BY_TIME_MAX_SCANNED),
      beyond: '404 `M_NOT_FOUND`',
    },
    {
      what: 'Text of a state or of members that is in memory at the same time',
      most: `${MAX_TEXT} characters`,
      beyond: `it is sent as it is read, ${LOAD_AT_ONCE} events at a time, and takes ${inBytes(STREAM_BYTES)} of \`bytes_in_flight\``,
      metric: 'tsudoi_bytes_in_flight',
    },
    {
      what: 'Events that relate to one event (replies, reactions, edits) and are known',
      most: `${MAX_OF_EVENT}, the newest`,
      beyond: 'earlier ones are not counted, or shown with the event; `/relations` lists them',
    },
    {
      what: 'Relations that are read for one answer',
      most: String(MAX_READ),
      beyond: 'further events are shown without what relates to them',
    },
    {
      what: 'One page of `/relations`',
      most: `${RELATIONS_MAX_LIMIT}; the page ends earlier after ${RELATIONS_MAX_SCANNED} that the reader may not see, that were redacted, or that are of another type`,
      beyond: 'less than was asked for, with a token to continue',
    },
    {
      what: 'Relations and relations of relations (`recurse`)',
      most: `${MAX_GATHERED}, the newest`,
      beyond: 'less than was asked for',
    },
    {
      what: 'Relations from times in which the reader was away, which are checked one by one',
      most: `${MAX_JUDGED_OF_EVENT} of one event, ${BUNDLED_AGGREGATIONS_MAX_JUDGED} of one answer: the newest`,
      beyond: 'earlier ones are not counted',
    },
    {
      what: 'References to one event that are shown with it',
      most: `${MAX_REFERENCES}, the first`,
      beyond: 'the others are listed by `/relations`',
    },
    {
      what: 'Edits of a message that are looked at for a valid one',
      most: `${MAX_EDITS}, the newest; ${MAX_EDITS_OF_ANSWER} for one answer`,
      beyond: 'the message is shown as if it had none',
    },
    {
      what: 'One page of `/threads`',
      most: `${THREADS_LIST_MAX_LIMIT}; the page ends earlier after ${THREADS_LIST_MAX_SCANNED} of which the reader may see nothing`,
      beyond: 'less than was asked for, with a token to continue',
    },
    {
      what: 'Replies from times in which the reader was away, which are checked one by one for `/threads`',
      most: `${MAX_REPLIES_JUDGED} of one thread, ${THREADS_LIST_MAX_JUDGED} together: the newest`,
      beyond: 'earlier ones do not count',
    },
    {
      what: 'Replies that one page of `/threads` goes through, of all threads of the room',
      most: String(MAX_WALKED),
      beyond: 'less than was asked for, with a token to continue',
    },
    {
      what: 'What relates to the root of a thread between two replies that count: reactions, replies that were redacted or are by ignored users',
      most: String(MAX_LATER),
      beyond: 'the thread is listed twice by `/threads`',
    },
    {
      what: 'Replies of a thread among which one of the reader is looked for (`include=participated`)',
      most: `${MAX_PARTICIPATION}, the newest`,
      beyond: 'the thread is not listed',
    },
    {
      what: 'Lists of threads that are read at the same time',
      most: `${READ_AT_ONCE}; users take turns, and ${THREADS_LIST_MAX_WAITING} of one user may wait`,
      beyond: '429 `M_LIMIT_EXCEEDED`',
      metric: 'tsudoi_limited_requests_total{limiter="threads_lists"}',
    },
    {
      what: 'One page of a space (`/hierarchy`)',
      most: `${SPACE_HIERARCHY_MAX_LIMIT} rooms, ${SPACE_HIERARCHY_MAX_CHARACTERS} characters; the page ends earlier after ${MAX_LOOKED} rooms that the reader may not see`,
      beyond: 'less than was asked for, with a token to continue',
    },
    {
      what: 'A whole space',
      most: `${MAX_VISITED} rooms, ${MAX_DEPTH} deep`,
      beyond: 'the others are not shown',
    },
    {
      what: 'Questions to other servers for one page of a space',
      most: `${MAX_ASKED}, in ${inTime(MAX_WAIT_MS)}`,
      beyond: 'the page ends there, with a token to continue',
    },
    {
      what: 'Memory for where the pages of spaces continue',
      most: inBytes(KEPT_BYTES),
      beyond: 'the space is gone through again from its beginning',
    },
    {
      what: 'Spaces that are gone through again from their beginning, at the same time',
      most: `${PASSING_AT_ONCE}; users take turns, and ${SPACE_HIERARCHY_MAX_WAITING} of one user may wait`,
      beyond: '429 `M_LIMIT_EXCEEDED`',
      metric: 'tsudoi_limited_requests_total{limiter="space_walks"}',
    },
    {
      what: 'Children of one space',
      most: `${SPACE_CHILDREN_MAX_CHARACTERS} characters of their events`,
      beyond: 'the others are not shown',
    },
    {
      what: 'Words of a search',
      most: String(MAX_TERMS),
      beyond: 'further words do not count',
    },
    {
      what: 'Length of what is searched for',
      most: `${SEARCH_SERVICE_MAX_TERM_LENGTH} characters`,
      beyond: '400 `M_INVALID_PARAM`',
    },
    {
      what: 'One page of a search',
      most: `${SEARCH_SERVICE_MAX_LIMIT} results; ${SEARCH_SERVICE_MAX_EVENTS} events, those around the results included`,
      beyond: 'less than was asked for, with a token to continue',
    },
    {
      what: 'Events around one result of a search',
      most: `${MAX_AROUND} before and after it`,
      beyond: 'fewer than were asked for',
    },
    {
      what: 'Messages that one page of a search looks at',
      most: `${MAX_EXAMINED}; ${MAX_SCANNED_TEXTS} where what is searched for is too short for the index; ${SEARCH_PAGES_MAX_STEPS} characters of them`,
      beyond: 'less than was asked for, with a token to continue',
    },
    {
      what: 'Earlier versions of rooms that a search follows',
      most: `${MAX_UPGRADES} upgrades`,
      beyond: 'earlier ones are not searched',
    },
    {
      what: 'Results of a search in the user directory',
      most: String(USER_DIRECTORY_MAX_LIMIT),
      beyond: '`limited` is true',
    },
    {
      what: 'Length of what is searched for in the user directory',
      most: `${USER_DIRECTORY_MAX_TERM_LENGTH} characters`,
      beyond: 'the rest does not count',
    },
    {
      what: 'Members of a room who are put into the user directory when this server joins it',
      most: String(DIRECTORY_ENTRIES_MAX_LISTED),
      beyond: 'the others are found when they change',
    },
    {
      what: 'One page of the public rooms',
      most: `${PUBLIC_ROOMS_MAX_LIMIT} rooms`,
      beyond: 'less than was asked for, with a token to continue',
    },
    {
      what: 'Name and topic of one of the public rooms',
      most: `${MAX_NAME_LENGTH} and ${MAX_TOPIC_LENGTH} characters`,
      beyond: 'they are cut',
    },
    {
      what: 'One page of `/notifications`',
      most: `${NOTIFICATION_LIST_MAX_LIMIT}; the page ends earlier after ${NOTIFICATION_LIST_MAX_STEPS} steps of the push rules`,
      beyond: 'less than was asked for, with a token to continue',
    },
  ],
};
