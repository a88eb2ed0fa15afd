import { Type } from 'typebox';
import type { BackgroundUpdates } from '#src/services/admin/updates/background-updates.ts';
import { actorOf } from '../actor.ts';
import { empty } from '../client-server/parts/room-schemas.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';
import { OF_ADMINISTRATORS } from './parts/access.ts';

const enabledPath = '/_synapse/admin/v1/background_updates/enabled';
const enabledResponse = Type.Object({ enabled: Type.Boolean() });
/** The name of the database in Synapse, where there is only one. */
const DATABASE = 'master';

interface Services {
  readonly backgroundUpdates: BackgroundUpdates;
}

/** Synapse Admin API, "Background Updates API". */
export const backgroundUpdateEndpoints = [
  endpoint({
    operationId: 'adminGetBackgroundUpdatesStatus',
    summary: 'Whether work in the background is done, and how far the update is that is done now.',
    method: 'GET',
    path: '/_synapse/admin/v1/background_updates/status',
    ...OF_ADMINISTRATORS,
    response: Type.Object({
      enabled: Type.Boolean(),
      current_updates: Type.Record(
        Type.String(),
        Type.Object({
          name: Type.String(),
          total_item_count: Type.Integer(),
          total_duration_ms: Type.Number(),
          average_items_per_ms: Type.Union([Type.Number(), Type.Null()]),
        }),
      ),
    }),
    errcodes: [],
    async handler({ backgroundUpdates }: Services) {
      const current = await backgroundUpdates.current();
      const enabled = await backgroundUpdates.isEnabled();
      if (current === undefined) return { enabled, current_updates: {} };
      const { durationMs, items, name } = current;
      const average = durationMs > 0 ? items / durationMs : null;
      const shown = { name, total_item_count: items, total_duration_ms: durationMs, average_items_per_ms: average };
      return { enabled, current_updates: { [DATABASE]: shown } };
    },
  }),
  endpoint({
    operationId: 'adminGetBackgroundUpdatesEnabled',
    summary: 'Whether work in the background is done.',
    method: 'GET',
    path: enabledPath,
    ...OF_ADMINISTRATORS,
    response: enabledResponse,
    errcodes: [],
    handler: async ({ backgroundUpdates }: Services) => ({ enabled: await backgroundUpdates.isEnabled() }),
  }),
  endpoint({
    operationId: 'adminSetBackgroundUpdatesEnabled',
    summary: 'Pauses work in the background until it is enabled or the server starts, or has it resumed.',
    method: 'POST',
    path: enabledPath,
    ...OF_ADMINISTRATORS,
    body: Type.Object({ enabled: Type.Optional(Type.Boolean()) }),
    maxBodyBytes: BODY_BYTES.small,
    response: enabledResponse,
    errcodes: [],
    async handler({ backgroundUpdates }: Services, { body: { enabled = true }, info, requester }) {
      await backgroundUpdates.setEnabled(actorOf(requester, info), enabled);
      return { enabled };
    },
  }),
  endpoint({
    operationId: 'adminStartBackgroundUpdate',
    summary:
      'Has a derived table written anew: populate_stats_process_rooms, regenerate_directory, populate_annotations or index_relations.',
    method: 'POST',
    path: '/_synapse/admin/v1/background_updates/start_job',
    ...OF_ADMINISTRATORS,
    body: Type.Object({ job_name: Type.String() }),
    maxBodyBytes: BODY_BYTES.small,
    response: empty,
    errcodes: ['M_UNKNOWN'],
    async handler({ backgroundUpdates }: Services, { body, info, requester }) {
      await backgroundUpdates.start(actorOf(requester, info), body.job_name);
      return {};
    },
  }),
];
