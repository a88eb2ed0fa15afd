import { TurnCollector } from '#src/kernel/concurrency/turn-collector.ts';
import type { Appended, Deleted, RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import { type Member, membershipOfCode } from '#src/services/room-model/room/membership.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { RoomStub } from '#src/services/room-model/room/room-stub.ts';
import type { Database } from '#src/storage/database.ts';
import { roomsInSync } from '#src/storage/room-model/member-rows.ts';
import type { RoomStubRecord } from '#src/storage/room-model/room-rows.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import type { Waker } from './section.ts';
import { EVERY_SECTION, NO_SECTION, SyncUser } from './sync-user.ts';

/** Users kept although they do not wait. */
const KEEP_USERS = 10_000;
/** Users that are checked for eviction for each one that is added. */
const EVICT_LOOKS = 4;
/** Users woken in one turn of the event loop. */
const WAKE_SLICE = 200;

export interface SyncUsersOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly rooms: RoomRegistry;
  readonly stream: RoomEventStream;
}

interface UserEntry {
  readonly user: SyncUser;
  ready: Promise<void>;
  isReady: boolean;
}

/** What became of a user's membership; undefined where the room was deleted. */
interface MembershipChange {
  readonly room: number;
  readonly member: Member | undefined;
}

/** Whether events change who is in the room, or may have: whether they are more than messages. */
const changesWho = (events: Appended['events'], resolvedMembers: Appended['resolvedMembers']): boolean =>
  (resolvedMembers?.length ?? 0) > 0 ||
  events.some(({ event, member }) => member !== undefined || event.isState || event.currentState !== undefined);

/** The users who sync. Commits mark them; each marked user is woken once per commit. */
export class SyncUsers implements Waker {
  readonly #database: Database;
  readonly #interner: Interner;
  readonly #rooms: RoomRegistry;
  readonly #users = new Map<string, UserEntry>();
  readonly #byRoom = new Map<number, Set<SyncUser>>();
  /** What is committed while a user's memberships are being read. */
  readonly #early = new Map<string, MembershipChange[]>();
  /** By section: users with news for others whose rooms are still being read. */
  readonly #unsure: number[] = [];
  /** Woken after everything that a turn of the event loop brings: all that a batch of the writer published is one piece of news. */
  readonly #toWake = new TurnCollector<SyncUser>((user) => user.wake(), WAKE_SLICE);

  constructor(options: SyncUsersOptions) {
    this.#database = options.database;
    this.#interner = options.interner;
    this.#rooms = options.rooms;
    options.stream.on('appended', (appended) => {
      this.#onEvents(appended);
    });
    options.stream.on('revealed', ({ room }) => {
      this.room(room.nid);
    });
    options.stream.on('completed', ({ room }) => {
      this.room(room.nid);
    });
    options.stream.on('deleted', (deleted) => {
      this.#onDeleted(deleted);
    });
  }

  /** Removes a deleted room from all users. */
  #onDeleted({ room, localUsers }: Deleted): void {
    for (const userId of localUsers) {
      this.#changed(userId, { room: room.nid, member: undefined });
    }
  }

  /** How many users are in memory, and how many of them are syncing at this moment. */
  get count(): { readonly known: number; readonly syncing: number } {
    let syncing = 0;
    for (const { user } of this.#users.values()) if (user.isInUse) syncing += 1;
    return { known: this.#users.size, syncing };
  }

  /** @param section who wakes, by its number; when left out, every section may have something to tell */
  user(userId: string, section = EVERY_SECTION): void {
    this.#mark(this.#users.get(userId)?.user, section);
  }

  userForAll(userId: string): void {
    this.user(userId);
  }

  room(roomNid: number, section = EVERY_SECTION): void {
    for (const user of this.#byRoom.get(roomNid) ?? []) this.#mark(user, section);
  }

  companions(userId: string, section = EVERY_SECTION): void {
    const mark = (user: SyncUser): void => {
      this.#mark(user, section);
      for (const nid of user.joined.keys()) this.room(nid, section);
    };
    const entry = this.#users.get(userId);
    if (entry?.isReady === true) {
      mark(entry.user);
      return;
    }
    // Their rooms are still being read: until then any user may share one with them.
    const count = (by: 1 | -1): void => void (this.#unsure[section] = (this.#unsure[section] ?? 0) + by);
    count(1);
    this.open(userId).then(
      (user) => {
        mark(user);
        count(-1);
      },
      () => {
        // The readers stay unknown: each user's next sync looks. No request is woken for it, since what failed is the database.
        for (const { user } of this.#users.values()) user.mark(section);
        count(-1);
      },
    );
  }

  /** The same for one section, by its number. */
  wakerOf(section: number): Waker {
    return {
      user: (userId) => this.user(userId, section),
      userForAll: (userId) => this.user(userId),
      room: (roomNid) => this.room(roomNid, section),
      companions: (userId) => this.companions(userId, section),
    };
  }

  /** Whether a section may have something to tell a user that came after a version of theirs. */
  mayHaveNews(user: SyncUser, section: number, version: number): boolean {
    return (
      user.isWokenSince(section, version) || (this.#unsure[section] ?? 0) > 0 || (this.#unsure[EVERY_SECTION] ?? 0) > 0
    );
  }

  /** A user who is in memory. */
  peek(userId: string): SyncUser | undefined {
    const entry = this.#users.get(userId);
    if (entry?.isReady !== true) return undefined;
    // A user in use is not evicted, however long ago they were asked for.
    if (!entry.user.isInUse) this.#touch(userId, entry);
    return entry.user;
  }

  /** A user with all their memberships. */
  async open(userId: string): Promise<SyncUser> {
    let entry = this.#users.get(userId);
    if (entry === undefined) {
      const user = new SyncUser(userId);
      const created = { user, ready: Promise.resolve(), isReady: false };
      created.ready = this.#load(user).then(
        () => {
          created.isReady = true;
        },
        (error: unknown) => {
          this.#forget(user);
          throw error;
        },
      );
      entry = created;
      this.#users.set(userId, entry);
      this.#evict();
    } else {
      this.#touch(userId, entry);
    }
    if (!entry.isReady) await entry.ready;
    return entry.user;
  }

  /** Most recently used last: the others go first when there are too many. */
  #touch(userId: string, entry: UserEntry): void {
    this.#users.delete(userId);
    this.#users.set(userId, entry);
  }

  async #load(user: SyncUser): Promise<void> {
    const early: MembershipChange[] = [];
    // Changes that are committed while we read come in here, and are applied to what was read.
    this.#early.set(user.userId, early);
    const nid = await this.#interner.userNid(user.userId);
    const stubs = await this.#rooms.stubsRead(async (stubOf) => {
      const found: RoomStub[] = [];
      for (const row of await roomsInSync(this.#database, nid)) {
        user.memberships.set(row.room, {
          userId: user.userId,
          user: nid,
          membership: membershipOfCode(row.membership),
          event: row.event,
          since: row.since,
          local: row.local,
          forgotten: row.forgotten,
        });
        const stub = row.nid === null ? undefined : stubOf(row as RoomStubRecord);
        if (stub !== undefined) found.push(stub);
      }
      return found;
    });
    this.#early.delete(user.userId);
    for (const stub of stubs) {
      // The room in memory knows what was committed in the meantime.
      const member = this.#rooms.glance(stub.nid)?.member(user.userId);
      if (member !== undefined) user.memberships.set(stub.nid, member);
      if (user.memberships.get(stub.nid)?.membership !== 'join') continue;
      user.joined.set(stub.nid, stub);
      this.#subscribe(user, stub.nid);
    }
    for (const change of early) this.#changeMembership(user, change);
  }

  #onEvents({ room, events, resolvedMembers }: Appended): void {
    for (const member of [...events.map((one) => one.member), ...(resolvedMembers ?? [])]) {
      if (member === undefined || !member.after.local) continue;
      this.#changed(member.after.userId, { room: room.nid, member: member.after });
    }
    this.room(room.nid, changesWho(events, resolvedMembers) ? EVERY_SECTION : NO_SECTION);
  }

  #changed(userId: string, change: MembershipChange): void {
    const user = this.#users.get(userId)?.user;
    if (user === undefined) return;
    const early = this.#early.get(userId);
    if (early === undefined) this.#changeMembership(user, change);
    else early.push(change);
    this.#mark(user, EVERY_SECTION);
  }

  #changeMembership(user: SyncUser, { room: roomNid, member }: MembershipChange): void {
    if (member === undefined) user.memberships.delete(roomNid);
    else user.memberships.set(roomNid, member);
    const stub = this.#rooms.peek(roomNid)?.stub;
    if (member?.membership === 'join' && stub !== undefined) {
      user.joined.set(roomNid, stub);
      this.#subscribe(user, roomNid);
    } else {
      user.joined.delete(roomNid);
      this.#unsubscribe(user, roomNid);
    }
  }

  #subscribe(user: SyncUser, roomNid: number): void {
    const users = this.#byRoom.get(roomNid);
    if (users === undefined) this.#byRoom.set(roomNid, new Set([user]));
    else users.add(user);
  }

  #unsubscribe(user: SyncUser, roomNid: number): void {
    const users = this.#byRoom.get(roomNid);
    users?.delete(user);
    if (users?.size === 0) this.#byRoom.delete(roomNid);
  }

  #mark(user: SyncUser | undefined, section: number): void {
    if (user === undefined) return;
    user.mark(section);
    if (user.isWaiting) this.#toWake.add(user);
  }

  /** Evicts users that were not asked for lately. Those in use go to the other end of the line: each is looked at once a round. */
  #evict(): void {
    for (let looked = 0; this.#users.size > KEEP_USERS && looked < EVICT_LOOKS; looked++) {
      const [oldest] = this.#users;
      if (oldest === undefined) return;
      const [userId, entry] = oldest;
      this.#users.delete(userId);
      if (entry.isReady && !entry.user.isInUse) this.#forget(entry.user);
      else this.#users.set(userId, entry);
    }
  }

  #forget(user: SyncUser): void {
    this.#users.delete(user.userId);
    this.#early.delete(user.userId);
    for (const nid of user.joined.keys()) this.#unsubscribe(user, nid);
  }
}
