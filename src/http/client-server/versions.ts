import { Type } from 'typebox';
import { endpoint } from '../endpoint.ts';

interface Services {
  /** Body of the answer: versions and unstable features. */
  readonly versions: () => { versions: string[]; unstable_features: Record<string, boolean> };
}

/** Client-Server API, "API versions". */
export const versionsEndpoints = [
  endpoint({
    operationId: 'getVersions',
    summary: 'Versions of the specification and experimental features that this server supports.',
    method: 'GET',
    path: '/_matrix/client/versions',
    auth: 'none',
    rateLimit: 'none',
    response: Type.Object({
      versions: Type.Array(Type.String()),
      unstable_features: Type.Optional(Type.Record(Type.String(), Type.Boolean())),
    }),
    errcodes: [],
    handler: async ({ versions }: Services) => versions(),
  }),
];
