import type { Logger } from '#src/kernel/logger.ts';
import type { Timer, Timers } from '#src/kernel/timers.ts';
import { isUserIdOf } from '#src/protocol/identifiers/identifiers.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { visitAllowedRooms } from '#src/services/federation/inbound/edu-acl.ts';
import type { TypingService } from '#src/services/ephemeral/typing/typing-service.ts';
import type { Edu } from '#src/services/federation/outbound/edu-source.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import { GatheredEdus } from './gathered-edus.ts';

/** Long typing is sent again, since other servers let it expire. */
const RESEND_MS = 25_000;
/** After so long typing of remote users expires. */
const BELIEVED_MS = 60_000;
export const MAX_WAITING = 200;

interface Typing {
  readonly room: Room;
  readonly userId: string;
  readonly isTyping: boolean;
}

export interface TypingEdusOptions {
  readonly rooms: RoomRegistry;
  readonly typing: TypingService;
  readonly timers: Timers;
  readonly logger: Logger;
  readonly isLocal: (userId: string) => boolean;
  readonly wake: (destination: string) => void;
}

/** Sends and receives `m.typing`. Server-Server API, "Typing Notifications". */
export class TypingEdus {
  readonly #options: TypingEdusOptions;
  /** What waits for other servers, by room and user. */
  readonly edus: GatheredEdus<Typing>;
  /** Rooms with other servers in which users of this one type. */
  readonly #typed = new Map<number, Set<string>>();
  #again: Timer | undefined;

  constructor(options: TypingEdusOptions) {
    this.#options = options;
    this.edus = new GatheredEdus({
      name: 'typing',
      gatherMs: 0,
      most: MAX_WAITING,
      // Typing from a minute ago does not matter any more.
      mostWhileAway: 0,
      mostTaken: MAX_WAITING,
      serversOf: () => Promise.resolve(({ room }) => room.remoteServers()),
      write: edusOf,
      timers: options.timers,
      logger: options.logger,
      wake: options.wake,
    });
    options.typing.changed.subscribe(({ roomNid, userId, isTyping }) => this.#changed(roomNid, userId, isTyping));
  }

  /** Receives the `m.typing` of a transaction: of joined users of the origin, in rooms whose ACLs do not deny the origin. */
  async receive(origin: string, contents: readonly JsonObject[]): Promise<void> {
    const { rooms, typing } = this.#options;
    const said = contents.flatMap(({ room_id: roomId, user_id: userId, typing: isTyping }) =>
      typeof roomId === 'string' && isUserIdOf(origin, userId) ? { roomId, userId, isTyping: isTyping === true } : [],
    );
    const byRoom = Map.groupBy(said, ({ roomId }) => roomId);
    await visitAllowedRooms(rooms, origin, byRoom.keys(), (allowed) => {
      for (const room of allowed)
        for (const { isTyping, userId } of byRoom.get(room.roomId) ?? []) {
          if (!room.mayBeJoined(userId)) continue;
          if (isTyping) typing.start(room, userId, BELIEVED_MS);
          else typing.stop(room, userId);
        }
    });
  }

  close(): Promise<void> {
    this.#again?.cancel();
    return this.edus.close();
  }

  #changed(roomNid: number, userId: string, isTyping: boolean): void {
    if (!this.#options.isLocal(userId)) return;
    const room = this.#options.rooms.peek(roomNid);
    if (room === undefined || room.remoteServers().length === 0) return;
    const typed = this.#typed.get(roomNid) ?? new Set();
    if (isTyping) this.#typed.set(roomNid, typed.add(userId));
    else if (typed.delete(userId) && typed.size === 0) this.#typed.delete(roomNid);
    if (this.#typed.size > 0) this.#again ??= this.#options.timers.every(RESEND_MS, () => this.#resend());
    this.#tell(room, userId, isTyping);
  }

  #resend(): void {
    for (const [roomNid, userIds] of this.#typed) {
      const room = this.#options.rooms.peek(roomNid);
      if (room === undefined) this.#typed.delete(roomNid);
      else for (const userId of userIds) this.#tell(room, userId, true);
    }
    if (this.#typed.size > 0) return;
    this.#again?.cancel();
    this.#again = undefined;
  }

  #tell(room: Room, userId: string, isTyping: boolean): void {
    this.edus.gather(`${room.nid} ${userId}`, { room, userId, isTyping });
  }
}

const edusOf = (
  items: readonly Typing[],
  limit: number,
): { readonly edus: readonly Edu[]; readonly left: ReadonlySet<Typing> } => ({
  edus: items.slice(0, limit).map(({ isTyping, room, userId }) => ({
    edu_type: 'm.typing',
    content: { room_id: room.roomId, user_id: userId, typing: isTyping },
  })),
  left: new Set(items.slice(limit)),
});
