import { MAX_EDUS, MAX_PDUS } from '#src/protocol/wire/transaction-bounds.ts';
import { MAX_BYTES as TRANSACTIONS_MAX_BYTES } from '#src/http/server-server/transactions.ts';
import { MAX_REMOTE_DEVICES } from '#src/remote/federation/user-devices-api.ts';
import { MAX_RESYNCING } from '#src/services/e2ee/device-lists/remote-device-lists.ts';
import {
  MAX_RECEIVED as PRESENCE_EDUS_MAX_RECEIVED,
  MAX_STATUS_LENGTH,
} from '#src/services/federation/edus/presence-edus.ts';
import { MAX_RECEIVED as RECEIPT_EDUS_MAX_RECEIVED } from '#src/services/federation/edus/receipt-edus.ts';
import {
  MAX_MISSING,
  MAX_BACKFILLED,
  MAX_BYTES as HISTORY_ANSWERS_MAX_BYTES,
  MAX_ENDS,
} from '#src/services/federation/history/history-answers.ts';
import { MAX_LOOKED_AT } from '#src/services/federation/history/history-walk.ts';
import { MAX_USERS as SERVER_VISIBILITY_MAX_USERS } from '#src/services/federation/history/server-visibility.ts';
import {
  MAX_PER_ORIGIN,
  MAX_PER_ORIGIN_AND_ROOM,
  MAX_HELD_BYTES,
  BATCH as INBOUND_QUEUE_BATCH,
} from '#src/services/federation/inbound/inbound-queue.ts';
import {
  ROOMS_AT_ONCE,
  SLOW_ROOMS_AT_ONCE,
  TURN_MS,
  ASKING_AT_ONCE,
  ASKING_OF_ORIGIN_AT_ONCE,
  MAX_ASKING_MS,
} from '#src/services/federation/inbound/inbound-receiving.ts';
import { ANSWER_BYTES, JUDGED_AT_ONCE, KEYS_AT_ONCE } from '#src/services/federation/inbound/inbound-transactions.ts';
import { MAX_IN_GAP, MAX_ROUNDS, MAX_BRANCHES } from '#src/services/federation/inbound/missing-events.ts';
import {
  STATES_AT_ONCE,
  MAX_SERVERS as ROOM_FETCHER_MAX_SERVERS,
  MAX_SINGLE,
} from '#src/services/federation/inbound/room-fetcher.ts';
import { MAX_INVITES } from '#src/services/federation/invites/bound-invites.ts';
import {
  MAX_EVENTS as INVITE_ROOM_STATE_MAX_EVENTS,
  MAX_BYTES as INVITE_ROOM_STATE_MAX_BYTES,
  MAX_VERIFIED,
} from '#src/services/federation/invites/invite-room-state.ts';
import { MAX_WAITING as RECEIVED_INVITES_MAX_WAITING } from '#src/services/federation/invites/received-invites.ts';
import { MAX_CHILDREN } from '#src/services/federation/queries/space-answers.ts';
import { MAX_SIGNATURES as EVENT_VERIFIER_MAX_SIGNATURES } from '#src/services/servers/keys/event-verifier.ts';
import {
  MAX_SERVERS as KEY_NOTARY_MAX_SERVERS,
  MAX_KEYS as KEY_NOTARY_MAX_KEYS,
} from '#src/services/servers/keys/key-notary.ts';
import {
  MAX_SERVERS as KNOWN_SERVER_KEYS_MAX_SERVERS,
  MAX_KEYS_PER_SERVER,
} from '#src/services/servers/keys/known-server-keys.ts';
import {
  CONCURRENCY as SERVER_KEYS_CONCURRENCY,
  CONCURRENCY_OF_ONE as SERVER_KEYS_CONCURRENCY_OF_ONE,
  MAX_WAITING as SERVER_KEYS_MAX_WAITING,
} from '#src/services/servers/keys/server-keys.ts';
import {
  MAX_SIGNATURES as REQUEST_AUTHENTICATOR_MAX_SIGNATURES,
  LARGE_AT_ONCE,
  MAX_LARGE_WAITING,
} from '#src/services/servers/requests/request-authenticator.ts';
import { type FixedBounds, inBytes, inTime } from './fixed-bounds.ts';

/** Fixed bounds: what other servers send. */
export const FEDERATION_INBOUND_BOUNDS: FixedBounds = {
  title: 'What other servers send',
  why: 'Another server may be broken or hostile. Each gets its share, and what is too much waits on its side.',
  rows: [
    {
      what: 'A transaction of another server',
      most: `${MAX_PDUS} events and ${MAX_EDUS} EDUs in ${inBytes(TRANSACTIONS_MAX_BYTES)}`,
      beyond: '400 `M_BAD_JSON`, 413 `M_TOO_LARGE`',
      metric: 'tsudoi_federation_received_events_total{outcome}',
    },
    {
      what: 'Answers to transactions that are kept in memory, for servers that send one again',
      most: inBytes(ANSWER_BYTES),
      beyond: 'they are read from the database',
    },
    {
      what: 'Transactions of one server that are worked on at the same time',
      most: `${JUDGED_AT_ONCE}; ${KEYS_AT_ONCE} servers are asked for keys for each`,
      beyond: 'they wait',
    },
    {
      what: 'Events of one server that wait for their rooms',
      most: `${MAX_PER_ORIGIN}, for one room ${MAX_PER_ORIGIN_AND_ROOM}`,
      beyond: '429 `M_LIMIT_EXCEEDED`: it sends the transaction again',
      metric: 'tsudoi_federation_waiting_events',
    },
    {
      what: 'Memory for events that wait for their rooms',
      most: inBytes(MAX_HELD_BYTES),
      beyond: 'the others are read from the database when it is their turn',
      metric: 'tsudoi_federation_waiting_events',
    },
    {
      what: 'Rooms whose events are received at the same time',
      most: `${ROOMS_AT_ONCE}, ${SLOW_ROOMS_AT_ONCE} of them where that takes long; after ${INBOUND_QUEUE_BATCH} events or ${inTime(TURN_MS)} of one it is the turn of another`,
      beyond: 'they wait',
      metric: 'tsudoi_federation_waiting_events',
    },
    {
      what: 'Events for which other servers are asked at the same time what came before them',
      most: `${ASKING_AT_ONCE}, of one server ${ASKING_OF_ORIGIN_AT_ONCE}; ${inTime(MAX_ASKING_MS)} for one`,
      beyond: 'they wait; after that time the event is judged by what is known',
      metric: 'tsudoi_federation_gap_seconds',
    },
    {
      what: 'Events that are fetched because they are missing before a new one',
      most: `${MAX_IN_GAP}, in ${MAX_ROUNDS} questions`,
      beyond: `the state at the end of the gap is asked for instead, on ${MAX_BRANCHES} branches`,
      metric: 'tsudoi_federation_gap_seconds',
    },
    {
      what: 'Whole states of rooms that are fetched at the same time',
      most: String(STATES_AT_ONCE),
      beyond: 'they wait',
    },
    {
      what: 'Servers that are asked for the same missing events',
      most: String(ROOM_FETCHER_MAX_SERVERS),
      beyond: 'the event is not accepted',
    },
    {
      what: 'Events of a state that are fetched one by one',
      most: String(MAX_SINGLE),
      beyond: 'the whole state is fetched',
    },
    {
      what: 'Receipts in one transaction',
      most: String(RECEIPT_EDUS_MAX_RECEIVED),
      beyond: 'further ones are dropped',
      metric: 'tsudoi_federation_received_edus_total{type}',
    },
    {
      what: 'Users whose presence one transaction tells',
      most: String(PRESENCE_EDUS_MAX_RECEIVED),
      beyond: 'further ones are dropped',
      metric: 'tsudoi_federation_received_edus_total{type}',
    },
    {
      what: 'Status message of a user of another server',
      most: `${MAX_STATUS_LENGTH} characters`,
      beyond: 'it is cut',
    },
    {
      what: 'Invites of other servers that wait for one user',
      most: String(RECEIVED_INVITES_MAX_WAITING),
      beyond: '429 `M_LIMIT_EXCEEDED`',
      metric: 'tsudoi_limited_requests_total{limiter="pending_invites"}',
    },
    {
      what: 'Events by which an invite describes its room',
      most: `${INVITE_ROOM_STATE_MAX_EVENTS}, ${inBytes(INVITE_ROOM_STATE_MAX_BYTES)}; ${MAX_VERIFIED} with signatures`,
      beyond: 'further ones are dropped',
    },
    {
      what: 'Invites by mail address that an identity server tells in one request',
      most: String(MAX_INVITES),
      beyond: '413 `M_TOO_LARGE`',
    },
    {
      what: 'Signatures that are looked at',
      most: `${REQUEST_AUTHENTICATOR_MAX_SIGNATURES} of a request, ${EVENT_VERIFIER_MAX_SIGNATURES} of an event`,
      beyond: 'the others do not count',
    },
    {
      what: 'Large requests whose signatures are checked at the same time, in another thread',
      most: `${LARGE_AT_ONCE}; addresses take turns, and ${MAX_LARGE_WAITING} of one may wait`,
      beyond: '429 `M_LIMIT_EXCEEDED`: it sends the request again',
      metric: 'tsudoi_limited_requests_total{limiter="unproved_bodies"}',
    },
    {
      what: 'Servers whose keys are in memory',
      most: `${KNOWN_SERVER_KEYS_MAX_SERVERS}, each with ${MAX_KEYS_PER_SERVER} keys`,
      beyond: 'they are looked up again',
    },
    {
      what: 'Servers that are asked for their keys at the same time',
      most: `${SERVER_KEYS_CONCURRENCY}, for one address or server ${SERVER_KEYS_CONCURRENCY_OF_ONE}; they take turns, and ${SERVER_KEYS_MAX_WAITING} of one may wait`,
      beyond: '401 `M_UNAUTHORIZED` for their requests; their events are not accepted',
      metric: 'tsudoi_server_key_fetches_total{outcome}',
    },
    {
      what: 'Servers of which a request asks this one for the keys (as a notary)',
      most: `${KEY_NOTARY_MAX_SERVERS}, and ${KEY_NOTARY_MAX_KEYS} keys of each`,
      beyond: '413 `M_TOO_LARGE`',
    },
    {
      what: 'An answer to `/get_missing_events` or `/backfill`',
      most: `${MAX_MISSING} or ${MAX_BACKFILLED} events, ${inBytes(HISTORY_ANSWERS_MAX_BYTES)}`,
      beyond: 'less than was asked for',
    },
    {
      what: 'Events from which such an answer begins',
      most: String(MAX_ENDS),
      beyond: 'further ones do not count',
    },
    {
      what: 'Events that such an answer looks at, and leaves out because the server may not see them',
      most: String(MAX_LOOKED_AT),
      beyond: 'less than was asked for',
    },
    {
      what: 'Users of a server whose memberships say what it may see',
      most: String(SERVER_VISIBILITY_MAX_USERS),
      beyond: 'further ones do not count',
    },
    {
      what: 'Children of a space in an answer to another server',
      most: String(MAX_CHILDREN),
      beyond: 'the others are not named',
    },
    {
      what: 'Devices of a user of another server',
      most: String(MAX_REMOTE_DEVICES),
      beyond: 'further ones are dropped',
    },
    {
      what: "Lists of devices of other servers' users that are fetched again at the same time",
      most: String(MAX_RESYNCING),
      beyond: 'they are fetched when they are asked for',
    },
  ],
};
