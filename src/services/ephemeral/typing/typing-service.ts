import { CountedCache } from '#src/kernel/caches/counted-cache.ts';
import { NOBODY_SHADOW_BANNED, type ShadowBanned } from '#src/services/accounts/moderation/shadow-bans.ts';
import { atMost } from '#src/kernel/caches/at-most.ts';
import { Signal } from '#src/kernel/signal.ts';
import type { Timer, Timers } from '#src/kernel/timers.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { UserActions } from '#src/services/accounts/users/user-actions.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { EphemeralCounter } from '#src/services/commit/ephemeral-counter.ts';

const DEFAULT_TIMEOUT_MS = 30_000;
export const MAX_TIMEOUT_MS = 120_000;

/** Who is typing in a room. */
export interface TypingIn {
  readonly users: readonly string[];
  /** Ephemeral count of the last change; 0 when nobody has typed since this process started. */
  readonly at: number;
}

/** What readers see of a room, and the latest changes, oldest first: every one after `floor`. */
interface Shown {
  readonly typing: TypingIn;
  readonly changes: readonly { readonly userId: string; readonly at: number }[];
  readonly floor: number;
}

const NO_TYPING: TypingIn = { users: [], at: 0 };
/** Users who are shown typing in a room: each change tells all of them to all who are there. */
export const MAX_TYPING = 50;
/** Changes of a room that are remembered. */
const CHANGES = 64;

export interface TypingServiceOptions {
  readonly rooms: RoomRegistry;
  readonly stream: RoomEventStream;
  readonly timers: Timers;
  readonly ephemeral: EphemeralCounter;
  readonly actions: UserActions;
  /** Shadow-banned users: others do not see them typing. */
  readonly shadowBans?: ShadowBanned;
}

/** Typing users by room; in memory only. Client-Server API, "Typing Notifications". */
export class TypingService {
  readonly #rooms: RoomRegistry;
  readonly #timers: Timers;
  readonly #ephemeral: EphemeralCounter;
  readonly #actions: UserActions;
  readonly #shadowBans: ShadowBanned;
  /** Timers of those who are typing, by room and user. */
  readonly #typing = new Map<number, Map<string, Timer>>();
  /** What readers see. A room without typing for long is forgotten: a reader who missed its last change sees no one typing anyway. */
  readonly #shown = new CountedCache<number, Shown>('typing', atMost(50_000));
  /** Fires when a user begins or stops to type. */
  readonly changed = new Signal<{ readonly roomNid: number; readonly userId: string; readonly isTyping: boolean }>();

  constructor(options: TypingServiceOptions) {
    this.#rooms = options.rooms;
    this.#timers = options.timers;
    this.#ephemeral = options.ephemeral;
    this.#actions = options.actions;
    this.#shadowBans = options.shadowBans ?? NOBODY_SHADOW_BANNED;
    options.stream.on('appended', ({ room, events }) => {
      if (!this.#typing.has(room.nid)) return;
      for (const { member } of events) {
        if (member !== undefined && member.after.membership !== 'join') this.stop(room, member.after.userId);
      }
    });
    options.stream.on('deleted', ({ room }) => {
      this.#forget(room.nid);
    });
  }

  #forget(roomNid: number): void {
    for (const timer of this.#typing.get(roomNid)?.values() ?? []) timer.cancel();
    this.#typing.delete(roomNid);
    this.#shown.delete(roomNid);
  }

  /** Who is typing in a room. */
  typingIn(roomNid: number): TypingIn {
    return this.#shown.get(roomNid)?.typing ?? NO_TYPING;
  }

  /** Who began or stopped to type in a room after an ephemeral count; undefined when that is too long ago to say. */
  changedSince(roomNid: number, count: number): readonly string[] | undefined {
    const { changes, floor } = this.#shown.get(roomNid) ?? { changes: [], floor: 0 };
    return count < floor ? undefined : changes.filter(({ at }) => at > count).map(({ userId }) => userId);
  }

  /**
   * A user of this server begins, continues or stops to type.
   *
   * @param timeoutMs after how long without a further request they count as having stopped; at most two minutes
   * @throws MatrixError M_FORBIDDEN when they are not in the room
   */
  async set(userId: string, roomId: string, typing: boolean, timeoutMs: number = DEFAULT_TIMEOUT_MS): Promise<void> {
    const room = await this.#rooms.byId(roomId);
    if (room?.isJoined(userId) !== true)
      throw new MatrixError('M_FORBIDDEN', 'Only those who are in a room can type there.');
    if (!typing || timeoutMs <= 0 || this.#shadowBans.has(userId)) {
      this.stop(room, userId);
      return;
    }
    this.#actions.note(userId);
    this.start(room, userId, timeoutMs);
  }

  /** Shows that a user types. Beyond `MAX_TYPING` it takes the place of who was heard of longest ago, of the same server if there is one. */
  start(room: Pick<Room, 'nid'>, userId: string, timeoutMs: number): void {
    let typing = this.#typing.get(room.nid);
    if (typing === undefined) this.#typing.set(room.nid, (typing = new Map<string, Timer>()));
    const before = typing.get(userId);
    before?.cancel();
    typing.delete(userId);
    const longest = typing.size < MAX_TYPING ? undefined : longestTyping(typing, userId);
    if (longest !== undefined) this.stop(room, longest);
    typing.set(
      userId,
      this.#timers.after(Math.min(timeoutMs, MAX_TIMEOUT_MS), () => this.stop(room, userId)),
    );
    if (before === undefined) this.#show(room.nid, typing, userId);
  }

  stop(room: Pick<Room, 'nid'>, userId: string): void {
    const typing = this.#typing.get(room.nid);
    const timer = typing?.get(userId);
    if (typing === undefined || timer === undefined) return;
    timer.cancel();
    typing.delete(userId);
    if (typing.size === 0) this.#typing.delete(room.nid);
    this.#show(room.nid, typing, userId);
  }

  #show(roomNid: number, typing: ReadonlyMap<string, Timer>, changed: string): void {
    const before = this.#shown.get(roomNid);
    const at = this.#ephemeral.next();
    const changes = [...(before?.changes ?? []).filter(({ userId }) => userId !== changed), { userId: changed, at }];
    const forgotten = changes.length > CHANGES ? changes.shift() : undefined;
    const floor = forgotten?.at ?? before?.floor ?? 0;
    this.#shown.set(roomNid, { typing: { users: [...typing.keys()], at }, changes, floor });
    this.changed.emit({ roomNid, userId: changed, isTyping: typing.has(changed) });
  }
}

const longestTyping = (typing: ReadonlyMap<string, Timer>, userId: string): string | undefined => {
  const names = [...typing.keys()];
  const server = domainOf(userId);
  return names.find((name) => domainOf(name) === server) ?? names[0];
};
