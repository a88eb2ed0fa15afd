import { type Static, Type } from 'typebox';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { ServerNotices } from '#src/services/admin/notices/server-notices.ts';
import { actorOf } from '../actor.ts';
import { anyObject } from '../client-server/parts/room-schemas.ts';
import { endpoint } from '../endpoint.ts';
import { OF_ADMINISTRATORS } from './parts/access.ts';

const path = '/_synapse/admin/v1/send_server_notice';
const body = Type.Object({
  user_id: Type.String(),
  content: anyObject,
  type: Type.Optional(Type.String({ default: 'm.room.message' })),
  state_key: Type.Optional(Type.String()),
});
const response = Type.Object({ event_id: Type.String() });
const errcodes = ['M_UNKNOWN', 'M_INVALID_PARAM', 'M_NOT_FOUND', 'M_TOO_LARGE', 'M_FORBIDDEN'] as const;

const noticeOf = ({ content, state_key: stateKey, type = 'm.room.message' }: Static<typeof body>) => ({
  type,
  stateKey,
  content: content as JsonObject,
});

interface Services {
  readonly serverNotices: ServerNotices;
}

/** Synapse Admin API, "Server Notices": messages of the server to a user. */
export const serverNoticeEndpoints = [
  endpoint({
    operationId: 'adminSendServerNotice',
    summary: 'Sends a server notice to a user.',
    method: 'POST',
    path,
    ...OF_ADMINISTRATORS,
    memberEvents: ['join', 'invite', 'profile'],
    body,
    eventBody: 'one',
    response,
    errcodes,
    handler: async ({ serverNotices }: Services, { requester, info, body: sent }) => ({
      event_id: await serverNotices.send(actorOf(requester, info), sent.user_id, noticeOf(sent)),
    }),
  }),
  endpoint({
    operationId: 'adminSendServerNoticeOnce',
    summary: 'Sends a server notice to a user, once for each transaction id.',
    method: 'PUT',
    path: `${path}/{txnId}`,
    ...OF_ADMINISTRATORS,
    memberEvents: ['join', 'invite', 'profile'],
    params: Type.Object({ txnId: Type.String() }),
    body,
    eventBody: 'one',
    response,
    errcodes,
    handler: async ({ serverNotices }: Services, { requester, info, params: { txnId }, body: sent }) => ({
      event_id: await serverNotices.send(actorOf(requester, info), sent.user_id, noticeOf(sent), txnId),
    }),
  }),
];
