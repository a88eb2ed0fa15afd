import { Type } from 'typebox';
import { KEEPS_OWN, READS } from '#src/services/accounts/admission/access-rules.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { AccountDataService } from '#src/services/user-data/account-data/account-data-service.ts';
import type { RoomUserData } from '#src/services/rooms/user-data/room-user-data.ts';
import { endpoint, Reply } from '../endpoint.ts';
import { empty } from './parts/auth-schemas.ts';
import { assertOwn } from './parts/own-user.ts';

const WHAT = 'The account data';
const content = Type.Object({}, { additionalProperties: true });
const globalPath = '/_matrix/client/v3/user/{userId}/account_data/{type}';
const globalParams = Type.Object({ userId: Type.String(), type: Type.String() });
const roomPath = '/_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}';
const roomParams = Type.Object({ userId: Type.String(), roomId: Type.String(), type: Type.String() });

interface Services {
  readonly accountData: AccountDataService;
  readonly roomUserData: RoomUserData;
}

export const accountDataEndpoints = [
  endpoint({
    operationId: 'setAccountData',
    summary: 'Set some account data for the user.',
    method: 'PUT',
    path: globalPath,
    auth: 'accessToken',
    guests: 'refused',
    suspended: KEEPS_OWN,
    rateLimit: 'default',
    params: globalParams,
    body: content,
    response: empty,
    errcodes: ['M_BAD_JSON', 'M_NOT_JSON', 'M_FORBIDDEN', 'M_INVALID_PARAM', 'M_TOO_LARGE', 'M_LIMIT_EXCEEDED'],
    async handler({ accountData }: Services, { requester, params: { userId, type }, body }) {
      assertOwn(requester, userId, WHAT);
      await accountData.setByClient(userId, 0, type, body as JsonObject);
      return {};
    },
  }),
  endpoint({
    operationId: 'getAccountData',
    summary: 'Get some account data for the user.',
    method: 'GET',
    path: globalPath,
    auth: 'accessToken',
    guests: 'refused',
    suspended: READS,
    rateLimit: 'default',
    params: globalParams,
    response: content,
    errcodes: ['M_FORBIDDEN', 'M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    async handler({ accountData }: Services, { requester, params: { userId, type } }) {
      assertOwn(requester, userId, WHAT);
      return new Reply({ json: await accountData.existing(userId, 0, type) });
    },
  }),
  endpoint({
    operationId: 'setAccountDataPerRoom',
    summary: 'Set some account data for the user that is specific to a room.',
    method: 'PUT',
    path: roomPath,
    auth: 'accessToken',
    guests: 'refused',
    suspended: KEEPS_OWN,
    rateLimit: 'default',
    params: roomParams,
    body: content,
    response: empty,
    errcodes: ['M_BAD_JSON', 'M_NOT_JSON', 'M_FORBIDDEN', 'M_INVALID_PARAM', 'M_TOO_LARGE', 'M_LIMIT_EXCEEDED'],
    async handler({ roomUserData }: Services, { requester, params: { userId, roomId, type }, body }) {
      assertOwn(requester, userId, WHAT);
      await roomUserData.setAccountData(userId, roomId, type, body as JsonObject);
      return {};
    },
  }),
  endpoint({
    operationId: 'getAccountDataPerRoom',
    summary: 'Get some account data for the user that is specific to a room.',
    method: 'GET',
    path: roomPath,
    auth: 'accessToken',
    guests: 'refused',
    suspended: READS,
    rateLimit: 'default',
    params: roomParams,
    response: content,
    errcodes: ['M_FORBIDDEN', 'M_NOT_FOUND', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handler({ roomUserData }: Services, { requester, params: { userId, roomId, type } }) {
      assertOwn(requester, userId, WHAT);
      return new Reply({ json: await roomUserData.accountData(userId, roomId, type) });
    },
  }),
];
