import { Type } from 'typebox';
import { READS } from '#src/services/accounts/admission/access-rules.ts';
import type { UserDirectory } from '#src/services/reading/user-directory/user-directory.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';

interface Services {
  readonly userDirectory: UserDirectory;
}

export const usersEndpoints = [
  endpoint({
    operationId: 'searchUserDirectory',
    summary: 'Searches the user directory',
    method: 'POST',
    onlyAsks: true,
    path: '/_matrix/client/v3/user_directory/search',
    auth: 'accessToken',
    guests: 'refused',
    suspended: READS,
    rateLimit: 'search',
    body: Type.Object({ search_term: Type.String(), limit: Type.Optional(Type.Integer({ minimum: 1 })) }),
    maxBodyBytes: BODY_BYTES.small,
    response: Type.Object({
      results: Type.Array(
        Type.Object({
          user_id: Type.String(),
          display_name: Type.Optional(Type.String()),
          avatar_url: Type.Optional(Type.String()),
        }),
      ),
      limited: Type.Boolean(),
    }),
    errcodes: ['M_BAD_JSON', 'M_LIMIT_EXCEEDED'],
    async handler({ userDirectory }: Services, { requester, body }) {
      const { users, isLimited } = await userDirectory.search(requester.userId, {
        term: body.search_term,
        limit: body.limit,
      });
      return {
        results: users.map(({ userId, displayName, avatarUrl }) => ({
          user_id: userId,
          ...(displayName === undefined ? {} : { display_name: displayName }),
          ...(avatarUrl === undefined ? {} : { avatar_url: avatarUrl }),
        })),
        limited: isLimited,
      };
    },
  }),
];
