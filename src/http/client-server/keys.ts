import { Type } from 'typebox';
import { READS } from '#src/services/accounts/admission/access-rules.ts';
import type { DeviceKeyService } from '#src/services/e2ee/device-keys/device-key-service.ts';
import type { KeyClaims } from '#src/services/e2ee/device-keys/key-claims.ts';
import type { KeyQuery } from '#src/services/e2ee/device-keys/key-query.ts';
import type { KeyChanges } from '#src/services/sync/device-lists/key-changes.ts';
import { endpoint } from '../endpoint.ts';

const object = Type.Object({}, { additionalProperties: true });
const byName = Type.Record(Type.String(), object);
const timeout = Type.Optional(Type.Union([Type.Integer(), Type.Null()]));

interface Services {
  readonly deviceKeys: DeviceKeyService;
  readonly keyQuery: KeyQuery;
  readonly keyClaims: KeyClaims;
  readonly keyChanges: KeyChanges;
}

export const keysEndpoints = [
  endpoint({
    operationId: 'uploadKeys',
    summary: 'Upload end-to-end encryption keys.',
    method: 'POST',
    path: '/_matrix/client/v3/keys/upload',
    auth: 'accessToken',
    guests: 'allowed',
    suspended: { allowed: 'suspended users may still read what is encrypted for them' },
    rateLimit: 'default',
    body: Type.Object(
      {
        device_keys: Type.Optional(Type.Unknown()),
        one_time_keys: Type.Optional(Type.Unknown()),
        fallback_keys: Type.Optional(Type.Unknown()),
      },
      { additionalProperties: true },
    ),
    response: Type.Object({ one_time_key_counts: Type.Record(Type.String(), Type.Integer()) }),
    errcodes: ['M_BAD_JSON', 'M_INVALID_PARAM', 'M_TOO_LARGE', 'M_UNKNOWN_DEVICE', 'M_LIMIT_EXCEEDED'],
    async handler({ deviceKeys }: Services, { requester, body }) {
      return { one_time_key_counts: await deviceKeys.upload(requester, body) };
    },
  }),
  endpoint({
    operationId: 'queryKeys',
    summary: 'Download device identity keys.',
    method: 'POST',
    onlyAsks: true,
    path: '/_matrix/client/v3/keys/query',
    auth: 'accessToken',
    guests: 'allowed',
    suspended: READS,
    rateLimit: 'default',
    body: Type.Object(
      { device_keys: Type.Record(Type.String(), Type.Array(Type.String())), timeout },
      { additionalProperties: true },
    ),
    response: Type.Object({
      device_keys: Type.Record(Type.String(), byName),
      master_keys: byName,
      self_signing_keys: byName,
      user_signing_keys: byName,
      failures: byName,
    }),
    errcodes: ['M_BAD_JSON', 'M_TOO_LARGE', 'M_LIMIT_EXCEEDED'],
    async handler({ keyQuery }: Services, { info, requester, body }) {
      return keyQuery.query(requester.userId, body.device_keys, body.timeout ?? undefined, info.signal);
    },
  }),
  endpoint({
    operationId: 'claimKeys',
    summary: 'Claim one-time encryption keys.',
    method: 'POST',
    path: '/_matrix/client/v3/keys/claim',
    auth: 'accessToken',
    guests: 'allowed',
    suspended: { allowed: 'verifying their own devices takes keys' },
    rateLimit: 'default',
    body: Type.Object(
      {
        one_time_keys: Type.Record(Type.String(), Type.Record(Type.String(), Type.String())),
        timeout,
      },
      { additionalProperties: true },
    ),
    response: Type.Object({ one_time_keys: Type.Record(Type.String(), byName), failures: byName }),
    errcodes: ['M_BAD_JSON', 'M_TOO_LARGE', 'M_LIMIT_EXCEEDED'],
    async handler({ keyClaims }: Services, { body, info }) {
      return keyClaims.claim(body.one_time_keys, body.timeout ?? undefined, info.signal);
    },
  }),
  endpoint({
    operationId: 'getKeysChanges',
    summary: 'Query users with recent device key updates.',
    method: 'GET',
    path: '/_matrix/client/v3/keys/changes',
    auth: 'accessToken',
    guests: 'refused',
    suspended: READS,
    rateLimit: 'default',
    query: Type.Object({ from: Type.String(), to: Type.String() }),
    response: Type.Object({ changed: Type.Array(Type.String()), left: Type.Array(Type.String()) }),
    errcodes: ['M_MISSING_PARAM', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handler({ keyChanges }: Services, { requester, query }) {
      return keyChanges.between(requester.userId, query.from, query.to);
    },
  }),
];
