import { Type } from 'typebox';
import { READS } from '#src/services/accounts/admission/access-rules.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { KeyBackupService } from '#src/services/e2ee/key-backup/key-backup-service.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';
import { empty } from './parts/auth-schemas.ts';
import { oneSession, roomSessions, sessionsByRoom } from './parts/backed-up-sessions.ts';

const VERSIONS = '/_matrix/client/v3/room_keys/version';
const KEYS = '/_matrix/client/v3/room_keys/keys';
/** 10,000 sessions, which is what clients send at once when they begin a backup, take about eight megabytes. */
export const MAX_UPLOAD_SIZE = 12 * 1024 * 1024;
const BACKS_UP = { allowed: 'suspended users may still fill their key backup' };

const object = Type.Object({}, { additionalProperties: true });
const session = Type.Object(
  {
    first_message_index: Type.Integer(),
    forwarded_count: Type.Integer(),
    is_verified: Type.Boolean(),
    session_data: object,
  },
  { additionalProperties: true },
);
const room = Type.Object({ sessions: Type.Record(Type.String(), session) }, { additionalProperties: true });
const rooms = Type.Object({ rooms: Type.Record(Type.String(), room) }, { additionalProperties: true });
const state = Type.Object({ count: Type.Integer(), etag: Type.String() });
const version = Type.Object({
  algorithm: Type.String(),
  auth_data: object,
  count: Type.Integer(),
  etag: Type.String(),
  version: Type.String(),
});
const query = Type.Object({ version: Type.String() });
const roomParams = Type.Object({ roomId: Type.String() });
const sessionParams = Type.Object({ roomId: Type.String(), sessionId: Type.String() });

interface Services {
  readonly keyBackup: KeyBackupService;
}

/** What all of them say of who may call them, and how often. */
const common = { auth: 'accessToken', guests: 'refused', rateLimit: 'default' } as const;

const versionEndpoints = [
  endpoint({
    ...common,
    operationId: 'postRoomKeysVersion',
    summary: 'Create a new backup.',
    method: 'POST',
    path: VERSIONS,
    suspended: BACKS_UP,
    body: Type.Object({ algorithm: Type.String(), auth_data: object }, { additionalProperties: true }),
    maxBodyBytes: BODY_BYTES.content,
    response: Type.Object({ version: Type.String() }),
    errcodes: ['M_BAD_JSON', 'M_INVALID_PARAM', 'M_TOO_LARGE', 'M_LIMIT_EXCEEDED'],
    async handler({ keyBackup }: Services, { requester, body }) {
      return { version: await keyBackup.create(requester.userId, body.algorithm, body.auth_data as JsonObject) };
    },
  }),
  endpoint({
    ...common,
    operationId: 'getRoomKeysVersionCurrent',
    summary: 'Get information about the latest backup version.',
    method: 'GET',
    path: VERSIONS,
    suspended: READS,
    response: version,
    errcodes: ['M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    async handler({ keyBackup }: Services, { requester }) {
      return keyBackup.current(requester.userId);
    },
  }),
  endpoint({
    ...common,
    operationId: 'getRoomKeysVersion',
    summary: 'Get information about an existing backup.',
    method: 'GET',
    path: `${VERSIONS}/{version}`,
    suspended: READS,
    params: query,
    response: version,
    errcodes: ['M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    async handler({ keyBackup }: Services, { requester, params }) {
      return keyBackup.version(requester.userId, params.version);
    },
  }),
  endpoint({
    ...common,
    operationId: 'putRoomKeysVersion',
    summary: 'Update information about an existing backup.',
    method: 'PUT',
    path: `${VERSIONS}/{version}`,
    suspended: BACKS_UP,
    params: query,
    body: Type.Object(
      { algorithm: Type.String(), auth_data: object, version: Type.Optional(Type.String()) },
      { additionalProperties: true },
    ),
    maxBodyBytes: BODY_BYTES.content,
    response: empty,
    errcodes: ['M_NOT_FOUND', 'M_BAD_JSON', 'M_INVALID_PARAM', 'M_TOO_LARGE', 'M_LIMIT_EXCEEDED'],
    async handler({ keyBackup }: Services, { requester, params, body }) {
      const { algorithm, auth_data, version: named } = body;
      const change = { algorithm, auth_data: auth_data as JsonObject, version: named };
      await keyBackup.update(requester.userId, params.version, change);
      return {};
    },
  }),
  endpoint({
    ...common,
    operationId: 'deleteRoomKeysVersion',
    summary: 'Delete an existing key backup.',
    method: 'DELETE',
    path: `${VERSIONS}/{version}`,
    suspended: BACKS_UP,
    params: query,
    response: empty,
    errcodes: ['M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    async handler({ keyBackup }: Services, { requester, params }) {
      await keyBackup.delete(requester.userId, params.version);
      return {};
    },
  }),
];

const STORE_ERRORS = [
  'M_NOT_FOUND',
  'M_WRONG_ROOM_KEYS_VERSION',
  'M_BAD_JSON',
  'M_TOO_LARGE',
  'M_LIMIT_EXCEEDED',
] as const;

const storeEndpoints = [
  endpoint({
    ...common,
    operationId: 'putRoomKeys',
    summary: 'Store several keys in the backup.',
    method: 'PUT',
    path: KEYS,
    suspended: BACKS_UP,
    query,
    body: rooms,
    maxBodyBytes: MAX_UPLOAD_SIZE,
    response: state,
    errcodes: STORE_ERRORS,
    async handler({ keyBackup }: Services, { requester, query: { version: to }, body }) {
      return keyBackup.store(requester.userId, to, body.rooms as JsonObject);
    },
  }),
  endpoint({
    ...common,
    operationId: 'putRoomKeysByRoomId',
    summary: 'Store several keys in the backup for a given room.',
    method: 'PUT',
    path: `${KEYS}/{roomId}`,
    suspended: BACKS_UP,
    params: roomParams,
    query,
    body: room,
    maxBodyBytes: MAX_UPLOAD_SIZE,
    response: state,
    errcodes: STORE_ERRORS,
    async handler({ keyBackup }: Services, { requester, params: { roomId }, query: { version: to }, body }) {
      return keyBackup.store(requester.userId, to, { [roomId]: body as JsonObject });
    },
  }),
  endpoint({
    ...common,
    operationId: 'putRoomKeyBySessionId',
    summary: 'Store a key in the backup.',
    method: 'PUT',
    path: `${KEYS}/{roomId}/{sessionId}`,
    suspended: BACKS_UP,
    params: sessionParams,
    query,
    body: session,
    maxBodyBytes: BODY_BYTES.content,
    response: state,
    errcodes: STORE_ERRORS,
    async handler({ keyBackup }: Services, { requester, params: { roomId, sessionId }, query: { version: to }, body }) {
      const sessions = { [roomId]: { sessions: { [sessionId]: body as JsonObject } } };
      return keyBackup.store(requester.userId, to, sessions);
    },
  }),
];

const readEndpoints = [
  endpoint({
    ...common,
    operationId: 'getRoomKeys',
    summary: 'Retrieve the keys from the backup.',
    method: 'GET',
    path: KEYS,
    suspended: READS,
    query,
    response: rooms,
    errcodes: ['M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    async handler({ keyBackup }: Services, { requester, query: { version: from } }) {
      return sessionsByRoom(keyBackup.read(requester.userId, from, {}));
    },
  }),
  endpoint({
    ...common,
    operationId: 'getRoomKeysByRoomId',
    summary: 'Retrieve the keys from the backup for a given room.',
    method: 'GET',
    path: `${KEYS}/{roomId}`,
    suspended: READS,
    params: roomParams,
    query,
    response: room,
    errcodes: ['M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    async handler({ keyBackup }: Services, { requester, params: { roomId }, query: { version: from } }) {
      return roomSessions(keyBackup.read(requester.userId, from, { roomId }));
    },
  }),
  endpoint({
    ...common,
    operationId: 'getRoomKeyBySessionId',
    summary: 'Retrieve a key from the backup',
    method: 'GET',
    path: `${KEYS}/{roomId}/{sessionId}`,
    suspended: READS,
    params: sessionParams,
    query,
    response: session,
    errcodes: ['M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    async handler({ keyBackup }: Services, { requester, params, query: { version: from } }) {
      return oneSession(keyBackup.read(requester.userId, from, params));
    },
  }),
];

const removeEndpoints = [
  endpoint({
    ...common,
    operationId: 'deleteRoomKeys',
    summary: 'Delete the keys from the backup.',
    method: 'DELETE',
    path: KEYS,
    suspended: BACKS_UP,
    query,
    response: state,
    errcodes: ['M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    async handler({ keyBackup }: Services, { requester, query: { version: from } }) {
      return keyBackup.remove(requester.userId, from, {});
    },
  }),
  endpoint({
    ...common,
    operationId: 'deleteRoomKeysByRoomId',
    summary: 'Delete the keys from the backup for a given room.',
    method: 'DELETE',
    path: `${KEYS}/{roomId}`,
    suspended: BACKS_UP,
    params: roomParams,
    query,
    response: state,
    errcodes: ['M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    async handler({ keyBackup }: Services, { requester, params, query: { version: from } }) {
      return keyBackup.remove(requester.userId, from, params);
    },
  }),
  endpoint({
    ...common,
    operationId: 'deleteRoomKeyBySessionId',
    summary: 'Delete a key from the backup',
    method: 'DELETE',
    path: `${KEYS}/{roomId}/{sessionId}`,
    suspended: BACKS_UP,
    params: sessionParams,
    query,
    response: state,
    errcodes: ['M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    async handler({ keyBackup }: Services, { requester, params, query: { version: from } }) {
      return keyBackup.remove(requester.userId, from, params);
    },
  }),
];

/** Client-Server API, "Server-side key backups". */
export const keyBackupEndpoints = [...versionEndpoints, ...storeEndpoints, ...readEndpoints, ...removeEndpoints];
