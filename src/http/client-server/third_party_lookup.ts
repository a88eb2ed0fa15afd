import { type TArray, type TObject, Type } from 'typebox';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { type Endpoint, endpoint } from '../endpoint.ts';
import { anyObject } from './room-schemas.ts';

const root = '/_matrix/client/v3/thirdparty';
const found = Type.Array(anyObject);

/** Protocols are what bridges bring along; without one there is nothing to look anything up in. */
const ofProtocol = (operationId: string, summary: string, folder: string, response: TObject | TArray): Endpoint =>
  endpoint({
    operationId,
    summary,
    method: 'GET',
    path: `${root}/${folder}/{protocol}`,
    auth: 'accessToken',
    rateLimit: 'default',
    params: Type.Object({ protocol: Type.String() }),
    response,
    errors: ['M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    handle: ({ params: { protocol } }) =>
      Promise.reject(new MatrixError('M_NOT_FOUND', `No bridge of this server knows the protocol ${protocol}.`)),
  });

export const thirdPartyLookupEndpoints = (): readonly Endpoint[] => [
  endpoint({
    operationId: 'getProtocols',
    summary: 'Retrieve metadata about all protocols that a homeserver supports.',
    method: 'GET',
    path: `${root}/protocols`,
    auth: 'accessToken',
    rateLimit: 'default',
    response: anyObject,
    errors: ['M_LIMIT_EXCEEDED'],
    handle: () => Promise.resolve({}),
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
    rateLimit: 'default',
    query: Type.Object({ alias: Type.String() }),
    response: found,
    errors: ['M_MISSING_PARAM', 'M_LIMIT_EXCEEDED'],
    handle: () => Promise.resolve([]),
  }),
  endpoint({
    operationId: 'queryUserByID',
    summary: 'Reverse-lookup third-party users given a Matrix User ID.',
    method: 'GET',
    path: `${root}/user`,
    auth: 'accessToken',
    rateLimit: 'default',
    query: Type.Object({ userid: Type.String() }),
    response: found,
    errors: ['M_MISSING_PARAM', 'M_LIMIT_EXCEEDED'],
    handle: () => Promise.resolve([]),
  }),
];
