import type { Logger } from '#src/kernel/logger.ts';
import type { RateLimiter } from '#src/kernel/rate-limiter.ts';
import { limitExceeded } from '#src/protocol/errors/limit-exceeded.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isRoomId, isUserId } from '#src/protocol/identifiers/identifiers.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { matrixErrorOf } from '#src/remote/federation/federation-client.ts';
import type { MembershipApi } from '#src/remote/federation/membership-api.ts';
import type { UserService } from '#src/services/accounts/users/user-service.ts';
import type { ExchangedInvites } from './exchanged-invites.ts';

/** An invitation that waited for whoever would bind an address. */
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

const MAX_INVITES = 50;
/** The group of limits for what makes this server ask another one in the name of somebody who is not known. */
const ASKING = 'unknown_server';

/**
 * Turns invitations of an address into invitations of the user who has bound it, when an identity server tells of them. Anybody can say so:
 * whether it is true, the inviter's server sees by the signature. Server-Server API, `PUT /3pid/onbind`.
 */
export class BoundInvites {
  readonly #options: BoundInvitesOptions;

  constructor(options: BoundInvitesOptions) {
    this.#options = options;
  }

  /**
   * @param network who tells, for limits
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
        logger.info('an invitation by address came to nothing', {
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
