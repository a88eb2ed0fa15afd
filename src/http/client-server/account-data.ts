import { Type } from 'typebox';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isRoomId } from '#src/protocol/identifiers/identifiers.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { AccountDataService } from '#src/services/user-data/account-data/account-data-service.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import { type Endpoint, endpoint, Reply } from '../endpoint.ts';
import { empty } from './auth-schemas.ts';
import { assertOwn } from './own-user.ts';

const WHAT = 'The account data';
const content = Type.Object({}, { additionalProperties: true });
const globalPath = '/_matrix/client/v3/user/{userId}/account_data/{type}';
const globalParams = Type.Object({ userId: Type.String(), type: Type.String() });
const roomPath = '/_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}';
const roomParams = Type.Object({ userId: Type.String(), roomId: Type.String(), type: Type.String() });

interface Services {
  readonly accountData: AccountDataService;
  readonly rooms: RoomRegistry;
}

/** The number under which a room's account data is kept. */
export const roomNidOf = async (rooms: RoomRegistry, roomId: string): Promise<number> => {
  if (!isRoomId(roomId)) throw new MatrixError('M_INVALID_PARAM', `${roomId} is not a valid room ID.`);
  const room = await rooms.byId(roomId);
  if (room === undefined) throw new MatrixError('M_NOT_FOUND', `This server does not know the room ${roomId}.`);
  return room.nid;
};

export const accountDataEndpoints = (services: Services): readonly Endpoint[] => {
  const read = async (userId: string, roomNid: number, type: string): Promise<Reply> => {
    const json = await services.accountData.get(userId, roomNid, type);
    if (json === undefined) throw new MatrixError('M_NOT_FOUND', `There is no account data of type ${type}.`);
    return new Reply({ json });
  };
  return [
    endpoint({
      operationId: 'setAccountData',
      summary: 'Set some account data for the user.',
      method: 'PUT',
      path: globalPath,
      auth: 'accessToken',
      rateLimit: 'default',
      params: globalParams,
      body: content,
      response: empty,
      errors: ['M_BAD_JSON', 'M_NOT_JSON', 'M_FORBIDDEN', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
      async handle({ requester, params: { userId, type }, body }) {
        assertOwn(requester, userId, WHAT);
        await services.accountData.setByClient(userId, 0, type, body as JsonObject);
        return {};
      },
    }),
    endpoint({
      operationId: 'getAccountData',
      summary: 'Get some account data for the user.',
      method: 'GET',
      path: globalPath,
      auth: 'accessToken',
      rateLimit: 'default',
      params: globalParams,
      response: content,
      errors: ['M_FORBIDDEN', 'M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
      async handle({ requester, params: { userId, type } }) {
        assertOwn(requester, userId, WHAT);
        return read(userId, 0, type);
      },
    }),
    endpoint({
      operationId: 'setAccountDataPerRoom',
      summary: 'Set some account data for the user that is specific to a room.',
      method: 'PUT',
      path: roomPath,
      auth: 'accessToken',
      rateLimit: 'default',
      params: roomParams,
      body: content,
      response: empty,
      errors: ['M_BAD_JSON', 'M_NOT_JSON', 'M_FORBIDDEN', 'M_INVALID_PARAM', 'M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
      async handle({ requester, params: { userId, roomId, type }, body }) {
        assertOwn(requester, userId, WHAT);
        await services.accountData.setByClient(
          userId,
          await roomNidOf(services.rooms, roomId),
          type,
          body as JsonObject,
        );
        return {};
      },
    }),
    endpoint({
      operationId: 'getAccountDataPerRoom',
      summary: 'Get some account data for the user that is specific to a room.',
      method: 'GET',
      path: roomPath,
      auth: 'accessToken',
      rateLimit: 'default',
      params: roomParams,
      response: content,
      errors: ['M_FORBIDDEN', 'M_NOT_FOUND', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
      async handle({ requester, params: { userId, roomId, type } }) {
        assertOwn(requester, userId, WHAT);
        return read(userId, await roomNidOf(services.rooms, roomId), type);
      },
    }),
  ];
};
