import { Type } from 'typebox';
import type { RegistrationService } from '#src/services/accounts/registration/registration-service.ts';
import type { UserListing } from '#src/services/admin/users/user-listing.ts';
import { endpoint } from '../endpoint.ts';
import { OF_ADMINISTRATORS } from './parts/access.ts';

const found = Type.Object({ user_id: Type.String() });

interface Services {
  readonly registration: RegistrationService;
  readonly userListing: UserListing;
}

/** Synapse Admin API, "User Admin API": finds users by their third-party and external ids, and tells which usernames are free. */
export const userLookupEndpoints = [
  endpoint({
    operationId: 'adminFindUserByThreepid',
    summary: 'Whose a mail address or telephone number is.',
    method: 'GET',
    path: '/_synapse/admin/v1/threepid/{medium}/users/{address}',
    ...OF_ADMINISTRATORS,
    params: Type.Object({ medium: Type.String(), address: Type.String() }),
    response: found,
    errcodes: ['M_NOT_FOUND'],
    handler: async ({ userListing }: Services, { params: { address, medium } }) => ({
      user_id: await userListing.ofAddress(medium, address),
    }),
  }),
  endpoint({
    operationId: 'adminFindUserByExternalId',
    summary: 'Finds the user that an identity provider knows by an id.',
    method: 'GET',
    path: '/_synapse/admin/v1/auth_providers/{provider}/users/{external_id}',
    ...OF_ADMINISTRATORS,
    params: Type.Object({ provider: Type.String(), external_id: Type.String() }),
    response: found,
    errcodes: ['M_NOT_FOUND'],
    handler: async ({ userListing }: Services, { params: { external_id: externalId, provider } }) => ({
      user_id: await userListing.ofExternalId(provider, externalId),
    }),
  }),
  endpoint({
    operationId: 'adminCheckUsername',
    summary: 'Whether an account of this name could be made, be registration open or not.',
    method: 'GET',
    path: '/_synapse/admin/v1/username_available',
    ...OF_ADMINISTRATORS,
    query: Type.Object({ username: Type.String() }),
    response: Type.Object({ available: Type.Literal(true) }),
    errcodes: ['M_USER_IN_USE', 'M_INVALID_USERNAME', 'M_EXCLUSIVE', 'M_MISSING_PARAM'],
    async handler({ registration }: Services, { query }) {
      await registration.checkAvailable(query.username);
      return { available: true };
    },
  }),
];
