import type { Logger } from '#src/kernel/logger.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import type { Membership } from '#src/services/room-model/room/membership.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomCreationService } from '#src/services/rooms/creation/room-creation.ts';
import type { JoinService } from '#src/services/rooms/membership/join-service.ts';
import type { MembershipService } from '#src/services/rooms/membership/membership-service.ts';
import type { Database, Tx } from '#src/storage/database.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { aliasesOfRoom, moveAliases } from '#src/storage/rooms/aliases.ts';
import { roomsMadeSince } from '#src/storage/rooms/rooms-made.ts';

/** Parameters of a shutdown. */
export interface ShutdownParams {
  readonly roomId: string;
  /** The user who creates the room that members are moved to; none are moved, when left out. */
  readonly newRoomUserId?: string | undefined;
  readonly roomName?: string | undefined;
  readonly message?: string | undefined;
}

/** Progress of a shutdown, as the admin API shows it. */
export type ShutdownResult = {
  readonly kicked_users: readonly string[];
  readonly failed_to_kick_users: readonly string[];
  readonly local_aliases: readonly string[];
  readonly new_room_id: string | null;
};

/** A user who is being removed. */
type Leaver = { readonly user_id: string; readonly was_joined: boolean };

/** Progress as it is stored: the same, and the users who were being removed. */
export type ShutdownProgress = ShutdownResult & { readonly leaving: readonly Leaver[] };

const NOTHING_DONE: ShutdownProgress = {
  kicked_users: [],
  failed_to_kick_users: [],
  local_aliases: [],
  new_room_id: null,
  leaving: [],
};

/** The result that stored progress amounts to. */
export const shutdownResult = (noted: Partial<ShutdownProgress>): ShutdownResult => {
  const { leaving: _leaving, ...result } = { ...NOTHING_DONE, ...noted };
  return result;
};

/** One run of a shutdown: its id, its start, and how it stores its progress. */
export interface ShutdownRun {
  /** Not the same for any two. */
  readonly id: string;
  /** Milliseconds since the epoch. */
  readonly startedTs: number;
  readonly note: (tx: Tx | undefined, progress: Partial<ShutdownProgress>) => Promise<void>;
  readonly signal: AbortSignal;
}

export interface RoomShutdownOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly rooms: RoomRegistry;
  readonly events: EventService;
  readonly joins: JoinService;
  readonly membership: MembershipService;
  readonly creation: RoomCreationService;
  readonly logger: Logger;
}

const DEFAULT_NAME = 'Content Violation Notification';
const DEFAULT_MESSAGE =
  'Sharing illegal content on this server is not permitted and rooms in violation will be blocked.';
/** In the new room only its creator may send messages. */
const SILENT_LEVEL = -10;
/** Users who are moved at once. */
const BATCH_SIZE = 20;
/** The key under which the create event of the new room names the shutdown, so that a resumed run finds the room. */
const MADE_FOR = 'io.tsudoi.made_for';

/** Removes the users of this server from a room, and joins them to another one that says why. What was done already is not done again. */
export class RoomShutdown {
  readonly #options: RoomShutdownOptions;

  constructor(options: RoomShutdownOptions) {
    this.#options = options;
  }

  /**
   * @param before what an earlier run of the same noted
   * @returns undefined when the signal came first
   */
  async shutDown(
    params: ShutdownParams,
    before: Partial<ShutdownProgress>,
    run: ShutdownRun,
  ): Promise<ShutdownProgress | undefined> {
    let result: ShutdownProgress = { ...NOTHING_DONE, ...before };
    const room = await this.#options.rooms.heardOf(params.roomId);
    if (room === undefined) return result;
    const successor = await this.#successor(params, result.new_room_id, run);
    if (successor !== undefined) result = { ...result, new_room_id: successor.roomId };
    for (let leaving = leaversOf(room, result); leaving.length > 0; leaving = leaversOf(room, result)) {
      if (run.signal.aborted) return undefined;
      await run.note(undefined, { leaving });
      const moved = await Promise.all(leaving.map((leaver) => this.#move(room, leaver, successor)));
      const of = (wasMoved: boolean): string[] =>
        leaving.flatMap(({ user_id: userId }, index) => (moved[index] === wasMoved ? userId : []));
      result = {
        ...result,
        kicked_users: [...result.kicked_users, ...of(true)],
        failed_to_kick_users: [...result.failed_to_kick_users, ...of(false)],
        leaving: [],
      };
      await run.note(undefined, result);
    }
    if (run.signal.aborted) return undefined;
    if (successor !== undefined && params.newRoomUserId !== undefined) {
      await this.#tell(successor, params.newRoomUserId, params.message ?? DEFAULT_MESSAGE, run);
      result = { ...result, local_aliases: await this.#moveAliases(room, successor, result, run) };
    }
    return result;
  }

  /** The room that members are moved to: created once, however often this is called. */
  async #successor(params: ShutdownParams, known: string | null, run: ShutdownRun): Promise<Room | undefined> {
    const { newRoomUserId: userId, roomName } = params;
    if (userId === undefined) return undefined;
    const made = (await this.#known(known)) ?? (await this.#made(userId, run));
    const room =
      made ??
      (await this.#options.creation.create(
        { userId, rateLimited: false },
        {
          preset: 'public_chat',
          name: roomName ?? DEFAULT_NAME,
          powerLevelContentOverride: { users_default: SILENT_LEVEL },
          creationContent: { [MADE_FOR]: run.id },
        },
      ));
    if (room.roomId !== known) await run.note(undefined, { new_room_id: room.roomId });
    return room;
  }

  async #known(roomId: string | null): Promise<Room | undefined> {
    return roomId === null ? undefined : this.#options.rooms.byId(roomId);
  }

  /** The room that an earlier run created, when it was killed before it stored that. */
  async #made(userId: string, { id, startedTs }: ShutdownRun): Promise<Room | undefined> {
    const { database, interner, rooms } = this.#options;
    const creator = await interner.findUser(userId);
    if (creator === undefined) return undefined;
    for (const nid of await roomsMadeSince(database, creator, startedTs)) {
      const room = await rooms.byNid(nid);
      if (room?.stateEvent('m.room.create')?.content[MADE_FOR] === id) return room;
    }
    return undefined;
  }

  /** @returns whether the user is out of the room */
  async #move(
    room: Room,
    { user_id: userId, was_joined: wasJoined }: Leaver,
    successor: Room | undefined,
  ): Promise<boolean> {
    const { joins, logger, membership } = this.#options;
    try {
      await membership.leave(userId, room.roomId, undefined, 'server');
      await membership.forget(userId, room.roomId);
    } catch (err) {
      logger.warn('a user could not be removed from a room', { user_id: userId, room_id: room.roomId, err });
      return false;
    }
    if (!wasJoined || successor === undefined) return true;
    try {
      const mover = { userId, deviceId: undefined, isGuest: false, isAdmin: false, rateLimited: false };
      await joins.join(mover, { roomIdOrAlias: successor.roomId });
    } catch (err) {
      logger.warn('a user could not be moved to another room', { user_id: userId, room_id: successor.roomId, err });
    }
    return true;
  }

  async #tell(room: Room, userId: string, message: string, run: ShutdownRun): Promise<void> {
    const content = { msgtype: 'm.text', body: message };
    await this.#options.events.sendOnce(
      room,
      { type: 'm.room.message', sender: userId, content },
      { userId, deviceId: undefined, scope: `shutdown ${room.roomId}`, txnId: run.id },
    );
  }

  async #moveAliases(from: Room, to: Room, before: ShutdownResult, run: ShutdownRun): Promise<readonly string[]> {
    const { database } = this.#options;
    return database.write(async (tx) => {
      const aliases = await aliasesOfRoom(tx, from.nid);
      if (aliases.length === 0) return before.local_aliases;
      await moveAliases(tx, from.nid, to.nid);
      await run.note(tx, { local_aliases: aliases });
      return aliases;
    });
  }
}

/** The users who are removed next: those of an interrupted run, then local users who are joined, invited or knocking. */
const leaversOf = (room: Room, { failed_to_kick_users: failed, leaving }: ShutdownProgress): readonly Leaver[] => {
  if (leaving.length > 0) return leaving;
  const tried = new Set(failed);
  return [...room.members.values()]
    .filter(({ local, membership, userId }) => local && IN_OR_ON_THE_WAY.has(membership) && !tried.has(userId))
    .slice(0, BATCH_SIZE)
    .map(({ membership, userId }) => ({ user_id: userId, was_joined: membership === 'join' }));
};

const IN_OR_ON_THE_WAY: ReadonlySet<Membership> = new Set(['join', 'invite', 'knock']);

/** @throws MatrixError M_INVALID_PARAM when the new room's maker is no user of this server */
export const assertOwnUser = (userId: string | undefined, isLocal: (userId: string) => boolean): void => {
  if (userId !== undefined && !isLocal(userId))
    throw new MatrixError('M_INVALID_PARAM', `User must be our own: ${userId}`);
};
