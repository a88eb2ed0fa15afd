import type { ShadowBanned } from '#src/services/accounts/moderation/shadow-bans.ts';
import type { Clock } from '#src/kernel/clock.ts';
import type { Random } from '#src/kernel/random.ts';
import type { RateLimiter } from '#src/kernel/limits/rate-limiter.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { obfuscatedAddress, thirdPartyId, type ThirdPartyId } from '#src/protocol/identifiers/third-party-id.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import type { Actor } from '#src/services/rooms/membership/membership-gate.ts';
import type { MembershipService } from '#src/services/rooms/membership/membership-service.ts';
import type { ProfileSource } from '#src/services/rooms/membership/profile-source.ts';
import { takeTokens } from '#src/services/accounts/admission/rate-limits.ts';
import { notInRoom } from '#src/services/reading/access/room-access.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { PolicyGate } from '#src/services/policy/gate/policy-gate.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { IdentityAccess, IdentityService, StoredInvite } from '#src/remote/identity-service.ts';
import type { Database } from '#src/storage/database.ts';
import { lockAddress, ownerOfAddress } from '#src/storage/accounts/account-threepids.ts';
import {
  deleteThirdPartyInvite,
  insertThirdPartyInvite,
  waitingThirdPartyInvites,
} from '#src/storage/rooms/third-party-invites.ts';
import { type InviteKeys, publicKeysOf } from './invite-keys.ts';
import type { InviteRedemption } from './invite-redemption.ts';
import { THIRD_PARTY_INVITE } from '#src/protocol/events/event-types.ts';

const TOKEN_LENGTH = 40;
const BUCKET = 'third_party_invite';

/** An invite by address, as a client asks for it. Client-Server API, `POST /rooms/{roomId}/invite` and `invite_3pid` of `POST /createRoom`. */
export interface ThirdPartyInviteRequest {
  readonly medium?: string | undefined;
  readonly address?: string | undefined;
  /** The identity server; this one itself when left out. */
  readonly idServer?: string | undefined;
  readonly idAccessToken?: string | undefined;
}

/** A request that has been looked at. */
export interface PreparedThirdPartyInvite {
  readonly id: ThirdPartyId;
  /** Where the invitation is kept; undefined for here. */
  readonly access: IdentityAccess | undefined;
  /** Whose address it is, as far as is known yet. */
  readonly userId: string | undefined;
}

export interface ThirdPartyInvitesOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly random: Random;
  readonly rateLimiter: RateLimiter;
  readonly rooms: RoomRegistry;
  readonly events: EventService;
  readonly membership: MembershipService;
  /** Shadow-banned users: their invites are dropped. */
  readonly shadowBans: ShadowBanned;
  readonly profiles: ProfileSource;
  readonly keys: InviteKeys;
  readonly redemption: InviteRedemption;
  readonly identity: Pick<IdentityService, 'lookup' | 'storeInvite'>;
  /** Identity servers that users may have this server ask. */
  readonly trustedServers: readonly string[];
  /** Whether this server keeps invitations itself. */
  readonly builtIn: boolean;
  /** Names under which `id_server` means this server. */
  readonly ownNames: () => readonly string[];
  /** How many may be invited at once; undefined for any number. */
  readonly maxAtOnce?: number | undefined;
  readonly policy: PolicyGate;
}

/** Invites people who are known only by an address. Client-Server API, "Third-party invites". */
export class ThirdPartyInvites {
  readonly #options: ThirdPartyInvitesOptions;

  constructor(options: ThirdPartyInvitesOptions) {
    this.#options = options;
  }

  /**
   * Invites the owner of an address; when no account is known to own it, leaves an invitation in the room that can be redeemed
   * once an account does.
   *
   * @throws MatrixError M_FORBIDDEN, M_MISSING_PARAM, M_INVALID_PARAM, M_THREEPID_MEDIUM_NOT_SUPPORTED, M_SERVER_NOT_TRUSTED,
   *   M_LIMIT_EXCEEDED, M_INVITE_BLOCKED; what `IdentityService` throws
   */
  async invite(inviter: Actor, roomId: string, request: ThirdPartyInviteRequest): Promise<void> {
    const room = await this.#options.rooms.byId(roomId);
    if (room?.headMembership(inviter.userId) !== 'join') throw notInRoom();
    const levels = room.powerLevels();
    if (levels.userLevel(inviter.userId) < levels.invite)
      throw new MatrixError('M_FORBIDDEN', 'Your power level does not suffice to invite.');
    for (const prepared of await this.prepare(inviter, [request])) {
      if (this.#options.shadowBans.has(inviter.userId)) continue;
      if (prepared.userId === undefined)
        await this.#options.policy.mayInviteByAddress(inviter.userId, prepared.id, roomId);
      await this.carryOut(inviter, room, prepared);
    }
  }

  /**
   * Looks at requests, and whose addresses they are about, without doing anything yet.
   *
   * @throws MatrixError as `invite`, M_UNKNOWN when there are too many
   */
  async prepare(inviter: Actor, requests: readonly ThirdPartyInviteRequest[]): Promise<PreparedThirdPartyInvite[]> {
    const { maxAtOnce = Infinity } = this.#options;
    if (requests.length > maxAtOnce)
      throw new MatrixError('M_UNKNOWN', `No more than ${maxAtOnce} people can be invited by address at once.`);
    const checked = requests.map((request) => this.#check(request));
    takeTokens(this.#options.rateLimiter, BUCKET, inviter, checked.length);
    return Promise.all(checked.map(async (one) => ({ ...one, userId: await this.#ownerOf(one) })));
  }

  /** Does what was prepared, in a room in which the inviter is. @throws MatrixError as `invite` */
  async carryOut(inviter: Actor, room: Room, prepared: PreparedThirdPartyInvite): Promise<void> {
    const { id, access, userId } = prepared;
    const owner =
      userId ??
      (access === undefined
        ? await this.#keep(inviter.userId, room, id)
        : await this.#haveKept(inviter.userId, room, id, access));
    if (owner !== undefined) await this.#options.membership.invite(inviter, room.roomId, { target: owner });
  }

  #check(request: ThirdPartyInviteRequest): { id: ThirdPartyId; access: IdentityAccess | undefined } {
    const { builtIn, trustedServers, ownNames } = this.#options;
    const { medium, address, idServer: server, idAccessToken: accessToken } = request;
    const lacksServer = server === undefined && (!builtIn || accessToken !== undefined);
    if (medium === undefined || address === undefined || lacksServer)
      throw new MatrixError('M_MISSING_PARAM', 'An invite needs id_server, id_access_token, medium and address.');
    const isHere = builtIn && (server === undefined || ownNames().includes(server));
    if (!isHere && accessToken === undefined)
      throw new MatrixError(
        'M_MISSING_PARAM',
        'The member id_access_token is missing: the identity server asks for it.',
      );
    if (!isHere && !trustedServers.includes(server ?? ''))
      throw new MatrixError('M_SERVER_NOT_TRUSTED', `This server does not trust the identity server ${server}.`);
    if (medium !== 'email' && (isHere || medium !== 'msisdn'))
      throw new MatrixError('M_THREEPID_MEDIUM_NOT_SUPPORTED', `Nobody can be invited by ${medium} here.`);
    const id = thirdPartyId(medium, address);
    if (id === undefined) throw new MatrixError('M_INVALID_PARAM', `The address is not of the form of ${medium}.`);
    const access = isHere || server === undefined ? undefined : { server, accessToken: accessToken ?? '' };
    return { id, access };
  }

  #ownerOf({ id, access }: Omit<PreparedThirdPartyInvite, 'userId'>): Promise<string | undefined> {
    const { database, identity } = this.#options;
    return access === undefined ? ownerOfAddress(database, id) : identity.lookup(access, id);
  }

  /** Keeps an invitation here. Returns the user who owns the address, if an account has come to meanwhile. */
  async #keep(inviter: string, room: Room, id: ThirdPartyId): Promise<string | undefined> {
    const { database, clock, random, keys } = this.#options;
    const token = random.string(TOKEN_LENGTH);
    const ephemeralKey = keys.newEphemeralKey();
    const already = await database.write(async (tx) => {
      // A request that binds the address now either sees this invitation, or is seen here.
      await lockAddress(tx, id);
      const owner = await ownerOfAddress(tx, id);
      if (owner !== undefined) return { owner };
      const waiting = await waitingThirdPartyInvites(tx, id, room.roomId, inviter);
      if (waiting.some((earlier) => stands(room, earlier))) return { owner: undefined };
      const createdTs = clock.now();
      await insertThirdPartyInvite(tx, { ...id, token, roomId: room.roomId, inviter, ephemeralKey, createdTs });
      return undefined;
    });
    if (already !== undefined) return already.owner;
    try {
      await this.#announce(inviter, room, token, keys.contentOf(obfuscatedAddress(id), ephemeralKey));
    } catch (error) {
      await deleteThirdPartyInvite(database, token);
      throw error;
    }
    // A job that was committed with the event does the same. A request that invites once more at once finds it done already.
    await this.#options.redemption.sent(token, room.roomId);
    return undefined;
  }

  /** Has an invitation kept by an identity server. Returns the user who owns the address, if it says so only now. */
  async #haveKept(inviter: string, room: Room, id: ThirdPartyId, access: IdentityAccess): Promise<string | undefined> {
    const { identity, profiles } = this.#options;
    const profile = await profiles.profileOf(inviter);
    const stored = await identity.storeInvite(access, {
      ...id,
      roomId: room.roomId,
      sender: inviter,
      details: {
        room_alias: room.stateText('m.room.canonical_alias', 'alias'),
        room_avatar_url: room.stateText('m.room.avatar', 'url'),
        room_join_rules: room.stateText('m.room.join_rules', 'join_rule'),
        room_name: room.stateText('m.room.name', 'name'),
        room_type: room.roomType,
        sender_display_name: profile.displayname,
        sender_avatar_url: profile.avatar_url,
      },
    });
    if (typeof stored === 'string') return stored;
    await this.#announce(inviter, room, stored.token, contentOf(stored));
    return undefined;
  }

  async #announce(inviter: string, room: Room, token: string, content: JsonObject): Promise<void> {
    await this.#options.events.send(room, { type: THIRD_PARTY_INVITE, sender: inviter, stateKey: token, content });
  }
}

/** Whether an invitation has not been revoked. */
const stands = (room: Room, token: string): boolean =>
  publicKeysOf(room.stateEvent(THIRD_PARTY_INVITE, token)?.content ?? {}).length > 0;

const contentOf = ({ displayName, publicKeys }: StoredInvite): JsonObject => {
  const keys = publicKeys.map(({ publicKey, keyValidityUrl }) => ({
    public_key: publicKey,
    key_validity_url: keyValidityUrl,
  }));
  return { display_name: displayName, ...keys[0], public_keys: keys };
};
