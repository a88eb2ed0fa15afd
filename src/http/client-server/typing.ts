import { Type } from 'typebox';
import type { TypingService } from '#src/services/ephemeral/typing/typing-service.ts';
import { type Endpoint, endpoint } from '../endpoint.ts';
import { empty } from './auth-schemas.ts';
import { assertOwn } from './own-user.ts';

export const typingEndpoints = (services: { readonly typing: TypingService }): readonly Endpoint[] => [
  endpoint({
    operationId: 'setTyping',
    summary: 'Informs the server that the user has started or stopped typing.',
    method: 'PUT',
    path: '/_matrix/client/v3/rooms/{roomId}/typing/{userId}',
    auth: 'accessToken',
    rateLimit: 'default',
    params: Type.Object({ roomId: Type.String(), userId: Type.String() }),
    body: Type.Object({
      typing: Type.Boolean(),
      timeout: Type.Optional(
        Type.Integer({ description: 'Milliseconds for which the user counts as typing; at most two minutes.' }),
      ),
    }),
    response: empty,
    errors: ['M_FORBIDDEN', 'M_BAD_JSON', 'M_NOT_JSON', 'M_MISSING_PARAM', 'M_LIMIT_EXCEEDED'],
    async handle({ requester, params: { roomId, userId }, body }) {
      assertOwn(requester, userId, 'The typing state');
      await services.typing.set(userId, roomId, body.typing, body.timeout);
      return {};
    },
  }),
];
