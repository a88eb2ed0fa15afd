import { type TArray, type TObject, Type } from 'typebox';
import { READS } from '#src/services/accounts/sessions/access-rules.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { endpoint } from '../endpoint.ts';
import { anyObject } from './parts/room-schemas.ts';

const root = '/_matrix/client/v3/thirdparty';
const found = Type.Array(anyObject);

/** Protocols are what bridges bring along; without one there is nothing to look anything up in. */
const ofProtocol = (operationId: string, summary: string, folder: string, response: TObject | TArray) =>
  endpoint({
    operationId,
    summary,
    method: 'GET',
    path: `${root}/${folder}/{protocol}`,
    auth: 'accessToken',
    guests: 'refused',
    suspended: READS,
    rateLimit: 'default',
    params: Type.Object({ protocol: Type.String() }),
    response,
    errcodes: ['M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    handler: (_, { params: { protocol } }) =>
      Promise.reject(new MatrixError('M_NOT_FOUND', `No bridge of this server knows the protocol ${protocol}.`)),
  });

export const thirdPartyLookupEndpoints = [
  endpoint({
    operationId: 'getProtocols',
    summary: 'Retrieve metadata about all protocols that a homeserver supports.',
    method: 'GET',
    path: `${root}/protocols`,
    auth: 'accessToken',
    guests: 'refused',
    suspended: READS,
    rateLimit: 'default',
    response: anyObject,
    errcodes: ['M_LIMIT_EXCEEDED'],
    handler: () => Promise.resolve({}),
  }),
  ofProtocol(
    'getProtocolMetadata',
    'Retrieve metadata about a specific protocol that the homeserver supports.',
    'protocol',
    anyObject,
  ),
  ofProtocol(
    'queryLocationByProtocol',
    'Retrieve Matrix-side portals rooms leading to a third-party location.',
    'location',
    found,
  ),
  ofProtocol('queryUserByProtocol', 'Retrieve the Matrix User ID of a corresponding third-party user.', 'user', found),
  endpoint({
    operationId: 'queryLocationByAlias',
    summary: 'Reverse-lookup third-party locations given a Matrix room alias.',
    method: 'GET',
    path: `${root}/location`,
    auth: 'accessToken',
    guests: 'refused',
    suspended: READS,
    rateLimit: 'default',
    query: Type.Object({ alias: Type.String() }),
    response: found,
    errcodes: ['M_MISSING_PARAM', 'M_LIMIT_EXCEEDED'],
    handler: () => Promise.resolve([]),
  }),
  endpoint({
    operationId: 'queryUserByID',
    summary: 'Reverse-lookup third-party users given a Matrix User ID.',
    method: 'GET',
    path: `${root}/user`,
    auth: 'accessToken',
    guests: 'refused',
    suspended: READS,
    rateLimit: 'default',
    query: Type.Object({ userid: Type.String() }),
    response: found,
    errcodes: ['M_MISSING_PARAM', 'M_LIMIT_EXCEEDED'],
    handler: () => Promise.resolve([]),
  }),
];
