import type { Eventually } from '#src/kernel/concurrency/steps.ts';
import { IGNORED_USER_LIST } from '#src/services/user-data/account-data/ignored-users.ts';
import {
  INVITE_FILTER,
  INVITE_PERMISSION,
  type InviteRules,
  inviteRulesOf,
} from '#src/services/user-data/account-data/invite-permission.ts';
import type { UserAccountData } from '#src/services/user-data/account-data/user-account-data.ts';
import { covers, type SyncPosition } from '#src/protocol/wire/position.ts';
import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import { StateChain } from '#src/services/room-model/state/state-chain.ts';
import type { MembershipPast } from '#src/services/reading/visibility/membership-past.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import { isPending, type Member } from '#src/services/room-model/room/membership.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Database } from '#src/storage/database.ts';
import { sentByOthers } from '#src/storage/room-model/event-reads.ts';
import type { PastStates } from './past-states.ts';
import type { RejoinedRooms } from './rejoined-rooms.ts';
import { asUnread, isInMemory, type PlannedRoom, type RoomPlan } from './room-plan.ts';
import type { SectionRequest } from './section.ts';

/** Rooms that a plan keeps in memory until they are written. */
const MAX_ROOMS_HELD = 1_000;

export interface PlannerOptions {
  readonly database: Database;
  readonly rooms: RoomRegistry;
  readonly loader: EventLoader;
  readonly states: Pick<PastStates, 'at'>;
  readonly past: MembershipPast;
  readonly rejoined: RejoinedRooms;
}

/** Content of a response, fixed in one turn of the event loop: everything up to one position. */
export interface SyncPlan {
  readonly position: SyncPosition;
  readonly joined: readonly PlannedRoom[];
  readonly left: ReadonlyMap<number, Member>;
  /** Rooms that the user is invited to, or knocks at. */
  readonly outside: ReadonlyMap<number, Member>;
}

/** A room that the user was in. */
interface PastMembership {
  readonly room: Room;
  readonly member: Member;
  /** Position of the end of visibility; undefined when they were not joined since the client's position. */
  readonly until: number | undefined;
  /** The client knows them as joined. */
  readonly wasKnown: boolean;
}

/** Chooses the rooms of a response, and the range of positions of each. */
export class SyncPlanner {
  readonly #options: PlannerOptions;

  constructor(options: PlannerOptions) {
    this.#options = options;
  }

  /**
   * Runs in one turn of the event loop.
   *
   * @param changed rooms in which a section has news
   * @param includes whether to include a room, by number; default all
   */
  plan(
    request: SectionRequest,
    position: SyncPosition,
    changed: ReadonlySet<number>,
    isMeant?: (nid: number) => boolean,
  ): SyncPlan {
    const { user, since, isInitial, fullState, filter, hasChanged } = request;
    // A user who allows invites again, or no longer ignores another user, gets the pending invites.
    const isOpenAgain = [IGNORED_USER_LIST, INVITE_PERMISSION, INVITE_FILTER].some(hasChanged);
    const joined: PlannedRoom[] = [];
    const left = new Map<number, Member>();
    const outside = new Map<number, Member>();
    for (const [nid, member] of user.memberships) {
      if (isMeant?.(nid) === false) continue;
      if (member.membership === 'join') {
        const stub = user.joined.get(nid);
        if (stub === undefined || !filter.room(stub.roomId)) continue;
        // With lazy loading the room is shown at once, else when its members are known.
        if (stub.partial !== undefined && !filter.lazyLoadMembers) continue;
        const isNew =
          isInitial || !covers(since, member.since) || (!filter.lazyLoadMembers && !covers(since, stub.fullSince));
        // Every position of a room belongs to the shard of the room.
        if (!isNew && !fullState && stub.lastPosition <= (since[stub.shard] ?? 0) && !changed.has(nid)) continue;
        const common = {
          member,
          section: 'join' as const,
          isFull: isNew || fullState,
          isNew: isNew && !isInitial,
          after: isNew ? 0 : (since[stub.shard] ?? 0),
          upTo: position.vector[stub.shard] ?? 0,
          onlyLeave: false,
        };
        // With very many rooms, each is loaded only when it is written.
        const room = joined.length < MAX_ROOMS_HELD ? this.#options.rooms.peek(nid) : undefined;
        joined.push(
          room === undefined ? { ...common, room: stub, end: undefined } : { ...common, room, end: room.stateChain },
        );
        continue;
      }
      const isNews = isInitial ? !member.forgotten : !covers(since, member.since);
      if (isPending(member.membership)) {
        if (isNews || (isOpenAgain && member.membership === 'invite')) outside.set(nid, member);
      } else if (isNews) left.set(nid, member);
      else if (fullState && filter.includeLeave && !member.forgotten) left.set(nid, member);
    }
    return { position, joined, left, outside };
  }

  /** The rooms of a plan, with what has to be read of the past of those that the user has left, or come back to. */
  rooms(plan: SyncPlan, request: SectionRequest, data: UserAccountData): Eventually<readonly PlannedRoom[]> {
    const isReturn = !request.isInitial && plan.joined.some(({ after }) => after === 0);
    if (plan.left.size === 0 && plan.outside.size === 0 && !isReturn) return plan.joined;
    return this.#withPast(plan, request, data);
  }

  /**
   * The first rooms of a response, and one in any case: no more are held in memory than a part of what may be there.
   *
   * @returns them, and how many of the planned ones they are: rooms that were deleted meanwhile are left out
   */
  async read(
    planned: readonly PlannedRoom[],
  ): Promise<{ readonly rooms: readonly RoomPlan[]; readonly looked: number }> {
    const { rooms, states } = this.#options;
    const unread = planned.filter((plan) => !isInMemory(plan));
    const loaded = await rooms.loadSome(unread.map(({ room }) => room.nid));
    const next = unread[loaded.looked];
    const looked = next === undefined ? planned.length : planned.indexOf(next);
    const read = planned.slice(0, looked);
    // Later events are not part of the response, nor events that arrive while past states are read.
    const chains = new Map([...loaded.rooms.values()].map((room) => [room.nid, room.stateChain]));
    const moved = read.filter(
      ({ end, room, section, upTo }) => end === undefined && (section === 'leave' || room.lastPosition > upTo),
    );
    const ends = await states.at(moved.map(({ room: { nid }, upTo }) => ({ room: nid, upTo })));
    const whole = read.flatMap((plan): RoomPlan[] => {
      if (isInMemory(plan)) return [plan];
      const room = loaded.rooms.get(plan.room.nid);
      const now = plan.section === 'leave' ? undefined : chains.get(plan.room.nid);
      const end = plan.outOfBand === undefined ? (ends.get(plan.room.nid) ?? now) : StateChain.EMPTY;
      return room === undefined || end === undefined ? [] : [{ ...plan, room, end }];
    });
    return { rooms: whole, looked };
  }

  async #withPast(plan: SyncPlan, request: SectionRequest, data: UserAccountData): Promise<readonly PlannedRoom[]> {
    const left = plan.left.size === 0 ? [] : await this.#left(plan, request);
    const joined = request.isInitial
      ? plan.joined
      : await this.#options.rejoined.resumed(request.userId, plan.joined, request.since);
    const outside = plan.outside.size === 0 ? [] : await this.#outside(plan, request, data);
    return [...joined, ...outside, ...left];
  }

  /**
   * Rooms that the user left: they are shown as they were at the leave, whatever happened to the user there afterwards. Of a room in
   * which they were not joined since the client's position, only their own membership event.
   */
  async #left(plan: SyncPlan, request: SectionRequest): Promise<PlannedRoom[]> {
    const { filter, isInitial } = request;
    const left = isInitial && !filter.includeLeave ? await this.#kickedOrBanned(plan.left) : plan.left;
    return this.#inParts([...left.keys()], (rooms) => this.#leftOf(rooms, left, request));
  }

  /** Plans rooms a part at a time. Only the first part is held until it is told: there may be more rooms than have a place in memory. */
  async #inParts(
    nids: readonly number[],
    plan: (rooms: readonly Room[]) => Promise<readonly RoomPlan[]>,
  ): Promise<PlannedRoom[]> {
    const planned: PlannedRoom[] = [];
    let isFirst = true;
    for await (const rooms of this.#options.rooms.parts(nids)) {
      const plans = await plan(rooms);
      planned.push(...(isFirst ? plans : plans.map(asUnread)));
      isFirst = false;
    }
    return planned;
  }

  async #leftOf(
    rooms: readonly Room[],
    left: ReadonlyMap<number, Member>,
    { userId, since, isInitial, fullState, filter }: SectionRequest,
  ): Promise<RoomPlan[]> {
    const { loader, past, states } = this.#options;
    const loaded = rooms.filter((room) => {
      // A forgotten room: only the room object knows yet. Clients that have not seen the leave still get it.
      const member = room.member(userId);
      const isForgotten = member?.forgotten === true && (isInitial || covers(since, member.since));
      return filter.room(room.roomId) && !isForgotten;
    });
    const afterOf = (room: Room): number => (isInitial ? 0 : (since[room.shard] ?? 0));
    const known = isInitial
      ? new Map()
      : await states.at(loaded.map((room) => ({ room: room.nid, upTo: afterOf(room) })));
    const stays: PastMembership[] = [];
    // Read together, with the events that they replaced.
    await loader.load(loaded.flatMap((room) => ({ room, nid: left.get(room.nid)?.event ?? 0 })));
    const places = loaded.flatMap((room) => {
      const member = left.get(room.nid);
      return member === undefined ? [] : [{ room, member }];
    });
    const untils = await past.joinedUntilOf(places);
    for (const [index, { member, room }] of places.entries()) {
      const until = untils[index] ?? 0;
      const wasKnown = isInitial || (await this.#options.rejoined.isJoinedIn(room, userId, known.get(room.nid)));
      // A client that knew a room which was forgotten since gets only the leave.
      const isForgotten = room.member(userId)?.forgotten === true;
      if (until > 0 && !isForgotten && (wasKnown || until > afterOf(room)))
        stays.push({ room, member, until, wasKnown });
      else stays.push({ room, member, until: undefined, wasKnown });
    }
    const ends = await states.at(
      stays.map(({ room, member, until = leftAt(member) }) => ({ room: room.nid, upTo: until })),
    );
    return stays.flatMap(({ room, member, until, wasKnown }): RoomPlan[] => {
      const outOfBand = loader.peek(member.event);
      const isOutOfBand = outOfBand !== undefined && (outOfBand.flags & EVENT_FLAGS.outOfBand) !== 0;
      const end = ends.get(room.nid) ?? (isOutOfBand ? StateChain.EMPTY : undefined);
      if (end === undefined) return [];
      const common = { room, member, section: 'leave' as const, end };
      if (until === undefined || isOutOfBand) {
        const [after, upTo] = [leftAt(member) - 1, leftAt(member)];
        const isFull = isInitial || fullState;
        const plan = { ...common, isFull, isNew: false, after, upTo, onlyLeave: true };
        return [isOutOfBand ? { ...plan, isFull: false, outOfBand } : plan];
      }
      const isFull = isInitial || fullState || !wasKnown;
      const after = wasKnown ? afterOf(room) : 0;
      return [{ ...common, isFull, isNew: !wasKnown, after, upTo: until, onlyLeave: false }];
    });
  }

  /** Of rooms that the user left, those from which they were kicked or banned: initial syncs show them until they are forgotten. */
  async #kickedOrBanned(left: ReadonlyMap<number, Member>): Promise<ReadonlyMap<number, Member>> {
    if (left.size === 0) return left;
    const { database } = this.#options;
    const places = [...left].map(([room, member]) => ({ room, nid: member.event }));
    const others = await sentByOthers(database, places, [...left.values()][0]?.user ?? 0);
    return new Map([...left].filter(([room]) => others.has(room)));
  }

  /** Rooms that the user is invited to, or knocks at; without invites of ignored users, and without those that `m.invite_permission_config` refuses. */
  #outside(plan: SyncPlan, request: SectionRequest, data: UserAccountData): Promise<PlannedRoom[]> {
    const rules = inviteRulesOf(data);
    const wanted = [...plan.outside].filter(([, { membership }]) => membership === 'knock' || !rules.refusesAll);
    const nids = wanted.map(([nid]) => nid);
    return this.#inParts(nids, (rooms) => this.#outsideOf(rooms, plan, request, rules));
  }

  async #outsideOf(
    rooms: readonly Room[],
    { position, outside }: SyncPlan,
    { ignored }: SectionRequest,
    rules: InviteRules,
  ): Promise<RoomPlan[]> {
    const { loader } = this.#options;
    const invitees = rooms.flatMap((room) => {
      const member = outside.get(room.nid);
      return member === undefined ? [] : [{ room, member }];
    });
    const events = await loader.load(invitees.map(({ room, member }) => ({ room, nid: member.event })));
    return invitees.flatMap(({ room, member }) => {
      const sender = events.get(member.event)?.sender;
      const isInvite = member.membership === 'invite';
      if (isInvite && sender !== undefined && (ignored().has(sender) || rules.fateOf(sender) !== 'shown')) return [];
      return {
        room,
        member,
        section: member.membership === 'knock' ? ('knock' as const) : ('invite' as const),
        isFull: true,
        isNew: false,
        after: 0,
        upTo: position.vector[room.shard] ?? 0,
        end: room.stateChain,
        onlyLeave: false,
      };
    });
  }
}

/** Up to where a user who left sees the room. Where the resolution of a fork ended a membership its event came before that. */
const leftAt = (member: Member | undefined): number => Math.max(member?.event ?? 0, member?.since ?? 0);
