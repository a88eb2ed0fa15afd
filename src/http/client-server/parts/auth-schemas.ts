import { Type } from 'typebox';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import type { Registration } from '#src/services/accounts/registration/new-accounts.ts';
import type { AuthData } from '#src/services/accounts/uia/stages.ts';
import type { NewSession } from '#src/services/accounts/sessions/session-types.ts';

/** The `auth` member of requests with user-interactive authentication. */
export const authData = Type.Object(
  { type: Type.Optional(Type.String()), session: Type.Optional(Type.String()) },
  {
    additionalProperties: true,
    description: 'Additional authentication information for user-interactive authentication.',
  },
);

/** The answer to a request that needs (more) authentication. Client-Server API, "User-Interactive Authentication API". */
export const challenge = {
  401: {
    description: 'The request needs further authentication.',
    schema: Type.Object({
      flows: Type.Array(Type.Object({ stages: Type.Array(Type.String()) })),
      params: Type.Record(Type.String(), Type.Unknown()),
      session: Type.String(),
      completed: Type.Optional(Type.Array(Type.String())),
      errcode: Type.Optional(Type.String({ description: 'Why the stage that was tried is not complete.' })),
      error: Type.Optional(Type.String()),
    }),
  },
};

export const empty = Type.Object({});

/** A JSON `auth` member as the services take it. */
export const asAuth = (auth: object | undefined): AuthData | undefined => auth as AuthData | undefined;

/** The members of a response that log a client in; none when it asked not to be logged in. */
export const sessionMembers = (session: NewSession | undefined): Record<string, unknown> =>
  session === undefined
    ? {}
    : {
        access_token: session.accessToken,
        device_id: session.deviceId,
        ...(session.refreshToken === undefined ? {} : { refresh_token: session.refreshToken }),
        ...(session.expiresInMs === undefined ? {} : { expires_in_ms: session.expiresInMs }),
      };

/** The body of a successful registration. */
export const registrationBody = ({ userId, session }: Registration): Record<string, unknown> => ({
  user_id: userId,
  home_server: domainOf(userId),
  ...sessionMembers(session),
});
