import type { Clock } from '#src/kernel/clock.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { Member } from '#src/services/room-model/room/membership.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { RoomStub } from '#src/services/room-model/room/room-stub.ts';
import type { MembershipPast } from '#src/services/reading/visibility/membership-past.ts';
import { ignoredBy } from '#src/services/user-data/account-data/ignored-users.ts';
import { inviteRulesOf } from '#src/services/user-data/account-data/invite-permission.ts';
import type { UserAccountData } from '#src/services/user-data/account-data/user-account-data.ts';
import type { Database } from '#src/storage/database.ts';
import { sentByOthers } from '#src/storage/room-model/event-reads.ts';
import type { SyncUser } from '../engine/sync-user.ts';
import type { ConnectionState } from './connection.ts';
import { factsOf, type ListedRoom, type RoomFacts } from './room-lists.ts';
import type { SlidingRequest } from './sliding-request.ts';

export interface NotJoinedRoomsOptions {
  readonly database: Database;
  readonly rooms: RoomRegistry;
  readonly loader: EventLoader;
  readonly past: MembershipPast;
  readonly clock: Clock;
}

/** Rooms of a user in which they are not joined. */
export interface NotJoined {
  /** Those of their lists: invites, knocks, and rooms from which they were kicked or banned. */
  readonly listed: readonly ListedRoom[];
  /** Those that they left and the client does not know of, or asks for by name. */
  readonly left: readonly ListedRoom[];
}

const NO_ROOMS: NotJoined = { listed: [], left: [] };

const isOut = ({ membership }: Member): boolean => membership === 'leave' || membership === 'ban';

/**
 * Finds the rooms of a user's lists in which they are not joined. "Rooms the user has been kicked or banned from will always be included in the
 * server list", those that they left themselves if the connection has told of them. MSC4186, "Lists".
 */
export class NotJoinedRooms {
  readonly #options: NotJoinedRoomsOptions;
  /** Room -> the event that removed the user, and whether others sent it: for users in use. */
  readonly #kickedOrBanned = new WeakMap<
    SyncUser,
    Map<number, { readonly event: number; readonly byOthers: boolean }>
  >();

  constructor(options: NotJoinedRoomsOptions) {
    this.#options = options;
  }

  async find(
    user: SyncUser,
    data: UserAccountData,
    { userId, subscriptions }: SlidingRequest,
    state: ConnectionState,
  ): Promise<NotJoined> {
    const byOthers = await this.#byOthers(user);
    const named = await this.#named(user, subscriptions.keys());
    const wanted = [...user.memberships].filter(([nid, member]) => {
      if (!isOut(member)) return member.membership !== 'join';
      const sent = state.rooms.get(nid);
      return byOthers.has(nid) || (sent !== undefined && sent.membership !== member.membership) || named.has(nid);
    });
    if (wanted.length === 0) return NO_ROOMS;
    const { clock, loader, past, rooms } = this.#options;
    const members: { readonly room: RoomStub; readonly member: Member; readonly facts: RoomFacts }[] = [];
    const stubs = await rooms.stubs(wanted.map(([nid]) => nid));
    // Only the room knows that it was forgotten just now.
    const visiting = rooms.visit(stubs.values(), (room) => {
      const member = room.member(userId);
      if (member !== undefined && member.membership !== 'join')
        members.push({ room: room.stub, member, facts: factsOf(room) });
    });
    if (visiting !== undefined) await visiting;
    const events = await loader.load(
      members.flatMap(({ room, member }) => (member.event === 0 ? [] : [{ room, nid: member.event }])),
    );
    const ignored = ignoredBy(data);
    const rules = inviteRulesOf(data);
    const isShown = (inviter: string): boolean => !ignored.has(inviter) && rules.fateOf(inviter) === 'shown';
    const listed: ListedRoom[] = [];
    const left: ListedRoom[] = [];
    const mayHaveJoined = members.filter(
      ({ room, member }) => isOut(member) && !member.forgotten && (byOthers.has(room.nid) || named.has(room.nid)),
    );
    const untils = await past.joinedUntilOf(mayHaveJoined);
    const hadJoined = new Set(mayHaveJoined.filter((_, index) => (untils[index] ?? 0) > 0).map(({ room }) => room));
    for (const { room, member, facts } of members) {
      const event = events.get(member.event);
      // For a user who is not joined, a room is as recent as their invite, knock or leave.
      const bumpStamp = Math.min(event?.pdu.origin_server_ts ?? 0, clock.now());
      const one = { room, member, facts, bumpStamp, activity: bumpStamp };
      if (member.membership === 'invite') {
        if (event === undefined ? !rules.refusesAll : isShown(event.sender)) listed.push(one);
      } else if (!isOut(member)) listed.push(one);
      else if (byOthers.has(room.nid) && hadJoined.has(room)) listed.push(one);
      else if (state.rooms.has(room.nid) || (named.has(room.nid) && hadJoined.has(room))) left.push(one);
    }
    return { listed, left };
  }

  /** Of rooms that are asked for by name, those that the user is out of. */
  async #named(user: SyncUser, roomIds: Iterable<string>): Promise<ReadonlySet<number>> {
    const found = new Set<number>();
    if (![...user.memberships.values()].some(isOut)) return found;
    const joined = new Set(Array.from(user.joined.values(), ({ roomId }) => roomId));
    for (const roomId of roomIds) {
      const room = joined.has(roomId) ? undefined : await this.#options.rooms.byId(roomId);
      const member = room && user.memberships.get(room.nid);
      if (room !== undefined && member !== undefined && isOut(member)) found.add(room.nid);
    }
    return found;
  }

  /** Rooms from which the user was kicked or banned; read once for each of them. */
  async #byOthers(user: SyncUser): Promise<ReadonlySet<number>> {
    let known = this.#kickedOrBanned.get(user);
    if (known === undefined) this.#kickedOrBanned.set(user, (known = new Map()));
    const out = [...user.memberships].filter(([, member]) => isOut(member) && !member.forgotten);
    const unknown = out.filter(([nid, member]) => known.get(nid)?.event !== member.event);
    if (unknown.length > 0) {
      const places = unknown.map(([room, member]) => ({ room, nid: member.event }));
      const others = await sentByOthers(this.#options.database, places, unknown[0]?.[1].user ?? 0);
      for (const [nid, { event }] of unknown) known.set(nid, { event, byOthers: others.has(nid) });
    }
    return new Set(out.filter(([nid]) => known.get(nid)?.byOthers === true).map(([nid]) => nid));
  }
}
