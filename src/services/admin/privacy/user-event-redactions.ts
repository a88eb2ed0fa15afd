import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import { isUserId } from '#src/protocol/identifiers/identifiers.ts';
import { MEMBER } from '#src/protocol/events/event-types.ts';
import type { AdminTasks } from '#src/services/admin/tasks/admin-tasks.ts';
import type { Task, TaskContext, TaskKind, TaskRecord } from '#src/services/admin/tasks/task.ts';
import type { Actor } from '#src/services/audit/actor.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import { membershipCode } from '#src/services/room-model/room/membership.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { RedactedPart, UserRedactions } from '#src/services/rooms/redactions/user-redactions.ts';
import type { Database } from '#src/storage/database.ts';
import { roomsWithMembership } from '#src/storage/rooms/sent-events.ts';

/** Which events of a user are to be redacted. */
export interface RedactionFilter {
  /** Ids; all rooms that the user is in or banned from, when there are none. */
  readonly rooms: readonly string[];
  readonly reason?: string | undefined;
  /** Events in each room, the newest first. */
  readonly limit?: number | undefined;
  /** Whether the administrator sends the redactions, and not the user. Of users of other servers the administrator always does. */
  readonly useAdmin?: boolean | undefined;
  /** Milliseconds since the epoch. */
  readonly beforeTs?: number | undefined;
  readonly afterTs?: number | undefined;
}

export type RedactionParams = {
  readonly user_id: string;
  readonly rooms: string[];
  readonly by: string;
  /** The user who redacts where that one is not in the room; null for none. */
  readonly or_by: string | null;
  /** Types of events; null for all that is meant. */
  readonly types: string[] | null;
  readonly reason: string | null;
  readonly limit: number;
  readonly before_ts: number | null;
  readonly after_ts: number | null;
};

export type RedactionResult = {
  readonly redacted: number;
  /** By event, or by room where nothing of it can be redacted: why not. */
  readonly failed_redactions: Record<string, string>;
  /** Rooms that are done, events that are done in the next one, and where its next part begins. */
  readonly rooms_done: number;
  readonly events_done: number;
  readonly next: { readonly topo: number; readonly nid: number } | null;
};

export interface UserEventRedactionsOptions {
  readonly database: Database;
  readonly tasks: AdminTasks;
  readonly rooms: RoomRegistry;
  readonly redactions: UserRedactions;
  readonly serverName: string;
}

/** As Synapse has it. */
const DEFAULT_LIMIT = 1_000;
/** Events that are redacted between two notes of how far it has come. */
const STEP = 50;
const MAX_ROOMS = 100_000;
const MAX_FAILURES = 1_000;
/** Memberships of rooms whose events are looked at when none are named. */
const THERE = [membershipCode('join'), membershipCode('ban')];

/** Redacts what a user has sent, in some rooms or all of them: a task. The room's rules hold: what cannot be redacted is said in its result. */
export class UserEventRedactions implements TaskKind<RedactionParams, RedactionResult> {
  readonly action = 'redact_all_events';
  readonly #options: UserEventRedactionsOptions;

  constructor(options: UserEventRedactionsOptions) {
    this.#options = options;
  }

  /**
   * Has it done. @returns the task's id
   *
   * @throws MatrixError M_INVALID_PARAM for what is no user id; M_UNKNOWN (400) when it is being done for the user already
   */
  async start(actor: Actor & { readonly userId: string }, userId: string, filter: RedactionFilter): Promise<string> {
    const { database, serverName, tasks } = this.#options;
    if (!isUserId(userId))
      throw new MatrixError('M_INVALID_PARAM', 'That is not a user id, such as @alice:example.org.');
    const open = await tasks.list(
      { actions: [this.action], resource: userId, statuses: ['scheduled', 'active'] },
      { limit: 1 },
    );
    if (open.tasks.length > 0) throw new MatrixError('M_UNKNOWN', `Redact already in progress for user ${userId}`);
    const { reason, useAdmin } = filter;
    const isLocal = domainOf(userId) === serverName;
    const rooms =
      filter.rooms.length > 0 ? [...filter.rooms] : await roomsWithMembership(database, userId, THERE, MAX_ROOMS);
    const params: RedactionParams = {
      user_id: userId,
      rooms,
      by: useAdmin === true || !isLocal ? actor.userId : userId,
      or_by: null,
      types: null,
      reason: reason ?? null,
      limit: filter.limit ?? DEFAULT_LIMIT,
      before_ts: filter.beforeTs ?? null,
      after_ts: filter.afterTs ?? null,
    };
    const entry = {
      action: 'user.redact',
      target: userId,
      reason,
      after: { rooms: rooms.length, limit: params.limit, by: params.by },
    };
    return database.write((tx) => tasks.start(tx, actor, this, { resource: userId, params, entry }));
  }

  /** A task of this kind. @throws MatrixError M_NOT_FOUND */
  async find(id: string): Promise<TaskRecord> {
    const task = await this.#options.tasks.get(id);
    if (task?.action !== this.action) throw new MatrixError('M_NOT_FOUND', `redact id '${id}' not found`);
    return task;
  }

  async run(
    { params, result }: Task<RedactionParams, RedactionResult>,
    { note, signal }: TaskContext<RedactionResult>,
  ): Promise<RedactionResult | 'interrupted'> {
    const failures = new Map(Object.entries(result.failed_redactions ?? {}));
    const fail = (what: string, why: string): void => {
      if (failures.size < MAX_FAILURES) failures.set(what, why);
    };
    let { events_done: done = 0, next = null, redacted = 0, rooms_done: roomsDone = 0 } = result;
    const progress = (): RedactionResult => ({
      redacted,
      failed_redactions: Object.fromEntries(failures),
      rooms_done: roomsDone,
      events_done: done,
      next,
    });
    while (roomsDone < params.rooms.length) {
      if (signal.aborted) return 'interrupted';
      const roomId = params.rooms[roomsDone] ?? '';
      try {
        const part = await this.#redactPart(params, roomId, { done, next }, signal);
        for (const [eventId, why] of part?.failed ?? []) fail(eventId, why);
        redacted += part?.redacted ?? 0;
        done += (part?.redacted ?? 0) + (part?.failed.size ?? 0);
        next = part?.next ?? null;
      } catch (error) {
        if (!(error instanceof MatrixError) || error.errcode !== 'M_FORBIDDEN') throw error;
        fail(roomId, error.message);
        next = null;
      }
      // The process ends, or it was cancelled: what was done is passed over the next time.
      if (signal.aborted) return 'interrupted';
      if (next === null || done >= params.limit) {
        roomsDone += 1;
        done = 0;
        next = null;
      }
      await note(undefined, progress());
    }
    return progress();
  }

  /** @returns undefined where this server does not know the room */
  async #redactPart(
    params: RedactionParams,
    roomId: string,
    { done, next }: { readonly done: number; readonly next: RedactionResult['next'] },
    signal: AbortSignal,
  ): Promise<RedactedPart | undefined> {
    const { redactions, rooms } = this.#options;
    const room = await rooms.byId(roomId);
    if (room === undefined) return undefined;
    const isAway = params.or_by !== null && room.headMembership(params.by) !== 'join';
    return redactions.redactPart(
      {
        room,
        target: params.user_id,
        by: isAway ? params.or_by : params.by,
        types: params.types ?? undefined,
        reason: params.reason ?? undefined,
        isMeant,
        beforeTs: params.before_ts ?? undefined,
        afterTs: params.after_ts ?? undefined,
        from: next ?? undefined,
        limit: Math.min(STEP, params.limit - done),
      },
      signal,
    );
  }
}

/** Messages and the user's own member events. Other state is needed by the room. */
const isMeant = ({ content, isState, type }: StoredEvent): boolean =>
  type === MEMBER ? content['membership'] === 'join' : !isState;
