import { Type } from 'typebox';
import { OTHERS_SEE } from '#src/services/accounts/admission/access-rules.ts';
import type { TypingService } from '#src/services/ephemeral/typing/typing-service.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';
import { empty } from './parts/auth-schemas.ts';
import { assertOwn } from './parts/own-user.ts';

interface Services {
  readonly typing: TypingService;
}

export const typingEndpoints = [
  endpoint({
    operationId: 'setTyping',
    summary: 'Informs the server that the user has started or stopped typing.',
    method: 'PUT',
    path: '/_matrix/client/v3/rooms/{roomId}/typing/{userId}',
    auth: 'accessToken',
    guests: 'refused',
    suspended: OTHERS_SEE,
    rateLimit: 'default',
    params: Type.Object({ roomId: Type.String(), userId: Type.String() }),
    body: Type.Object({
      typing: Type.Boolean(),
      timeout: Type.Optional(
        Type.Integer({ description: 'Milliseconds for which the user counts as typing; at most two minutes.' }),
      ),
    }),
    maxBodyBytes: BODY_BYTES.small,
    response: empty,
    errcodes: ['M_FORBIDDEN', 'M_BAD_JSON', 'M_NOT_JSON', 'M_MISSING_PARAM', 'M_LIMIT_EXCEEDED'],
    async handler({ typing }: Services, { requester, params: { roomId, userId }, body }) {
      assertOwn(requester, userId, 'The typing state');
      await typing.set(userId, roomId, body.typing, body.timeout);
      return {};
    },
  }),
];
