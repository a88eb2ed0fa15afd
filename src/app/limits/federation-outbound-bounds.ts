import { MAX_EDUS, MAX_PDUS } from '#src/protocol/wire/transaction-bounds.ts';
import { MAX_ANSWER_BYTES, MAX_ANSWER_BYTES_OF_PARTY } from '#src/remote/federation/answer-bytes.ts';
import { DEFAULT_MAX_BODY_BYTES, MAX_ERROR_BYTES, PER_DESTINATION } from '#src/remote/federation/federation-client.ts';
import { MAX_BYTES as HISTORY_API_MAX_BYTES } from '#src/remote/federation/history-api.ts';
import { JOIN_TIMEOUTS } from '#src/remote/federation/membership-api.ts';
import { MAX_PAGE_SIZE } from '#src/remote/federation/public-rooms-api.ts';
import {
  DEFAULT_TIMEOUTS,
  CONCURRENCY as REQUEST_ADMISSION_CONCURRENCY,
  MAX_WAITING as REQUEST_ADMISSION_MAX_WAITING,
} from '#src/remote/federation/request-admission.ts';
import { MAX_ANSWER_SIZE as SPACES_API_MAX_ANSWER_SIZE } from '#src/remote/federation/spaces-api.ts';
import {
  MAX_BYTES_OF_USER,
  MAX_ANSWER_SIZE as USER_KEYS_API_MAX_ANSWER_SIZE,
} from '#src/remote/federation/user-keys-api.ts';
import {
  CONCURRENCY as WELL_KNOWN_SERVERS_CONCURRENCY,
  PER_PARTY,
  MAX_WAITING as WELL_KNOWN_SERVERS_MAX_WAITING,
  MAX_BODY_BYTES,
  MAX_REDIRECTS,
} from '#src/remote/federation/well-known-servers.ts';
import {
  PAGES_AT_ONCE,
  PAGES_OF_ONE,
  MAX_WAITING as BACKFILL_MAX_WAITING,
  PAGE_MS,
  MAX_SERVERS as BACKFILL_MAX_SERVERS,
  MAX_ENDS,
} from '#src/services/federation/backfill/backfill.ts';
import { MAX_WAITING as PRESENCE_EDUS_MAX_WAITING } from '#src/services/federation/edus/presence-edus.ts';
import { MAX_WAITING as RECEIPT_EDUS_MAX_WAITING } from '#src/services/federation/edus/receipt-edus.ts';
import { MAX_WAITING as TYPING_EDUS_MAX_WAITING } from '#src/services/federation/edus/typing-edus.ts';
import { MAX as JOIN_CANDIDATES_MAX } from '#src/services/federation/handshakes/join-candidates.ts';
import {
  MAX_USELESS_BYTES,
  MAX_UNVERIFIED_BYTES,
  MAX_UNVERIFIED_SHARE,
} from '#src/services/federation/room-import/join-answer-reader.ts';
import {
  LARGE_BYTES as LARGE_ANSWERS_LARGE_BYTES,
  CONCURRENCY as LARGE_ANSWERS_CONCURRENCY,
  FIRST_MS,
  SLOWEST_BYTES_PER_SECOND,
} from '#src/services/federation/room-import/large-answers.ts';
import { MAX_SERVERS as ROOM_IMPORT_MAX_SERVERS } from '#src/services/federation/room-import/room-import.ts';
import { MAX_FOR_LEAVE } from '#src/services/federation/joins/remote-leaves.ts';
import { MAX_PAUSE_MS } from '#src/services/federation/outbound/destination-pauses.ts';
import { MAX_ROOMS as PENDING_ROOMS_MAX_ROOMS } from '#src/services/federation/outbound/pending-rooms.ts';
import {
  CONCURRENCY as TRANSACTION_COMPOSER_CONCURRENCY,
  MAX_BYTES as TRANSACTION_COMPOSER_MAX_BYTES,
  MAX_CHARACTERS,
  TRIES as TRANSACTION_COMPOSER_TRIES,
} from '#src/services/federation/outbound/transaction-composer.ts';
import { ASKED_AT_ONCE } from '#src/services/federation/partial-state/full-states.ts';
import { type FixedBounds, inBytes, inTime } from './fixed-bounds.ts';

/** Fixed bounds: what other servers are asked and sent. */
export const FEDERATION_OUTBOUND_BOUNDS: FixedBounds = {
  title: 'What other servers are asked and sent',
  why: 'Another server may be slow, may never answer, or may answer with more than anybody needs.',
  rows: [
    {
      what: 'An answer of another server, if no row below names it',
      most: inBytes(DEFAULT_MAX_BODY_BYTES),
      beyond: 'it counts as none',
      metric: 'tsudoi_federation_request_seconds{outcome}',
    },
    {
      what: 'Keys',
      most: `${inBytes(MAX_BYTES_OF_USER)} for each user who is asked for, ${inBytes(USER_KEYS_API_MAX_ANSWER_SIZE)} together`,
      beyond: 'it counts as none',
      metric: 'tsudoi_federation_request_seconds{outcome}',
    },
    {
      what: 'Events of a room',
      most: inBytes(HISTORY_API_MAX_BYTES.events),
      beyond: 'it counts as none',
      metric: 'tsudoi_federation_request_seconds{outcome}',
    },
    {
      what: 'The state of a room at an event',
      most: inBytes(HISTORY_API_MAX_BYTES.state),
      beyond: 'it counts as none',
      metric: 'tsudoi_federation_request_seconds{outcome}',
    },
    {
      what: 'A space; a page of public rooms',
      most: `${inBytes(SPACES_API_MAX_ANSWER_SIZE)}; ${inBytes(MAX_PAGE_SIZE)}`,
      beyond: 'it counts as none',
      metric: 'tsudoi_federation_request_seconds{outcome}',
    },
    {
      what: 'An error',
      most: inBytes(MAX_ERROR_BYTES),
      beyond: 'the rest is not read',
    },
    {
      what: 'Memory for answers of other servers (but states of rooms)',
      most: `${inBytes(MAX_ANSWER_BYTES)}; ${inBytes(MAX_ANSWER_BYTES_OF_PARTY)}, and half of what the others leave, for one user or server`,
      beyond: 'they wait to be read',
      metric: 'tsudoi_federation_answer_bytes',
    },
    {
      what: 'Time for an answer of another server, if no endpoint needs another',
      most: `${inTime(DEFAULT_TIMEOUTS.headersMs)} until it begins, ${inTime(DEFAULT_TIMEOUTS.totalMs)} in all`,
      beyond: 'the server counts as not reached',
      metric: 'tsudoi_federation_request_seconds{outcome}',
    },
    {
      what: 'Time for the answer to a join',
      most: inTime(JOIN_TIMEOUTS.totalMs),
      beyond: 'the server counts as not reached',
      metric: 'tsudoi_federation_request_seconds{outcome}',
    },
    {
      what: 'Requests to other servers at the same time',
      most: `${REQUEST_ADMISSION_CONCURRENCY}, to one server ${PER_DESTINATION}; ${REQUEST_ADMISSION_MAX_WAITING} may wait`,
      beyond: 'they wait; the newest fail',
      metric: 'tsudoi_federation_request_seconds{outcome}',
    },
    {
      what: `Answers with the state of a room of more than ${inBytes(LARGE_ANSWERS_LARGE_BYTES)} that are read at the same time`,
      most: `${LARGE_ANSWERS_CONCURRENCY}, one of each server`,
      beyond: 'they wait',
    },
    {
      what: `Speed at which such an answer comes, after ${inTime(FIRST_MS)}`,
      most: `${inBytes(SLOWEST_BYTES_PER_SECOND)} a second at the least`,
      beyond: '502 `M_CONNECTION_FAILED`; for a while the server is not asked for such answers',
    },
    {
      what: 'Bytes of such an answer that are of no use',
      most: `${inBytes(MAX_USELESS_BYTES)}, or half of it`,
      beyond: '502 `M_CONNECTION_FAILED`; for a while the server is not asked for such answers',
    },
    {
      what: 'Bytes of such an answer whose signatures cannot be verified',
      most: `${inBytes(MAX_UNVERIFIED_BYTES)}, or ${MAX_UNVERIFIED_SHARE} of it`,
      beyond: '502 `M_CONNECTION_FAILED`',
    },
    {
      what: 'Servers that the answer to a join may name as those in the room',
      most: String(ROOM_IMPORT_MAX_SERVERS),
      beyond: 'further ones do not count',
    },
    {
      what: 'Servers that are asked, one after the other, to let a user join, knock or leave',
      most: `${JOIN_CANDIDATES_MAX}; ${MAX_FOR_LEAVE} for a leave`,
      beyond: 'the last error is answered',
    },
    {
      what: 'Rooms whose members are fetched after a join, at the same time',
      most: String(ASKED_AT_ONCE),
      beyond: 'they wait',
    },
    {
      what: 'Pages of history for which other servers are asked at the same time',
      most: `${PAGES_AT_ONCE}, for one user ${PAGES_OF_ONE}; users take turns, and ${BACKFILL_MAX_WAITING} of one user may wait`,
      beyond: 'the page shows what is here',
    },
    {
      what: 'Time that a page waits for other servers',
      most: inTime(PAGE_MS),
      beyond: 'it shows what is here',
    },
    {
      what: 'Servers that are asked for the same piece of history',
      most: `${BACKFILL_MAX_SERVERS}, from ${MAX_ENDS} events on`,
      beyond: 'the page shows what is here',
    },
    {
      what: 'Transactions for other servers that are put together at the same time',
      most: String(TRANSACTION_COMPOSER_CONCURRENCY),
      beyond: 'they wait',
    },
    {
      what: 'Memory for transactions that are on their way to other servers',
      most: inBytes(TRANSACTION_COMPOSER_MAX_BYTES),
      beyond: 'they wait',
      metric: 'tsudoi_federation_outbound_bytes',
    },
    {
      what: 'One transaction for another server',
      most: `${MAX_PDUS} events of ${MAX_CHARACTERS} characters, ${MAX_EDUS} EDUs`,
      beyond: 'the rest comes with the next one',
      metric: 'tsudoi_delivery_batches_total{queue,outcome}',
    },
    {
      what: 'Attempts to put a transaction together',
      most: String(TRANSACTION_COMPOSER_TRIES),
      beyond: 'what cannot be put into one is not sent, and an error is logged',
      metric: 'tsudoi_follower_given_up_total{follower}',
    },
    {
      what: 'What waits for one server',
      most: `${RECEIPT_EDUS_MAX_WAITING} receipts, ${PRESENCE_EDUS_MAX_WAITING} users of presence, ${TYPING_EDUS_MAX_WAITING} typing users`,
      beyond: 'the oldest are not sent',
    },
    {
      what: 'Rooms that wait for servers that are away, of all servers together',
      most: String(PENDING_ROOMS_MAX_ROOMS),
      beyond: 'the server for which most wait is forgotten; it asks for what it missed when it is back',
    },
    {
      what: 'Pause before a server that does not answer is tried again',
      most: `${inTime(MAX_PAUSE_MS)} at the longest`,
      beyond: 'it waits',
      metric: 'tsudoi_federation_unreachable_servers',
    },
    {
      what: 'Hosts that are asked for `/.well-known/matrix/server` at the same time',
      most: `${WELL_KNOWN_SERVERS_CONCURRENCY}, for one user ${PER_PARTY}; ${WELL_KNOWN_SERVERS_MAX_WAITING} may wait`,
      beyond: 'they wait',
    },
    {
      what: 'An answer to that',
      most: `${inBytes(MAX_BODY_BYTES)}, after ${MAX_REDIRECTS} redirects`,
      beyond: 'it counts as none',
    },
  ],
};
