import { MAX_DEVICE_SIZE } from '#src/http/client-server/dehydrated_device.ts';
import { MAX_UPLOAD_SIZE } from '#src/http/client-server/key_backup.ts';
import { MAX_LENGTH as CROSS_SIGNING_KEY_MAX_LENGTH } from '#src/protocol/keys/cross-signing-key.ts';
import { MAX_DEVICE_KEYS_LENGTH, MAX_KEY_LENGTH } from '#src/protocol/keys/device-keys.ts';
import { MAX_SIGNED, MAX_SIGNATURES } from '#src/services/e2ee/cross-signing/signature-upload.ts';
import { MAX_DATA_LENGTH } from '#src/services/e2ee/dehydration/dehydrated-devices.ts';
import { MAX_UPLOADED, MAX_FALLBACK } from '#src/services/e2ee/device-keys/device-key-service.ts';
import { MAX_CLAIMED } from '#src/services/e2ee/device-keys/key-claims.ts';
import {
  MAX_USERS as KEY_QUERY_MAX_USERS,
  MAX_DEVICES,
  USERS_AT_ONCE,
  LONG_AT_ONCE,
  MAX_LONG_WAITING,
  MAX_TIMEOUT_MS,
} from '#src/services/e2ee/device-keys/key-query.ts';
import {
  MAX_SERVERS as REMOTE_KEYS_MAX_SERVERS,
  SERVERS_AT_ONCE,
  MAX_ANSWERS_BYTES,
  REQUESTS_AT_ONCE,
} from '#src/services/e2ee/device-keys/remote-keys.ts';
import {
  MAX_VERSIONS,
  MAX_AUTH_DATA_LENGTH,
  MAX_SESSION_LENGTH,
  READS_AT_ONCE,
} from '#src/services/e2ee/key-backup/key-backup-service.ts';
import {
  MAX_MESSAGES,
  MAX_REQUEST_LENGTH,
  MAX_MESSAGE_LENGTH,
} from '#src/services/e2ee/to-device/to-device-service.ts';
import { type FixedBounds, inBytes, inTime } from './fixed-bounds.ts';

/** Fixed bounds: keys, and messages between devices. */
export const ENCRYPTION_BOUNDS: FixedBounds = {
  title: 'Keys, and messages between devices',
  why: 'One request can reach thousands of devices, and the server cannot read what it keeps for them.',
  rows: [
    {
      what: 'Messages to devices in one request',
      most: `${MAX_MESSAGES}, ${MAX_REQUEST_LENGTH} characters; one message for all devices of a user counts for each`,
      beyond: '413 `M_TOO_LARGE`',
    },
    {
      what: 'One message to a device',
      most: `${MAX_MESSAGE_LENGTH} characters`,
      beyond: '413 `M_TOO_LARGE`',
    },
    {
      what: 'One-time keys that one request uploads',
      most: String(MAX_UPLOADED),
      beyond: '413 `M_TOO_LARGE`',
    },
    {
      what: 'Fallback keys of one device',
      most: `${MAX_FALLBACK}, one for each algorithm`,
      beyond: '413 `M_TOO_LARGE`',
      metric: 'tsudoi_quota_refused_total{quota="fallback_keys"}',
    },
    {
      what: 'Identity keys of a device, or a cross-signing key',
      most: `${MAX_DEVICE_KEYS_LENGTH}, ${CROSS_SIGNING_KEY_MAX_LENGTH} characters of JSON`,
      beyond: '413 `M_TOO_LARGE`',
    },
    {
      what: 'One one-time or fallback key',
      most: `${MAX_KEY_LENGTH} characters of JSON`,
      beyond: '413 `M_TOO_LARGE`',
    },
    {
      what: 'Users of one `/keys/query`',
      most: String(KEY_QUERY_MAX_USERS),
      beyond: '413 `M_TOO_LARGE`',
    },
    {
      what: 'Devices of one user that a `/keys/query` names',
      most: String(MAX_DEVICES),
      beyond: '413 `M_TOO_LARGE`',
    },
    {
      what: `Requests of \`/keys/query\` for more than ${USERS_AT_ONCE} users, at the same time`,
      most: `${LONG_AT_ONCE}; users take turns, and ${MAX_LONG_WAITING} of one user may wait`,
      beyond: '429 `M_LIMIT_EXCEEDED`',
      metric: 'tsudoi_limited_requests_total{limiter="key_queries"}',
    },
    {
      what: 'Time for a `/keys/query`',
      most: inTime(MAX_TIMEOUT_MS),
      beyond: 'servers that have not answered stand in `failures`',
    },
    {
      what: 'Other servers that one request for keys asks',
      most: `${REMOTE_KEYS_MAX_SERVERS}; ${SERVERS_AT_ONCE} at the same time`,
      beyond: '413 `M_TOO_LARGE`',
    },
    {
      what: 'Requests of one user that ask other servers for keys at the same time',
      most: String(REQUESTS_AT_ONCE),
      beyond: 'they wait for those before them, as a part of their time',
    },
    {
      what: 'Answers of other servers to one request for keys',
      most: inBytes(MAX_ANSWERS_BYTES),
      beyond: 'the other servers stand in `failures`',
    },
    {
      what: 'Keys that one `/keys/claim` asks for',
      most: String(MAX_CLAIMED),
      beyond: '413 `M_TOO_LARGE`',
    },
    {
      what: 'Keys that one request signs',
      most: `${MAX_SIGNED}, each with ${MAX_SIGNATURES} signatures`,
      beyond: '413 `M_TOO_LARGE`',
    },
    {
      what: "Versions of a user's key backup",
      most: String(MAX_VERSIONS),
      beyond: '403 `M_LIMIT_EXCEEDED`',
      metric: 'tsudoi_quota_refused_total{quota="key_backup_versions"}',
    },
    {
      what: '`auth_data` of a version of a backup',
      most: `${MAX_AUTH_DATA_LENGTH} characters`,
      beyond: '413 `M_TOO_LARGE`',
    },
    {
      what: '`session_data` of one key in a backup',
      most: `${MAX_SESSION_LENGTH} characters`,
      beyond: '413 `M_TOO_LARGE`',
    },
    {
      what: 'Requests of one user that read a backup at the same time',
      most: String(READS_AT_ONCE),
      beyond: 'it waits for those before it',
    },
    {
      what: 'One upload of keys into a backup',
      most: inBytes(MAX_UPLOAD_SIZE),
      beyond: '413 `M_TOO_LARGE`',
    },
    {
      what: 'A dehydrated device',
      most: `${inBytes(MAX_DEVICE_SIZE)}; its \`device_data\` ${MAX_DATA_LENGTH} characters`,
      beyond: '413 `M_TOO_LARGE`',
    },
  ],
};
