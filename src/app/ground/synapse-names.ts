import type { Labels } from '#src/kernel/metrics.ts';
import type { PrometheusMetrics } from './metrics.ts';

const ALL = '*';
const nothing = (): Labels => ({});

/**
 * The metrics that dashboards for Synapse use most, under Synapse's names and labels, derived from ours.
 *
 * @param methods the HTTP methods of operations, by the operations' names
 */
export const addSynapseNames = (metrics: PrometheusMetrics, methods: ReadonlyMap<string, string>): void => {
  const servlet = ({ operation = '' }: Labels): Labels => ({
    method: methods.get(operation) ?? ALL,
    servlet: operation,
  });
  metrics.alias({
    name: 'synapse_build_info',
    of: 'tsudoi_build_info',
    labelNames: ['version', 'pythonversion', 'osversion'],
    labels: ({ version = '' }) => ({ version: `Tsudoi ${version}`, pythonversion: '', osversion: process.platform }),
  });
  metrics.alias({
    name: 'synapse_http_server_response_time_seconds',
    of: 'tsudoi_http_request_seconds',
    labelNames: ['method', 'servlet', 'tag', 'code'],
    labels: (labels) => ({ ...servlet(labels), tag: '', code: labels['status'] ?? '' }),
  });
  metrics.alias({
    name: 'synapse_http_server_requests_received_total',
    of: 'tsudoi_http_request_seconds',
    part: '_count',
    kind: 'counter',
    labelNames: ['method', 'servlet'],
    labels: servlet,
  });
  metrics.alias({
    name: 'synapse_http_server_in_flight_requests_count',
    of: 'tsudoi_http_requests_running',
    labelNames: ['method', 'servlet'],
    labels: () => ({ method: ALL, servlet: ALL }),
  });
  metrics.alias({
    name: 'synapse_storage_events_persisted_events_total',
    of: 'tsudoi_events_committed_total',
    labels: nothing,
  });
  metrics.alias({
    name: 'synapse_federation_client_sent_transactions_total',
    of: 'tsudoi_delivery_batches_total',
    where: ({ outcome, queue }) => queue === 'federation' && outcome === 'done',
    labels: nothing,
  });
  metrics.alias({
    name: 'synapse_federation_server_received_pdus_total',
    of: 'tsudoi_federation_received_events_total',
    labels: nothing,
  });
  metrics.alias({
    name: 'synapse_federation_server_received_edus_total',
    of: 'tsudoi_federation_received_edus_total',
    labels: nothing,
  });
  metrics.alias({
    name: 'synapse_http_httppusher_http_pushes_processed_total',
    of: 'tsudoi_pushes_total',
    where: ({ outcome }) => outcome === 'taken',
    labels: nothing,
  });
  metrics.alias({
    name: 'synapse_http_httppusher_http_pushes_failed_total',
    of: 'tsudoi_pushes_total',
    where: ({ outcome }) => outcome !== 'taken',
    labels: nothing,
  });
  const cache = ({ cache: name = '' }: Labels): Labels => ({ name });
  metrics.alias({
    name: 'synapse_util_caches_cache_hits',
    of: 'tsudoi_cache_hits_total',
    kind: 'gauge',
    labelNames: ['name'],
    labels: cache,
  });
  metrics.alias({
    name: 'synapse_util_caches_cache',
    of: ['tsudoi_cache_hits_total', 'tsudoi_cache_misses_total'],
    kind: 'gauge',
    labelNames: ['name'],
    labels: cache,
  });
  metrics.alias({
    name: 'synapse_util_caches_cache_size',
    of: 'tsudoi_cache_entries',
    labelNames: ['name'],
    labels: cache,
  });
};
