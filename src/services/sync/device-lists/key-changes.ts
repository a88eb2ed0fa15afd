import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { decodeSyncToken, type SyncPosition } from '#src/protocol/wire/position.ts';
import type { SyncUsers } from '../engine/sync-users.ts';
import type { DeviceListDelta, DeviceListDeltas } from './device-list-deltas.ts';

/** Computes which users' devices changed between two syncs. Client-Server API, `GET /keys/changes`. */
export class KeyChanges {
  readonly #users: SyncUsers;
  readonly #deltas: DeviceListDeltas;

  constructor(users: SyncUsers, deltas: DeviceListDeltas) {
    this.#users = users;
    this.#deltas = deltas;
  }

  /**
   * What happened between two answers of /sync.
   *
   * @param to "a hint to check its caches are up to date": later changes may be included
   * @throws MatrixError M_INVALID_PARAM when one of them is no token of /sync
   */
  async between(userId: string, from: string, to: string): Promise<DeviceListDelta> {
    const [since, upTo] = [positionOf(from, 'from'), positionOf(to, 'to')];
    return this.#deltas.between(await this.#users.open(userId), since.vector, upTo.vector);
  }
}

const positionOf = (token: string, name: string): SyncPosition => {
  const position = decodeSyncToken(token);
  if (position === undefined) throw new MatrixError('M_INVALID_PARAM', `${name} must be a next_batch of /sync.`);
  return position;
};
