import Type, { type Static, type TSchema, type TUnsafe } from 'typebox';
import { LANGUAGES } from '#src/kernel/text/language.ts';
import { ROOM_VERSIONS } from '#src/protocol/room-versions/room-versions.ts';
import { CALLBACKS } from '#src/services/policy/callbacks/callback.ts';
import { YOUNG_ACTIONS } from '#src/services/policy/rules/young-accounts.ts';
import type { SchemaNode } from './schema-walk.ts';

/**
 * Names, types and bounds of all keys. Defaults and descriptions are in config/default.yaml only; config/schema.json is
 * made of both.
 */

/** A key that may be `null`: not set. */
function nullable<S extends TSchema>(schema: S): TUnsafe<Static<S> | null> {
  return Type.Unsafe<Static<S> | null>({ anyOf: [schema, { type: 'null' }] });
}

function section<P extends Record<string, TSchema>>(properties: P) {
  return Type.Object(properties, { additionalProperties: false });
}

function oneOf<const V extends readonly string[]>(...values: V): TUnsafe<V[number]> {
  return Type.Unsafe<V[number]>({ type: 'string', enum: values });
}

const flag = Type.Boolean();
const text = Type.String({ minLength: 1 });
const anyText = Type.String();
const port = Type.Integer({ minimum: 0, maximum: 65535 });
const count = Type.Integer({ minimum: 1 });
const countOrNone = Type.Integer({ minimum: 0 });
const texts = Type.Array(text);
const freeForm = Type.Record(Type.String(), Type.Unknown());
const url = (...schemes: string[]) =>
  Type.String({
    pattern: `^(${schemes.join('|')})://.+`,
    title: `a URL that begins with ${schemes.join(':// or ')}://`,
  });
const network = Type.String({
  pattern: '^[0-9a-fA-F.:]+(/[0-9]{1,3})?$',
  title: 'an IP address or network (10.0.0.0/8, fd00::/8)',
});
const nameServer = Type.String({
  pattern: '^([0-9a-fA-F.:]+|[0-9.]+:[0-9]{1,5}|\\[[0-9a-fA-F.:]+\\](:[0-9]{1,5})?)$',
  title: 'an IP address, with or without a port (192.0.2.1:53, [2001:db8::1]:53)',
});
const mailAddress = Type.String({ pattern: '^[^@\\s<>]+@[^@\\s<>]+$', title: 'a mail address' });
const mailbox = Type.String({
  pattern: '^([^<>\\r\\n]*<[^@\\s<>]+@[^@\\s<>]+>|[^@\\s<>]+@[^@\\s<>]+)$',
  title: 'a mail address, or Name <address>',
});
const headerText = Type.String({ pattern: '^[\\x20-\\x7e]+$', title: 'a text of ASCII characters' });
const hostAndPort = Type.String({ pattern: '^[^\\s/]+:[0-9]{1,5}$', title: 'host:port' });
const quota = section({ pieces: count, bytes: count });
const limit = section({ per_second: Type.Number({ exclusiveMinimum: 0 }), burst: count });

const supportContact = section({
  role: text,
  matrix_id: Type.Optional(Type.String({ pattern: '^@.*:.+$', title: 'a user ID' })),
  email_address: Type.Optional(Type.String({ pattern: '^[^@]+@[^@]+$', title: 'a mail address' })),
});

/** Patterns for the user, room and alias to which a rule applies, and its action. */
const directoryRule = section({
  action: oneOf('allow', 'deny'),
  user_id: Type.Optional(text),
  room_id: Type.Optional(text),
  alias: Type.Optional(text),
});
const youngAccountRule = section({
  younger_than_hours: Type.Number({ exclusiveMinimum: 0 }),
  forbid: Type.Optional(Type.Array(oneOf(...YOUNG_ACTIONS))),
  limits: Type.Optional(
    Type.Array(
      section({ action: oneOf(...YOUNG_ACTIONS), per_hour: Type.Number({ exclusiveMinimum: 0 }), burst: count }),
    ),
  ),
});

/** A version, and a name and a URL for each language. */
const policyDocument = Type.Record(Type.String(), Type.Unknown(), { title: 'a map of version and languages' });

/** MSC4143: a type, and the members of that type. */
const rtcTransport = Type.Record(Type.String(), Type.Unknown(), { title: 'a map with a type' });

const configSchema = section({
  server_name: Type.String({
    pattern: '^(\\[[0-9A-Fa-f:.]{2,45}\\]|[0-9A-Za-z.-]{1,255})(:[0-9]{1,5})?$',
    title: 'a server name (example.org, or example.org:8448)',
  }),
  public_base_url: nullable(url('http', 'https')),
  data_dir: text,
  signing_key_file: nullable(text),
  http: section({
    port,
    bind: text,
    trusted_proxies: Type.Array(network),
    max_body_bytes: Type.Integer({ minimum: 131_072 }),
    max_stranger_body_bytes: Type.Integer({ minimum: 8_192 }),
    max_json_values: Type.Integer({ minimum: 10_000 }),
    max_page_bytes: Type.Integer({ minimum: 131_072 }),
    body_timeout_ms: count,
    answer_timeout_ms: count,
    max_connections: Type.Integer({ minimum: 16 }),
    max_connections_per_address: Type.Integer({ minimum: 8 }),
    max_concurrent_requests: count,
    compress_from_bytes: countOrNone,
  }),
  bytes_in_flight: section({
    total: Type.Integer({ minimum: 8_388_608 }),
    per_user: Type.Integer({ minimum: 2_097_152 }),
    per_address: Type.Integer({ minimum: 2_097_152 }),
    per_connection: Type.Integer({ minimum: 2_097_152 }),
  }),
  tls: section({ port, bind: nullable(text), cert_file: nullable(text), key_file: nullable(text) }),
  database: section({
    url: nullable(url('postgresql', 'postgres')),
    pool_size: Type.Integer({ minimum: 3, maximum: 1_000 }),
  }),
  dns: section({ name_servers: Type.Array(nameServer) }),
  redis: section({ url: nullable(url('redis', 'rediss', 'unix')) }),
  media: section({
    store: oneOf('file', 's3'),
    max_upload_bytes: count,
    max_remote_bytes: count,
    max_user_bytes: nullable(count),
    max_user_files: nullable(count),
    max_total_bytes: nullable(count),
    max_pending_uploads: count,
    pending_upload_lifetime_ms: count,
    unauthenticated_downloads: flag,
    unauthenticated_before_ts: nullable(countOrNone),
    retention: section({
      interval_ms: Type.Integer({ minimum: 100 }),
      released_grace_ms: nullable(countOrNone),
      local_lifetime_ms: nullable(count),
      remote_lifetime_ms: nullable(count),
    }),
    clamd: section({ address: nullable(text), timeout_ms: count }),
    s3: section({
      endpoint: nullable(url('http', 'https')),
      region: text,
      bucket: nullable(text),
      prefix: anyText,
      access_key_id: nullable(text),
      secret_access_key: nullable(text),
      path_style: flag,
      redirect_downloads: flag,
    }),
  }),
  previews: section({
    enabled: flag,
    allow: nullable(texts),
    deny: texts,
    allow_ip_ranges: Type.Array(network),
    respect_robots: flag,
    user_agent: nullable(headerText),
    accept_language: headerText,
    max_page_bytes: Type.Integer({ minimum: 1_024, maximum: 16_777_216 }),
    max_image_bytes: Type.Integer({ minimum: 1_024, maximum: 67_108_864 }),
    max_redirects: countOrNone,
    timeout_ms: Type.Integer({ minimum: 100 }),
    concurrency: Type.Integer({ minimum: 1, maximum: 64 }),
    lifetime_ms: count,
    failure_lifetime_ms: count,
    cache_bytes: Type.Integer({ minimum: 65_536 }),
  }),
  registration: section({
    enabled: nullable(flag),
    requires_token: flag,
    requires_email: flag,
    refuse_disposable_mail: flag,
    shared_secret: nullable(text),
    guests: flag,
    terms: Type.Record(Type.String(), policyDocument),
    captcha: section({
      provider: nullable(oneOf('recaptcha', 'hcaptcha', 'turnstile')),
      site_key: nullable(text),
      secret_key: nullable(text),
      verify_url: nullable(url('https')),
    }),
  }),
  account_validity: section({ enabled: flag, period_ms: Type.Integer({ minimum: 60_000 }) }),
  server_notices: section({
    user: nullable(text),
    display_name: nullable(text),
    avatar_url: nullable(text),
    room_name: nullable(text),
    room_avatar_url: nullable(text),
    auto_join: flag,
  }),
  jwt: section({
    enabled: flag,
    algorithm: oneOf(
      ...(['HS256', 'HS384', 'HS512', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'] as const),
      ...(['ES256', 'ES384', 'ES512', 'EdDSA'] as const),
    ),
    key: nullable(text),
    subject_claim: text,
    display_name_claim: nullable(text),
    issuer: nullable(text),
    audiences: texts,
  }),
  password: section({
    cost: oneOf('production', 'low'),
    minimum_length: Type.Integer({ minimum: 1, maximum: 512 }),
    require_digit: flag,
    require_symbol: flag,
    require_uppercase: flag,
    require_lowercase: flag,
  }),
  sessions: section({
    access_token_lifetime_ms: Type.Integer({ minimum: 1_000 }),
    refresh_token_lifetime_ms: nullable(Type.Integer({ minimum: 1_000 })),
    uia_timeout_ms: Type.Integer({ minimum: 1_000 }),
    uia_reuse_ms: countOrNone,
  }),
  email: section({
    smtp_url: nullable(url('smtp', 'smtps')),
    username: nullable(text),
    password: nullable(text),
    starttls: oneOf('required', 'opportunistic', 'none'),
    verify_certificate: flag,
    from: nullable(mailbox),
    envelope_from: nullable(mailAddress),
    service_name: nullable(text),
    language: oneOf(...LANGUAGES),
    timeout_ms: Type.Integer({ minimum: 100 }),
    max_connections: Type.Integer({ minimum: 1, maximum: 50 }),
    max_per_second: count,
    token_lifetime_ms: Type.Integer({ minimum: 60_000 }),
    max_wrong_tokens: count,
    hide_accounts: flag,
    next_link_hosts: nullable(texts),
    allowed_domains: nullable(texts),
    denied_domains: texts,
    login_notices: flag,
    // Shorter than the time for which sent mails are remembered.
    expiry_notice_ms: Type.Integer({ minimum: 60_000, maximum: 1_123_200_000 }),
    digests: section({
      enabled: flag,
      delay_ms: countOrNone,
      first_pause_ms: count,
      longest_pause_ms: count,
      pause_factor: Type.Number({ minimum: 1 }),
      calm_ms: count,
      interval_ms: Type.Integer({ minimum: 100 }),
    }),
  }),
  rate_limits: section({
    enabled: flag,
    default: limit,
    address: limit,
    login: limit,
    login_address: limit,
    login_account: limit,
    login_reserve: limit,
    login_reserve_share: limit,
    login_success: limit,
    registration: limit,
    registration_success: limit,
    mail_request: limit,
    mail_address: limit,
    mail_link: limit,
    shared_secret_registration: limit,
    connection: limit,
    refused: limit,
    work: limit,
    message: limit,
    join: limit,
    invite: limit,
    third_party_invite: limit,
    create_room: limit,
    new_type: limit,
    state_bytes: limit,
    remote_state_bytes: limit,
    remote_state_bytes_total: limit,
    joined_state_bytes: limit,
    report: limit,
    sync: limit,
    bulk_redaction: limit,
    search: limit,
    media_upload: limit,
    media_fetch: limit,
    url_preview: limit,
    url_preview_bytes: limit,
    delayed_event: limit,
    delayed_event_relay: limit,
    to_device: limit,
    federation: limit,
    unknown_server: limit,
    unproved_bytes: limit,
  }),
  room: section({
    default_version: oneOf(...ROOM_VERSIONS.keys()),
    publication: oneOf('all', 'admins', 'none'),
    max_sticky_events: count,
    max_aliases: count,
    max_state_events: count,
    max_state_bytes: Type.Integer({ minimum: 131_072 }),
    encryption_by_default: oneOf('off', 'invite', 'all'),
  }),
  privacy: section({
    export_lifetime_ms: Type.Integer({ minimum: 60_000 }),
    export_max_bytes: Type.Integer({ minimum: 1_048_576 }),
    users_export: flag,
  }),
  policy: section({
    callbacks: section({
      base_url: nullable(url('http', 'https')),
      secret: nullable(text),
      enabled: Type.Array(oneOf(...CALLBACKS)),
      background: Type.Array(oneOf(...CALLBACKS)),
      fail_open: Type.Array(oneOf(...CALLBACKS)),
      timeout_ms: Type.Integer({ minimum: 100 }),
      concurrency: Type.Integer({ minimum: 1, maximum: 1_024 }),
    }),
    invites: section({
      by: oneOf('all', 'admins'),
      local_only: flag,
      allow_servers: nullable(texts),
      deny_servers: texts,
    }),
    room_creation_rules: Type.Array(section({ action: oneOf('allow', 'deny'), user_id: Type.Optional(text) })),
    alias_creation_rules: Type.Array(directoryRule),
    publication_rules: Type.Array(directoryRule),
    young_accounts: Type.Array(youngAccountRule),
  }),
  quotas: section({
    account_data: quota,
    tags_per_room: count,
    filters: quota,
    push_rules: quota,
    pushers: count,
    threepids: count,
    devices: count,
    aliases: count,
    joined_rooms: count,
    thread_receipts: count,
    thread_subscriptions: count,
    profile_fields: count,
  }),
  delayed_events: section({
    max_delay_ms: nullable(count),
    max_scheduled: nullable(countOrNone),
    max_finalised: countOrNone,
    finalised_lifetime_ms: countOrNone,
    require_token: flag,
  }),
  e2ee: section({
    max_one_time_keys: count,
    max_inbox_messages: count,
    max_inbox_bytes: count,
    max_user_inbox_bytes: count,
    max_backup_bytes: count,
  }),
  push: section({
    legacy_mentions: flag,
    encrypted_events: flag,
    count_unread_by: oneOf('room', 'message'),
    include_content: flag,
    allow_http: flag,
    grace_ms: countOrNone,
    retry_ms: count,
    concurrency: Type.Integer({ minimum: 1, maximum: 4_096 }),
  }),
  presence: section({ enabled: flag, federate: flag, idle_ms: count }),
  user_directory: section({ enabled: flag, search_all_users: flag }),
  sync: section({
    max_timeout_ms: countOrNone,
    default_timeline_limit: count,
    max_timeline_limit: count,
    max_timeline_bytes: count,
    max_response_bytes: count,
  }),
  turn: section({
    uris: Type.Array(Type.String({ pattern: '^turns?:.+', title: 'a URI that begins with turn: or turns:' })),
    shared_secret: nullable(text),
    username: nullable(text),
    password: nullable(text),
    lifetime_ms: Type.Integer({ minimum: 1_000 }),
  }),
  websocket: section({ enabled: flag, heartbeat_ms: Type.Integer({ minimum: 100 }), max_queue_bytes: count }),
  audit: section({ retention_days: nullable(count) }),
  retention: section({
    enabled: flag,
    default_max_lifetime_ms: nullable(count),
    allowed_min_lifetime_ms: countOrNone,
    allowed_max_lifetime_ms: nullable(count),
    mode: oneOf('delete', 'archive'),
    archive_dir: nullable(text),
    batch_size: Type.Integer({ minimum: 1, maximum: 5_000 }),
    pause_ms: countOrNone,
    interval_ms: Type.Integer({ minimum: 100 }),
    transaction_days: count,
  }),
  cache: section({
    rooms_bytes: Type.Integer({ minimum: 1_048_576 }),
    events_bytes: Type.Integer({ minimum: 1_048_576 }),
    unread_bytes: Type.Integer({ minimum: 65_536 }),
    names_bytes: Type.Integer({ minimum: 65_536 }),
    states_bytes: Type.Integer({ minimum: 65_536 }),
    users_bytes: Type.Integer({ minimum: 1_048_576 }),
    remote_bytes: Type.Integer({ minimum: 65_536 }),
    sliding_sync_bytes: Type.Integer({ minimum: 1_048_576 }),
  }),
  identity: section({ built_in: flag, trusted_servers: texts }),
  federation: section({
    enabled: flag,
    tell_profiles: flag,
    tell_public_rooms: flag,
    faster_joins: flag,
    faster_joins_wait_ms: countOrNone,
    max_state_bytes: Type.Integer({ minimum: 1_048_576 }),
    concurrency: count,
    allow: nullable(texts),
    deny: texts,
    key_servers: texts,
    trusted_ca_files: texts,
    static_hosts: Type.Record(Type.String(), hostAndPort),
    deny_ip_ranges: Type.Array(network),
    allow_ip_ranges: Type.Array(network),
  }),
  appservices: section({
    files: texts,
    max_waiting_events: Type.Integer({ minimum: 1_000 }),
    socket_keep_days: countOrNone,
  }),
  rtc: section({ transports: Type.Array(rtcTransport) }),
  well_known: section({
    client: freeForm,
    server: nullable(hostAndPort),
    server_keys: freeForm,
    support_contacts: Type.Array(supportContact),
    support_page: nullable(url('http', 'https')),
    support_keys: freeForm,
    policy_server_key: nullable(
      Type.String({ pattern: '^[A-Za-z0-9+/_-]{43}$', title: 'an Ed25519 public key in unpadded base64' }),
    ),
    policy_server_keys: freeForm,
    change_password: nullable(url('http', 'https')),
  }),
  metrics: section({ enabled: flag, synapse_names: flag, allow_ip_ranges: Type.Array(network) }),
  log: section({
    level: oneOf('debug', 'info', 'warn', 'error'),
    format: nullable(oneOf('pretty', 'json')),
    requests: oneOf('debug', 'info'),
    slow_request_ms: count,
    held_loop_ms: count,
    recent_errors_bytes: countOrNone,
    slow_requests_bytes: countOrNone,
  }),
});

/** The same, as the loader walks through it. */
export const configNode = configSchema as unknown as SchemaNode;

/** The configuration as it is written: snake_case, defaults filled in. */
export type RawConfig = Static<typeof configSchema>;
