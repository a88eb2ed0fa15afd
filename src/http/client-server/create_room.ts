import { Type } from 'typebox';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { RoomCreationService } from '#src/services/rooms/creation/room-creation.ts';
import type { InitialStateEvent } from '#src/services/rooms/creation/room-plan.ts';
import { MEMBER_EVENT_KINDS } from '#src/services/rooms/membership/member-event-kinds.ts';
import { endpoint } from '../endpoint.ts';
import { anyObject, roomIdAnswer } from './parts/room-schemas.ts';
import {
  THIRD_PARTY_INVITE_ERRORS,
  thirdPartyInviteBody,
  thirdPartyInviteRequest,
} from './parts/third-party-invite-body.ts';

const body = Type.Object({
  visibility: Type.Optional(Type.Union([Type.Literal('public'), Type.Literal('private')])),
  room_alias_name: Type.Optional(Type.String()),
  name: Type.Optional(Type.String()),
  topic: Type.Optional(Type.String()),
  invite: Type.Optional(Type.Array(Type.String())),
  invite_3pid: Type.Optional(Type.Array(thirdPartyInviteBody)),
  room_version: Type.Optional(Type.String()),
  creation_content: Type.Optional(anyObject),
  initial_state: Type.Optional(
    Type.Array(Type.Object({ type: Type.String(), state_key: Type.Optional(Type.String()), content: anyObject })),
  ),
  preset: Type.Optional(
    Type.Union([Type.Literal('private_chat'), Type.Literal('public_chat'), Type.Literal('trusted_private_chat')]),
  ),
  is_direct: Type.Optional(Type.Boolean()),
  power_level_content_override: Type.Optional(anyObject),
});

interface Services {
  readonly roomCreation: RoomCreationService;
}

export const createRoomEndpoints = [
  endpoint({
    operationId: 'createRoom',
    summary: 'Create a new room',
    method: 'POST',
    path: '/_matrix/client/v3/createRoom',
    auth: 'accessToken',
    guests: 'refused',
    suspended: { refused: 'it is joining, inviting and sending in one' },
    rateLimit: 'create_room',
    memberEvents: MEMBER_EVENT_KINDS,
    body,
    bodyOptional: true,
    eventBody: 'several',
    response: roomIdAnswer,
    errcodes: [
      'M_BAD_JSON',
      'M_INVALID_PARAM',
      'M_INVALID_ROOM_STATE',
      'M_BAD_ALIAS',
      'M_EXCLUSIVE',
      'M_ROOM_IN_USE',
      'M_UNSUPPORTED_ROOM_VERSION',
      ...THIRD_PARTY_INVITE_ERRORS,
      'M_FORBIDDEN',
      'M_INVITE_BLOCKED',
      'M_UNKNOWN',
      'M_LIMIT_EXCEEDED',
    ],
    async handler({ roomCreation }: Services, { requester, body: params }) {
      const room = await roomCreation.create(requester, {
        visibility: params.visibility,
        roomAliasName: params.room_alias_name,
        name: params.name,
        topic: params.topic,
        invite: params.invite,
        thirdPartyInvites: params.invite_3pid?.map(thirdPartyInviteRequest),
        roomVersion: params.room_version,
        creationContent: params.creation_content as JsonObject | undefined,
        initialState: params.initial_state as InitialStateEvent[] | undefined,
        preset: params.preset,
        isDirect: params.is_direct,
        powerLevelContentOverride: params.power_level_content_override as JsonObject | undefined,
      });
      return { room_id: room.roomId };
    },
  }),
];
