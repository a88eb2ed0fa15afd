import type { Metrics, Sample } from '#src/kernel/metrics.ts';
import { TimedCache } from '#src/kernel/caches/timed-cache.ts';
import { ServerSummary } from '#src/services/admin/server/server-summary.ts';
import { EventCounts } from '#src/services/events/stream/event-counts.ts';
import { databaseBytes, outboxState } from '#src/storage/admin/server-facts.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Auditing } from './audit.ts';
import type { EventStreaming } from './event-stream.ts';
import type { Jobs } from './jobs.ts';
import type { Media } from './media.ts';
import type { Privacy } from './privacy.ts';
import type { Sync } from './sync.ts';
import type { Watching } from './watching.ts';

/** Statistics and metrics of the whole server. */
export interface Measures {
  readonly serverSummary: ServerSummary;
}

/** What the database is asked for metrics. */
interface Facts {
  readonly bytes: number;
  readonly outbox: Awaited<ReturnType<typeof outboxState>>;
}

type Below = Platform & Auditing & EventStreaming & Media & Privacy & Sync & Jobs & Watching;

/** For how many milliseconds an answer of the database about itself is good enough for metrics, however many read them. */
const FACTS_LIFETIME_MS = 5_000;

const one = (value: number): Sample[] => [{ labels: {}, value }];

/** Registers metrics for the counters of areas, and for values queried from the database and the disk. */
export function composeMeasures(below: Below): Slice<Measures> {
  const { clock, config, database, metrics, queues, recentErrors, syncUsers } = below;
  const serverSummary = new ServerSummary({
    database,
    clock,
    queues,
    recentErrors,
    syncing: () => syncUsers.count.syncing,
    dataDir: config.dataDir,
  });
  const facts = new TimedCache<Facts>({
    clock,
    name: 'database_facts',
    maxSize: 1,
    lifetimeMs: () => FACTS_LIFETIME_MS,
  });
  const factsNow = (): Promise<Facts> =>
    facts.get('', async () => ({ bytes: await databaseBytes(database), outbox: await outboxState(database) }));
  measureAreas({ ...below, eventCounts: new EventCounts(below.stream, config.serverName) }, metrics);
  metrics.valuesOf({
    name: 'tsudoi_database_bytes',
    help: 'bytes that the database takes on its disk',
    kind: 'gauge',
    read: async () => one((await factsNow()).bytes),
  });
  metrics.valuesOf({
    name: 'tsudoi_outbox_jobs',
    help: 'jobs that are committed and not in a queue yet, ten thousand at most',
    kind: 'gauge',
    read: async () => one((await factsNow()).outbox.jobs),
  });
  metrics.valuesOf({
    name: 'tsudoi_outbox_oldest_seconds',
    help: 'age of the oldest job in the outbox',
    kind: 'gauge',
    async read() {
      const { oldest } = (await factsNow()).outbox;
      return one(oldest === null ? 0 : Math.max(0, clock.now() - oldest) / 1_000);
    },
  });
  metrics.valuesOf({
    name: 'tsudoi_disk_free_bytes',
    help: 'bytes that are free on the disk of data_dir',
    kind: 'gauge',
    read: async () => one((await serverSummary.disk()).freeBytes),
  });
  metrics.valuesOf({
    name: 'tsudoi_disk_size_bytes',
    help: 'how many bytes that disk has',
    kind: 'gauge',
    read: async () => one((await serverSummary.disk()).totalBytes),
  });
  return { name: 'measures', services: { serverSummary } };
}

function measureAreas(below: Below & { readonly eventCounts: EventCounts }, metrics: Metrics): void {
  const {
    auditLog,
    contents,
    eventCounts,
    exportFiles,
    mediaDelivery,
    remoteMedia,
    syncEngine,
    syncUsers,
    thumbnails,
  } = below;
  metrics.valuesOf({
    name: 'tsudoi_events_committed_total',
    help: 'events that were committed, by whether users of this server or of others have sent them',
    kind: 'counter',
    labelNames: ['origin'],
    read: () => eventCounts.counts.samples('origin'),
  });
  metrics.valuesOf({
    name: 'tsudoi_sync_responses_total',
    help: 'sync responses: initial, with changes, and empty',
    kind: 'counter',
    labelNames: ['outcome'],
    read: () => syncEngine.counts.samples('outcome'),
  });
  metrics.gaugeOf('tsudoi_sync_waiting', 'syncs that wait for news', () => syncEngine.waiting);
  metrics.gaugeOf('tsudoi_sync_users', 'users who are syncing', () => syncUsers.count.syncing);
  metrics.gaugeOf('tsudoi_sync_users_known', 'users with sync state in memory', () => syncUsers.count.known);
  metrics.valuesOf({
    name: 'tsudoi_media_kept_total',
    help: 'contents that were written, by whether they were new or there already',
    kind: 'counter',
    labelNames: ['outcome'],
    read: () => contents.counts.samples('outcome'),
  });
  metrics.valuesOf({
    name: 'tsudoi_media_kept_bytes_total',
    help: 'bytes of contents that were received',
    kind: 'counter',
    read: () => one(contents.keptBytes),
  });
  metrics.gaugeOf('tsudoi_media_store_up', '1 while files can be stored, as far as is known, else 0', () =>
    contents.condition.failure() === undefined ? 1 : 0,
  );
  metrics.gaugeOf(
    'tsudoi_exports_store_up',
    "1 while archives of users' data can be stored, as far as is known, else 0",
    () => (exportFiles.condition.failure() === undefined ? 1 : 0),
  );
  metrics.valuesOf({
    name: 'tsudoi_media_answers_total',
    help: 'downloads and thumbnails that were handed out, by how',
    kind: 'counter',
    labelNames: ['how'],
    read: () => mediaDelivery.counts.samples('how'),
  });
  metrics.valuesOf({
    name: 'tsudoi_media_answered_bytes_total',
    help: 'bytes of those answers',
    kind: 'counter',
    read: () => one(mediaDelivery.sentBytes),
  });
  metrics.valuesOf({
    name: 'tsudoi_media_fetches_total',
    help: 'files that were fetched from other servers',
    kind: 'counter',
    labelNames: ['outcome'],
    read: () => remoteMedia.counts.samples('outcome'),
  });
  metrics.valuesOf({
    name: 'tsudoi_thumbnails_total',
    help: 'thumbnails that were asked for: known ones, made ones, and those that could not be made',
    kind: 'counter',
    labelNames: ['outcome'],
    read: () => thumbnails.counts.samples('outcome'),
  });
  metrics.valuesOf({
    name: 'tsudoi_audit_entries_total',
    help: 'entries that this process has added to the audit log',
    kind: 'counter',
    read: () => one(auditLog.added),
  });
}
