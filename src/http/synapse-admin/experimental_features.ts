import { Type } from 'typebox';
import type { UserFeatures } from '#src/services/admin/users/user-features.ts';
import { empty } from '../client-server/parts/room-schemas.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';
import { OF_ADMINISTRATORS } from './parts/access.ts';
import { userParams } from './parts/users.ts';

const path = '/_synapse/admin/v1/experimental_features/{user_id}';
const access = { ...OF_ADMINISTRATORS, params: userParams, errcodes: ['M_INVALID_PARAM', 'M_UNKNOWN'] } as const;
const features = Type.Object({ features: Type.Record(Type.String(), Type.Boolean()) });

interface Services {
  readonly userFeatures: UserFeatures;
}

/** Synapse Admin API, "Experimental Features API". */
export const experimentalFeaturesEndpoints = [
  endpoint({
    operationId: 'adminGetFeatures',
    summary: 'Which experimental features a user has.',
    method: 'GET',
    path,
    ...access,
    response: features,
    handler: ({ userFeatures }: Services, { params: { user_id: userId } }) => ({ features: userFeatures.of(userId) }),
  }),
  endpoint({
    operationId: 'adminSetFeatures',
    summary: 'Asks for experimental features to be on for a user. All that there are, are on for everybody.',
    method: 'PUT',
    path,
    ...access,
    body: features,
    maxBodyBytes: BODY_BYTES.small,
    response: empty,
    handler({ userFeatures }: Services, { params: { user_id: userId }, body }) {
      userFeatures.assertPossible(userId, body.features);
      return {};
    },
  }),
];
