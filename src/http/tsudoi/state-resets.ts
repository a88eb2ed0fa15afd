import { Type } from 'typebox';
import type { StateResets } from '#src/services/federation/history/state-resets.ts';
import { endpoint } from '../endpoint.ts';
import { OF_ADMINISTRATORS } from '../synapse-admin/parts/access.ts';

interface Services {
  readonly stateResets: StateResets;
}

/** State resets, for administrators who wonder why members or power levels of a room are gone. */
export const stateResetsEndpoints = [
  endpoint({
    operationId: 'getStateResets',
    summary: 'Lists the latest resolutions of forks that took back joins or power levels.',
    method: 'GET',
    path: '/_tsudoi/admin/v1/state_resets',
    ...OF_ADMINISTRATORS,
    response: Type.Object({
      state_resets: Type.Array(
        Type.Object({
          room_id: Type.String(),
          event_id: Type.String(),
          ts: Type.Integer(),
          members: Type.Integer(),
          example: Type.Optional(Type.String()),
          power_levels: Type.Boolean(),
        }),
      ),
    }),
    errcodes: [],
    async handler({ stateResets }: Services) {
      return { state_resets: await stateResets.latest() };
    },
  }),
];
