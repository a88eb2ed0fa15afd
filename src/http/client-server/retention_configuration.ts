import { Type } from 'typebox';
import type { RetentionConfiguration } from '#src/services/retention/retention-policy.ts';
import { type Endpoint, endpoint } from '../endpoint.ts';

const milliseconds = Type.Optional(Type.Integer());
const lifetimes = Type.Object({ min_lifetime: milliseconds, max_lifetime: milliseconds });
const range = Type.Optional(Type.Object({ min: milliseconds, max: milliseconds }));

/** MSC1763: how long this server keeps messages. Clients forget as the server does. */
export const retentionConfigurationEndpoints = (services: {
  readonly retentionConfiguration: () => RetentionConfiguration;
}): readonly Endpoint[] => [
  endpoint({
    operationId: 'getRetentionConfiguration',
    summary: 'How long this server keeps messages where rooms do not say it, and what rooms may say',
    method: 'GET',
    path: '/_matrix/client/unstable/org.matrix.msc1763/retention/configuration',
    auth: 'accessToken',
    rateLimit: 'default',
    response: Type.Object({
      policies: Type.Record(Type.String(), lifetimes),
      limits: Type.Object({ min_lifetime: range, max_lifetime: range }),
    }),
    errors: ['M_LIMIT_EXCEEDED'],
    handle: async () => services.retentionConfiguration(),
  }),
];
