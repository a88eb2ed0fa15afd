import { Type } from 'typebox';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { type Endpoint, endpoint, Reply } from './endpoint.ts';

export interface HealthServices {
  /** Whether the server can serve: database reachable, not draining. Must answer quickly. */
  readonly isReady: () => Promise<boolean>;
  /** All metrics in Prometheus' text format. */
  readonly metrics: () => Promise<string>;
  /** Whether this address may read the metrics. */
  readonly mayReadMetrics: (ip: string) => boolean;
}

const text = (content: string, status = 200): Reply =>
  new Reply({ status, json: content, contentType: 'text/plain; charset=utf-8' });

const probe = (operationId: string, path: string, summary: string, handle: () => Promise<Reply>): Endpoint =>
  endpoint({
    operationId,
    summary,
    method: 'GET',
    path,
    auth: 'none',
    rateLimit: 'none',
    response: Type.String(),
    errors: [],
    handle,
  });

/** What load balancers, orchestrators and monitoring ask. */
export const healthEndpoints = (services: HealthServices): Endpoint[] => {
  const ready = async (): Promise<Reply> => ((await services.isReady()) ? text('OK') : text('Not ready', 503));
  return [
    probe('getHealth', '/health', 'OK while the server can serve, 503 otherwise.', ready),
    probe('getReadiness', '/readyz', 'OK while the server can serve, 503 otherwise.', ready),
    probe('getLiveness', '/livez', 'OK while the process runs.', async () => text('OK')),
    endpoint({
      operationId: 'getMetrics',
      summary: 'Metrics for Prometheus.',
      method: 'GET',
      path: '/metrics',
      aliases: ['/_synapse/metrics'],
      auth: 'none',
      rateLimit: 'none',
      response: Type.String(),
      errors: ['M_FORBIDDEN'],
      handle: async ({ info }) => {
        if (!services.mayReadMetrics(info.ip))
          throw new MatrixError('M_FORBIDDEN', 'The metrics are not open to this address.');
        return new Reply({ json: await services.metrics(), contentType: 'text/plain; version=0.0.4; charset=utf-8' });
      },
    }),
  ];
};
