import {
  MAX_ENTRIES as PARSE_FILTER_MAX_ENTRIES,
  MAX_FIELDS as PARSE_FILTER_MAX_FIELDS,
  MAX_WILDCARDS,
} from '#src/protocol/filters/parse-filter.ts';
import { MAX_DEVICE_ID, MAX_DISPLAY_NAME } from '#src/protocol/identifiers/device-names.ts';
import { MAX_PATTERN_LENGTH } from '#src/protocol/matching/glob.ts';
import { MAX_KEY_LENGTH } from '#src/protocol/push/conditions.ts';
import { MAX_RULE_ID_LENGTH } from '#src/protocol/push/rule-validation.ts';
import { MAX_WAITING as PASSWORD_HASHER_MAX_WAITING } from '#src/services/accounts/credentials/password-hasher.ts';
import { MAXIMUM_LENGTH } from '#src/services/accounts/credentials/password-policy.ts';
import { MAX_TOKEN_LENGTH } from '#src/services/accounts/registration/jwt-logins.ts';
import {
  MAX_TOKENS,
  MAX_LENGTH as REGISTRATION_TOKENS_MAX_LENGTH,
} from '#src/services/accounts/registration/registration-tokens.ts';
import { MAX_PER_USER } from '#src/services/accounts/sessions/live-sessions.ts';
import { MAX_RESPONSE_LENGTH } from '#src/services/accounts/uia/captcha-stage.ts';
import {
  MAX_BYTES as UIA_SESSION_STORE_MAX_BYTES,
  MAX_BYTES_OF_PARTY,
} from '#src/services/accounts/uia/uia-session-store.ts';
import { CACHE_BYTES as PRESENCE_BYTES, MAX_STATUS_LENGTH } from '#src/services/ephemeral/presence/presence-service.ts';
import {
  MAX_DATA_BYTES,
  MAX_PUSHKEY_BYTES,
  MAX_APP_ID,
  MAX_NAME_BYTES,
} from '#src/services/push/pushers/pusher-service.ts';
import { MAX_GLOBS } from '#src/services/user-data/account-data/invite-permission.ts';
import { MAX_REST_LENGTH, MAX_TAG_LENGTH } from '#src/services/user-data/account-data/tag-content.ts';
import { MAX_LENGTH as FILTER_SERVICE_MAX_LENGTH } from '#src/services/user-data/filters/filter-service.ts';
import { MAX_PROFILE_SIZE, MAX_NAME_LENGTH, MAX_URL_LENGTH } from '#src/services/user-data/profiles/profile-fields.ts';
import { type FixedBounds, inBytes } from './fixed-bounds.ts';

/** Fixed bounds: accounts, and what users keep. */
export const ACCOUNT_BOUNDS: FixedBounds = {
  title: 'Accounts, and what users keep',
  why: 'Most of this is kept for good, and sent to every client that logs in.',
  rows: [
    {
      what: 'Memory for authentications in several steps (user-interactive authentication)',
      most: `${inBytes(UIA_SESSION_STORE_MAX_BYTES)}, of them ${inBytes(MAX_BYTES_OF_PARTY)} for one user or address`,
      beyond: 'the oldest of that user or address are forgotten: 401, and the client begins again',
    },
    {
      what: 'Passwords of one address that wait to be checked',
      most: `${PASSWORD_HASHER_MAX_WAITING}; fewer, the more others wait`,
      beyond: '429 `M_LIMIT_EXCEEDED`',
      metric: 'tsudoi_password_hashes_waiting',
    },
    {
      what: 'Length of a password',
      most: `${MAXIMUM_LENGTH} characters`,
      beyond: '400 `M_INVALID_PARAM`',
    },
    {
      what: 'Answer of a captcha',
      most: `${MAX_RESPONSE_LENGTH} characters`,
      beyond: '400 `M_CAPTCHA_INVALID`',
    },
    {
      what: 'Token of a single sign-on (JWT)',
      most: `${MAX_TOKEN_LENGTH} characters`,
      beyond: '403 `M_FORBIDDEN`',
    },
    {
      what: 'Registration tokens',
      most: `${MAX_TOKENS}, of ${REGISTRATION_TOKENS_MAX_LENGTH} characters each`,
      beyond: '403 `M_RESOURCE_LIMIT_EXCEEDED`',
      metric: 'tsudoi_quota_refused_total{quota="registration_tokens"}',
    },
    {
      what: 'Id of a device',
      most: `${MAX_DEVICE_ID} bytes`,
      beyond: '400 `M_INVALID_PARAM`',
    },
    {
      what: 'Name of a device',
      most: `${MAX_DISPLAY_NAME} characters`,
      beyond: '400 `M_INVALID_PARAM`',
    },
    {
      what: 'A whole profile',
      most: `less than ${inBytes(MAX_PROFILE_SIZE)}`,
      beyond: '400 `M_PROFILE_TOO_LARGE`',
      metric: 'tsudoi_quota_refused_total{quota="profile_bytes"}',
    },
    {
      what: 'Display name of a user',
      most: `${MAX_NAME_LENGTH} characters`,
      beyond: '400 `M_INVALID_PARAM`',
    },
    {
      what: 'Address of the avatar of a user',
      most: `${MAX_URL_LENGTH} bytes`,
      beyond: '400 `M_INVALID_PARAM`',
    },
    {
      what: "Status message of a user's presence",
      most: `${MAX_STATUS_LENGTH} characters`,
      beyond: '400 `M_INVALID_PARAM`',
    },
    {
      what: 'Memory for the presence of users',
      most: inBytes(PRESENCE_BYTES),
      beyond:
        'who was heard of longest ago is read again; where that many are not offline, further users of other servers stay offline, and those who are not are shown without a status message',
      metric: 'tsudoi_cache_size{cache="presence"}',
    },
    {
      what: 'One filter',
      most: `${FILTER_SERVICE_MAX_LENGTH} characters of JSON`,
      beyond: '413 `M_TOO_LARGE`',
    },
    {
      what: 'Entries of one list in a filter',
      most: `${PARSE_FILTER_MAX_ENTRIES}; ${PARSE_FILTER_MAX_FIELDS} of \`event_fields\``,
      beyond: '400 `M_INVALID_PARAM`',
    },
    {
      what: 'Wildcards in one list of types in a filter',
      most: String(MAX_WILDCARDS),
      beyond: '400 `M_INVALID_PARAM`',
    },
    {
      what: 'Pattern of a push rule',
      most: `${MAX_PATTERN_LENGTH} characters`,
      beyond: '413 `M_TOO_LARGE`',
    },
    {
      what: 'Id of a push rule',
      most: `${MAX_RULE_ID_LENGTH} bytes`,
      beyond: '413 `M_TOO_LARGE`',
    },
    {
      what: 'Name of a field (`key`) in a condition of a push rule',
      most: `${MAX_KEY_LENGTH} characters`,
      beyond: 'the condition matches nothing',
    },
    {
      what: 'What is said of one tag of a room',
      most: `${MAX_TAG_LENGTH} characters of JSON`,
      beyond: '413 `M_TOO_LARGE`',
    },
    {
      what: 'What an `m.tag` says beside its tags',
      most: `${MAX_REST_LENGTH} characters`,
      beyond: '413 `M_TOO_LARGE`',
    },
    {
      what: 'Patterns in one list of who may invite a user (MSC4155)',
      most: String(MAX_GLOBS),
      beyond: 'further ones do not count',
    },
    {
      what: 'A pusher',
      most: `\`data\` ${inBytes(MAX_DATA_BYTES)}, \`pushkey\` ${MAX_PUSHKEY_BYTES} bytes, \`app_id\` ${MAX_APP_ID} characters, each name ${MAX_NAME_BYTES} bytes`,
      beyond: '400 `M_INVALID_PARAM`',
    },
    {
      what: 'Tokens of one user that are remembered as valid',
      most: String(MAX_PER_USER),
      beyond: 'others are looked up in the database',
    },
  ],
};
