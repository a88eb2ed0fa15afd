import { Type } from 'typebox';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { networkOf } from '#src/kernel/network.ts';
import type { BoundInvites } from '#src/services/federation/invites/bound-invites.ts';
import type { ExchangedInvites } from '#src/services/federation/invites/exchanged-invites.ts';
import type { ServerPolicy } from '#src/services/servers/server-policy.ts';
import { endpoint } from '../endpoint.ts';
import { pdu } from './parts/membership-schemas.ts';

interface Services {
  readonly exchangedInvites: ExchangedInvites;
  readonly boundInvites: BoundInvites;
  readonly serverPolicy: ServerPolicy;
}

const boundInvite = Type.Object({
  medium: Type.String(),
  address: Type.String(),
  mxid: Type.String(),
  room_id: Type.String(),
  sender: Type.String(),
  signed: Type.Object(
    {
      mxid: Type.String(),
      token: Type.String(),
      signatures: Type.Record(Type.String(), Type.Record(Type.String(), Type.String())),
    },
    { additionalProperties: true },
  ),
});

/** Identity servers in the field send it by POST, whatever the specification says. */
const onBind = (operationId: string, method: 'PUT' | 'POST') =>
  endpoint({
    operationId,
    summary: 'Notifies the server that a third-party identifier has been bound to one of its users.',
    method,
    path: '/_matrix/federation/v1/3pid/onbind',
    auth: 'none',
    rateLimit: 'federation',
    memberEvents: ['invite'],
    body: Type.Object({
      medium: Type.String(),
      address: Type.String(),
      mxid: Type.String(),
      invites: Type.Array(boundInvite),
    }),
    response: Type.Object({}),
    errcodes: ['M_FORBIDDEN', 'M_NOT_FOUND', 'M_INVALID_PARAM', 'M_TOO_LARGE'],
    async handler({ boundInvites, serverPolicy }: Services, { body, info }) {
      serverPolicy.assertOpen();
      const invites = body.invites.map((invite) => ({
        ...invite,
        roomId: invite.room_id,
        signed: invite.signed as JsonObject,
      }));
      await boundInvites.bound(body.mxid, invites, networkOf(info.ip));
      return {};
    },
  });

/** Server-Server API, "Third-party invites". */
export const thirdPartyInviteEndpoints = [
  endpoint({
    operationId: 'exchangeThirdPartyInvite',
    summary: 'Receive a partial event of a third-party invite, and issue the invite.',
    method: 'PUT',
    path: '/_matrix/federation/v1/exchange_third_party_invite/{roomId}',
    auth: 'server',
    rateLimit: 'federation',
    memberEvents: ['invite'],
    params: Type.Object({ roomId: Type.String() }),
    body: pdu,
    response: Type.Object({}),
    errcodes: ['M_FORBIDDEN', 'M_NOT_FOUND', 'M_INVALID_PARAM'],
    async handler({ exchangedInvites }: Services, { body, params: { roomId }, requester }) {
      await exchangedInvites.exchange(requester.serverName, roomId, body as JsonObject);
      return {};
    },
  }),
  onBind('onBindThirdPartyIdentifier', 'PUT'),
  onBind('onBindThirdPartyIdentifierByPost', 'POST'),
];
