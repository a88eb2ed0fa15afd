import type { Logger } from '#src/kernel/logger.ts';
import { isJsonObject, type JsonObject } from '#src/protocol/json/json-value.ts';
import type { AccountDataService } from '#src/services/user-data/account-data/account-data-service.ts';
import type { CommittedEvent, RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { TagService } from '#src/services/user-data/tags/tag-service.ts';

const DIRECT = 'm.direct';

/** What users of this server hear of a room. */
export interface RoomPushRules {
  /** Which of these users have rules of their own; the others have the default ones. */
  withOwnRules(userIds: readonly string[]): Promise<readonly string[]>;
  /** Makes the rules that name one room hold for another one too. */
  copyRoom(userId: string, from: string, to: string): Promise<void>;
}

export interface RoomSuccessionOptions {
  readonly stream: RoomEventStream;
  readonly rooms: RoomRegistry;
  readonly accountData: AccountDataService;
  readonly tags: TagService;
  readonly pushRules: RoomPushRules;
  readonly logger: Logger;
}

/**
 * Carries what users of this server said of a room over to its successor, wherever the upgrade was made: push rules as soon as the
 * old room names its successor, tags, direct chats (and rules made since) when the user joins it. Client-Server API, "Room Upgrades".
 */
export class RoomSuccession {
  readonly #options: RoomSuccessionOptions;
  readonly #running = new Set<Promise<void>>();

  constructor(options: RoomSuccessionOptions) {
    this.#options = options;
    options.stream.on('appended', ({ room, events }) => {
      for (const event of events) this.#look(room, event);
    });
  }

  /** Resolves when everything that was begun is done. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  #look(room: Room, { event, member }: CommittedEvent): void {
    if (event.type === 'm.room.tombstone' && event.stateKey === '') {
      const successor = event.content['replacement_room'];
      if (typeof successor === 'string') this.#run(room, () => this.#rules(room, successor));
      return;
    }
    if (member?.after.membership !== 'join' || !member.after.local || member.before?.membership === 'join') return;
    const predecessor = room.stateEvent('m.room.create')?.content['predecessor'];
    const old = isJsonObject(predecessor) ? predecessor['room_id'] : undefined;
    if (typeof old === 'string') this.#run(room, () => this.#joined(room, old, member.after.userId));
  }

  async #rules(room: Room, successor: string): Promise<void> {
    const { pushRules } = this.#options;
    const members = [...room.members.values()]
      .filter(({ local, membership }) => local && membership === 'join')
      .map(({ userId }) => userId);
    for (const userId of await pushRules.withOwnRules(members)) {
      await pushRules.copyRoom(userId, room.roomId, successor);
    }
  }

  async #joined(room: Room, oldRoomId: string, userId: string): Promise<void> {
    const { accountData, rooms, tags, pushRules } = this.#options;
    const old = await rooms.byId(oldRoomId);
    // Only who was in the old room said anything of it; a room that merely claims to be its successor changes nothing for others.
    if (old?.member(userId) === undefined) return;
    await pushRules.copyRoom(userId, oldRoomId, room.roomId);
    await tags.copy(userId, old.nid, room.nid);
    await accountData.update(userId, 0, DIRECT, (content) => withSuccessor(content, oldRoomId, room.roomId));
  }

  #run(room: Room, work: () => Promise<void>): void {
    const running = work()
      .catch((err: unknown) =>
        this.#options.logger.error('what users said of an upgraded room was not carried over', {
          room: room.roomId,
          err,
        }),
      )
      .finally(() => this.#running.delete(running));
    this.#running.add(running);
  }
}

/** `m.direct` with a room's successor wherever it names the room; undefined when it names it nowhere, or the successor already. */
const withSuccessor = (direct: JsonObject | undefined, old: string, successor: string): JsonObject | undefined => {
  let isNew = false;
  const entries = Object.entries(direct ?? {}).map(([userId, rooms]) => {
    if (!Array.isArray(rooms) || !rooms.includes(old) || rooms.includes(successor)) return [userId, rooms] as const;
    isNew = true;
    return [userId, [...rooms, successor]] as const;
  });
  return isNew ? Object.fromEntries(entries) : undefined;
};
