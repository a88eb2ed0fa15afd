import type { Clock } from '#src/kernel/clock.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isUserId } from '#src/protocol/identifiers/identifiers.ts';
import type { EventFinder } from '#src/services/reading/history/event-finder.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Database } from '#src/storage/database.ts';
import { insertReport, type NewReport } from '#src/storage/rooms/reports.ts';

/** Longer reasons are cut: administrators read them, and a report must not be a way to store things here. */
export const MAX_REASON = 10_000;

export interface ReportServiceOptions {
  readonly database: Database;
  readonly rooms: RoomRegistry;
  readonly finder: EventFinder;
  readonly users: { isLocal(userId: string): boolean; exists(userId: string): Promise<boolean> };
  readonly clock: Clock;
}

/** Takes reports of events, rooms and users to the administrators of this server. Client-Server API, "Reporting Content". */
export class ReportService {
  readonly #options: ReportServiceOptions;

  constructor(options: ReportServiceOptions) {
    this.#options = options;
  }

  /**
   * "servers MUST verify that the reporting user is currently joined to the room the event is in before accepting a report." Since v1.8
   *
   * @throws MatrixError M_NOT_FOUND unless the reporter is joined and may see the event
   */
  async event(
    reporter: string,
    roomId: string,
    eventId: string,
    report: { readonly reason?: string | undefined; readonly score?: number | undefined },
  ): Promise<void> {
    const { rooms, finder } = this.#options;
    const room = await rooms.byId(roomId);
    if (room?.isJoined(reporter) !== true) {
      throw new MatrixError('M_NOT_FOUND', 'There is no such event, or you are not in its room.');
    }
    const { event } = await finder.visible(room, reporter, eventId);
    await this.#store({
      kind: 'event',
      reporter,
      roomId,
      eventId,
      userId: event.sender,
      reason: report.reason,
      score: report.score,
    });
  }

  /**
   * "servers MUST NOT restrict room reports based on whether or not the reporting user is joined to the room." Since v1.13
   *
   * @throws MatrixError M_NOT_FOUND for a room that is not known here
   */
  async room(reporter: string, roomId: string, reason: string): Promise<void> {
    if ((await this.#options.rooms.byId(roomId)) === undefined) {
      throw new MatrixError('M_NOT_FOUND', 'This server does not know the room.');
    }
    await this.#store({ kind: 'room', reporter, roomId, reason });
  }

  /**
   * "servers MUST NOT restrict user reports based on whether or not the reporting user is joined to any rooms that the reported
   * user is joined to." Since v1.14
   *
   * @throws MatrixError M_INVALID_PARAM; M_NOT_FOUND for a user of this server who does not exist; only their own server knows whether remote users do
   */
  async user(reporter: string, userId: string, reason: string): Promise<void> {
    if (!isUserId(userId)) throw new MatrixError('M_INVALID_PARAM', `${userId} is not a user id.`);
    const { users } = this.#options;
    if (users.isLocal(userId) && !(await users.exists(userId))) {
      throw new MatrixError('M_NOT_FOUND', 'This server does not know the user.');
    }
    await this.#store({ kind: 'user', reporter, userId, reason });
  }

  async #store(
    report: Pick<NewReport, 'kind' | 'reporter'> & {
      readonly roomId?: string;
      readonly eventId?: string;
      readonly userId?: string;
      readonly reason: string | undefined;
      readonly score?: number | undefined;
    },
  ): Promise<void> {
    const { database, clock } = this.#options;
    await database.write((tx) =>
      insertReport(tx, {
        kind: report.kind,
        reporter: report.reporter,
        roomId: report.roomId ?? null,
        eventId: report.eventId ?? null,
        userId: report.userId ?? null,
        reason: report.reason?.slice(0, MAX_REASON) ?? null,
        score: report.score ?? null,
        createdTs: clock.now(),
      }),
    );
  }
}
