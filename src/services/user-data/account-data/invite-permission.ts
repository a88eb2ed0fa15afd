import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { AccountDataService } from './account-data-service.ts';

export const INVITE_PERMISSION = 'm.invite_permission_config';

/** Whether the content of `m.invite_permission_config`, as JSON text, blocks all invites. Client-Server API, "Invite permission". */
export const blocksInvites = (json: string | undefined): boolean =>
  json !== undefined && (JSON.parse(json) as { readonly default_action?: unknown }).default_action === 'block';

/** Who lets themselves be invited. */
export class InvitePermission {
  readonly #accountData: Pick<AccountDataService, 'get'>;
  readonly #isLocal: (userId: string) => boolean;

  constructor(accountData: Pick<AccountDataService, 'get'>, isLocal: (userId: string) => boolean) {
    this.#accountData = accountData;
    this.#isLocal = isLocal;
  }

  /** @throws MatrixError M_INVITE_BLOCKED when a user of this server wants no invites; those of others are for their servers to judge */
  async assertInvitable(userId: string): Promise<void> {
    if (this.#isLocal(userId) && blocksInvites(await this.#accountData.get(userId, 0, INVITE_PERMISSION)))
      throw new MatrixError('M_INVITE_BLOCKED', `${userId} does not want to be invited.`);
  }
}
