import { type Static, Type } from 'typebox';
import type { Errcode } from '#src/protocol/errors/matrix-error.ts';
import type { ThirdPartyInviteRequest } from '#src/services/rooms/third-party-invites/third-party-invites.ts';

/** `definitions/invite_3pid.yaml`. What of it is needed depends on who keeps the invitation. */
export const thirdPartyInviteBody = Type.Object({
  id_server: Type.Optional(Type.String()),
  id_access_token: Type.Optional(Type.String()),
  medium: Type.Optional(Type.String()),
  address: Type.Optional(Type.String()),
});

export const thirdPartyInviteRequest = (body: Static<typeof thirdPartyInviteBody>): ThirdPartyInviteRequest => ({
  medium: body.medium,
  address: body.address,
  idServer: body.id_server,
  idAccessToken: body.id_access_token,
});

/** What may be wrong with an invite by address, beside what may be wrong with every invite. */
export const THIRD_PARTY_INVITE_ERRORS: readonly Errcode[] = [
  'M_MISSING_PARAM',
  'M_SERVER_NOT_TRUSTED',
  'M_THREEPID_MEDIUM_NOT_SUPPORTED',
  'M_TERMS_NOT_SIGNED',
  'M_CONNECTION_FAILED',
  'M_CONNECTION_TIMEOUT',
];
