import { Type } from 'typebox';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { JoinAnswers } from '#src/services/federation/handshakes/join-answers.ts';
import type { MembershipHandshakes } from '#src/services/federation/handshakes/membership-handshakes.ts';
import { endpoint, Reply } from '../endpoint.ts';
import { pdu, roomAndEvent, roomAndUser, templateAnswer, versionsQuery } from './parts/membership-schemas.ts';

interface Services {
  readonly membershipHandshakes: MembershipHandshakes;
  readonly joinAnswers: JoinAnswers;
}

/** Server-Server API, "Joining Rooms". */
export const joinsV1Endpoints = [
  endpoint({
    operationId: 'makeJoin',
    summary: 'Get information required to make a join event for a room.',
    method: 'GET',
    path: '/_matrix/federation/v1/make_join/{roomId}/{userId}',
    auth: 'server',
    rateLimit: 'federation',
    params: roomAndUser,
    query: versionsQuery,
    response: templateAnswer,
    errcodes: [
      'M_FORBIDDEN',
      'M_NOT_FOUND',
      'M_INCOMPATIBLE_ROOM_VERSION',
      'M_UNABLE_TO_AUTHORISE_JOIN',
      'M_UNABLE_TO_GRANT_JOIN',
    ],
    answers: { 400: { description: 'Among others, M_UNABLE_TO_GRANT_JOIN: another server may let the user in.' } },
    handler: ({ membershipHandshakes }: Services, { params, query: { ver = ['1'] }, requester }) =>
      membershipHandshakes.make('join', { ...params, origin: requester.serverName, versions: ver }),
  }),
  endpoint({
    operationId: 'sendJoinV1',
    summary: 'Submit a signed join event to a resident server (as servers did before 2019).',
    method: 'PUT',
    path: '/_matrix/federation/v1/send_join/{roomId}/{eventId}',
    auth: 'server',
    rateLimit: 'federation',
    memberEvents: ['join'],
    params: roomAndEvent,
    body: pdu,
    response: Type.Array(Type.Unknown()),
    errcodes: ['M_FORBIDDEN', 'M_NOT_FOUND', 'M_INVALID_PARAM', 'M_UNABLE_TO_AUTHORISE_JOIN', 'M_UNABLE_TO_GRANT_JOIN'],
    async handler({ joinAnswers, membershipHandshakes }: Services, { body, params, requester }) {
      const request = { ...params, origin: requester.serverName, event: body as JsonObject };
      const accepted = await membershipHandshakes.send('join', request);
      return new Reply({ stream: await joinAnswers.of(accepted, false, true) });
    },
  }),
];
