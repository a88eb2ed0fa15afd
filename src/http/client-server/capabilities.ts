import { Type } from 'typebox';
import { READS } from '#src/services/accounts/admission/access-rules.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import { endpoint } from '../endpoint.ts';

interface Services {
  /** Body of the answer. */
  readonly capabilities: (requester: Requester) => { capabilities: Record<string, unknown> };
}

/** Client-Server API, "Capabilities negotiation". */
export const capabilitiesEndpoints = [
  endpoint({
    operationId: 'getCapabilities',
    summary: 'What users may do on this server, and the room versions it knows.',
    method: 'GET',
    path: '/_matrix/client/v3/capabilities',
    auth: 'accessToken',
    guests: { allowed: 'clients ask for them on starting; they say nothing of any user' },
    suspended: READS,
    rateLimit: 'default',
    response: Type.Object({ capabilities: Type.Record(Type.String(), Type.Unknown()) }),
    errcodes: [],
    handler: async ({ capabilities }: Services, { requester }) => capabilities(requester),
  }),
];
