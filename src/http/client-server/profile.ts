import { Type } from 'typebox';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { ProfileService } from '#src/services/user-data/profiles/profile-service.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';
import { empty } from './parts/auth-schemas.ts';

const path = '/_matrix/client/v3/profile/{userId}';
const fieldParams = Type.Object({ userId: Type.String(), keyName: Type.String() });
const fields = Type.Object({}, { additionalProperties: true });
/** The names of this feature before it became part of the specification (MSC4133). */
const aliases = ['/_matrix/client/unstable/uk.tcpip.msc4133/profile/{userId}/{keyName}'];

/** When another server is to be asked. */
const REMOTE_ERRORS = ['M_FORBIDDEN', 'M_CONNECTION_FAILED', 'M_CONNECTION_TIMEOUT'] as const;

interface Services {
  readonly profiles: ProfileService;
}

export const profileEndpoints = [
  endpoint({
    operationId: 'getUserProfile',
    summary: 'Get all profile information for a user.',
    method: 'GET',
    path,
    auth: 'none',
    rateLimit: 'default',
    params: Type.Object({ userId: Type.String() }),
    response: Type.Object(
      {
        displayname: Type.Optional(Type.String()),
        avatar_url: Type.Optional(Type.String()),
        'm.tz': Type.Optional(Type.String()),
      },
      { additionalProperties: true },
    ),
    errcodes: [...REMOTE_ERRORS, 'M_NOT_FOUND', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handler({ profiles }: Services, { params: { userId } }) {
      return (await profiles.read(userId)).fields;
    },
  }),
  endpoint({
    operationId: 'getProfileField',
    summary: 'Get a profile field for a user.',
    method: 'GET',
    path: `${path}/{keyName}`,
    aliases,
    auth: 'none',
    rateLimit: 'default',
    params: fieldParams,
    response: fields,
    errcodes: [...REMOTE_ERRORS, 'M_NOT_FOUND', 'M_INVALID_PARAM', 'M_KEY_TOO_LARGE', 'M_LIMIT_EXCEEDED'],
    async handler({ profiles }: Services, { params: { userId, keyName } }) {
      return { [keyName]: await profiles.readField(userId, keyName) };
    },
  }),
  endpoint({
    operationId: 'setProfileField',
    summary: 'Set a profile field for a user.',
    method: 'PUT',
    path: `${path}/{keyName}`,
    aliases,
    auth: 'accessToken',
    guests: 'allowed',
    suspended: 'refused',
    rateLimit: 'default',
    memberEvents: ['profile'],
    params: fieldParams,
    body: fields,
    maxBodyBytes: BODY_BYTES.content,
    response: empty,
    errcodes: [
      'M_FORBIDDEN',
      'M_GUEST_ACCESS_FORBIDDEN',
      'M_NOT_FOUND',
      'M_BAD_JSON',
      'M_NOT_JSON',
      'M_MISSING_PARAM',
      'M_INVALID_PARAM',
      'M_KEY_TOO_LARGE',
      'M_PROFILE_TOO_LARGE',
      'M_LIMIT_EXCEEDED',
    ],
    async handler({ profiles }: Services, { requester, params: { userId, keyName }, body }) {
      await profiles.set(requester, userId, keyName, body as JsonObject);
      return {};
    },
  }),
  endpoint({
    operationId: 'deleteProfileField',
    summary: 'Remove a profile field from a user.',
    method: 'DELETE',
    path: `${path}/{keyName}`,
    aliases,
    auth: 'accessToken',
    guests: 'allowed',
    suspended: 'refused',
    rateLimit: 'default',
    memberEvents: ['profile'],
    params: fieldParams,
    response: empty,
    errcodes: [
      'M_FORBIDDEN',
      'M_GUEST_ACCESS_FORBIDDEN',
      'M_NOT_FOUND',
      'M_INVALID_PARAM',
      'M_KEY_TOO_LARGE',
      'M_LIMIT_EXCEEDED',
    ],
    async handler({ profiles }: Services, { requester, params: { userId, keyName } }) {
      await profiles.remove(requester, userId, keyName);
      return {};
    },
  }),
];
