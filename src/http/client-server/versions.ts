import { Type } from 'typebox';
import { type Endpoint, endpoint } from '../endpoint.ts';

export interface VersionsServices {
  /** Body of the answer: versions and unstable features. */
  readonly versions: () => { versions: string[]; unstable_features: Record<string, boolean> };
}

/** Client-Server API, "API versions". */
export const versionsEndpoints = (services: VersionsServices): Endpoint[] => [
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
    errors: [],
    handle: async () => services.versions(),
  }),
];
