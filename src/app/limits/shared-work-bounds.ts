import { SLICE_MS, MAX_REST_MS } from '#src/kernel/event-loop/turns.ts';
import { LARGE_JSON, PIECES_AT_ONCE } from '#src/protocol/json/parse-in-pieces.ts';
import { LARGE_BYTES as WRITER_LARGE_BYTES, MAX_LARGE_WAITING } from '#src/services/commit/writer.ts';
import { USERS_AT_ONCE as PRESENCE_USERS_AT_ONCE } from '#src/services/ephemeral/presence/presence-service.ts';
import { MAX_MS } from '#src/services/room-model/room/whole-state.ts';
import { MAX_WAITING as CONNECTION_LINE_MAX_WAITING } from '#src/storage/connection-line.ts';
import { CONNECTION_TIMEOUT_MS } from '#src/storage/database.ts';
import {
  LARGE_BYTES as LARGE_WRITES_LARGE_BYTES,
  CONCURRENCY as LARGE_WRITES_CONCURRENCY,
} from '#src/storage/large-writes.ts';
import { type FixedBounds, inBytes, inTime } from './fixed-bounds.ts';

/** Fixed bounds: time of the processor and of the database. */
export const SHARED_WORK_BOUNDS: FixedBounds = {
  title: 'Time of the processor and of the database',
  why: 'The server has one event loop and few connections to its database: what takes long must not delay what is short.',
  rows: [
    {
      what: 'Time in which requests are begun in one turn of the event loop',
      most: inTime(SLICE_MS),
      beyond: 'they wait for the next turn; users take turns, and those who used less of late go first',
      metric: 'tsudoi_turns_waiting',
    },
    {
      what: 'Pause after each piece of work for a party that used much, while others are served',
      most: `twice as long as the piece took, ${inTime(MAX_REST_MS)} at most`,
      beyond: 'they wait',
      metric: 'tsudoi_turns_waiting',
    },
    {
      what: `Account data, tags and messages between devices of ${inBytes(WRITER_LARGE_BYTES)} and more that are written at the same time`,
      most: `1; users take turns, and ${MAX_LARGE_WAITING} of one user may wait`,
      beyond: '429 `M_LIMIT_EXCEEDED`',
      metric: 'tsudoi_limited_requests_total{limiter="writer_large"}',
    },
    {
      what: `Transactions of the database for requests whose bodies have ${inBytes(LARGE_WRITES_LARGE_BYTES)} and more, at the same time`,
      most: `${LARGE_WRITES_CONCURRENCY}; users take turns, and nobody waits longer than ${inTime(CONNECTION_TIMEOUT_MS)}`,
      beyond: '429 `M_LIMIT_EXCEEDED`',
      metric: 'tsudoi_limited_requests_total{limiter="large_writes"}',
    },
    {
      what: 'Statements of the database at the same time',
      most: `\`database.pool_size\`, one of them for the writer alone; users take turns, and nobody waits longer than ${inTime(CONNECTION_TIMEOUT_MS)}`,
      beyond: '503 `M_UNKNOWN`',
      metric: 'tsudoi_sql_pool_waiting',
    },
    {
      what: 'Statements of one user that wait',
      most: String(CONNECTION_LINE_MAX_WAITING),
      beyond: '503 `M_UNKNOWN`',
      metric: 'tsudoi_sql_pool_waiting',
    },
    {
      what: 'JSON that is parsed in one turn of the event loop',
      most: `${inBytes(LARGE_JSON)}; larger bodies and answers of other servers in parts of ${inBytes(PIECES_AT_ONCE)}`,
      beyond: 'they take longer',
      metric: 'tsudoi_event_loop_held_total{operation}',
    },
    {
      what: 'Users whose presence is looked at, or written, in one turn of the event loop',
      most: PRESENCE_USERS_AT_ONCE,
      beyond: 'the others are looked at in the next turns',
      metric: 'tsudoi_event_loop_held_total{operation}',
    },
    {
      what: 'Time that a request waits for the members of a room that was just joined',
      most: inTime(MAX_MS),
      beyond: '503 `M_UNKNOWN`',
    },
  ],
};
