import type { Logger } from '#src/kernel/logger.ts';
import type { RateLimiter } from '#src/kernel/limits/rate-limiter.ts';
import { limitExceeded } from '#src/protocol/errors/limit-exceeded.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isRoomId, isUserId } from '#src/protocol/identifiers/identifiers.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { matrixErrorOf } from '#src/remote/federation/federation-result.ts';
import type { MembershipApi } from '#src/remote/federation/membership-api.ts';
import type { UserService } from '#src/services/accounts/users/user-service.ts';
import type { ExchangedInvites } from './exchanged-invites.ts';

/** A third-party invite whose address was bound. */
export interface BoundInvite {
  readonly mxid: string;
  readonly roomId: string;
  readonly sender: string;
  /** What the identity server has signed: the user and the token of the invitation. */
  readonly signed: JsonObject;
}

export interface BoundInvitesOptions {
  readonly serverName: string;
  readonly api: Pick<MembershipApi, 'exchangeThirdPartyInvite'>;
  readonly exchanged: ExchangedInvites;
  readonly users: Pick<UserService, 'exists'>;
  readonly rateLimiter: RateLimiter;
  readonly logger: Logger;
}

export const MAX_INVITES = 50;
/** The rate limit for unauthenticated requests that make this server ask another one. */
const ASKING = 'unknown_server';

/**
 * Turns invitations of an address into invites of the user who has bound it, when an identity server reports them. The request is not
 * authenticated: the inviter's server checks the signature. Server-Server API, `PUT /3pid/onbind`.
 */
export class BoundInvites {
  readonly #options: BoundInvitesOptions;

  constructor(options: BoundInvitesOptions) {
    this.#options = options;
  }

  /**
   * @param network of the client, for rate limits
   * @throws MatrixError M_NOT_FOUND when it is no user of this server; M_INVALID_PARAM, M_TOO_LARGE, M_LIMIT_EXCEEDED
   */
  async bound(userId: string, invites: readonly BoundInvite[], network: string): Promise<void> {
    const { logger, rateLimiter, serverName, users } = this.#options;
    if (invites.length > MAX_INVITES)
      throw new MatrixError('M_TOO_LARGE', `At most ${MAX_INVITES} invites can be told of at once.`);
    if (!isUserId(userId) || domainOf(userId) !== serverName || !(await users.exists(userId)))
      throw new MatrixError('M_NOT_FOUND', 'There is no such user on this server.');
    for (const { mxid, roomId, sender, signed } of invites) {
      if (mxid !== userId || signed['mxid'] !== userId)
        throw new MatrixError('M_INVALID_PARAM', `An invite is not for ${userId}.`);
      if (!isUserId(sender) || !isRoomId(roomId))
        throw new MatrixError('M_INVALID_PARAM', 'An invite has no sender or no room.');
    }
    for (const invite of invites) {
      const verdict = rateLimiter.take(ASKING, network);
      if (!verdict.ok) throw limitExceeded(ASKING, verdict.retryAfterMs);
      try {
        await this.#exchange(invite);
      } catch (error) {
        if (!(error instanceof MatrixError)) throw error;
        logger.info('a third-party invite of another server could not be exchanged', {
          room_id: invite.roomId,
          inviter: invite.sender,
          reason: error.message,
        });
      }
    }
  }

  async #exchange({ mxid, roomId, sender, signed }: BoundInvite): Promise<void> {
    const { api, exchanged, serverName } = this.#options;
    const event: JsonObject = {
      type: 'm.room.member',
      room_id: roomId,
      sender,
      state_key: mxid,
      content: { membership: 'invite', third_party_invite: { display_name: '', signed } },
    };
    const inviting = domainOf(sender) ?? '';
    if (inviting === serverName) {
      await exchanged.exchange(serverName, roomId, event);
      return;
    }
    const answer = await api.exchangeThirdPartyInvite(inviting, roomId, event);
    if (!answer.ok) throw matrixErrorOf(answer);
  }
}
