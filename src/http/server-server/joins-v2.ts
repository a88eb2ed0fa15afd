import { Type } from 'typebox';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { JoinAnswers } from '#src/services/federation/handshakes/join-answers.ts';
import type { MembershipHandshakes } from '#src/services/federation/handshakes/membership-handshakes.ts';
import { endpoint, Reply } from '../endpoint.ts';
import { pdu, roomAndEvent } from './parts/membership-schemas.ts';

interface Services {
  readonly membershipHandshakes: MembershipHandshakes;
  readonly joinAnswers: JoinAnswers;
}

/** Server-Server API, "Joining Rooms". */
export const joinsV2Endpoints = [
  endpoint({
    operationId: 'sendJoinV2',
    summary: 'Submit a signed join event to a resident server.',
    method: 'PUT',
    path: '/_matrix/federation/v2/send_join/{roomId}/{eventId}',
    auth: 'server',
    rateLimit: 'federation',
    memberEvents: ['join'],
    params: roomAndEvent,
    query: Type.Object({ omit_members: Type.Optional(Type.Boolean()) }),
    body: pdu,
    response: Type.Object({
      event: Type.Optional(pdu),
      members_omitted: Type.Optional(Type.Boolean()),
      servers_in_room: Type.Optional(Type.Array(Type.String())),
      origin: Type.String(),
      state: Type.Array(pdu),
      auth_chain: Type.Array(pdu),
    }),
    errcodes: ['M_FORBIDDEN', 'M_NOT_FOUND', 'M_INVALID_PARAM', 'M_UNABLE_TO_AUTHORISE_JOIN', 'M_UNABLE_TO_GRANT_JOIN'],
    async handler({ joinAnswers, membershipHandshakes }: Services, { body, params, query, requester }) {
      const request = { ...params, origin: requester.serverName, event: body as JsonObject };
      const accepted = await membershipHandshakes.send('join', request);
      return new Reply({ stream: await joinAnswers.of(accepted, query.omit_members === true) });
    },
  }),
];
