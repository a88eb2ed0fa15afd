import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isUserId } from '#src/protocol/identifiers/identifiers.ts';
import { isJsonObject, type JsonObject } from '#src/protocol/json/json-value.ts';
import { POWER_LEVELS } from '#src/protocol/events/event-types.ts';
import type { UserService } from '#src/services/accounts/users/user-service.ts';
import type { Actor } from '#src/services/audit/actor.ts';
import type { AuditEntry, AuditLog } from '#src/services/audit/audit-log.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { AliasService } from '#src/services/rooms/aliases/alias-service.ts';
import type { JoinService } from '#src/services/rooms/membership/join-service.ts';
import type { MembershipService } from '#src/services/rooms/membership/membership-service.ts';
import type { Database } from '#src/storage/database.ts';
import { roomTail } from '#src/storage/retention/purges.ts';

export interface RoomOperatorsOptions {
  readonly database: Database;
  readonly audit: AuditLog;
  readonly rooms: RoomRegistry;
  readonly loader: EventLoader;
  readonly events: EventService;
  readonly aliases: Pick<AliasService, 'resolve'>;
  readonly joins: JoinService;
  readonly membership: MembershipService;
  readonly users: Pick<UserService, 'account'>;
  /** Merges the forward extremities of a room. */
  readonly merger: { merge(room: Room): Promise<boolean> };
}

/** A forward extremity as administrators see it. */
export interface ListedExtremity {
  readonly event_id: string;
  /** Which state is the one after it. */
  readonly state_group: number;
  readonly depth: number;
  /** Milliseconds since the epoch. */
  readonly received_ts: number;
}

const USUAL_LEVEL = 100;

/**
 * What administrators do in rooms in the name of users: grant power levels, join users, and merge forward extremities. Each is an event of
 * the room, which is committed by itself: the entry of the audit log is written before it.
 */
export class RoomOperators {
  readonly #options: RoomOperatorsOptions;

  constructor(options: RoomOperatorsOptions) {
    this.#options = options;
  }

  /**
   * Gives a user the power of the most powerful user of this server in a room, and invites them where they cannot join by themselves.
   *
   * @throws MatrixError M_NOT_FOUND, M_INVALID_PARAM; M_UNKNOWN (400) where no user of this server has power to give; what an invite throws
   */
  async makeAdmin(actor: Actor, roomIdOrAlias: string, userId: string): Promise<void> {
    const { membership } = this.#options;
    assertUserId(userId);
    const room = await this.#room(roomIdOrAlias);
    const giver = this.#mostPowerful(room);
    await this.#note(actor, { action: 'room.make_admin', target: userId, roomId: room.roomId, after: { by: giver } });
    await this.#give(room, giver, userId);
    const isThere = ['join', 'invite'].includes(room.headMembership(userId) ?? '');
    if (isThere || room.stateText('m.room.join_rules', 'join_rule') === 'public') return;
    await membership.invite({ userId: giver, rateLimited: false }, room.roomId, { target: userId });
  }

  async #give(room: Room, giver: string, userId: string): Promise<void> {
    const levels = room.powerLevels();
    const level = levels.creators.has(giver) ? USUAL_LEVEL : levels.userLevel(giver);
    if (levels.creators.has(userId) || levels.userLevel(userId) >= level) return;
    const before = room.stateEvent(POWER_LEVELS)?.content;
    // Without the event the creator alone has power: with it, nobody has who is not named.
    const users: JsonObject =
      before === undefined && !levels.creators.has(giver)
        ? { [giver]: level }
        : isJsonObject(before?.['users'])
          ? before['users']
          : {};
    const content = { ...before, users: { ...users, [userId]: level } };
    try {
      await this.#options.events.send(room, { type: POWER_LEVELS, sender: giver, stateKey: '', content });
    } catch (error) {
      if (!(error instanceof MatrixError) || error.errcode !== 'M_FORBIDDEN') throw error;
      throw new MatrixError('M_UNKNOWN', `No local admin user in room with power to update power levels.`, {}, 400);
    }
  }

  /** @throws MatrixError M_UNKNOWN (400) when no user of this server is in the room with power to give */
  #mostPowerful(room: Room): string {
    const levels = room.powerLevels();
    const local = [...room.members.values()].filter((member) => member.local && member.membership === 'join');
    const [first] = local
      .map(({ userId }) => userId)
      .filter((userId) => levels.maySend(userId, POWER_LEVELS, true))
      .toSorted((a, b) => levels.userLevel(b) - levels.userLevel(a));
    if (first === undefined) throw new MatrixError('M_UNKNOWN', 'No local admin user in room.', {}, 400);
    return first;
  }

  /**
   * Has a user of this server join a room, wherever it is. Where an invite is needed, the administrator who asks has to be able to invite.
   *
   * @returns the room's id
   * @throws MatrixError M_UNKNOWN (400) for users of other servers, M_NOT_FOUND; what joins and invites throw
   */
  async join(
    actor: Actor,
    roomIdOrAlias: string,
    userId: string,
    servers: readonly string[] | undefined,
  ): Promise<string> {
    const { events, joins, membership, rooms, users } = this.#options;
    assertUserId(userId);
    if (!events.isLocal(userId))
      throw new MatrixError('M_UNKNOWN', 'This endpoint can only be used with local users.', {}, 400);
    const account = await users.account(userId);
    if (account === undefined || account.deactivated) throw new MatrixError('M_NOT_FOUND', 'User not found.');
    const { roomId, via } = await this.#resolve(roomIdOrAlias, servers);
    await this.#note(actor, { action: 'room.join', target: userId, roomId });
    const room = await rooms.byId(roomId);
    const isOpen = room?.isResident !== true || room.stateText('m.room.join_rules', 'join_rule') === 'public';
    if (!isOpen && actor.userId !== null && !['join', 'invite'].includes(room.headMembership(userId) ?? ''))
      await membership.invite({ userId: actor.userId, rateLimited: false }, roomId, { target: userId });
    const joining = { userId, deviceId: undefined, isGuest: account.isGuest, isAdmin: false, rateLimited: false };
    return joins.join(joining, { roomIdOrAlias: roomId, servers: via });
  }

  /** The events of a room that nothing comes after. @throws MatrixError M_NOT_FOUND */
  async extremities(roomIdOrAlias: string): Promise<readonly ListedExtremity[]> {
    const { database, loader } = this.#options;
    const room = await this.#room(roomIdOrAlias);
    const tail = await roomTail(database, room.nid);
    const events = await loader.load((tail?.extremities ?? []).map((nid) => ({ room, nid })));
    return [...events.values()].map(({ eventId, stateAfter, topo, ts }) => ({
      event_id: eventId,
      state_group: stateAfter,
      depth: topo,
      received_ts: ts,
    }));
  }

  /**
   * Leaves a room one forward extremity. It is an event that comes after all the others: dropping them would take back on this server alone
   * what they changed.
   *
   * @returns how many are extremities no more, beyond the one that is left
   * @throws MatrixError M_NOT_FOUND; M_UNKNOWN (400) where no user of this server may send a message
   */
  async mergeExtremities(actor: Actor, roomIdOrAlias: string): Promise<number> {
    const room = await this.#room(roomIdOrAlias);
    const count = room.head.extremities.length;
    await this.#note(actor, {
      action: 'room.merge_extremities',
      roomId: room.roomId,
      before: { extremities: count },
      after: { extremities: Math.min(count, 1) },
    });
    if (count <= 1) return 0;
    if (!(await this.#options.merger.merge(room)))
      throw new MatrixError('M_UNKNOWN', 'No user of this server may send messages in the room.', {}, 400);
    return count - 1;
  }

  async #note(actor: Actor, entry: AuditEntry): Promise<void> {
    const { audit, database } = this.#options;
    await database.write((tx) => audit.record(tx, actor, entry));
  }

  async #room(roomIdOrAlias: string): Promise<Room> {
    const { roomId } = await this.#resolve(roomIdOrAlias, undefined);
    const room = await this.#options.rooms.byId(roomId);
    if (room === undefined) throw new MatrixError('M_NOT_FOUND', 'Room not found.');
    return room;
  }

  async #resolve(
    roomIdOrAlias: string,
    servers: readonly string[] | undefined,
  ): Promise<{ readonly roomId: string; readonly via: readonly string[] | undefined }> {
    if (roomIdOrAlias.startsWith('#')) {
      const { roomId, servers: known } = await this.#options.aliases.resolve(roomIdOrAlias);
      return { roomId, via: known };
    }
    if (!roomIdOrAlias.startsWith('!'))
      throw new MatrixError('M_INVALID_PARAM', `${roomIdOrAlias} is neither a room id nor a room alias.`);
    return { roomId: roomIdOrAlias, via: servers };
  }
}

const assertUserId = (userId: string): void => {
  if (!isUserId(userId)) throw new MatrixError('M_INVALID_PARAM', `${userId} is not a user id.`);
};
