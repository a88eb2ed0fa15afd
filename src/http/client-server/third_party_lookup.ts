import { type TArray, type TObject, Type } from 'typebox';
import { READS } from '#src/services/accounts/admission/access-rules.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import type { ThirdPartyLookups } from '#src/services/appservices/lookups/third-party-lookups.ts';
import { endpoint } from '../endpoint.ts';
import { anyObject } from './parts/room-schemas.ts';

const root = '/_matrix/client/v3/thirdparty';
const found = Type.Array(anyObject);
const access = { auth: 'accessToken', guests: 'refused', suspended: READS, rateLimit: 'default' } as const;
const params = Type.Object({ protocol: Type.String() });
/** Fields of a search; which there are depends on the protocol. */
const fields = Type.Object({}, { additionalProperties: Type.String() });

interface Services {
  readonly thirdPartyLookups: ThirdPartyLookups;
}

/** Query parameters that identify the client; they are not fields of the search. */
const OF_TOKEN = ['access_token'];
const OF_APPSERVICE = [...OF_TOKEN, 'user_id', 'device_id', 'org.matrix.msc3202.device_id'];

/** The fields of a search, without the parameters that identify the client. */
const fieldsOf = (query: Readonly<Record<string, string>>, { appservice }: Requester): Record<string, string> => {
  const others = appservice === undefined ? OF_TOKEN : OF_APPSERVICE;
  return Object.fromEntries(Object.entries(query).filter(([name]) => !others.includes(name)));
};

const reverse = (
  operationId: string,
  summary: string,
  folder: string,
  name: 'alias' | 'userid',
  find: (services: Services, value: string) => Promise<unknown>,
) =>
  endpoint({
    operationId,
    summary,
    method: 'GET',
    path: `${root}/${folder}`,
    ...access,
    query: Type.Object({ [name]: Type.String() }) as TObject,
    response: found,
    errcodes: ['M_MISSING_PARAM', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    handler: (services: Services, { query }) => find(services, (query as Record<string, string>)[name] ?? ''),
  });

const ofProtocol = (
  operationId: string,
  summary: string,
  folder: string,
  response: TObject | TArray,
  find: (services: Services, protocol: string, fields: Record<string, string>) => Promise<unknown>,
) =>
  endpoint({
    operationId,
    summary,
    method: 'GET',
    path: `${root}/${folder}/{protocol}`,
    ...access,
    params,
    query: fields,
    response,
    errcodes: ['M_NOT_FOUND', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    handler: (services: Services, { params: { protocol }, query, requester }) =>
      find(services, protocol, fieldsOf(query as Record<string, string>, requester)),
  });

/** Client-Server API, "Third-party Networks": the networks that bridges of this server connect to. */
export const thirdPartyLookupEndpoints = [
  endpoint({
    operationId: 'getProtocols',
    summary: 'Retrieve metadata about all protocols that a homeserver supports.',
    method: 'GET',
    path: `${root}/protocols`,
    ...access,
    response: anyObject,
    errcodes: ['M_LIMIT_EXCEEDED'],
    handler: ({ thirdPartyLookups }: Services) => thirdPartyLookups.protocols(),
  }),
  ofProtocol(
    'getProtocolMetadata',
    'Retrieve metadata about a specific protocol that the homeserver supports.',
    'protocol',
    anyObject,
    ({ thirdPartyLookups }, protocol) => thirdPartyLookups.protocol(protocol),
  ),
  ofProtocol(
    'queryLocationByProtocol',
    'Retrieve Matrix-side portals rooms leading to a third-party location.',
    'location',
    found,
    ({ thirdPartyLookups }, protocol, wanted) => thirdPartyLookups.locations(protocol, wanted),
  ),
  ofProtocol(
    'queryUserByProtocol',
    'Retrieve the Matrix User ID of a corresponding third-party user.',
    'user',
    found,
    ({ thirdPartyLookups }, protocol, wanted) => thirdPartyLookups.users(protocol, wanted),
  ),
  reverse(
    'queryLocationByAlias',
    'Reverse-lookup third-party locations given a Matrix room alias.',
    'location',
    'alias',
    ({ thirdPartyLookups }, alias) => thirdPartyLookups.locationsOf(alias),
  ),
  reverse(
    'queryUserByID',
    'Reverse-lookup third-party users given a Matrix User ID.',
    'user',
    'userid',
    ({ thirdPartyLookups }, userId) => thirdPartyLookups.usersOf(userId),
  ),
];
