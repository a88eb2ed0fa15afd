import { answerWhenFull } from '#src/protocol/errors/quota-full.ts';
import { publishedSchema } from '../config/published-schema.ts';
import { ACCOUNT_BOUNDS } from './account-bounds.ts';
import { ADMINISTRATION_BOUNDS } from './administration-bounds.ts';
import { CONNECTION_BOUNDS } from './connection-bounds.ts';
import { ENCRYPTION_BOUNDS } from './encryption-bounds.ts';
import { FEDERATION_INBOUND_BOUNDS } from './federation-inbound-bounds.ts';
import { FEDERATION_OUTBOUND_BOUNDS } from './federation-outbound-bounds.ts';
import { type FixedBounds, inBytes, inTime } from './fixed-bounds.ts';
import { MEDIA_BOUNDS } from './media-bounds.ts';
import { READING_BOUNDS } from './reading-bounds.ts';
import { ROOM_BOUNDS } from './room-bounds.ts';
import { SERVICES_BOUNDS } from './services-bounds.ts';
import { SHARED_WORK_BOUNDS } from './shared-work-bounds.ts';
import { SYNC_BOUNDS } from './sync-bounds.ts';
import { WEBSOCKET_BOUNDS } from './websocket-bounds.ts';

interface Described {
  readonly description?: string;
  readonly default?: unknown;
  readonly type?: string;
  readonly anyOf?: readonly Described[];
  readonly properties?: Readonly<Record<string, Described>>;
}

/** A section of the configuration that bounds something: what is answered beyond it, and which metric shows it. */
interface Bounds {
  readonly section: string;
  readonly title: string;
  readonly answer: string;
  readonly metrics: readonly string[];
  /** What is answered for single keys, where they differ. Quotas are not named here: their answers are those of the code. */
  readonly answers?: Readonly<Record<string, string>>;
}

const BOUNDS: readonly Bounds[] = [
  {
    section: 'rate_limits',
    title: 'How often',
    answer:
      '429 `M_LIMIT_EXCEEDED`. `retry_after_ms` and the header `Retry-After` say how long to wait, `org.tsudoi.limiter` which limit it was. WebSockets get the same as the answer to their frame. Beyond `refused` the connection is closed; beyond `connection` it is not accepted; beyond `remote_state_bytes` the events of that room wait.',
    metrics: [
      'tsudoi_limited_requests_total{api,limiter}',
      'tsudoi_http_connections_refused_total{reason="rate"}',
      'tsudoi_federation_slowed_rooms',
    ],
  },
  {
    section: 'bytes_in_flight',
    title: 'Memory for requests and answers',
    answer:
      '503 `M_LIMIT_EXCEEDED` with `Retry-After`, for the body of a request as for its answer. A WebSocket for whose frames there is no room is closed.',
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
      '413 `M_TOO_LARGE` for a body; 408 for one that comes too slowly; 429 `M_LIMIT_EXCEEDED` for too many requests at the same time. One connection too many is closed, and so is one whose client does not read its answer.',
    metrics: [
      'tsudoi_http_connections',
      'tsudoi_http_connections_limit',
      'tsudoi_http_connections_refused_total{reason}',
    ],
  },
  {
    section: 'quotas',
    title: 'What a user may keep',
    answer:
      'what the table says. The sentence in `error` says how much is kept; `org.tsudoi.quota` names the key of the configuration, and the metric counts by it. What a user has already can always be made smaller.',
    metrics: ['tsudoi_quota_refused_total{quota}'],
    answers: { 'quotas.thread_receipts': 'the threads that were read longest ago are forgotten' },
  },
  {
    section: 'media',
    title: 'Files',
    answer: 'what the table says.',
    metrics: [
      'tsudoi_quota_refused_total{quota}',
      'tsudoi_limited_requests_total{limiter="pending_uploads"}',
      'tsudoi_media_fetches_total{outcome}',
    ],
    answers: {
      'media.max_upload_bytes': '413 `M_TOO_LARGE`',
      'media.max_remote_bytes': '502 `M_TOO_LARGE`',
      'media.max_pending_uploads': '429 `M_LIMIT_EXCEEDED`',
      'media.pending_upload_lifetime_ms': '404 `M_NOT_FOUND` for the upload',
      'media.retention.released_grace_ms': 'the file is deleted',
      'media.retention.local_lifetime_ms': 'the file is deleted',
      'media.retention.remote_lifetime_ms': 'the file is deleted, and fetched again when it is asked for',
      'media.clamd.timeout_ms': '503 `M_UNKNOWN`: the file is scanned when it is asked for again',
    },
  },
  {
    section: 'room',
    title: 'Rooms',
    answer: 'what the table says.',
    metrics: ['tsudoi_quota_refused_total{quota}', 'tsudoi_limited_requests_total{limiter="room.max_sticky_events"}'],
    answers: { 'room.max_sticky_events': '429 `M_LIMIT_EXCEEDED`' },
  },
  {
    section: 'delayed_events',
    title: 'Delayed events',
    answer: 'what the table says.',
    metrics: ['tsudoi_limited_requests_total{limiter="delayed_events.max_scheduled"}'],
    answers: {
      'delayed_events.max_delay_ms':
        '403 `M_FORBIDDEN` with `org.matrix.msc4140.errcode` `M_MAX_DELAY_EXCEEDED` (400 `M_UNKNOWN` in the older form of the request)',
      'delayed_events.max_scheduled': '429 `M_LIMIT_EXCEEDED`; 403 `M_FORBIDDEN` where it is 0',
      'delayed_events.max_finalised': 'the oldest are forgotten',
      'delayed_events.finalised_lifetime_ms': 'they are forgotten',
    },
  },
  {
    section: 'sync',
    title: 'Sync',
    answer: 'the answer tells less than was asked for, and the next one, or `/messages`, continues there.',
    metrics: ['tsudoi_sync_responses_total{outcome}', 'tsudoi_http_request_seconds{operation="client-server.sync"}'],
  },
  {
    section: 'websocket',
    title: 'WebSockets',
    answer:
      'nothing is sent to a client that does not read. When it reads again, it gets what it missed as a limited timeline. A client that does not answer heartbeats is cut.',
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
      'mails wait for their turn, and are tried again where the mail server does not take them. The link of a mail is not valid any more. How often mails may be asked for is limited by `rate_limits.mail_*`.',
    metrics: ['tsudoi_mails_total{kind,outcome}'],
  },
  {
    section: 'previews',
    title: 'Previews of links',
    answer:
      'there is no preview (404 `M_NOT_FOUND`), or one without a picture; further pages wait. How often previews may be asked for is limited by `rate_limits.url_preview*`.',
    metrics: ['tsudoi_url_previews_waiting'],
  },
  {
    section: 'e2ee',
    title: 'Keys, and messages between devices',
    answer: 'what the table says.',
    metrics: ['tsudoi_quota_refused_total{quota}'],
    answers: {
      'e2ee.max_inbox_messages': 'the oldest are deleted',
      'e2ee.max_inbox_bytes': 'the oldest are deleted',
      'e2ee.max_user_inbox_bytes': 'the oldest are deleted',
    },
  },
  {
    section: 'push',
    title: 'Push gateways',
    answer: 'notifications wait for their turn. What could not be delivered in time is dropped.',
    metrics: ['tsudoi_pushes_total{what,outcome}', 'tsudoi_pushers_waiting', 'tsudoi_push_gateways_away'],
  },
  {
    section: 'federation',
    title: 'Other servers',
    answer:
      'what is to be sent to further servers waits; what the table says for a join. How often other servers may ask this one is limited by `rate_limits.federation` and `rate_limits.unknown_server`.',
    metrics: ['tsudoi_federation_request_seconds{outcome}', 'tsudoi_federation_unreachable_servers'],
  },
  {
    section: 'appservices',
    title: 'Application services',
    answer: 'the oldest events that wait for a service are dropped, and a warning is logged.',
    metrics: ['tsudoi_appservice_waiting_events{appservice}', 'tsudoi_appservice_dropped_events_total{appservice}'],
  },
  {
    section: 'policy',
    title: 'The moderation tool',
    answer: 'what it was asked about is decided as `policy.callbacks` says for a tool that does not answer.',
    metrics: ['tsudoi_policy_callback_seconds{callback}', 'tsudoi_policy_callbacks_total{callback,outcome}'],
  },
  {
    section: 'privacy',
    title: 'Archives of what there is of a user',
    answer: 'the task that makes the archive fails and says why. An archive that is too old is deleted.',
    metrics: ['tsudoi_jobs_total{kind,outcome}'],
  },
  {
    section: 'sessions',
    title: 'Sessions',
    answer:
      '401 `M_UNKNOWN_TOKEN`, with `soft_logout` where the client can refresh its token. A user-interactive authentication has to be begun again.',
    metrics: ['tsudoi_http_request_seconds{status="401"}'],
  },
  {
    section: 'retention',
    title: 'How long history is kept, and how it is deleted',
    answer:
      'what is older is deleted, a part at a time. Rooms that ask for another lifetime get one within these bounds.',
    metrics: ['tsudoi_jobs_total{kind,outcome}'],
  },
  {
    section: 'audit',
    title: 'The audit log',
    answer: 'older entries are deleted.',
    metrics: ['tsudoi_audit_entries_total'],
  },
  {
    section: 'log',
    title: 'Errors and slow requests that administrators can read',
    answer: 'the oldest are forgotten.',
    metrics: ['tsudoi_log_lines_total{level}', 'tsudoi_slow_requests_total'],
  },
  {
    section: 'cache',
    title: 'Caches',
    answer: 'nothing is refused. What was used longest ago is forgotten, and read again when it is needed.',
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

/** What is answered beyond the bound that a key sets, where its section says it key by key. */
const answerFor = (key: string, answers: Readonly<Record<string, string>>): string | undefined => {
  const full = answerWhenFull(key);
  return full === undefined ? answers[key] : `${full.status} \`${full.errcode}\``;
};

interface Row {
  readonly key: string;
  readonly value: unknown;
  readonly about: string;
}

/** A default as it stands in the configuration, and as people say it. */
const shown = (key: string, value: unknown): unknown => {
  if (typeof value !== 'number') return value;
  const units = key.includes('bytes') ? inBytes(value) : key.endsWith('_ms') ? inTime(value) : '';
  return /^$| (?:bytes|ms)$/.test(units) ? value : `${value} (${units})`;
};

/** The keys of a section that bound something, with their defaults. What is said of a group of keys is said with its first. */
const rowsOf = (name: string, { properties = {} }: Described): readonly Row[] =>
  Object.entries(properties).flatMap(([own, below]) => {
    const { per_second: perSecond, burst } = below.properties ?? {};
    const key = `${name}.${own}`;
    const about = below.description ?? '';
    if (perSecond !== undefined && burst !== undefined)
      return [{ key, value: `${String(burst.default)} at once, ${String(perSecond.default)}/s`, about }];
    if (below.properties !== undefined)
      return rowsOf(key, below).map((row, index) => (index === 0 ? { ...row, about: `${about} ${row.about}` } : row));
    if (NO_BOUNDS.includes(key) || !isNumber(below)) return [];
    return [{ key, value: shown(key, below.default ?? 'none'), about }];
  });

const table = (head: readonly string[], rows: readonly (readonly unknown[])[]): readonly string[] => [
  `| ${head.join(' | ')} |`,
  `|${head.map(() => '---|').join('')}`,
  ...rows.map((row) => `| ${row.map(cell).join(' | ')} |`),
];

const code = (text: string): string => `\`${text}\``;

const section = (schema: Described, { section: name, title, answer, answers = {}, metrics }: Bounds): string => {
  const described = schema.properties?.[name];
  if (described === undefined) throw new Error(`the configuration has no section ${name}`);
  const rows = rowsOf(name, described);
  const differ = rows.some(({ key }) => answerFor(key, answers) !== undefined);
  return [
    `### ${title}`,
    '',
    `Beyond it: ${answer}`,
    '',
    `Metrics: ${metrics.map(code).join(', ')}.`,
    '',
    ...table(
      ['key', 'default', 'what it bounds, and why', ...(differ ? ['beyond it'] : [])],
      rows.map(({ about, key, value }) => [
        code(key),
        value,
        about,
        ...(differ ? [answerFor(key, answers) ?? '-'] : []),
      ]),
    ),
    '',
  ].join('\n');
};

const FIXED: readonly FixedBounds[] = [
  CONNECTION_BOUNDS,
  WEBSOCKET_BOUNDS,
  SHARED_WORK_BOUNDS,
  ACCOUNT_BOUNDS,
  ROOM_BOUNDS,
  READING_BOUNDS,
  SYNC_BOUNDS,
  ENCRYPTION_BOUNDS,
  MEDIA_BOUNDS,
  FEDERATION_INBOUND_BOUNDS,
  FEDERATION_OUTBOUND_BOUNDS,
  SERVICES_BOUNDS,
  ADMINISTRATION_BOUNDS,
];

const fixedSection = ({ rows, title, why }: FixedBounds): string =>
  [
    `### ${title}`,
    '',
    why,
    '',
    ...table(
      ['what', 'at most', 'beyond it', 'metric'],
      rows.map(({ beyond, metric, most, what }) => [what, most, beyond, metric === undefined ? '' : code(metric)]),
    ),
    '',
  ].join('\n');

/** docs/limits.md: every bound with its default, its reason, what is answered beyond it and which metric shows it. */
export const limitsDocument = (): string => {
  const schema = JSON.parse(publishedSchema()) as Described;
  return [
    '# Limits',
    '',
    'What a client, another server or an application service can make this server keep, compute or send is bounded. This page has the bounds:',
    'first those that the configuration sets, then those that are fixed. Its numbers come from the configuration and the code (`npm run generate`).',
    '',
    '- A limit "by address" counts a /64 of IPv6 as one address. Behind a proxy it is the address of the client, if the proxy is in `http.trusted_proxies`.',
    '- "Users take turns" means that users of whom much waits do not delay the others.',
    '- Nobody gets more than half of what the others leave of a shared budget (of connections two thirds), so that there is always something left for one more.',
    '- Where the database cannot be reached, or not written to, requests are answered 503 `M_UNKNOWN` with `Retry-After`. `/health` and `/readyz` say so. Where only files cannot be stored, uploads are answered so, and `/health` says `Degraded: media` with 200; `Degraded: exports` where archives of users cannot.',
    '- What holds the event loop longer than `log.held_loop_ms` is logged with its name and its processor time (`processor_ms`; where that is far less than',
    '  the time, the machine was busy with something else), and counted in `tsudoi_event_loop_held_total{operation}` and',
    '  `tsudoi_event_loop_held_seconds_total{operation}`.',
    '- [metrics.md](metrics.md) says what the metrics are. Where a table names none, the refusals are seen in `tsudoi_http_request_seconds{operation,status}`.',
    '',
    '## Set by the configuration',
    '',
    ...BOUNDS.map((bounds) => section(schema, bounds)),
    '## Fixed',
    '',
    'Where a row tells of several things, their numbers stand in the same order.',
    '',
    ...FIXED.map(fixedSection),
  ]
    .join('\n')
    .trimEnd()
    .concat('\n');
};
