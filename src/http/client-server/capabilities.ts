import { Type } from 'typebox';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import { type Endpoint, endpoint } from '../endpoint.ts';

export interface CapabilitiesServices {
  /** Body of the answer. */
  readonly capabilities: (requester: Requester) => { capabilities: Record<string, unknown> };
}

/** Client-Server API, "Capabilities negotiation". */
export const capabilitiesEndpoints = (services: CapabilitiesServices): Endpoint[] => [
  endpoint({
    operationId: 'getCapabilities',
    summary: 'What users may do on this server, and the room versions it knows.',
    method: 'GET',
    path: '/_matrix/client/v3/capabilities',
    auth: 'accessTokenOrGuest',
    rateLimit: 'default',
    response: Type.Object({ capabilities: Type.Record(Type.String(), Type.Unknown()) }),
    errors: [],
    handle: async ({ requester }) => services.capabilities(requester),
  }),
];
