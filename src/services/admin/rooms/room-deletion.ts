import type { Clock } from '#src/kernel/clock.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { AdminTasks } from '#src/services/admin/tasks/admin-tasks.ts';
import type { Task, TaskContext, TaskKind, TaskRecord } from '#src/services/admin/tasks/task.ts';
import type { Actor } from '#src/services/audit/actor.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Database } from '#src/storage/database.ts';
import { assertRoomId, type RoomBlocks } from './room-blocks.ts';
import type { RoomPurge } from './room-purge.ts';
import {
  assertOwnUser,
  type RoomShutdown,
  type ShutdownProgress,
  type ShutdownResult,
  shutdownResult,
} from './room-shutdown.ts';

/** How an administrator wants a room deleted. */
export interface RoomDeletionParams {
  /** The user who creates the room that members are moved to; none are moved, when left out. */
  readonly newRoomUserId?: string | undefined;
  readonly roomName?: string | undefined;
  readonly message?: string | undefined;
  /** Whether the room is blocked: users of this server cannot join it from now on. */
  readonly block?: boolean | undefined;
  /** Whether everything of it is deleted; it is, when left out. */
  readonly purge?: boolean | undefined;
  /** Whether it is deleted although users of this server are still in it. */
  readonly forcePurge?: boolean | undefined;
}

type Params = {
  readonly new_room_user_id: string | null;
  readonly room_name: string | null;
  readonly message: string | null;
  readonly block: boolean;
  readonly purge: boolean;
  readonly force_purge: boolean;
  /** Milliseconds since the epoch. */
  readonly started_ts: number;
};

/** A deletion as administrators see it. */
export interface Deletion {
  readonly id: string;
  readonly roomId: string;
  readonly status: TaskRecord['status'];
  readonly error: string | undefined;
  readonly result: ShutdownResult;
}

const DELETE_ROOM = 'shutdown_and_purge_room';
/** Deletions of one room that are shown. */
const MAX_SHOWN = 100;

/** Removes all local users from a room, and deletes it. The task of `RoomDeletions`. */
export const deleteRoomKind = (shutdown: RoomShutdown, purge: RoomPurge): TaskKind<Params, ShutdownProgress> => ({
  action: DELETE_ROOM,
  async run(task: Task<Params, ShutdownProgress>, { note, signal }: TaskContext<ShutdownProgress>) {
    const { id, params, resource: roomId = '', result } = task;
    const request = {
      roomId,
      newRoomUserId: params.new_room_user_id ?? undefined,
      roomName: params.room_name ?? undefined,
      message: params.message ?? undefined,
    };
    const done = await shutdown.shutDown(request, result, { id, startedTs: params.started_ts, note, signal });
    if (done === undefined) return 'interrupted';
    if (params.purge && !(await purge.purge(roomId, params.force_purge, signal))) return 'interrupted';
    return done;
  },
});

export interface RoomDeletionsOptions {
  readonly database: Database;
  readonly rooms: RoomRegistry;
  readonly tasks: AdminTasks;
  readonly blocks: RoomBlocks;
  readonly kind: ReturnType<typeof deleteRoomKind>;
  readonly isLocal: (userId: string) => boolean;
  readonly clock: Clock;
}

/** Starts deletions of rooms, and reports their progress. */
export class RoomDeletions {
  readonly #options: RoomDeletionsOptions;

  constructor(options: RoomDeletionsOptions) {
    this.#options = options;
  }

  /**
   * Shuts down a room and deletes it. If it is to be blocked, it is blocked at once.
   *
   * @returns under which id it is done
   * @throws MatrixError M_INVALID_PARAM, M_UNKNOWN (400) when it is being deleted already
   */
  async start(actor: Actor, roomId: string, request: RoomDeletionParams): Promise<string> {
    const { blocks, clock, database, isLocal, kind, tasks } = this.#options;
    assertRoomId(roomId);
    assertOwnUser(request.newRoomUserId, isLocal);
    const params: Params = {
      new_room_user_id: request.newRoomUserId ?? null,
      room_name: request.roomName ?? null,
      message: request.message ?? null,
      block: request.block ?? false,
      purge: request.purge ?? true,
      force_purge: request.forcePurge ?? false,
      started_ts: clock.now(),
    };
    const { id, told } = await database.write(async (tx) => {
      if (await tasks.isOpen(tx, kind, roomId))
        throw new MatrixError('M_UNKNOWN', `Purge already in progress for ${roomId}.`, {}, 400);
      const entry = { action: 'room.delete', roomId, after: params, reason: request.message };
      return {
        told: params.block ? await blocks.change(tx, actor, roomId, true) : undefined,
        id: await tasks.start(tx, actor, kind, { resource: roomId, params, entry }),
      };
    });
    told?.();
    return id;
  }

  /**
   * The same, once it is done.
   *
   * @throws MatrixError M_NOT_FOUND for a room that is neither known nor to be blocked; M_UNKNOWN with what made it fail, and (503) when it is not waited for any more
   */
  async finish(
    actor: Actor,
    roomId: string,
    request: RoomDeletionParams,
    signal: AbortSignal,
  ): Promise<ShutdownResult> {
    const { rooms, tasks } = this.#options;
    assertRoomId(roomId);
    const isKnown = (await rooms.heardOf(roomId)) !== undefined;
    if (!isKnown && request.block !== true) throw new MatrixError('M_NOT_FOUND', 'Room not found.');
    const id = await this.start(actor, roomId, request);
    const task = await tasks.whenEnded(id, signal);
    if (task?.status === 'complete') return shutdownResult(task.result);
    if (task?.status === 'failed') throw new MatrixError('M_UNKNOWN', task.error ?? 'It failed.', {}, 400);
    throw new MatrixError('M_UNKNOWN', `The room is still being deleted, as ${id}.`, {}, 503);
  }

  /** @throws MatrixError M_NOT_FOUND */
  async get(id: string): Promise<Deletion> {
    const task = await this.#options.tasks.get(id);
    if (task?.action !== DELETE_ROOM) throw new MatrixError('M_NOT_FOUND', `delete id '${id}' not found`);
    return deletionOf(task);
  }

  /** The deletions of a room, the oldest first. @throws MatrixError M_INVALID_PARAM, M_NOT_FOUND when there is none */
  async ofRoom(roomId: string): Promise<Deletion[]> {
    assertRoomId(roomId);
    const { tasks } = await this.#options.tasks.list(
      { actions: [DELETE_ROOM], resource: roomId },
      { limit: MAX_SHOWN },
    );
    if (tasks.length === 0) throw new MatrixError('M_NOT_FOUND', `No delete task for room_id '${roomId}' found`);
    return tasks.map(deletionOf).toReversed();
  }
}

const deletionOf = ({ error, id, resource = '', result, status }: TaskRecord): Deletion => ({
  id,
  roomId: resource,
  status,
  error,
  result: shutdownResult(result),
});
