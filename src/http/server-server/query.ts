import { Type } from 'typebox';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { ProfileAnswers } from '#src/services/federation/queries/profile-answers.ts';
import type { AliasService } from '#src/services/rooms/aliases/alias-service.ts';
import { endpoint } from '../endpoint.ts';

const path = '/_matrix/federation/v1/query';

interface Services {
  readonly profileAnswers: ProfileAnswers;
  readonly aliases: AliasService;
}

const common = { method: 'GET', auth: 'server', rateLimit: 'federation' } as const;

/** Server-Server API, "Querying for information". */
export const federationQueryEndpoints = [
  endpoint({
    ...common,
    operationId: 'queryProfile',
    summary: 'Query for profile information about a given user',
    path: `${path}/profile`,
    query: Type.Object({ user_id: Type.String(), field: Type.Optional(Type.String()) }),
    response: Type.Object(
      { displayname: Type.Optional(Type.String()), avatar_url: Type.Optional(Type.String()) },
      { additionalProperties: true },
    ),
    errcodes: ['M_NOT_FOUND', 'M_INVALID_PARAM', 'M_FORBIDDEN', 'M_LIMIT_EXCEEDED'],
    handler({ profileAnswers }: Services, { query: { user_id: userId, field } }) {
      return profileAnswers.answer(userId, field);
    },
  }),
  endpoint({
    ...common,
    operationId: 'queryRoomDirectory',
    summary: 'Query for the room ID and resident homeservers for a room alias',
    path: `${path}/directory`,
    query: Type.Object({ room_alias: Type.String() }),
    response: Type.Object({ room_id: Type.String(), servers: Type.Array(Type.String()) }),
    errcodes: ['M_NOT_FOUND', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handler({ aliases }: Services, { query: { room_alias: alias } }) {
      const { roomId, servers } = await aliases.resolveOwn(alias);
      return { room_id: roomId, servers };
    },
  }),
  endpoint({
    ...common,
    operationId: 'queryInfo',
    summary: 'Query for information of a kind that this server does not know.',
    path: `${path}/{queryType}`,
    params: Type.Object({ queryType: Type.String() }),
    response: Type.Object({}),
    errcodes: ['M_UNRECOGNIZED', 'M_LIMIT_EXCEEDED'],
    async handler(_services: unknown, { params: { queryType } }) {
      throw new MatrixError('M_UNRECOGNIZED', `This server does not answer queries of type ${queryType}.`);
    },
  }),
];
