import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { ApplicationService } from './application-service.ts';
import type { Appservices } from './appservices.ts';

/**
 * "Application services which attempt to create users or aliases outside of their defined namespaces, or log in as users outside of their
 * defined namespaces will receive an error code M_EXCLUSIVE."
 *
 * @throws MatrixError M_EXCLUSIVE
 */
export function assertUserOf(appservices: Appservices, service: ApplicationService, userId: string): void {
  if (!appservices.isUserOf(service, userId))
    throw new MatrixError('M_EXCLUSIVE', `The user ${userId} is in no namespace of this application service.`);
  const owner = appservices.ownerOfUser(userId);
  if (owner !== undefined && owner !== service)
    throw new MatrixError('M_EXCLUSIVE', 'Another application service has reserved this user id for itself.');
}

/**
 * The same for aliases: nobody but its owner makes or deletes one in an exclusive namespace, and application services make only those of
 * their namespaces.
 *
 * @param service undefined for users who act themselves
 * @throws MatrixError M_EXCLUSIVE
 */
export function assertAliasOf(appservices: Appservices, service: ApplicationService | undefined, alias: string): void {
  const owner = appservices.ownerOfAlias(alias);
  if (owner !== undefined && owner !== service) throw exclusiveAlias();
  if (service !== undefined && !appservices.interestedInAlias(alias).includes(service))
    throw new MatrixError('M_EXCLUSIVE', `The alias ${alias} is in no namespace of this application service.`);
}

export const exclusiveAlias = (): MatrixError =>
  new MatrixError('M_EXCLUSIVE', 'An application service has reserved this alias for itself.');
