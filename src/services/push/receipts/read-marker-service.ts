import type { ShadowBanned } from '#src/services/accounts/moderation/shadow-bans.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { UserActions } from '#src/services/accounts/users/user-actions.ts';
import type { AccountDataService } from '#src/services/user-data/account-data/account-data-service.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { ReceiptKind } from '#src/storage/commit/stream-writes.ts';
import type { ReceiptService } from './receipt-service.ts';
import { assertInThread, type Threads } from './threads.ts';

export interface ReadMarkerServiceOptions {
  readonly rooms: RoomRegistry;
  readonly events: EventService;
  readonly receipts: ReceiptService;
  readonly accountData: AccountDataService;
  readonly threads: Threads;
  readonly actions: UserActions;
  /** Shadow-banned users: their receipts become private. */
  readonly shadowBans: ShadowBanned;
}

/** Sets receipts and fully read markers of local users. Client-Server API, "Receipts", "Fully read markers". */
export class ReadMarkerService {
  readonly #rooms: RoomRegistry;
  readonly #events: EventService;
  readonly #receipts: ReceiptService;
  readonly #accountData: AccountDataService;
  readonly #threads: Threads;
  readonly #actions: UserActions;
  readonly #shadowBans: ShadowBanned;

  constructor(options: ReadMarkerServiceOptions) {
    this.#rooms = options.rooms;
    this.#events = options.events;
    this.#receipts = options.receipts;
    this.#accountData = options.accountData;
    this.#threads = options.threads;
    this.#actions = options.actions;
    this.#shadowBans = options.shadowBans;
  }

  /**
   * Sends a receipt, or moves the fully read marker (kind `m.fully_read`).
   *
   * @param thread the request's `thread_id`, not validated
   * @throws MatrixError M_INVALID_PARAM (kind, thread), M_FORBIDDEN (not joined), M_NOT_FOUND (event)
   */
  async send(userId: string, roomId: string, kind: string, eventId: string, thread: unknown): Promise<void> {
    if (kind !== 'm.read' && kind !== 'm.read.private' && kind !== 'm.fully_read') {
      throw new MatrixError('M_INVALID_PARAM', 'The receipt type must be m.read, m.read.private or m.fully_read.');
    }
    if (thread !== undefined && (typeof thread !== 'string' || thread === '')) {
      throw new MatrixError('M_INVALID_PARAM', 'thread_id field must be a non-empty string.');
    }
    if (thread !== undefined && kind === 'm.fully_read') {
      throw new MatrixError(
        'M_INVALID_PARAM',
        'The fully read marker is one for the whole room: it takes no thread_id.',
      );
    }
    const room = await this.#joinedRoom(userId, roomId);
    const event = await this.#event(room, eventId);
    this.#actions.note(userId);
    if (kind === 'm.fully_read') {
      await this.#moveFullyRead(userId, room, event);
      return;
    }
    if (thread !== undefined) await assertInThread(this.#events, this.#threads, room, event, thread);
    await this.#receipts.receive(room, userId, this.#kindFor(userId, kind), thread, eventId);
  }

  /**
   * Moves the fully read marker and sends receipts in one call. All are validated before any is written.
   *
   * @throws MatrixError M_FORBIDDEN (not joined), M_NOT_FOUND (an event is not in the room)
   */
  async sendAll(
    userId: string,
    roomId: string,
    markers: {
      readonly fullyRead: string | undefined;
      readonly read: string | undefined;
      readonly readPrivate: string | undefined;
    },
  ): Promise<void> {
    const room = await this.#joinedRoom(userId, roomId);
    const fullyRead = markers.fullyRead === undefined ? undefined : await this.#event(room, markers.fullyRead);
    const receipts: { kind: ReceiptKind; eventId: string }[] = [];
    if (markers.read !== undefined) receipts.push({ kind: 'm.read', eventId: markers.read });
    if (markers.readPrivate !== undefined) receipts.push({ kind: 'm.read.private', eventId: markers.readPrivate });
    for (const { eventId } of receipts) await this.#event(room, eventId);
    if (fullyRead !== undefined || receipts.length > 0) this.#actions.note(userId);
    await Promise.all([
      ...(fullyRead === undefined ? [] : [this.#moveFullyRead(userId, room, fullyRead)]),
      ...receipts.map(({ kind, eventId }) =>
        this.#receipts.receive(room, userId, this.#kindFor(userId, kind), undefined, eventId),
      ),
    ]);
  }

  /** A shadow-banned user's receipts are shown to nobody else. */
  #kindFor(userId: string, kind: ReceiptKind): ReceiptKind {
    return this.#shadowBans.has(userId) ? 'm.read.private' : kind;
  }

  async #joinedRoom(userId: string, roomId: string): Promise<Room> {
    const room = await this.#rooms.byId(roomId);
    if (room?.isJoined(userId) === true) return room;
    throw new MatrixError('M_FORBIDDEN', 'Only members of a room can set receipts and read markers there.');
  }

  async #event(room: Room, eventId: string): Promise<StoredEvent> {
    const event = await this.#events.find(room, eventId);
    if (event === undefined) throw new MatrixError('M_NOT_FOUND', `There is no event ${eventId} in this room.`);
    return event;
  }

  /** The marker does not move backwards. */
  #moveFullyRead(userId: string, room: Room, event: StoredEvent): Promise<void> {
    return this.#accountData.update(userId, room.nid, 'm.fully_read', async (stored) => {
      const marked = stored?.['event_id'];
      const before = typeof marked === 'string' ? await this.#events.find(room, marked) : undefined;
      return before !== undefined && before.nid >= event.nid ? undefined : { event_id: event.eventId };
    });
  }
}
