import { pageLimit } from '#src/kernel/limits/page-limit.ts';
import type { IgnoredUsers } from '#src/services/user-data/account-data/ignored-users.ts';
import { setImmediate } from 'node:timers/promises';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { AccountDataService } from '#src/services/user-data/account-data/account-data-service.ts';
import type { AccountDataEntry } from '#src/services/user-data/account-data/user-account-data.ts';
import type { PresenceService } from '#src/services/ephemeral/presence/presence-service.ts';
import type { ClientEvents, Reader } from '#src/services/reading/client-events/client-events.ts';
import type { History } from '#src/services/reading/history/history.ts';
import { type Membership, membershipOfCode } from '#src/services/room-model/room/membership.ts';
import type { RoomAccess } from '#src/services/reading/access/room-access.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { RoomState } from '#src/services/reading/state/room-state.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Database } from '#src/storage/database.ts';
import { roomsOfUser } from '#src/storage/room-model/member-rows.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import type { LargeSyncs } from '../engine/large-syncs.ts';
import type { EventStream } from './event-stream.ts';
import type { Invitations } from './invitations.ts';

export const MAX_LIMIT = 100;
const PAGE = { usual: 10, greatest: MAX_LIMIT };

/** About how many bytes a member event has. */
const BYTES_OF_MEMBER = 500;

export interface InitialSyncOptions {
  /** Bytes of all rooms of an answer. */
  readonly maxBytes: number;
  readonly largeSyncs: Pick<LargeSyncs, 'run'>;
  readonly database: Database;
  readonly interner: Interner;
  readonly rooms: RoomRegistry;
  readonly access: RoomAccess;
  readonly history: History;
  readonly roomState: RoomState;
  readonly clientEvents: ClientEvents;
  readonly accountData: AccountDataService;
  readonly presence: PresenceService;
  readonly ignoredUsers: IgnoredUsers;
  readonly invitations: Invitations;
  readonly stream: EventStream;
}

/** A room at one moment: everything that is an event is JSON text. */
export interface RoomSnapshot {
  readonly roomId: string;
  /** Undefined for a reader who never was a member. */
  readonly membership: Membership | undefined;
  readonly visibility: 'public' | 'private';
  /** Undefined while the user is invited or knocks: then there is only the invite. */
  readonly contents:
    | {
        /** Oldest first. */
        readonly chunk: readonly string[];
        /** Where earlier events are; undefined at the beginning of the room. */
        readonly start: string | undefined;
        readonly end: string;
        readonly state: readonly string[];
        readonly accountData: readonly string[];
      }
    | undefined;
  readonly invite: string | undefined;
}

/** All rooms of a user at one moment. */
export interface AllRooms {
  readonly end: string;
  /** One at a time: a user in large rooms is told megabytes, and others have their turn in between. */
  readonly rooms: AsyncIterable<RoomSnapshot>;
  readonly presence: readonly string[];
  readonly accountData: readonly string[];
}

/** Rooms as they are now, with their newest messages, and a token from which `EventStream` continues. */
export class InitialSync {
  readonly #options: InitialSyncOptions;

  constructor(options: InitialSyncOptions) {
    this.#options = options;
  }

  /** One room, for present and former members, and for every user when it is world-readable. @throws MatrixError M_FORBIDDEN */
  async room(reader: Reader, roomId: string, limit: number | undefined): Promise<RoomSnapshot> {
    const { room } = await this.#options.access.reading(roomId, reader.userId);
    this.#remaining(this.#options.maxBytes, bytesOfState(room));
    const data = await this.#accountData(reader.userId);
    return this.#snapshot(reader, room, limit, this.#options.stream.now(), data);
  }

  /**
   * All rooms of a user.
   *
   * @param archived those that they left as well
   * @param signal of the request
   * @throws MatrixError M_TOO_LARGE; M_LIMIT_EXCEEDED when too many such answers are waited for; ClientGone
   */
  all(reader: Reader, limit: number | undefined, archived: boolean, signal: AbortSignal): Promise<AllRooms> {
    return this.#options.largeSyncs.run({ userId: reader.userId, signal }, () => this.#all(reader, limit, archived));
  }

  async #all(reader: Reader, limit: number | undefined, archived: boolean): Promise<AllRooms> {
    const { database, ignoredUsers, interner, rooms, stream } = this.#options;
    const end = stream.now();
    const snapshots: RoomSnapshot[] = [];
    const companions = new Set([reader.userId]);
    const ignored = await ignoredUsers.of(reader.userId);
    const data = await this.#accountData(reader.userId);
    const memberships = await roomsOfUser(database, await interner.userNid(reader.userId));
    let left = this.#options.maxBytes;
    for (let at = 0; at < memberships.length;) {
      const { looked, rooms: loaded } = await rooms.loadSome(memberships.slice(at).map((row) => row.room));
      for (const { room: nid, membership: code, forgotten } of memberships.slice(at, at + looked)) {
        const room = loaded.get(nid);
        const membership = membershipOfCode(code);
        if (room === undefined) continue;
        // Where all is in memory nothing else would have its turn before the last of them.
        await setImmediate();
        if (membership === 'join') {
          left = this.#remaining(left, bytesOfState(room));
          // Old clients need all members at once: a room with partial state is left out until it is complete.
          if (room.partial !== undefined) continue;
          for (const member of room.members.values()) if (member.membership === 'join') companions.add(member.userId);
          const snapshot = await this.#snapshot(reader, room, limit, end, data);
          left = this.#remaining(left, bytesBesideState(snapshot));
          snapshots.push(snapshot);
        } else if (membership === 'invite') {
          const invite = await this.#invite(reader, room);
          if (invite !== undefined) snapshots.push(invite);
        } else if (archived && !forgotten && membership !== 'knock') {
          const snapshot = await this.#archived(reader, room, limit, end, data);
          if (snapshot === undefined) continue;
          left = this.#remaining(left, bytesBesideState(snapshot) + lengthOf(snapshot.contents?.state));
          snapshots.push(snapshot);
        }
      }
      at += looked;
    }
    return {
      end,
      rooms: inTurns(snapshots),
      presence: this.#presence([...companions].filter((userId) => !ignored.has(userId))),
      accountData: accountDataTexts(data, 0),
    };
  }

  /**
   * How many bytes are left for other rooms. This answer has no next page.
   *
   * @throws MatrixError M_TOO_LARGE
   */
  #remaining(bytes: number, taken: number): number {
    if (taken > bytes)
      throw new MatrixError('M_TOO_LARGE', 'There is too much for one answer: use /sync, which tells it in parts.');
    return bytes - taken;
  }

  /** A room that the user left; undefined when they never were in it, but declined an invite, or were banned. */
  async #archived(
    reader: Reader,
    room: Room,
    limit: number | undefined,
    end: string,
    data: AccountDataByRoom,
  ): Promise<RoomSnapshot | undefined> {
    try {
      return await this.#snapshot(reader, room, limit, end, data);
    } catch (error) {
      if (error instanceof MatrixError && error.errcode === 'M_FORBIDDEN') return undefined;
      throw error;
    }
  }

  async #snapshot(
    reader: Reader,
    room: Room,
    limit: number | undefined,
    end: string,
    data: AccountDataByRoom,
  ): Promise<RoomSnapshot> {
    const { history, roomState } = this.#options;
    const { roomId } = room;
    const most = Math.max(pageLimit(limit, PAGE), 0);
    // Events before the token: later ones come with the event stream.
    const page = await history.messages(roomId, reader, {
      dir: 'b',
      from: end,
      limit: most,
    });
    const state = await roomState.all(roomId, reader.userId);
    return {
      roomId,
      membership: room.member(reader.userId)?.membership,
      visibility: room.isPublic ? 'public' : 'private',
      contents: {
        chunk: page.chunk.toReversed(),
        start: page.end,
        end,
        state: await roomState.writeOf(roomId, reader.userId, state),
        accountData: accountDataTexts(data, room.nid),
      },
      invite: undefined,
    };
  }

  async #invite(reader: Reader, room: Room): Promise<RoomSnapshot | undefined> {
    const { clientEvents, invitations } = this.#options;
    const [invite] = await clientEvents.write(room, reader, await invitations.since(room, reader.userId, 0));
    if (invite === undefined) return undefined;
    const visibility = room.isPublic ? 'public' : 'private';
    return { roomId: room.roomId, membership: 'invite', visibility, contents: undefined, invite };
  }

  /** Account data by room; 0 for what is of none. */
  async #accountData(userId: string): Promise<AccountDataByRoom> {
    const data = await this.#options.accountData.load(userId);
    return Map.groupBy(data.entries(), ({ roomNid }) => roomNid);
  }

  #presence(userIds: Iterable<string>): string[] {
    const events: string[] = [];
    for (const userId of userIds) {
      const content = this.#options.presence.presenceOf(userId)?.content;
      if (content !== undefined) events.push(JSON.stringify({ type: 'm.presence', sender: userId, content }));
    }
    return events;
  }
}

type AccountDataByRoom = ReadonlyMap<number, readonly AccountDataEntry[]>;

const accountDataTexts = (data: AccountDataByRoom, roomNid: number): string[] =>
  (data.get(roomNid) ?? []).map(({ json, type }) => `{"type":${JSON.stringify(type)},"content":${json}}`);

const bytesOfState = (room: Room): number => room.stateBytes() + BYTES_OF_MEMBER * room.members.size;

const lengthOf = (texts: readonly string[] = []): number => texts.reduce((sum, text) => sum + text.length, 0);

const bytesBesideState = ({ contents }: RoomSnapshot): number =>
  lengthOf(contents?.chunk) + lengthOf(contents?.accountData);

/** Each in a turn of the event loop of its own. */
async function* inTurns(rooms: readonly RoomSnapshot[]): AsyncGenerator<RoomSnapshot, void> {
  for (const room of rooms) {
    yield room;
    await setImmediate();
  }
}
