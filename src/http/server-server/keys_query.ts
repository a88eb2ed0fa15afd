import { Type } from 'typebox';
import { networkOf } from '#src/kernel/network.ts';
import type { KeyNotary, KeyQuery } from '#src/services/servers/keys/key-notary.ts';
import { endpoint, type RequestInfo } from '../endpoint.ts';
import { serverKeys } from './parts/server-keys.ts';

interface Services {
  readonly keyNotary: KeyNotary;
}

const response = Type.Object({ server_keys: Type.Array(serverKeys) });
const criteria = Type.Object({ minimum_valid_until_ts: Type.Optional(Type.Integer({ minimum: 0 })) });

const answer = async (keyNotary: KeyNotary, query: KeyQuery, { ip }: RequestInfo, validUntil?: number) => ({
  server_keys: await keyNotary.query(query, networkOf(ip), validUntil),
});

/** Server-Server API, "Querying Keys Through Another Server". */
export const keysQueryEndpoints = [
  endpoint({
    operationId: 'perspectivesKeyQuery',
    summary: "Query for another server's keys.",
    method: 'GET',
    path: '/_matrix/key/v2/query/{serverName}',
    // Older servers ask for one of the keys.
    aliases: ['/_matrix/key/v2/query/{serverName}/{keyId}'],
    auth: 'none',
    rateLimit: 'federation',
    params: Type.Object({ serverName: Type.String(), keyId: Type.Optional(Type.String()) }),
    query: Type.Object({ minimum_valid_until_ts: Type.Optional(Type.Integer({ minimum: 0 })) }),
    response,
    errcodes: ['M_INVALID_PARAM'],
    handler: async ({ keyNotary }: Services, { info, params: { keyId, serverName }, query }) =>
      answer(
        keyNotary,
        { [serverName]: keyId === undefined ? {} : { [keyId]: {} } },
        info,
        query.minimum_valid_until_ts,
      ),
  }),
  endpoint({
    operationId: 'bulkPerspectivesKeyQuery',
    summary: "Query for several servers' keys.",
    method: 'POST',
    path: '/_matrix/key/v2/query',
    auth: 'none',
    rateLimit: 'federation',
    maxBodyBytes: 65_536,
    body: Type.Object({
      server_keys: Type.Record(Type.String(), Type.Record(Type.String(), criteria)),
    }),
    response,
    errcodes: ['M_INVALID_PARAM', 'M_TOO_LARGE'],
    handler: async ({ keyNotary }: Services, { body, info }) => answer(keyNotary, body.server_keys, info),
  }),
];
