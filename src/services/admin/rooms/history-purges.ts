import { reclaimDiskSpace } from '#src/jobs/definitions.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { AdminTasks } from '#src/services/admin/tasks/admin-tasks.ts';
import type { TaskKind, TaskRecord } from '#src/services/admin/tasks/task.ts';
import type { Actor } from '#src/services/audit/actor.ts';
import type { EventByTime } from '#src/services/reading/history/event-by-time.ts';
import type { HistoryPurge } from '#src/services/retention/history-purge.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import { eventIdBytes } from '#src/services/room-model/event/event-ids.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { WholeState } from '#src/services/room-model/room/whole-state.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Database } from '#src/storage/database.ts';
import { positionsById } from '#src/storage/room-model/event-positions.ts';

/** Which part of a room's history is purged. */
export interface HistoryPurgeParams {
  /** What comes before an event. */
  readonly eventId?: string | undefined;
  /** What was sent before a time, in milliseconds since the epoch. */
  readonly ts?: number | undefined;
  /** What users of this server sent, too. */
  readonly deletesLocal: boolean;
}

type Params = {
  readonly before_event: { readonly topo: number; readonly nid: number } | null;
  readonly before_ts: number | null;
  readonly delete_local_events: boolean;
};

type Result = { readonly deleted: number };

const PURGE_HISTORY = 'purge_history';

/** Purges the old part of a room's history. The task of `HistoryPurges`. */
export const purgeHistoryKind = (options: {
  readonly database: Database;
  readonly rooms: RoomRegistry;
  readonly purge: HistoryPurge;
}): TaskKind<Params, Result> => ({
  action: PURGE_HISTORY,
  async run({ params, resource = '', result }, { note, signal }) {
    const { database, purge, rooms } = options;
    const room = await rooms.byId(resource);
    if (room === undefined) return { deleted: result.deleted ?? 0 };
    const request = {
      beforeTs: params.before_ts ?? undefined,
      before: params.before_event ?? undefined,
      keepsLocal: !params.delete_local_events,
    };
    const { deleted, isDone } = await purge.purgeHistory(room, request, signal);
    const all = (result.deleted ?? 0) + deleted;
    if (!isDone) {
      await note(undefined, { deleted: all });
      return 'interrupted';
    }
    if (deleted > 0) await database.write((tx) => tx.enqueue(reclaimDiskSpace, {}));
    return { deleted: all };
  },
});

export interface HistoryPurgesOptions {
  readonly database: Database;
  readonly rooms: RoomRegistry;
  readonly loader: EventLoader;
  readonly eventByTime: EventByTime;
  readonly wholeState: Pick<WholeState, 'of'>;
  readonly tasks: AdminTasks;
  readonly kind: ReturnType<typeof purgeHistoryKind>;
}

/** Starts purges of a room's history, and reports their progress. */
export class HistoryPurges {
  readonly #options: HistoryPurgesOptions;

  constructor(options: HistoryPurgesOptions) {
    this.#options = options;
  }

  /**
   * @returns the id of the task
   * @throws MatrixError M_NOT_FOUND when the room or the event is not here, or nothing is old; M_UNKNOWN (400) for an event of another room;
   *   M_BAD_JSON when it is not said what is old; M_UNKNOWN (503) while the room's state is partial
   */
  async start(actor: Actor, roomId: string, request: HistoryPurgeParams): Promise<string> {
    const { database, kind, rooms, tasks, wholeState } = this.#options;
    const room = await rooms.byId(roomId);
    if (room === undefined) throw new MatrixError('M_NOT_FOUND', 'Room not found.');
    await wholeState.of(room);
    const params: Params = { ...(await this.#before(room, request)), delete_local_events: request.deletesLocal };
    const after = { event: request.eventId ?? null, ts: request.ts ?? null, delete_local_events: request.deletesLocal };
    const entry = { action: 'room.purge_history', roomId, after };
    return database.write((tx) => tasks.start(tx, actor, kind, { resource: roomId, params, entry }));
  }

  async #before(room: Room, { eventId, ts }: HistoryPurgeParams): Promise<Omit<Params, 'delete_local_events'>> {
    const { database, eventByTime, loader } = this.#options;
    if (eventId !== undefined) {
      const [place] = await positionsById(database, [eventIdBytes(eventId)]);
      if (place === undefined) throw new MatrixError('M_NOT_FOUND', `Could not find event ${eventId}.`);
      const event = place.room === room.nid ? await loader.one(room, place.nid) : undefined;
      if (event === undefined) throw new MatrixError('M_UNKNOWN', 'Event is for wrong room.', {}, 400);
      return { before_event: { topo: event.topo, nid: event.nid }, before_ts: null };
    }
    if (ts === undefined) throw new MatrixError('M_BAD_JSON', 'must specify purge_up_to_event_id or purge_up_to_ts');
    await eventByTime.nearest(room.roomId, '', ts - 1, 'b').catch((error: unknown) => {
      if (error instanceof MatrixError) throw new MatrixError('M_NOT_FOUND', 'there is no event to be purged');
      throw error;
    });
    return { before_event: null, before_ts: ts };
  }

  /** @throws MatrixError M_NOT_FOUND */
  async get(id: string): Promise<TaskRecord> {
    const task = await this.#options.tasks.get(id);
    if (task?.action !== PURGE_HISTORY) throw new MatrixError('M_NOT_FOUND', `purge id '${id}' not found`);
    return task;
  }
}
