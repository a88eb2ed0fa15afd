import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { decodeSyncToken, shardOfName } from '#src/protocol/wire/position.ts';
import type { RoomAccess } from '#src/services/reading/access/room-access.ts';
import type { EventFinder } from '#src/services/reading/history/event-finder.ts';
import { pageLimit } from '#src/kernel/limits/page-limit.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { FollowedThreads } from './followed-threads.ts';
import { decodeThreadsToken, pageOfThreads, type ThreadPage } from './thread-page.ts';
import type { Thread } from './user-threads.ts';

/** Decisions of one page. */
const PAGE = { usual: 100, greatest: 500 };

export interface ThreadSubscriptionServiceOptions {
  readonly access: RoomAccess;
  readonly finder: EventFinder;
  readonly followed: FollowedThreads;
}

/** Subscribes users to threads and unsubscribes them. MSC4306, and MSC4308 for clients that were away. */
export class ThreadSubscriptionService {
  readonly #options: ThreadSubscriptionServiceOptions;

  constructor(options: ThreadSubscriptionServiceOptions) {
    this.#options = options;
  }

  /**
   * Whether a client subscribed the user automatically.
   *
   * @throws MatrixError M_NOT_FOUND when the user does not follow it, or may not see where it begins
   */
  async read(userId: string, roomId: string, rootId: string): Promise<boolean> {
    const { room, root } = await this.#thread(userId, roomId, rootId);
    const decision = (await this.#options.followed.load(userId)).of(room.nid, root.eventId);
    if (decision?.automatic === undefined)
      throw new MatrixError('M_NOT_FOUND', 'You are not subscribed to this thread.');
    return decision.automatic;
  }

  /**
   * Follows a thread.
   *
   * @param cause for a client that does so by itself: the event of the thread that made it
   * @throws MatrixError M_NOT_FOUND; M_NOT_IN_THREAD for a cause outside of the thread; M_CONFLICTING_UNSUBSCRIPTION when the user left the
   *   thread after the cause; M_TOO_LARGE
   */
  async subscribe(userId: string, roomId: string, rootId: string, cause: string | undefined): Promise<void> {
    const { room, root } = await this.#thread(userId, roomId, rootId);
    const because = cause === undefined ? undefined : await this.#cause(userId, room, root, cause);
    await this.#options.followed.decide(userId, threadOf(room, root), (before) => {
      if (because === undefined)
        return before?.automatic === false
          ? undefined
          : { automatic: false, at: before?.automatic === true ? before.at : room.lastPosition };
      if (before?.automatic !== undefined) return undefined;
      if (before !== undefined && because.nid <= before.at)
        throw new MatrixError(
          'IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION',
          'The thread was left after this event: only the user can follow it again.',
        );
      return { automatic: true, at: because.nid };
    });
  }

  /** Unsubscribes from a thread; no error without a subscription. @throws MatrixError M_NOT_FOUND */
  async unsubscribe(userId: string, roomId: string, rootId: string): Promise<void> {
    const { room, root } = await this.#thread(userId, roomId, rootId);
    await this.#options.followed.decide(userId, threadOf(room, root), (before) =>
      before?.automatic === undefined ? undefined : { automatic: undefined, at: room.lastPosition },
    );
  }

  /**
   * Thread subscriptions in all rooms, the latest first.
   *
   * @param query `from`: a token of this list, or of sliding sync; `to`: a `pos` of sliding sync, after which the list ends
   * @throws MatrixError M_INVALID_PARAM for a token that is none
   */
  async page(
    userId: string,
    query: {
      readonly from?: string | undefined;
      readonly to?: string | undefined;
      readonly limit?: number | undefined;
    },
  ): Promise<ThreadPage> {
    const threads = await this.#options.followed.load(userId);
    const limit = pageLimit(query.limit, PAGE);
    return pageOfThreads(threads, {
      after: query.to === undefined ? 0 : endOf(userId, query.to),
      before: query.from === undefined ? Infinity : startOf(query.from),
      limit,
    });
  }

  /** @throws MatrixError M_NOT_FOUND, also for rooms that the user may not read */
  async #thread(userId: string, roomId: string, rootId: string): Promise<{ room: Room; root: StoredEvent }> {
    const { access, finder } = this.#options;
    const room = await unlessMissing(access.known(roomId));
    const found = room && (await unlessMissing(finder.visible(room, userId, rootId)));
    if (room === undefined || found === undefined)
      throw new MatrixError('M_NOT_FOUND', 'There is no such thread, or you may not see it.');
    return { room, root: found.event };
  }

  async #cause(userId: string, room: Room, root: StoredEvent, eventId: string): Promise<StoredEvent> {
    const found = await unlessMissing(this.#options.finder.visible(room, userId, eventId));
    if (found === undefined || found.event.threadRoot !== root.eventId)
      throw new MatrixError(
        'IO.ELEMENT.MSC4306.M_NOT_IN_THREAD',
        'What makes a client follow a thread by itself must be an event of this thread.',
      );
    return found.event;
  }
}

/** The result; undefined for M_NOT_FOUND. */
const unlessMissing = async <Found>(reading: Promise<Found>): Promise<Found | undefined> => {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof MatrixError) return undefined;
    throw error;
  }
};

const threadOf = (room: Room, root: StoredEvent): Thread => ({
  roomNid: room.nid,
  roomId: room.roomId,
  root: root.eventId,
  rootNid: root.nid,
});

const startOf = (token: string): number => {
  const before = decodeThreadsToken(token);
  if (before === undefined) throw new MatrixError('M_INVALID_PARAM', 'from is not a token of this list.');
  return before;
};

const endOf = (userId: string, token: string): number => {
  const position = decodeSyncToken(token);
  if (position === undefined) throw new MatrixError('M_INVALID_PARAM', 'to is not a pos of sliding sync.');
  return position.vector[shardOfName(userId)] ?? 0;
};
