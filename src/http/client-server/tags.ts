import { Type } from 'typebox';
import { KEEPS_OWN, READS } from '#src/services/accounts/admission/access-rules.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { RoomUserData } from '#src/services/rooms/user-data/room-user-data.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';
import { empty } from './parts/auth-schemas.ts';
import { assertOwn } from './parts/own-user.ts';

const WHAT = 'The tags';
const tag = Type.Object({ order: Type.Optional(Type.Number()) }, { additionalProperties: true });
const path = '/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags';
const params = Type.Object({ userId: Type.String(), roomId: Type.String() });
const tagParams = Type.Object({ userId: Type.String(), roomId: Type.String(), tag: Type.String() });

interface Services {
  readonly roomUserData: RoomUserData;
}

export const tagsEndpoints = [
  endpoint({
    operationId: 'getRoomTags',
    summary: 'List the tags for a room.',
    method: 'GET',
    path,
    auth: 'accessToken',
    guests: 'refused',
    suspended: READS,
    rateLimit: 'default',
    params,
    response: Type.Object({ tags: Type.Record(Type.String(), tag) }),
    errcodes: ['M_FORBIDDEN', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handler({ roomUserData }: Services, { requester, params: { userId, roomId } }) {
      assertOwn(requester, userId, WHAT);
      return { tags: await roomUserData.tags(userId, roomId) };
    },
  }),
  endpoint({
    operationId: 'setRoomTag',
    summary: 'Add a tag to a room.',
    method: 'PUT',
    path: `${path}/{tag}`,
    auth: 'accessToken',
    guests: 'refused',
    suspended: KEEPS_OWN,
    rateLimit: 'default',
    params: tagParams,
    body: tag,
    maxBodyBytes: BODY_BYTES.small,
    response: empty,
    errcodes: ['M_FORBIDDEN', 'M_BAD_JSON', 'M_NOT_JSON', 'M_INVALID_PARAM', 'M_TOO_LARGE', 'M_LIMIT_EXCEEDED'],
    async handler({ roomUserData }: Services, { requester, params: { userId, roomId, tag: name }, body }) {
      assertOwn(requester, userId, WHAT);
      await roomUserData.setTag(userId, roomId, name, body as JsonObject);
      return {};
    },
  }),
  endpoint({
    operationId: 'deleteRoomTag',
    summary: 'Remove a tag from the room.',
    method: 'DELETE',
    path: `${path}/{tag}`,
    auth: 'accessToken',
    guests: 'refused',
    suspended: KEEPS_OWN,
    rateLimit: 'default',
    params: tagParams,
    response: empty,
    errcodes: ['M_FORBIDDEN', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handler({ roomUserData }: Services, { requester, params: { userId, roomId, tag: name } }) {
      assertOwn(requester, userId, WHAT);
      await roomUserData.removeTag(userId, roomId, name);
      return {};
    },
  }),
];
