import { Type } from 'typebox';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { ExchangedInvites } from '#src/services/federation/joins/exchanged-invites.ts';
import { endpoint } from '../endpoint.ts';
import { pdu } from './parts/membership-schemas.ts';

interface Services {
  readonly exchangedInvites: ExchangedInvites;
}

/** Server-Server API, "Third-party invites". */
export const thirdPartyInviteEndpoints = [
  endpoint({
    operationId: 'exchangeThirdPartyInvite',
    summary: 'Receive a partial event of a third-party invite, and issue the invite.',
    method: 'PUT',
    path: '/_matrix/federation/v1/exchange_third_party_invite/{roomId}',
    auth: 'server',
    rateLimit: 'federation',
    params: Type.Object({ roomId: Type.String() }),
    body: pdu,
    response: Type.Object({}),
    errcodes: ['M_FORBIDDEN', 'M_NOT_FOUND', 'M_INVALID_PARAM'],
    async handler({ exchangedInvites }: Services, { body, params: { roomId }, requester }) {
      await exchangedInvites.exchange(requester.serverName, roomId, body as JsonObject);
      return {};
    },
  }),
];
