import { Type } from 'typebox';
import type { InboundTransactions } from '#src/services/federation/inbound/inbound-transactions.ts';
import { MEMBER_EVENT_KINDS } from '#src/services/rooms/membership/member-event-kinds.ts';
import { endpoint, Reply } from '../endpoint.ts';

interface Services {
  readonly inboundTransactions: InboundTransactions;
}

/** 50 events of 64 KiB, and as much for EDUs and what surrounds them. */
export const MAX_BYTES = 8 * 1024 * 1024;

/** Server-Server API, "Transactions". */
export const transactionsEndpoints = [
  endpoint({
    operationId: 'sendTransaction',
    summary: 'Send a transaction.',
    method: 'PUT',
    path: '/_matrix/federation/v1/send/{txnId}',
    auth: 'server',
    rateLimit: 'federation',
    memberEvents: MEMBER_EVENT_KINDS,
    maxBodyBytes: MAX_BYTES,
    params: Type.Object({ txnId: Type.String({ maxLength: 255 }) }),
    body: Type.Object({
      pdus: Type.Optional(Type.Array(Type.Unknown())),
      edus: Type.Optional(Type.Array(Type.Unknown())),
    }),
    response: Type.Object({
      pdus: Type.Record(Type.String(), Type.Object({ error: Type.Optional(Type.String()) })),
    }),
    errcodes: ['M_BAD_JSON', 'M_LIMIT_EXCEEDED'],
    async handler({ inboundTransactions }: Services, { requester, params, body: { edus = [], pdus = [] } }) {
      return new Reply({ json: await inboundTransactions.receive(requester.serverName, params.txnId, { edus, pdus }) });
    },
  }),
];
