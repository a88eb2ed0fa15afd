import { Type } from 'typebox';
import type { ServerSummary } from '#src/services/admin/server/server-summary.ts';
import { endpoint } from '../endpoint.ts';
import { OF_ADMINISTRATORS } from '../synapse-admin/parts/access.ts';

interface Services {
  readonly serverSummary: ServerSummary;
  readonly serverName: string;
  readonly softwareVersion: string;
}

/** An overview of the server for the start page of a console. */
const bodyOf = ({ totals, ...summary }: Awaited<ReturnType<Services['serverSummary']['read']>>) => ({
  started_ts: summary.startedTs,
  uptime_ms: summary.uptimeMs,
  memory_bytes: summary.memoryBytes,
  warnings: summary.warnings,
  errors: summary.errors,
  users: { accounts: totals.accounts, syncing: summary.syncing },
  rooms: totals.rooms,
  media: { files: totals.files, bytes: totals.mediaBytes },
  database: { bytes: summary.databaseBytes },
  disk: { free_bytes: summary.disk.freeBytes, total_bytes: summary.disk.totalBytes },
  queues: summary.queues,
  outbox: summary.outbox,
});

export const serverSummaryEndpoints = [
  endpoint({
    operationId: 'getServerSummary',
    summary: 'Sums the server up: version, users, rooms, queues, disk, database.',
    method: 'GET',
    path: '/_tsudoi/admin/v1/server',
    ...OF_ADMINISTRATORS,
    response: Type.Object({
      server_name: Type.String(),
      version: Type.String(),
      started_ts: Type.Integer(),
      uptime_ms: Type.Integer(),
      memory_bytes: Type.Integer(),
      warnings: Type.Integer(),
      errors: Type.Integer(),
      users: Type.Object({ accounts: Type.Integer(), syncing: Type.Integer() }),
      rooms: Type.Integer(),
      media: Type.Object({ files: Type.Integer(), bytes: Type.Integer() }),
      database: Type.Object({ bytes: Type.Integer() }),
      disk: Type.Object({ free_bytes: Type.Integer(), total_bytes: Type.Integer() }),
      queues: Type.Record(Type.String(), Type.Record(Type.String(), Type.Integer())),
      outbox: Type.Integer(),
    }),
    errcodes: [],
    async handler({ serverName, serverSummary, softwareVersion }: Services) {
      return { server_name: serverName, version: softwareVersion, ...bodyOf(await serverSummary.read()) };
    },
  }),
];
