import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

/** Invites to the server notices room, which cannot be rejected. Client-Server API, "Server Notices". */
export class NoticeInvites {
  readonly #loader: EventLoader;
  readonly #sender: string | undefined;

  /** @param sender who sends them; undefined where there are none */
  constructor(loader: EventLoader, sender: string | undefined) {
    this.#loader = loader;
    this.#sender = sender;
  }

  /** @throws MatrixError M_CANNOT_LEAVE_SERVER_NOTICE_ROOM */
  async assertMayLeave(room: Room, userId: string): Promise<void> {
    if (this.#sender === undefined || room.headMembership(userId) !== 'invite') return;
    const invite = await this.#loader.one(room, room.member(userId)?.event ?? 0);
    if (invite?.sender !== this.#sender) return;
    throw new MatrixError(
      'M_CANNOT_LEAVE_SERVER_NOTICE_ROOM',
      'You cannot reject this invite: the server has something to tell you.',
    );
  }
}

/** Who sends server notices; undefined where there are none. */
export const noticesSender = (localpart: string | null, serverName: string): string | undefined =>
  localpart === null ? undefined : `@${localpart}:${serverName}`;
