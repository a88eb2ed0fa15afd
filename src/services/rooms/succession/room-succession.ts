import { copyRoomRules, moveToSuccessor } from '#src/jobs/definitions.ts';
import { type JobRequest, requestJob } from '#src/jobs/job-definition.ts';
import { successorIn } from '#src/protocol/content/tombstone.ts';
import { TOMBSTONE } from '#src/protocol/events/event-types.ts';
import { isJsonObject, type JsonObject } from '#src/protocol/json/json-value.ts';
import type { FollowUp } from '#src/services/events/building/follow-ups.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { AccountDataService } from '#src/services/user-data/account-data/account-data-service.ts';
import type { TagService } from '#src/services/user-data/tags/tag-service.ts';

const DIRECT = 'm.direct';

/** Push rules of users of this server for single rooms. */
export interface RoomPushRules {
  /** Which of these users have rules of their own; the others have the default ones. */
  withOwnRules(userIds: readonly string[]): Promise<readonly string[]>;
  /** Makes the rules that name one room hold for another one too. */
  copyRoom(userId: string, from: string, to: string): Promise<void>;
}

/** A tombstone copies push rules to the successor that it names; a join carries the user's settings over from the predecessor. */
export const successionFollowUp: FollowUp = ({ room, state, members }) => {
  const jobs: JobRequest[] = [];
  for (const { content, stateKey, type } of state) {
    const successor = type === TOMBSTONE && stateKey === '' ? successorIn(content) : undefined;
    if (successor !== undefined) jobs.push(requestJob(copyRoomRules, { room: room.nid, successor }));
  }
  for (const { after, before, local, userId } of members) {
    if (!local || after !== 'join' || before === 'join' || predecessorOf(room) === undefined) continue;
    jobs.push(requestJob(moveToSuccessor, { room: room.nid, userId }));
  }
  return jobs;
};

/** The room whose successor a room says it is. */
const predecessorOf = (room: Room): string | undefined => {
  const predecessor = room.headState('m.room.create', '')?.event?.content['predecessor'];
  const roomId = isJsonObject(predecessor) ? predecessor['room_id'] : undefined;
  return typeof roomId === 'string' ? roomId : undefined;
};

export interface RoomSuccessionOptions {
  readonly rooms: RoomRegistry;
  readonly accountData: AccountDataService;
  readonly tags: TagService;
  readonly pushRules: RoomPushRules;
}

/**
 * Carries users' settings for a room over to its successor, whichever server upgraded it: push rules as soon as the
 * old room names its successor, tags, direct chats (and rules made since) when the user joins it. Client-Server API, "Room Upgrades".
 */
export class RoomSuccession {
  readonly #options: RoomSuccessionOptions;

  constructor(options: RoomSuccessionOptions) {
    this.#options = options;
  }

  /**
   * Copies the push rules of all who are in a room to its successor.
   *
   * @returns false when it was broken off because of the signal
   */
  async copyRules(roomNid: number, successor: string, signal: AbortSignal): Promise<boolean> {
    const { pushRules, rooms } = this.#options;
    const room = await rooms.byNid(roomNid);
    const members = [...(room?.members.values() ?? [])].filter(
      ({ local, membership }) => local && membership === 'join',
    );
    if (room === undefined) return true;
    for (const userId of await pushRules.withOwnRules(members.map((member) => member.userId))) {
      if (signal.aborted) return false;
      await pushRules.copyRoom(userId, room.roomId, successor);
    }
    return true;
  }

  /** Carries push rules, tags and direct chats over to the room that a user has joined. */
  async moveUser(roomNid: number, userId: string): Promise<void> {
    const { accountData, rooms, tags, pushRules } = this.#options;
    const room = await rooms.byNid(roomNid);
    const oldRoomId = room === undefined ? undefined : predecessorOf(room);
    const old = oldRoomId === undefined ? undefined : await rooms.byId(oldRoomId);
    // Only who was in the old room said anything of it; a room that merely claims to be its successor changes nothing for others.
    if (room === undefined || old?.member(userId) === undefined) return;
    await pushRules.copyRoom(userId, old.roomId, room.roomId);
    await tags.copy(userId, old.nid, room.nid);
    await accountData.update(userId, 0, DIRECT, (content) => withSuccessor(content, old.roomId, room.roomId));
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
