import { MAX_ROOMS_BEHIND } from '#src/protocol/wire/position.ts';
import { FEW as NOTED_CHANGES_FEW } from '#src/services/commit/noted-changes.ts';
import { MAX_SHOWN as ROOM_RECEIPTS_MAX_SHOWN } from '#src/services/push/receipts/room-receipts.ts';
import {
  CONCURRENCY as LARGE_SYNCS_CONCURRENCY,
  MAX_WAITING as LARGE_SYNCS_MAX_WAITING,
} from '#src/services/sync/engine/large-syncs.ts';
import { FEW_ROOMS, MAX_EVENTS as EVENT_STREAM_MAX_EVENTS } from '#src/services/sync/legacy/event-stream.ts';
import { MAX_LIMIT as INITIAL_SYNC_MAX_LIMIT } from '#src/services/sync/legacy/initial-sync.ts';
import {
  MAX_USERS as PROFILE_UPDATES_MAX_USERS,
  MAX_BYTES as PROFILE_UPDATES_MAX_BYTES,
  MAX_DUE,
} from '#src/services/sync/profiles/profile-updates.ts';
import { MAX as TO_DEVICE_MAX } from '#src/services/sync/sections/to-device.ts';
import {
  MAX_CONNECTIONS,
  MAX_ROOMS as CONNECTION_STORE_MAX_ROOMS,
  MAX_BYTES as CONNECTION_STORE_MAX_BYTES,
} from '#src/services/sync/sliding/connection-store.ts';
import { MAX_PER_DEVICE } from '#src/services/sync/sliding/connections.ts';
import { MAX_BYTES as REQUIRED_STATE_MAX_BYTES } from '#src/services/sync/sliding/required-state.ts';
import { MIN_NAMES, MAX_OVERLAP } from '#src/services/sync/sliding/room-lists.ts';
import { MOST_OF_RECEIPTS, FEW_RECEIPTS } from '#src/services/sync/sliding/sliding-extensions.ts';
import {
  MAX_LISTS,
  MAX_SUBSCRIPTIONS,
  MAX_RANGES,
  MAX_NAMES as SLIDING_REQUEST_MAX_NAMES,
  MAX_REQUIRED,
  MAX_REQUIRED_IN_ALL,
  MAX_TO_DEVICE,
  MAX_THREADS,
} from '#src/services/sync/sliding/sliding-request.ts';
import { type FixedBounds, inBytes } from './fixed-bounds.ts';

/** Fixed bounds: sync. */
export const SYNC_BOUNDS: FixedBounds = {
  title: 'Sync',
  why: 'Every client syncs, and after an outage all of them come at the same time.',
  rows: [
    {
      what: `First syncs, large sliding ones, \`GET /initialSync\`, and \`GET /events\` of more than ${FEW_ROOMS} rooms with news, at the same time`,
      most: `${LARGE_SYNCS_CONCURRENCY}; users take turns, and ${LARGE_SYNCS_MAX_WAITING} of one user may wait`,
      beyond: '429 `M_LIMIT_EXCEEDED`',
      metric: 'tsudoi_limited_requests_total{limiter="first_syncs"}',
    },
    {
      what: 'Parts of the rooms that one token of `/sync` may be behind with',
      most: String(MAX_ROOMS_BEHIND),
      beyond: 'an answer ends later',
      metric: 'tsudoi_sync_responses_total{outcome}',
    },
    {
      what: 'Messages between devices in one answer',
      most: String(TO_DEVICE_MAX),
      beyond: 'the others come with the next answer',
    },
    {
      what: 'Events of one room in one answer of `GET /events`',
      most: `${EVENT_STREAM_MAX_EVENTS}, and \`sync.max_timeline_bytes\``,
      beyond: 'the rest is read with `/messages`',
    },
    {
      what: 'Messages of one room in `GET /initialSync`',
      most: String(INITIAL_SYNC_MAX_LIMIT),
      beyond: 'the rest is read with `/messages`',
    },
    {
      what: 'Users of whose profiles one answer tells',
      most: `${PROFILE_UPDATES_MAX_USERS}, ${inBytes(PROFILE_UPDATES_MAX_BYTES)}`,
      beyond: 'the others come with the next answers',
    },
    {
      what: 'Users whose profiles wait for the next answers',
      most: String(MAX_DUE),
      beyond: 'clients have to ask for the others',
    },
    {
      what: 'Receipts of others in one room that a client is sent at the same time',
      most: `${ROOM_RECEIPTS_MAX_SHOWN}, and as many new ones`,
      beyond: 'older ones are not sent',
    },
    {
      what: `The same in sliding sync, after ${MOST_OF_RECEIPTS} characters of them in one answer`,
      most: `${FEW_RECEIPTS}, and as many new ones`,
      beyond: 'older ones are not sent',
    },
    {
      what: 'Changes of devices, and of profiles, since a token, that are looked at one by one',
      most: String(NOTED_CHANGES_FEW),
      beyond: 'all who share a room count as changed',
    },
    {
      what: 'Sliding sync: lists of one connection',
      most: String(MAX_LISTS),
      beyond: '400 `M_INVALID_PARAM`',
    },
    {
      what: 'Sliding sync: rooms that a connection subscribes to by name',
      most: String(MAX_SUBSCRIPTIONS),
      beyond: '400 `M_INVALID_PARAM`',
    },
    {
      what: 'Sliding sync: ranges of one list',
      most: String(MAX_RANGES),
      beyond: '400 `M_INVALID_PARAM`',
    },
    {
      what: 'Sliding sync: names in one list of a filter',
      most: String(SLIDING_REQUEST_MAX_NAMES),
      beyond: '400 `M_INVALID_PARAM`',
    },
    {
      what: 'Sliding sync: entries of `required_state`',
      most: `${MAX_REQUIRED} of one list or room, ${MAX_REQUIRED_IN_ALL} of all together`,
      beyond: '400 `M_INVALID_PARAM`',
    },
    {
      what: 'Sliding sync: names of rooms in the ranges of all lists',
      most: `${MIN_NAMES}, or ${MAX_OVERLAP} for each room of the user`,
      beyond: '400 `M_INVALID_PARAM`',
    },
    {
      what: 'Sliding sync: messages between devices in one answer',
      most: String(MAX_TO_DEVICE),
      beyond: 'the others come with the next answer',
    },
    {
      what: 'Sliding sync: changes of thread subscriptions in one answer',
      most: String(MAX_THREADS),
      beyond: 'the others come with the next answer',
    },
    {
      what: 'Sliding sync: connections in memory',
      most: `${MAX_PER_DEVICE} of one device, within \`cache.sliding_sync_bytes\` of all`,
      beyond: '400 `M_UNKNOWN_POS`: the client begins again',
      metric: 'tsudoi_cache_size{cache}',
    },
    {
      what: 'Sliding sync: connections that are kept over a restart',
      most: `${MAX_CONNECTIONS}, each with ${CONNECTION_STORE_MAX_ROOMS} rooms in ${inBytes(CONNECTION_STORE_MAX_BYTES)}`,
      beyond: '400 `M_UNKNOWN_POS`: the client begins again',
    },
    {
      what: 'Sliding sync: memory for what clients want of the state of rooms',
      most: inBytes(REQUIRED_STATE_MAX_BYTES),
      beyond: 'what was used longest ago is forgotten, and those rooms are sent anew',
    },
  ],
};
