import { DEFAULT_SERVER_LIMITS } from '#src/http/server.ts';
import { MAX_ROOMS_BEHIND } from '#src/protocol/wire/position.ts';
import { DEFAULT_WEBSOCKET_LIMITS } from '#src/ws/dependencies.ts';
import { FIXED_OF_OTHERS } from './fixed-bounds.ts';
import { publishedSchema } from './config/published-schema.ts';

interface Described {
  readonly description?: string;
  readonly default?: unknown;
  readonly type?: string;
  readonly anyOf?: readonly Described[];
  readonly properties?: Readonly<Record<string, Described>>;
}

/** A bound of the configuration: what is answered beyond it, and which metric shows it. */
interface Bounds {
  readonly section: string;
  readonly title: string;
  readonly answer: string;
  readonly metrics: readonly string[];
}

const BOUNDS: readonly Bounds[] = [
  {
    section: 'rate_limits',
    title: 'How often',
    answer:
      '429 `M_LIMIT_EXCEEDED` with `retry_after_ms`, `Retry-After`, and the group in `org.tsudoi.limiter`; a WebSocket gets the same in its frame. Beyond `refused` the connection is closed, beyond `connection` it is not accepted; beyond `remote_state_bytes` events of the room wait.',
    metrics: [
      'tsudoi_limited_requests_total{api,limiter}',
      'tsudoi_http_connections_refused_total{reason="rate"}',
      'tsudoi_federation_slowed_rooms',
    ],
  },
  {
    section: 'bytes_in_flight',
    title: 'Bytes in memory on their way',
    answer:
      '503 `M_LIMIT_EXCEEDED` with `Retry-After` for bodies and answers; a WebSocket for whose frames there is no room is cut.',
    metrics: [
      'tsudoi_bytes_in_flight',
      'tsudoi_bytes_in_flight_limit',
      'tsudoi_bytes_in_flight_refused_total{cargo}',
      'tsudoi_websocket_dropped_total{reason="noRoom"}',
    ],
  },
  {
    section: 'http',
    title: 'Connections and requests',
    answer:
      '413 `M_TOO_LARGE` for bodies, 408 for bodies that come too slowly, 429 `M_LIMIT_EXCEEDED` for too many requests at once; a connection too many is reset, and one whose answer nobody reads is closed.',
    metrics: [
      'tsudoi_http_connections',
      'tsudoi_http_connections_limit',
      'tsudoi_http_connections_refused_total{reason}',
    ],
  },
  {
    section: 'quotas',
    title: 'What a user may keep',
    answer: 'what the endpoint answers where its quota is full; the message names the quota.',
    metrics: ['tsudoi_http_request_seconds{operation,status}'],
  },
  {
    section: 'media',
    title: 'Files',
    answer:
      '413 `M_TOO_LARGE` for a file, or for all of them together; 403 `M_FORBIDDEN` beyond what a user may have; 429 `M_LIMIT_EXCEEDED` for too many that are announced, uploaded or made thumbnails of at once.',
    metrics: ['tsudoi_http_request_seconds{operation,status}'],
  },
  {
    section: 'room',
    title: 'Rooms',
    answer: 'what the key says.',
    metrics: ['tsudoi_http_request_seconds{operation,status}'],
  },
  {
    section: 'delayed_events',
    title: 'Delayed events',
    answer: '400 or 429 with the errcode of MSC4140.',
    metrics: ['tsudoi_http_request_seconds{operation,status}'],
  },
  {
    section: 'sync',
    title: 'Sync',
    answer: 'less than was asked for, with a token from which to continue.',
    metrics: ['tsudoi_http_request_seconds{operation="client-server.sync"}'],
  },
  {
    section: 'websocket',
    title: 'WebSockets',
    answer: 'pushes wait, and what was missed comes as a limited timeline.',
    metrics: [
      'tsudoi_websocket_queued_bytes',
      'tsudoi_websocket_pauses_total',
      'tsudoi_websocket_dropped_total{reason}',
    ],
  },
  {
    section: 'email',
    title: 'Mail',
    answer:
      'mails wait for their turn, and are tried again where the server does not take them; a link is good no longer. Who asks too often is in `rate_limits.mail_*`.',
    metrics: ['tsudoi_mails_total{kind,outcome}'],
  },
  {
    section: 'previews',
    title: 'Previews of links',
    answer:
      'no picture, or no preview: 404 `M_NOT_FOUND`; questions wait for their turn. Who asks too often is in `rate_limits.url_preview*`.',
    metrics: ['tsudoi_url_previews_waiting'],
  },
  {
    section: 'e2ee',
    title: 'Keys, and messages between devices',
    answer: '400 or 413 `M_TOO_LARGE` for keys and backups; of messages that a device does not fetch the oldest go.',
    metrics: ['tsudoi_http_request_seconds{operation,status}'],
  },
  {
    section: 'push',
    title: 'Push gateways',
    answer: 'notifications wait for their turn; what cannot be delivered in time is not delivered.',
    metrics: ['tsudoi_pushes_total{what,outcome}', 'tsudoi_pushers_waiting', 'tsudoi_push_gateways_away'],
  },
  {
    section: 'federation',
    title: 'Other servers',
    answer:
      'servers wait for their turn. How often other servers may ask is in `rate_limits.federation` and `rate_limits.unknown_server`.',
    metrics: ['tsudoi_federation_request_seconds{outcome}', 'tsudoi_federation_unreachable_servers'],
  },
  {
    section: 'appservices',
    title: 'Application services',
    answer: 'the oldest events that wait for one are dropped, which is logged.',
    metrics: ['tsudoi_appservice_waiting_events{appservice}', 'tsudoi_appservice_dropped_events_total{appservice}'],
  },
  {
    section: 'policy',
    title: 'The moderation tool that is asked',
    answer: 'it is done as `policy.callbacks` says for a tool that does not answer.',
    metrics: ['tsudoi_policy_callback_seconds{callback}', 'tsudoi_policy_callbacks_total{callback,outcome}'],
  },
  {
    section: 'privacy',
    title: 'Archives of all that there is of a user',
    answer: 'the task fails, and says so; an archive that is too old is gone.',
    metrics: ['tsudoi_http_request_seconds{operation,status}'],
  },
  {
    section: 'sessions',
    title: 'Sessions',
    answer: '401 `M_UNKNOWN_TOKEN`, with `soft_logout` where the client can refresh; an authentication begins anew.',
    metrics: ['tsudoi_http_request_seconds{status="401"}'],
  },
  {
    section: 'retention',
    title: 'How long history is kept, and how it is deleted',
    answer: 'it is deleted, a part at a time; other lifetimes that rooms ask for are bounded by these.',
    metrics: ['tsudoi_follower_lag{follower}'],
  },
  {
    section: 'audit',
    title: 'What administrators did',
    answer: 'it is deleted.',
    metrics: ['tsudoi_http_request_seconds{operation,status}'],
  },
  {
    section: 'log',
    title: 'What went wrong, in memory for administrators',
    answer: 'the oldest is forgotten.',
    metrics: ['process_resident_memory_bytes'],
  },
  {
    section: 'cache',
    title: 'Memory for what could be read again',
    answer: 'nothing: the least recently used is forgotten.',
    metrics: ['tsudoi_cache_size{cache}', 'tsudoi_cache_size_limit{cache}', 'process_resident_memory_bytes'],
  },
];

/** Numbers of the configuration that bound nothing: what they are is said beside them there. */
export const NO_BOUNDS: readonly string[] = [
  'http.port',
  'tls.port',
  'media.unauthenticated_before_ts',
  'account_validity.period_ms',
  'password.minimum_length',
  'presence.idle_ms',
  'turn.lifetime_ms',
  'retention.allowed_min_lifetime_ms',
  'log.slow_request_ms',
  'log.held_loop_ms',
];

const cell = (text: unknown): string => String(text).replaceAll('|', String.raw`\|`);

/** Whether a key takes a number, or none. */
const isNumber = ({ anyOf = [], type }: Described): boolean =>
  [type, ...anyOf.map((one) => one.type)].some((one) => one === 'integer' || one === 'number');

/** The keys of a section that bound something, with their defaults. */
const rowsOf = (name: string, { properties = {} }: Described): readonly string[] =>
  Object.entries(properties).flatMap(([key, below]) => {
    const { per_second: perSecond, burst } = below.properties ?? {};
    const path = `\`${name}.${key}\``;
    if (perSecond !== undefined && burst !== undefined) {
      const value = `${cell(burst.default)} at once, ${cell(perSecond.default)}/s`;
      return [`| ${path} | ${value} | ${cell(below.description)} |`];
    }
    if (below.properties !== undefined) return rowsOf(`${name}.${key}`, below);
    if (NO_BOUNDS.includes(`${name}.${key}`) || !isNumber(below)) return [];
    return [`| ${path} | ${cell(below.default ?? 'none')} | ${cell(below.description)} |`];
  });

const section = (schema: Described, { section: name, title, answer, metrics }: Bounds): string => {
  const described = schema.properties?.[name];
  if (described === undefined) throw new Error(`the configuration has no section ${name}`);
  return [
    `## ${title}`,
    '',
    `Beyond it: ${answer}`,
    '',
    `Metrics: ${metrics.map((metric) => `\`${metric}\``).join(', ')}.`,
    '',
    '| key | default | what it bounds, and why |',
    '|---|---|---|',
    ...rowsOf(name, described),
    '',
  ].join('\n');
};

const FIXED: readonly (readonly [string, string, string])[] = [
  [
    'headers of a request',
    `${DEFAULT_SERVER_LIMITS.maxHeaderBytes} bytes in ${DEFAULT_SERVER_LIMITS.headersTimeoutMs} ms`,
    '431, 408',
  ],
  [
    'requests in line on one connection, which begin one after the other',
    '16; `tsudoi_http_connections_refused_total{reason="pipelining"}`',
    'the connection is closed, and costs 500 tokens of `connection`',
  ],
  [
    'pieces of a body',
    '256, and one more for every 64 bytes; `tsudoi_http_connections_refused_total{reason="pieces"}`',
    'the connection is closed, and costs 500 tokens of `connection`',
  ],
  [
    'bodies and answers that stream (media)',
    'no slower than 16384 bytes a second after `http.body_timeout_ms`, `http.answer_timeout_ms`; each holds 262144 of `bytes_in_flight`',
    '408, 503, or the connection is closed',
  ],
  ['requests without a good access token that wait to be looked at', '1000 of one address', 'the connection is closed'],
  [
    'first syncs, sliding ones of more than 20 lists and rooms, `GET /initialSync`, and `GET /events` of more than 4 rooms with news, computed at once',
    '8; users take turns, and 2000 of one may wait',
    '429 `M_LIMIT_EXCEEDED`',
  ],
  [
    'pairs of `required_state` of all lists and subscriptions of one request of sliding sync, and names of rooms in the windows of its answer',
    '5000; 20000, or 4 for each room of the user',
    '400 `M_INVALID_PARAM`',
  ],
  [
    'events of one room in one answer of `GET /events`, and of all rooms',
    '100 and `sync.max_timeline_bytes`; `sync.max_response_bytes`',
    'the rest of a room is read with /messages; the other rooms come with the next answer',
  ],
  [
    'connections of sliding sync in memory',
    '20 of a device; `cache.sliding_sync_bytes` of all, of which a room takes 256',
    '400 `M_UNKNOWN_POS`: the client begins again',
  ],
  [
    'users who are shown typing in one room',
    '50',
    'who was heard of longest ago is not shown any more: of the same server, if there is one',
  ],
  [
    'receipts of others in one room that a client is told at once',
    'the newest 2000 to 4000; 50 to 100 after 4194304 characters of them in one answer of sliding sync',
    'the older ones are not told',
  ],
  [
    'users of whose profiles one answer of sync tells, and bytes of that',
    '200, 1 MiB and one profile; 10000 wait for the next answers',
    'the others come with the next ones',
  ],
  [
    'memory for what lists and rooms of sliding sync want of state',
    '64 MiB',
    'what was used longest ago is forgotten, and rooms are told anew',
  ],
  [
    'changes of devices, and of profiles, in the span of a token that are looked at one by one',
    '20000',
    'all who share a room count as changed',
  ],
  ['events that relate to a redacted one and are redacted with it', '1000, the newest', 'the others stay'],
  [
    'relations to one event that are known, and those that are read for one answer',
    '20000, the newest; 100000',
    'earlier ones are not counted or listed, and further events are shown without what relates to them',
  ],
  [
    'relations that one answer of /relations looks at',
    '4000',
    'less than was asked for, with a token from which to continue',
  ],
  [
    'relations to one event, and to all of an answer, from times in which its reader was away, that are summed up for them',
    '1000, 4000: the newest',
    'earlier ones are not counted',
  ],
  [
    'lists of threads that the database sorts at once',
    '2; users take turns, and 200 of one may wait',
    '429 `M_LIMIT_EXCEEDED`',
  ],
  [
    'rooms below a space that one answer looks at, those of a walk, and walks that are kept for their next pages',
    '500, 10000; 16 MiB; 4 at once begin anew where theirs is not kept, and 20 of a user wait',
    'less than was asked for, with a token from which to continue; 429 `M_LIMIT_EXCEEDED`',
  ],
  ['edits of a message that are looked at for a valid one', '20, the newest; 100 of an answer', 'it has none'],
  ['an `m.tag` beside its tags', '4096 characters', '413 `M_TOO_LARGE`'],
  ['`session_data` of a key in a backup; one upload of keys', '65536 characters; 12582912 bytes', '413 `M_TOO_LARGE`'],
  [
    'keys of a backup that are read at once',
    '256, 131072 bytes; the answer is sent as they are read',
    'they come next',
  ],
  [
    'messages to devices of one request, those for all devices of a user counted for each',
    '10000, 8388608 characters; 65536 of each',
    '413 `M_TOO_LARGE`',
  ],
  [
    'frames of an application service over its WebSocket',
    '1048576 bytes, 10000 values; 1000 frames and 16777216 bytes between two heartbeats',
    'closed with 1007, 1008 or 1009, or cut',
  ],
  ['the key of an annotation', '1024 bytes', '400 `M_BAD_JSON`'],
  ['users of one /keys/query, and devices of each', '10000, 1000', '413 `M_TOO_LARGE`'],
  ['nesting of JSON', '256', '400 `M_BAD_JSON`'],
  [
    'frame of a WebSocket',
    `${DEFAULT_WEBSOCKET_LIMITS.maxFrameBytes} bytes, ${DEFAULT_WEBSOCKET_LIMITS.maxJsonValues} values; ${DEFAULT_WEBSOCKET_LIMITS.maxStrangerFrameBytes} bytes before authentication`,
    'closed with 1009',
  ],
  ['requests of a WebSocket at once', String(DEFAULT_WEBSOCKET_LIMITS.maxInFlight), '`M_LIMIT_EXCEEDED`'],
  [
    'refusals, and pings and pongs, of a WebSocket between two heartbeats',
    `${DEFAULT_WEBSOCKET_LIMITS.maxRefusals}, ${DEFAULT_WEBSOCKET_LIMITS.maxControlFrames}`,
    'closed with 4005, or cut',
  ],
  ['time to authenticate a WebSocket', `${DEFAULT_WEBSOCKET_LIMITS.authTimeoutMs} ms`, 'closed with 4001'],
  [
    'sessions of user-interactive authentication',
    '64 MiB, 1 MiB of one user or network',
    'the oldest of that user or network are forgotten: 401, and they begin anew',
  ],
  [
    'passwords of one network that wait to be hashed',
    '1000, fewer the more others wait; `tsudoi_password_hashes_waiting`',
    '429 `M_LIMIT_EXCEEDED`',
  ],
  [
    'time in one turn of the event loop in which requests begin, and go on with what takes long',
    '8 ms; `tsudoi_turns_waiting`',
    'they wait for the next turn; users take turns, and those go first who asked for little, and who took no more than 3, 30 or 150 ms of it of late (50 ms a second are forgotten)',
  ],
  [
    'time that those who asked for much leave free between two pieces of work, as long as others are served',
    'twice what the last one took, 20 ms',
    'they wait',
  ],
  [
    'account data, tags and messages between devices of 64 KiB and more that are written at once',
    '1; users take turns, and 1000 of one may wait; `tsudoi_writer_queue`',
    '429 `M_LIMIT_EXCEEDED`',
  ],
  [
    'transactions of requests with bodies of 32 KiB and more at once',
    '1; users take turns, and nobody waits longer than 10 s',
    '429 `M_LIMIT_EXCEEDED`',
  ],
  [
    'statements at once',
    '`database.pool_size`; the writer goes first, users take turns, and nobody waits longer than 10 s; `tsudoi_sql_pool_waiting`',
    '503 `M_UNKNOWN`',
  ],
  [
    'users of one /keys/query that are read at once, and queries of more that are answered at once',
    '500, 2; users take turns, and 200 of one may wait',
    '429 `M_LIMIT_EXCEEDED`',
  ],
  [
    'parts of the rooms that one token of /sync may have been told up to different positions',
    String(MAX_ROOMS_BEHIND),
    'an answer ends later',
  ],
  [
    'characters of a state or of members that are written at once',
    '4194304; what is longer is sent as it is read, 200 events at a time',
    'it is sent in pieces, and holds 262144 of `bytes_in_flight`',
  ],
  [
    'lines of the log for the database being away, of each kind in a minute',
    '1',
    'one line says how many more there were',
  ],
  ['lines of the log for refusals of one kind in 10 s', '100', 'one line says how many more there were'],
  ...FIXED_OF_OTHERS,
];

/** docs/limits.md: every bound with its default, its reason, what is answered beyond it and which metric shows it. */
export const limitsDocument = (): string => {
  const schema = JSON.parse(publishedSchema()) as Described;
  const fixed = FIXED.map(([what, most, answer]) => `| ${what} | ${most} | ${answer} |`);
  return [
    '# Limits',
    '',
    'Everything that a client can make the server keep, compute or send is bounded. This page is made from the configuration',
    '(`npm run generate`). Limits "by address" count a /64 of IPv6 as one address, and past `http.trusted_proxies`. Of a budget that is',
    'shared nobody gets more than half of what the others leave (of connections two thirds), so that there is always something left for one more.',
    'A turn of the event loop that takes longer than `log.held_loop_ms` is written down with what held it and with how much processor time',
    '(`processor_ms`: where that is far less, the machine was busy with something else), and counted in',
    '`tsudoi_event_loop_held_total{operation}` and `tsudoi_event_loop_held_seconds_total{operation}`.',
    'Where the database cannot be reached, or not written to, requests are answered 503 `M_UNKNOWN` with `Retry-After`; `/health` and',
    '`/readyz` say so. Where only files cannot be stored, uploads are answered so, and `/health` says `Degraded: media` with 200.',
    '',
    ...BOUNDS.map((bounds) => section(schema, bounds)),
    '## Fixed bounds',
    '',
    '| what | at most | beyond it |',
    '|---|---|---|',
    ...fixed,
    '',
  ].join('\n');
};
