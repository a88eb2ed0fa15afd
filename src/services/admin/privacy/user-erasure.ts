import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { AccountService } from '#src/services/accounts/sessions/account-service.ts';
import type { Deactivation } from '#src/services/admin/deactivation/deactivation.ts';
import type { AdminTasks } from '#src/services/admin/tasks/admin-tasks.ts';
import type { Task, TaskContext, TaskKind } from '#src/services/admin/tasks/task.ts';
import type { LocalAccounts } from '#src/services/admin/users/local-accounts.ts';
import { ERASURE } from '#src/services/admin/users/user-changes.ts';
import type { Actor } from '#src/services/audit/actor.ts';
import type { MediaModeration } from '#src/services/media/media-moderation.ts';
import { membershipCode, MEMBERSHIPS } from '#src/services/room-model/room/membership.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import { eraseProofs } from '#src/storage/accounts/erasure.ts';
import type { Database } from '#src/storage/database.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { forgetSendingDevices, type HistoryPlace, roomsWithMembership } from '#src/storage/rooms/sent-events.ts';
import type { UserExports } from './user-exports.ts';
import type { RedactionResult, UserEventRedactions } from './user-event-redactions.ts';

/** What is deleted beyond what a deactivation with `erase` deletes. */
export interface ErasureOptions {
  /** Redact all that the user has said, as far as rooms allow it. */
  readonly redactsEvents: boolean;
  /** Redact the name and the picture that the user had in rooms. Done in any case with `redactsEvents`. */
  readonly redactsProfile: boolean;
  /** Delete the user's files at once, even if others refer to them. Otherwise they are deleted after their grace period, unless others refer to them. */
  readonly deletesMedia: boolean;
}

type Params = {
  readonly user_id: string;
  /** The user who redacts where the erased user is not in the room any more; null for none. */
  readonly by: string | null;
  readonly rooms: string[];
  readonly redact_events: boolean;
  readonly redact_profile: boolean;
  readonly delete_media: boolean;
};

export type ErasureResult = {
  /** What has been done, in this order. */
  readonly steps: string[];
  readonly redactions: RedactionResult | null;
  readonly rooms_cleared: number;
  readonly next: { readonly topo: number; readonly nid: number } | null;
  readonly media_deleted: number;
};

export interface UserErasureOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly tasks: AdminTasks;
  readonly localAccounts: LocalAccounts;
  readonly rooms: RoomRegistry;
  readonly redactions: UserEventRedactions;
  readonly accounts: AccountService;
  readonly deactivation: Deactivation;
  readonly media: MediaModeration;
  readonly exports: Pick<UserExports, 'forget'>;
}

const EVENTS = 'events';
const ACCOUNT = 'account';
const KEPT = 'kept';
const DEVICES = 'sending_devices';
const MEDIA = 'media';
/** Rooms whose redactions and memberships the task looks at, at most. */
const MAX_ROOMS = 100_000;
/** Events of a room that are looked at in one step. */
const PART = 1_000;
/** Files that are deleted in one step. */
const FIRST_FILES = { order: 'created_ts', direction: 'f', from: 0, limit: 100 } as const;
const ALL_MEMBERSHIPS = MEMBERSHIPS.map(membershipCode);
/** As many as there are. */
const NO_LIMIT = Number.MAX_SAFE_INTEGER;

/**
 * Deletes everything about a user: a task. First what needs the user still to be in rooms (redactions), then the account with everything
 * that its deactivation brings with it, and last the files. Each step may be repeated.
 */
export class UserErasure implements TaskKind<Params, ErasureResult> {
  readonly action = ERASURE.action;
  readonly #options: UserErasureOptions;

  constructor(options: UserErasureOptions) {
    this.#options = options;
  }

  /**
   * Has it done. @returns the task's id
   *
   * @throws MatrixError M_NOT_FOUND; M_UNKNOWN (400) for users of other servers, oneself, and while it is being done already
   */
  async start(actor: Actor, userId: string, erasure: ErasureOptions): Promise<string> {
    const { database, localAccounts, tasks } = this.#options;
    const { deactivated, erased } = await localAccounts.account(userId);
    if (actor.userId === userId)
      throw new MatrixError('M_UNKNOWN', 'Administrators do not erase their own accounts here: ask another one.');
    const params: Params = {
      user_id: userId,
      by: actor.userId,
      rooms: await roomsWithMembership(database, userId, ALL_MEMBERSHIPS, MAX_ROOMS),
      redact_events: erasure.redactsEvents,
      redact_profile: erasure.redactsProfile,
      delete_media: erasure.deletesMedia,
    };
    const entry = {
      action: 'user.erase',
      target: userId,
      before: { deactivated, erased },
      after: {
        erased: true,
        redact_events: params.redact_events,
        redact_profile: params.redact_profile,
        delete_media: params.delete_media,
      },
    };
    return database.write(async (tx) => {
      if (await tasks.isOpen(tx, this, userId))
        throw new MatrixError('M_UNKNOWN', `${userId} is being erased already.`);
      return tasks.start(tx, actor, this, { resource: userId, params, entry });
    });
  }

  async run(
    task: Task<Params, ErasureResult>,
    { note, signal }: TaskContext<ErasureResult>,
  ): Promise<ErasureResult | 'interrupted'> {
    const { params } = task;
    const { accounts, database, deactivation, media, localAccounts } = this.#options;
    const userId = params.user_id;
    const state: { -readonly [K in keyof ErasureResult]: ErasureResult[K] } = {
      steps: [],
      redactions: null,
      rooms_cleared: 0,
      next: null,
      media_deleted: 0,
      ...task.result,
    };
    const finish = async (step: string): Promise<void> => {
      state.steps = [...state.steps, step];
      await note(undefined, state);
    };
    const isOpen = (step: string): boolean => !state.steps.includes(step);
    if (isOpen(EVENTS)) {
      if (params.redact_events || params.redact_profile) {
        const made = await this.#redact(task, state.redactions, signal, async (redactions) => {
          state.redactions = redactions;
          await note(undefined, state);
        });
        if (made === 'interrupted') return 'interrupted';
        state.redactions = made;
      }
      await finish(EVENTS);
    }
    if (isOpen(ACCOUNT)) {
      const { deactivated, erased } = await localAccounts.account(userId);
      await database.write(async (tx) => {
        await eraseProofs(tx, userId);
        if (!deactivated || !erased) await accounts.deactivateIn(tx, userId, true);
      });
      await finish(ACCOUNT);
    }
    if (isOpen(KEPT)) {
      // The job of the deactivation does the same: the second of the two finds it done.
      if (!(await deactivation.finish(userId, signal))) return 'interrupted';
      await this.#options.exports.forget(userId);
      await finish(KEPT);
    }
    if (isOpen(DEVICES)) {
      const isDone = await this.#forgetDevices(params, state, signal, () => note(undefined, state));
      if (!isDone) return 'interrupted';
      await finish(DEVICES);
    }
    if (isOpen(MEDIA)) {
      while (params.delete_media) {
        if (signal.aborted) return 'interrupted';
        const gone = await media.deleteOfUser(userId, FIRST_FILES, { userId: params.by, via: 'server' });
        if (gone.length === 0) break;
        state.media_deleted += gone.length;
        await note(undefined, state);
      }
      await finish(MEDIA);
    }
    return state;
  }

  #redact(
    { id, params, resource }: Task<Params, ErasureResult>,
    result: RedactionResult | null,
    signal: AbortSignal,
    noted: (progress: RedactionResult) => Promise<void>,
  ): Promise<RedactionResult | 'interrupted'> {
    const { redactions } = this.#options;
    return redactions.run(
      {
        id,
        resource,
        params: {
          user_id: params.user_id,
          rooms: params.rooms,
          by: params.user_id,
          or_by: params.by,
          types: params.redact_events ? null : ['m.room.member'],
          reason: null,
          limit: NO_LIMIT,
          before_ts: null,
          after_ts: null,
        },
        result: result ?? {},
      },
      { signal, note: (_tx, progress) => noted(progress as RedactionResult) },
    );
  }

  /** Events name the device that sent them. @returns false when it was broken off because of the signal */
  async #forgetDevices(
    { rooms: roomIds, user_id: userId }: Params,
    state: { rooms_cleared: number; next: HistoryPlace | null },
    signal: AbortSignal,
    noted: () => Promise<void>,
  ): Promise<boolean> {
    const { database, interner, rooms } = this.#options;
    const sender = await interner.userNid(userId);
    while (state.rooms_cleared < roomIds.length) {
      if (signal.aborted) return false;
      const room = await rooms.heardOf(roomIds[state.rooms_cleared] ?? '');
      const next =
        room === undefined
          ? undefined
          : await forgetSendingDevices(database, room.nid, sender, state.next ?? undefined, PART);
      state.next = next ?? null;
      if (next === undefined) state.rooms_cleared += 1;
      await noted();
    }
    return true;
  }
}
