import { Type } from 'typebox';
import type { KeyAnswers } from '#src/services/federation/queries/key-answers.ts';
import { endpoint } from '../endpoint.ts';

const path = '/_matrix/federation/v1/user/keys';
const object = Type.Object({}, { additionalProperties: true });
const byName = Type.Record(Type.String(), object);

interface Services {
  readonly keyAnswers: KeyAnswers;
}

const common = { method: 'POST', auth: 'server', rateLimit: 'federation' } as const;

/** Server-Server API, "End-to-End Encryption". */
export const federationUserKeysEndpoints = [
  endpoint({
    ...common,
    operationId: 'claimUserEncryptionKeys',
    summary: 'Claims one-time encryption keys for a user.',
    path: `${path}/claim`,
    body: Type.Object(
      { one_time_keys: Type.Record(Type.String(), Type.Record(Type.String(), Type.String())) },
      { additionalProperties: true },
    ),
    response: Type.Object({ one_time_keys: Type.Record(Type.String(), byName) }),
    errcodes: ['M_BAD_JSON', 'M_TOO_LARGE', 'M_LIMIT_EXCEEDED'],
    async handler({ keyAnswers }: Services, { body }) {
      return { one_time_keys: await keyAnswers.claim(body.one_time_keys) };
    },
  }),
  endpoint({
    ...common,
    operationId: 'queryUserEncryptionKeys',
    summary: 'Download device identity keys.',
    path: `${path}/query`,
    body: Type.Object(
      { device_keys: Type.Record(Type.String(), Type.Array(Type.String())) },
      { additionalProperties: true },
    ),
    response: Type.Object({
      device_keys: Type.Record(Type.String(), byName),
      master_keys: byName,
      self_signing_keys: byName,
    }),
    errcodes: ['M_BAD_JSON', 'M_TOO_LARGE', 'M_LIMIT_EXCEEDED'],
    async handler({ keyAnswers }: Services, { body, requester: { serverName } }) {
      const { deviceKeys, masterKeys, selfSigningKeys } = await keyAnswers.query(serverName, body.device_keys);
      return { device_keys: deviceKeys, master_keys: masterKeys, self_signing_keys: selfSigningKeys };
    },
  }),
];
