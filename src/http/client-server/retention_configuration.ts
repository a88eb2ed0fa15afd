import { Type } from 'typebox';
import { READS } from '#src/services/accounts/admission/access-rules.ts';
import type { RetentionConfiguration } from '#src/services/retention/retention-policy.ts';
import { endpoint } from '../endpoint.ts';

const milliseconds = Type.Optional(Type.Integer());
const lifetimes = Type.Object({ min_lifetime: milliseconds, max_lifetime: milliseconds });
const range = Type.Optional(Type.Object({ min: milliseconds, max: milliseconds }));

interface Services {
  readonly retentionConfiguration: () => RetentionConfiguration;
}

/** MSC1763: how long this server keeps messages, so that clients can delete theirs at the same age. */
export const retentionConfigurationEndpoints = [
  endpoint({
    operationId: 'getRetentionConfiguration',
    summary: 'How long this server keeps messages where rooms do not say it, and what rooms may say',
    method: 'GET',
    path: '/_matrix/client/unstable/org.matrix.msc1763/retention/configuration',
    auth: 'accessToken',
    guests: 'refused',
    suspended: READS,
    rateLimit: 'default',
    response: Type.Object({
      policies: Type.Record(Type.String(), lifetimes),
      limits: Type.Object({ min_lifetime: range, max_lifetime: range }),
    }),
    errcodes: ['M_LIMIT_EXCEEDED'],
    handler: async ({ retentionConfiguration }: Services) => retentionConfiguration(),
  }),
];
