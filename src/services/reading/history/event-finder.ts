import { type IgnoredUsers, isIgnored } from '#src/services/user-data/account-data/ignored-users.ts';
import { EVENT_FLAGS, HIDDEN_FLAGS } from '#src/protocol/events/event-flags.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import type { EventVisibility } from '#src/services/reading/visibility/event-visibility.ts';
import type { VisibleEvent } from '#src/services/reading/visibility/visible-event.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { PastSource } from './past-source.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { isWorldReadable } from '#src/services/reading/access/room-access.ts';

/** Finds events by id, if the reader may see them. */
export class EventFinder {
  readonly #events: EventService;
  readonly #visibility: Pick<EventVisibility, 'seesAll' | 'visibleTo'>;
  readonly #past: Pick<PastSource, 'find'> | undefined;
  readonly #ignoredUsers: Pick<IgnoredUsers, 'of'> | undefined;

  /** @param sources `past` fetches events that are not here, for members of the room; `ignoredUsers`: none when left out */
  constructor(
    events: EventService,
    visibility: Pick<EventVisibility, 'seesAll' | 'visibleTo'>,
    sources: { readonly past?: Pick<PastSource, 'find'>; readonly ignoredUsers?: Pick<IgnoredUsers, 'of'> } = {},
  ) {
    this.#events = events;
    this.#visibility = visibility;
    this.#past = sources.past;
    this.#ignoredUsers = sources.ignoredUsers;
  }

  /**
   * An event that is to be shown: not one of those that `visible` gives and whose senders the user ignores. Client-Server API, "Ignoring Users".
   *
   * @throws MatrixError M_NOT_FOUND
   */
  async shown(room: Room, userId: string, eventId: string): Promise<VisibleEvent> {
    const visible = await this.visible(room, userId, eventId);
    const ignored = await this.#ignoredUsers?.of(userId);
    if (ignored !== undefined && isIgnored(visible.event, ignored)) throw eventNotFound();
    return visible;
  }

  /** @throws MatrixError M_NOT_FOUND when it is not in the room, was rejected, or is not for this user (no longer, where they forgot the room) */
  async visible(room: Room, userId: string, eventId: string): Promise<VisibleEvent> {
    // "this user will no longer be able to retrieve history for this room": what the world may read they may read like any user.
    const isForgotten =
      room.member(userId)?.forgotten === true && !isWorldReadable(room) && !this.#visibility.seesAll(room, userId);
    const event = isForgotten ? undefined : await this.#find(room, userId, eventId);
    const [visible] =
      event === undefined || (event.flags & HIDDEN_FLAGS) !== 0
        ? []
        : await this.#visibility.visibleTo(room, userId, [event]);
    if (visible === undefined) throw eventNotFound();
    return visible;
  }

  async #find(room: Room, userId: string, eventId: string): Promise<StoredEvent | undefined> {
    const event = await this.#events.find(room, eventId);
    // What is known without its ancestors is in the room's history somewhere.
    const isMissing = event === undefined || (event.flags & HIDDEN_FLAGS) === EVENT_FLAGS.outlier;
    if (!isMissing || this.#past === undefined || !room.isJoined(userId)) return event;
    return (await this.#past.find(room, eventId)) ? this.#events.find(room, eventId) : event;
  }
}

/** The answer for an event that is not in the room, or not visible to the reader: it does not tell which of the two. */
const eventNotFound = (): MatrixError =>
  new MatrixError('M_NOT_FOUND', 'There is no such event in this room, or you may not see it.');

/** @throws MatrixError as `eventNotFound` */
export const throwEventNotFound = (): never => {
  throw eventNotFound();
};
