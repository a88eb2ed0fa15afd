import { Type } from 'typebox';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { endpoint, Reply } from '../endpoint.ts';

interface Services {
  /** Whether the server can serve: database reachable, not draining. Must answer quickly. */
  readonly isReady: () => Promise<boolean>;
  /** What does not work while the server serves everything else: files that cannot be stored. Answers from memory. */
  readonly degradedParts: () => readonly string[];
  /** All metrics in Prometheus' text format. */
  readonly metrics: () => Promise<string>;
  /** Whether this address may read the metrics. */
  readonly mayReadMetrics: (ip: string) => boolean;
}

type Probed = Pick<Services, 'isReady' | 'degradedParts'>;

const responseType = 'text/plain; charset=utf-8';
const text = (content: string): Reply => new Reply({ content, contentType: responseType });

/** Seconds for `Retry-After`. */
const notReady = (): Reply =>
  new Reply({ status: 503, content: 'Not ready', contentType: responseType, headers: { 'Retry-After': '5' } });

const probe = (
  operationId: string,
  path: string,
  summary: string,
  isWell: (services: Probed) => Promise<boolean>,
  degradedParts: (services: Probed) => readonly string[] = () => [],
) =>
  endpoint({
    operationId,
    summary,
    method: 'GET',
    path,
    auth: 'none',
    rateLimit: 'none',
    response: Type.String(),
    responseType,
    errcodes: [],
    async handler(services: Probed) {
      if (!(await isWell(services))) return notReady();
      const degraded = degradedParts(services);
      return text(degraded.length === 0 ? 'OK' : `Degraded: ${degraded.join(', ')}`);
    },
  });

/** Endpoints for load balancers, orchestrators and monitoring. */
export const healthEndpoints = [
  // A disk for files that is full is no reason to take a server, or all of them, away from those who send messages: 200, and a word that says so.
  probe(
    'getHealth',
    '/health',
    'OK while the server can serve, or what of it cannot be used; 503 where that is everything.',
    ({ isReady }) => isReady(),
    ({ degradedParts }) => degradedParts(),
  ),
  probe('getReadiness', '/readyz', 'OK while the server can serve, 503 otherwise.', ({ isReady }) => isReady()),
  probe('getLiveness', '/livez', 'OK while the process runs.', () => Promise.resolve(true)),
  endpoint({
    operationId: 'getMetrics',
    summary: 'Metrics for Prometheus.',
    method: 'GET',
    path: '/metrics',
    aliases: ['/_synapse/metrics'],
    auth: 'none',
    rateLimit: 'none',
    response: Type.String(),
    responseType: 'text/plain; version=0.0.4; charset=utf-8',
    errcodes: ['M_FORBIDDEN'],
    handler: async ({ mayReadMetrics, metrics }: Services, { info }) => {
      if (info.isForwarded) {
        throw new MatrixError(
          'M_FORBIDDEN',
          'This came through a proxy that is not in http.trusted_proxies: the client of the metrics is not known.',
        );
      }
      if (!mayReadMetrics(info.ip)) throw new MatrixError('M_FORBIDDEN', 'This address may not read the metrics.');
      return new Reply({ content: await metrics(), contentType: 'text/plain; version=0.0.4; charset=utf-8' });
    },
  }),
];
